"""``python -m benchmarks [NAME ...] [--out FILE] [--seeds N] [--quick]``: tables on the screen, everything as JSON."""

import argparse
import importlib.metadata
import importlib.util
import os
import sys
import time
from pathlib import Path

import jax
from rich import box
from rich.console import Console
from rich.table import Table

from undertow.gallery._files import write_json
from undertow.gallery._provenance import hardware, versions

from ._base import Benchmark, Outcome, Scope
from ._registry import BENCHMARKS

PACKAGES = ("equinox", "diffrax", "optax")


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmarks that were asked for; the exit status."""
    options = _parser().parse_args(arguments)
    chosen = [BENCHMARKS[name] for name in dict.fromkeys(options.names or BENCHMARKS)]
    missing = sorted({p for b in chosen for p in b.packages if importlib.util.find_spec(p) is None})
    if missing:
        print(f"error: {', '.join(missing)} not found; install undertow[benchmarks]", file=sys.stderr)
        return 2
    jax.config.update("jax_enable_compilation_cache", False)  # compiling is part of what is measured
    options.out.parent.mkdir(parents=True, exist_ok=True)
    # Where nobody watches, a table is as wide as it needs to be.
    screen = Console(width=None if sys.stdout.isatty() else 200)
    record = {
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "seeds": options.seeds,
        "quick": options.quick,
        "versions": versions() | _versions((*PACKAGES, *(p for b in chosen for p in b.packages))),
        "hardware": hardware() | {"load before": _load()},
        "benchmarks": {},
    }
    for benchmark in chosen:
        began = time.perf_counter()
        report = lambda line, name=benchmark.name: print(f"{name}: {line}", file=sys.stderr, flush=True)  # noqa: E731
        outcome = benchmark.run(Scope(options.seeds, options.quick, report))
        record["benchmarks"][benchmark.name] = {
            "title": benchmark.title,
            "seconds": time.perf_counter() - began,
            "settings": outcome.settings,
            "summary": outcome.summary,
            "runs": outcome.runs,
            "notes": outcome.notes,
        }
        _show(screen, benchmark, outcome)
        # After each, so that what is done is kept if a later one fails.
        write_json(options.out, record)
    screen.print(f"Written to {options.out}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    known = ", ".join(BENCHMARKS)
    parser.add_argument("names", nargs="*", type=_name, metavar="NAME", help=f"which ones, all by default: {known}")
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks.json"), metavar="FILE", help="JSON file")
    parser.add_argument("--seeds", type=_count, default=3, metavar="N", help="draws of data and start (default 3)")
    parser.add_argument("--quick", action="store_true", help="a small problem: does it run")
    return parser


def _name(text: str) -> str:
    if text not in BENCHMARKS:
        raise argparse.ArgumentTypeError(f"unknown benchmark {text!r}; there are {', '.join(BENCHMARKS)}")
    return text


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected an integer of at least 1, found {text!r}")
    return int(text)


def _versions(packages: tuple[str, ...]) -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in packages}


def _load() -> str:
    """How busy the machine is already: times measured beside other work mean less."""
    return f"{os.getloadavg()[0]:.2f}" if hasattr(os, "getloadavg") else "unknown"


def _show(screen: Console, benchmark: Benchmark, outcome: Outcome) -> None:
    # Markdown, so that a table can be quoted as it is.
    table = Table(box=box.MARKDOWN)
    for heading in outcome.columns:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in outcome.summary:
        table.add_row(*(cell(row) for cell in outcome.columns.values()))
    screen.print(f"\n{benchmark.title}", highlight=False)
    screen.print(table, markup=False)
    for note in outcome.notes:
        screen.print(note, highlight=False, markup=False)


if __name__ == "__main__":
    sys.exit(main())
