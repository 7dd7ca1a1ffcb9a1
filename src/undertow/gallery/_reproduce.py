"""The gallery: many studies, one folder, one page."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from undertow.gallery import _files, _tally
from undertow.gallery._chapters import by_chapter
from undertow.gallery._interrupt import Interrupted, raised_on_ctrl_c
from undertow.gallery._memory import let_go
from undertow.gallery._pages import Pages, State
from undertow.gallery._progress import Display, display_on
from undertow.gallery._record import Record
from undertow.gallery._run import (
    PAGE,
    VERDICTS,
    broken,
    check_budget,
    check_seed,
    clear,
    conditions,
    forget_runs,
    kept,
    not_run,
    reusable,
    run_again,
)
from undertow.gallery._workers import Ended, Moved, Started, run_in_processes
from undertow.studies import Study, all_studies
from undertow.sweeps._ledger import held

SUMMARY = "summary.json"
LOCK = ".lock"
"""Held by who writes to the folder."""


@dataclass(frozen=True)
class Report:
    """What a call of `reproduce` left behind.

    Parameters
    ----------
    records : tuple of Record
        In the order the studies were given.
    page : pathlib.Path
        The index that was written; the page of a study is ``<id>/index.html`` beside it.
    interrupted : bool
        Whether Ctrl-C ended the call; the studies not reached are ``"not run"``.
    """

    records: tuple[Record, ...]
    page: Path
    interrupted: bool = False

    def __repr__(self) -> str:
        kinds = [check.verdict for record in self.records for check in record.checks]
        counts = ", ".join(f"{kind.replace(' ', '_')}={kinds.count(kind)}" for kind in ("holds", "fails", "not run"))
        return f"Report(studies={len(self.records)}, {counts}, page={str(self.page)!r})"

    @property
    def exit_status(self) -> int:
        """130 when interrupted, 1 when a check fails or a published sentence is not refuted, else 0."""
        return 130 if self.interrupted else int(any(record.fails for record in self.records))

    def summary(self) -> dict[str, Any]:
        """The content of ``summary.json``: the studies, and how many claims and checks came out how, by standing."""
        return _summary(self.records)


def reproduce(
    studies: Sequence[Study],
    out: str | Path,
    budget: str = "quick",
    *,
    jobs: int = 1,
    fresh: bool = False,
    seed: int = 0,
    display: Display | None = None,
) -> Report:
    """Run studies, and write their folders and pages, ``summary.json`` and the index ``index.html``.

    A study that finished earlier in ``out`` under the same conditions (budget, seed, code,
    versions) is reused. On Ctrl-C the finished studies are kept, and the others are shown as not
    run; the next call goes on from there, and at the full budget inside of a study, with the runs of its
    sweeps that were done. Pages and summary are written at the start and after
    every study, so that they are true at any time.

    Parameters
    ----------
    studies : sequence of Study
        At least one, each once.
    out : path
        A folder; made where it does not exist.
    budget : "smoke", "quick" or "full"
    jobs : int
        How many studies run at a time. With more than one, they run in processes of their own and are
        looked up there by their ids, so they have to be built in or installed.
    fresh : bool
        Run again what could be reused.
    seed : int
        The base seed, from 0 to 2^32 - 1, from which and from its id each study's key is derived.
    display : Display, optional
        What shows the progress; by default bars on a terminal, plain lines elsewhere, on standard error.

    Returns
    -------
    Report

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range, a study cannot be looked up for ``jobs > 1``, or another call writes to ``out``.
    NotADirectoryError
        If ``out`` is a file.
    """
    out = Path(out)
    check_seed(seed)
    _check(studies, out, budget, jobs)
    out.mkdir(parents=True, exist_ok=True)
    taken = f"out: {out} is being written by another call of reproduce; wait for it, or name another folder"
    with held(out / LOCK, taken):
        return _reproduce(studies, out, budget, jobs, fresh, seed, display)


def _reproduce(
    studies: Sequence[Study], out: Path, budget: str, jobs: int, fresh: bool, seed: int, display: Display | None
) -> Report:
    records = {study.id: not_run(study, "not reached yet", conditions(study, budget, seed)) for study in studies}
    pages = Pages(out, by_chapter(studies), budget)
    ended: set[str] = set()
    interrupted = False

    def write(state: State, changed: Sequence[str]) -> None:
        _files.write_json(out / SUMMARY, _summary(tuple(records.values())))
        pages.write(records, state, changed)

    with display or display_on(total=len(studies)) as shown:

        def keep(record: Record) -> None:
            records[record.study.id] = record
            ended.add(record.study.id)
            shown.end(record)
            write("under way", [record.study.id])

        try:
            with raised_on_ctrl_c():
                # What can be reused first: an interrupt must not make it look as if it had not run.
                for study in studies if fresh else ():
                    forget_runs(out / study.id)
                reused = [] if fresh else [r for study in studies if (r := reusable(study, out, budget, seed))]
                records |= {record.study.id: record for record in reused}
                ended |= {record.study.id for record in reused}
                write("under way", list(records))
                for record in reused:
                    shown.end(record)
                rest = [study for study in studies if study.id not in ended]
                if jobs == 1 or len(rest) < 2:
                    for study in rest:
                        shown.begin(study)
                        keep(_run_here(study, out, budget, seed, shown))
                else:
                    _run_beside(rest, out, budget, seed, jobs, shown, keep)
        except (Interrupted, KeyboardInterrupt):
            interrupted = True
    missed = [study for study in studies if study.id not in ended]
    records |= {study.id: not_run(study, "interrupted", records[study.id].made) for study in missed}
    write("interrupted" if interrupted else "finished", list(records))
    return Report(tuple(records.values()), out / PAGE, interrupted)


def _summary(records: Sequence[Record]) -> dict[str, Any]:
    return {
        "tally": _tally.of_studies(records),
        "tally_of_checks": _tally.of_checks(records),
        "studies": [record.summary() for record in records],
    }


def _run_here(study: Study, out: Path, budget: str, seed: int, shown: Display) -> Record:
    def progress(fraction: float, message: str) -> None:
        shown.move(study, fraction, message)

    try:
        return run_again(study, out, budget, seed, progress)
    finally:
        let_go()


def _run_beside(
    studies: Sequence[Study],
    out: Path,
    budget: str,
    seed: int,
    jobs: int,
    shown: Display,
    keep: Callable[[Record], None],
) -> None:
    by_id = {study.id: study for study in studies}
    with contextlib.closing(run_in_processes(tuple(by_id), out, budget, seed, jobs)) as events:
        for event in events:
            study = by_id[event.id]
            match event:
                case Started():
                    shown.begin(study)
                case Moved(_, fraction, message):
                    shown.move(study, fraction, message)
                case Ended(_, trouble):
                    keep(_record_of_worker(study, out, budget, seed, trouble))


def _record_of_worker(study: Study, out: Path, budget: str, seed: int, trouble: str) -> Record:
    """What a worker wrote; where it wrote nothing, a record that says how it ended."""
    record = None if trouble else kept(study, out)
    if record is None:
        made = conditions(study, budget, seed)
        record = broken(study, trouble or "its process left no record", made)
        clear(out / study.id)
        (out / study.id).mkdir(exist_ok=True)
        _files.write_json(out / study.id / VERDICTS, record.to_dict())
    return record


def _check(studies: Sequence[Study], out: Path, budget: str, jobs: int) -> None:
    if not studies:
        raise ValueError("studies: expected at least one, found none")
    ids = [study.id for study in studies]
    if twice := sorted({name for name in ids if ids.count(name) > 1}):
        raise ValueError(f"studies: expected each once, found twice: {', '.join(twice)}")
    check_budget(budget)
    if jobs < 1:
        raise ValueError(f"jobs: expected at least 1, found {jobs}")
    if jobs > 1:
        known = all_studies()
        if unknown := [study.id for study in studies if study not in known]:
            raise ValueError(
                f"jobs: with more than one, every study has to be built in or installed, unlike {', '.join(unknown)}"
            )
    for folder in (out, *(out / name for name in ids)):
        if folder.exists() and not folder.is_dir():
            raise NotADirectoryError(f"out: expected a folder, found a file: {folder}")
