"""The gallery: many studies, one folder, one page."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from undertow.gallery import _files
from undertow.gallery._interrupt import Interrupted, raised_on_ctrl_c
from undertow.gallery._page import write_page
from undertow.gallery._progress import Display, display_on
from undertow.gallery._run import (
    VERDICTS,
    Record,
    broken,
    check_budget,
    clear,
    conditions,
    kept,
    not_run,
    reusable,
    run,
)
from undertow.gallery._workers import Ended, Moved, Started, run_in_processes
from undertow.studies import Study, all_studies

SUMMARY, PAGE = "summary.json", "index.html"


@dataclass(frozen=True)
class Report:
    """What a call of `reproduce` left behind.

    Parameters
    ----------
    records : tuple of Record
        In the order the studies were given.
    page : pathlib.Path
        The page that was written.
    interrupted : bool
        Whether Ctrl-C ended the call; the studies not reached are ``"not run"``.
    """

    records: tuple[Record, ...]
    page: Path
    interrupted: bool = False

    @property
    def exit_status(self) -> int:
        """130 when interrupted, 1 when a check fails, else 0."""
        if self.interrupted:
            return 130
        return int(any(check.verdict == "fails" for record in self.records for check in record.checks))

    def summary(self) -> dict[str, Any]:
        """The content of ``summary.json``."""
        return {"studies": [record.summary() for record in self.records]}


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
    """Run studies, and write their folders, ``summary.json`` and the page ``index.html``.

    A study that finished earlier in ``out`` under the same conditions (budget, seed, code,
    versions) is reused. On Ctrl-C the finished studies are kept, and the page is written with the
    others as not run; the next call goes on from there.

    Parameters
    ----------
    studies : sequence of Study
        At least one, each once.
    out : path
        A folder; made where it does not exist.
    budget : "smoke", "quick" or "full"
    jobs : int
        How many studies run at a time. With more than one, each runs in a process of its own and is
        looked up there by its id, so it has to be built in or installed.
    fresh : bool
        Run again what could be reused.
    seed : int
        The base seed, from which and from its id each study's key is derived.
    display : Display, optional
        What shows the progress; by default bars on a terminal, plain lines elsewhere, on standard error.

    Returns
    -------
    Report

    Raises
    ------
    ValueError
        If an argument is out of range, or a study cannot be looked up for ``jobs > 1``.
    NotADirectoryError
        If ``out`` is a file.
    """
    out = Path(out)
    _check(studies, out, budget, jobs)
    out.mkdir(parents=True, exist_ok=True)
    records: dict[str, Record] = {}
    interrupted = False
    with display or display_on(total=len(studies)) as shown:

        def keep(record: Record) -> None:
            records[record.study.id] = record
            shown.end(record)

        try:
            with raised_on_ctrl_c():
                # What can be reused first: an interrupt must not make it look as if it had not run.
                if not fresh:
                    for study in studies:
                        if record := reusable(study, out, budget, seed):
                            keep(record)
                rest = [study for study in studies if study.id not in records]
                if jobs == 1 or len(rest) < 2:
                    for study in rest:
                        shown.begin(study)
                        keep(_run_here(study, out, budget, seed, shown))
                else:
                    _run_beside(rest, out, budget, seed, jobs, shown, keep)
        except (Interrupted, KeyboardInterrupt):
            interrupted = True
    for study in studies:
        if study.id not in records:
            records[study.id] = not_run(study, "interrupted", conditions(study, budget, seed))
    report = Report(tuple(records[study.id] for study in studies), out / PAGE, interrupted)
    _files.write_json(out / SUMMARY, report.summary())
    write_page(report.page, report.records, budget=budget, interrupted=interrupted)
    return report


def _run_here(study: Study, out: Path, budget: str, seed: int, shown: Display) -> Record:
    def progress(fraction: float, message: str) -> None:
        shown.move(study, fraction, message)

    try:
        return run(study, out, budget, seed=seed, progress=progress)
    finally:
        # A compiled program holds memory maps, of which Linux grants a process 65,530: not enough for all studies.
        jax.clear_caches()


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
