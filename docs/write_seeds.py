"""Write the page ``seeds.md`` from what runs under several base seeds left: ``python docs/write_seeds.py RUNS PAGE``.

``RUNS`` has a folder for each seed, named by it, as ``make seeds`` makes them. Of a run that has not ended yet, the
studies that have are counted.
"""

import datetime as dt
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from undertow.gallery import seeds_table

TEXT = """---
orphan: true
---

# Every study under other seeds

No verdict may hang on a lucky seed. The gallery shows what comes out of base seed 0, from which all random draws of a
study follow; this is what comes out of others at the {budget} budget (so far: {seeds}). A study holds where all its
checks do; an empty cell, and a study that is not here, have not been run. `make seeds` runs five and writes this page.

{table}

Run on {date} with {versions}; {hardware}.
"""


def summary(folder: Path) -> dict[str, Any]:
    """The content of ``summary.json``; of a run under way, the studies that have ended."""
    path = folder / "summary.json"
    if path.is_file():
        return json.loads(path.read_text(encoding="utf-8"))
    return {"studies": records(folder)}


def records(folder: Path) -> list[dict[str, Any]]:
    """What is kept of each study in this folder, in the order in which they ended."""
    paths = sorted(folder.glob("*/verdicts.json"), key=lambda path: path.stat().st_mtime)
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def said(facts: Sequence[dict[str, str]], names: Sequence[str]) -> str:
    """Names with their values, each value that there was once."""
    found = {name: list(dict.fromkeys(fact[name] for fact in facts if name in fact)) for name in names}
    return ", ".join(f"{name} {' and '.join(values)}" for name, values in found.items() if values)


def main(runs: Path, page: Path) -> None:
    """Write the page."""
    folders = {int(folder.name): folder for folder in runs.iterdir() if folder.is_dir() and folder.name.isdigit()}
    folders = {seed: folder for seed, folder in sorted(folders.items()) if records(folder)}
    if not folders:
        sys.exit(f"{runs}: expected folders named by a seed, with studies that ended, found none")
    made = [record for folder in folders.values() for record in records(folder)]
    last = max(path.stat().st_mtime for folder in folders.values() for path in folder.glob("*/verdicts.json"))
    page.write_text(
        TEXT.format(
            budget=" and ".join(dict.fromkeys(record["made"]["budget"] for record in made)),
            seeds=", ".join(map(str, folders)),
            table=seeds_table({seed: summary(folder) for seed, folder in folders.items()}),
            date=dt.datetime.fromtimestamp(last, dt.UTC).date().isoformat(),
            versions=said(
                [record["made"]["versions"] for record in made], ("undertow", "python", "jax", "numpy", "scipy")
            ),
            hardware=said([record["hardware"] for record in made], ("processor", "cores", "memory")),
        ),
        encoding="utf-8",
    )


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
