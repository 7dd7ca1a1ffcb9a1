"""What several base seeds make of the same studies: a table of the checks that did not hold everywhere."""

from collections.abc import Mapping, Sequence
from typing import Any

from undertow.gallery._words import number


def seeds_table(summaries: Mapping[int, Mapping[str, Any]]) -> str:
    """What came out of each study under each seed, as Markdown: a table, and every check that did not hold.

    Parameters
    ----------
    summaries : mapping of int to mapping
        By base seed, the content of ``summary.json`` or the part of it that there is: ``studies`` with their ``id`` and
        ``checks``, and the ``refutation`` of an amended claim.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If there is no seed, or no study.

    Examples
    --------
    >>> def ran(verdict, measured):
    ...     check = {"name": "rank", "verdict": verdict, "measured": measured, "reason": "expected at most 5"}
    ...     return {"studies": [{"id": "low-rank", "checks": [check]}]}
    >>> print(seeds_table({1: ran("holds", 5.0), 2: ran("fails", 6.0)}))
    | study | seed 1 | seed 2 |
    | --- | --- | --- |
    | low-rank | holds | 1 of 1 fails |
    <BLANKLINE>
    1 of 2 runs hold; 1 study comes out otherwise under another seed.
    <BLANKLINE>
    | study | check | verdict by seed | measured by seed | said |
    | --- | --- | --- | --- | --- |
    | low-rank | rank | holds, **fails** | 5, 6 | expected at most 5 |
    """
    runs = {seed: {row["id"]: row for row in summary["studies"]} for seed, summary in summaries.items()}
    ids = list(dict.fromkeys(name for rows in runs.values() for name in rows))
    if not ids:
        raise ValueError("summaries: expected at least one seed with at least one study, found none")
    cells = {name: [_cell(rows.get(name)) for rows in runs.values()] for name in ids}
    lines = [_row(["study", *(f"seed {seed}" for seed in runs)]), _row(["---"] * (len(runs) + 1))]
    lines += [_row([name, *cells[name]]) for name in ids]
    ran = [cell for row in cells.values() for cell in row if cell not in ("", "not run")]
    flipped = sum(len({cell == "holds" for cell in row if cell not in ("", "not run")}) > 1 for row in cells.values())
    verb = "studies come" if flipped != 1 else "study comes"
    lines += ["", f"{ran.count('holds')} of {len(ran)} runs hold; {flipped} {verb} out otherwise under another seed."]
    if found := [line for name in ids for line in _checks(name, [rows.get(name) for rows in runs.values()])]:
        header = ["study", "check", "verdict by seed", "measured by seed", "said"]
        lines += ["", _row(header), _row(["---"] * len(header)), *found]
    return "\n".join(lines)


def _cell(row: Mapping[str, Any] | None) -> str:
    """What came out of a study under one seed; empty where it is missing."""
    if row is None:
        return ""
    verdicts = [outcome["verdict"] for outcome in _outcomes(row)]
    if failing := verdicts.count("fails"):
        return f"{failing} of {len(verdicts)} {'fails' if failing == 1 else 'fail'}"
    return "not run" if "not run" in verdicts else "holds"


def _checks(name: str, rows: Sequence[Mapping[str, Any] | None]) -> list[str]:
    """A line for each check of a study that fails under one seed at least."""
    by_check: dict[str, list[Mapping[str, Any] | None]] = {}
    for place, row in enumerate(rows):
        for outcome in _outcomes(row) if row else ():
            by_check.setdefault(outcome["name"], [None] * len(rows))[place] = outcome
    lines = []
    for check, outcomes in by_check.items():
        failing = [outcome for outcome in outcomes if outcome and outcome["verdict"] == "fails"]
        if failing:
            verdicts = ["–" if o is None else f"**{o['verdict']}**" if o in failing else o["verdict"] for o in outcomes]
            measured = [number(o and o["measured"]) for o in outcomes]
            lines.append(_row([name, check, ", ".join(verdicts), ", ".join(measured), failing[0]["reason"]]))
    return lines


def _outcomes(row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    refutation = row.get("refutation")
    return [*row["checks"], *([refutation] if refutation else [])]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
