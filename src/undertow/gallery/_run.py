"""One study: run it, keep the record, judge it, draw it, write it all down."""

import contextlib
import json
import logging
import shutil
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import xarray as xr
from matplotlib.figure import Figure

from undertow import plotting
from undertow.gallery import _files, _provenance, _refutation
from undertow.gallery._interrupt import raised_on_ctrl_c
from undertow.gallery._record import KINDS, THEMES, Picture, Record
from undertow.gallery._thumbnail import thumbnail, write_thumbnail
from undertow.studies import BUDGETS, Study
from undertow.studies._base import describe, is_slug
from undertow.sweeps._kept_in import kept_in

DATA, VERDICTS, LOG, PAGE = "data.nc", "verdicts.json", "log.txt", "index.html"
RUNS = "runs"
"""Where the sweeps of a study that is under way are kept, at the full budget."""
LARGEST_SEED = 2**32 - 1

_log = logging.getLogger(__name__)


def run(
    study: Study,
    out: str | Path,
    budget: str = "quick",
    *,
    seed: int = 0,
    progress: Callable[[float, str], None] | None = None,
) -> Record:
    """Run one study and write its folder: data, figures, verdicts, and a log if it breaks.

    Parameters
    ----------
    study : Study
    out : path
        The study writes to ``out/<id>/``.
    budget : "smoke", "quick" or "full"
    seed : int
        The base seed, from 0 to 2^32 - 1; the study's own key is derived from it and the id.
    progress : Callable, optional
        ``progress(fraction, message)``.

    Returns
    -------
    Record
        Checks and figures come from the dataset as it was read back from its file.

    Raises
    ------
    ValueError, TypeError
        If the budget is unknown, or the seed is no whole number in its range.
    Interrupted
        On Ctrl-C, when called from the main thread; nothing is kept of the study then.
    """
    check_budget(budget)
    check_seed(seed)
    (Path(out) / study.id / PAGE).unlink(missing_ok=True)  # it would show what is no longer there
    return run_again(study, out, budget, seed, progress)


def run_again(
    study: Study,
    out: str | Path,
    budget: str,
    seed: int,
    progress: Callable[[float, str], None] | None = None,
) -> Record:
    """As `run`, but the page in the folder stays: the gallery keeps it true."""
    folder = Path(out) / study.id
    folder.mkdir(parents=True, exist_ok=True)
    clear(folder)
    made = conditions(study, budget, seed)
    start = time.perf_counter()
    with raised_on_ctrl_c() as check_interrupt:
        try:
            record = _judged(study, folder, budget, seed, made, progress or _silent, check_interrupt)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a study does, the others go on
            check_interrupt()  # an interrupt that passed through compiled code arrives in disguise
            record = _without_result(study, error, folder, made, time.perf_counter() - start)
        _files.write_json(folder / VERDICTS, record.to_dict())
    return record


def conditions(study: Study, budget: str, seed: int) -> dict[str, Any]:
    """What has to be the same for a result to be the same."""
    return {
        "budget": budget,
        "seed": seed,
        "fingerprint": _provenance.fingerprint(study),
        "versions": _provenance.versions(),
    }


def reusable(study: Study, out: Path, budget: str, seed: int) -> Record | None:
    """The record of an earlier, finished run under the same conditions, with all its files; else None."""
    made = conditions(study, budget, seed)
    record = kept(study, out) if made["fingerprint"] else None
    if record is None or record.state != "finished" or record.made != made:
        return None
    names = [DATA, *_files_of(record.pictures)]
    complete = all((out / study.id / name).is_file() for name in names)
    return replace(record, reused=True) if complete else None


def kept(study: Study, out: Path) -> Record | None:
    """The record in the folder of a study; None where there is none that this version can read."""
    path = out / study.id / VERDICTS
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        record = Record.from_dict(study, content)
    except (OSError, ValueError, KeyError, TypeError) as error:
        _log.warning("%s is no record that this version can read: %s", path, describe(error))
        return None
    # Words that are built from other files than the study's own do not show in the fingerprint.
    same_names = [check.name for check in study.checks] == [verdict.name for verdict in record.checks]
    same_sentence = getattr(study.refutation, "name", None) == getattr(record.refutation, "name", None)
    return record if same_names and same_sentence and content["id"] == study.id else None


def not_run(study: Study, reason: str, made: dict[str, Any], seconds: float = 0.0) -> Record:
    """The record of a study that did not run."""
    checks = tuple(check.not_run(reason) for check in study.checks)
    refutation = _refutation.without_number(study.refutation, "not run", reason)
    return Record(study, "not run", seconds, checks, made, refutation)


def broken(study: Study, reason: str, made: dict[str, Any], seconds: float = 0.0) -> Record:
    """The record of a study that broke: every check fails, with the reason."""
    checks = tuple(check.failed(reason) for check in study.checks)
    refutation = _refutation.without_number(study.refutation, "fails", reason)
    return Record(study, "broken", seconds, checks, made, refutation)


def check_budget(budget: str) -> None:
    """Raise `ValueError` unless the budget is a known one."""
    if budget not in BUDGETS:
        raise ValueError(f"budget: unknown budget {budget!r}; expected one of {', '.join(BUDGETS)}")


def check_seed(seed: int) -> None:
    """Raise an error unless the seed is a whole number that a JAX key can be made of, each giving another one."""
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise TypeError(f"seed: expected a whole number, found {seed!r}")
    if not 0 <= seed <= LARGEST_SEED:
        raise ValueError(f"seed: expected a whole number from 0 to {LARGEST_SEED}, found {seed}")


def clear(folder: Path) -> None:
    """Remove what an earlier run wrote here, the verdicts first: without them the rest counts for nothing."""
    _files.remove_partial(folder)
    names = [VERDICTS, DATA, LOG, *map(thumbnail, THEMES)]
    # A record that cannot be read names no figures; its files are overwritten by those of the same name.
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        content = json.loads((folder / VERDICTS).read_text(encoding="utf-8"))
        pictures = [Picture(**picture) for picture in content["figures"] if is_slug(picture["name"])]
        names += _files_of(pictures)
    for name in names:
        (folder / name).unlink(missing_ok=True)


def forget_runs(folder: Path) -> None:
    """Remove what was kept of a study's sweeps."""
    shutil.rmtree(folder / RUNS, ignore_errors=True)


def _judged(
    study: Study,
    folder: Path,
    budget: str,
    seed: int,
    made: dict[str, Any],
    progress: Callable[[float, str], None],
    check_interrupt: Callable[[], None],
) -> Record:
    def watched(fraction: float, message: str = "") -> None:
        check_interrupt()
        progress(min(max(float(fraction), 0.0), 1.0), str(message))

    start = time.perf_counter()
    with kept_in(folder / RUNS) if budget == "full" else contextlib.nullcontext():
        dataset = study.run(budget, _provenance.key_for(study.id, seed), watched)  # pyright: ignore[reportArgumentType]
    seconds = time.perf_counter() - start
    check_interrupt()  # a study that swallowed the interrupt returned less than the whole
    if not isinstance(dataset, xr.Dataset):
        raise TypeError(f"run returned {type(dataset).__name__}, expected an xarray.Dataset")
    _files.write_dataset(folder / DATA, dataset)
    forget_runs(folder)
    dataset = _files.read_dataset(folder / DATA)
    record = Record(
        study=study,
        state="finished",
        seconds=seconds,
        checks=study.judge(dataset),
        made=made,
        refutation=_refutation.judge(study.refutation, dataset),
        hardware=_provenance.hardware(),
        settings=_files.settings_of(dataset),
    )
    try:
        return replace(record, pictures=_draw(study, dataset, folder))
    except Exception as error:  # noqa: BLE001 - foreign code; a claim without its figure is not shown to hold
        check_interrupt()
        reason = f"the figures could not be drawn: {describe(error)}"
        _keep_traceback(study, error, folder)
        checks = tuple(replace(verdict, verdict="fails", reason=reason) for verdict in record.checks)
        refutation = record.refutation and replace(record.refutation, verdict="fails", reason=reason)
        return replace(record, state="broken", checks=checks, refutation=refutation)


def _draw(study: Study, dataset: xr.Dataset, folder: Path) -> tuple[Picture, ...]:
    pictures: tuple[Picture, ...] = ()
    for theme in THEMES:
        with plotting.theme(theme):
            figures = study.plot(dataset)
            pictures = _pictures(figures)
            for picture in pictures:
                for kind in KINDS:
                    plotting.save(figures[picture.name], folder / picture.file(theme, kind))
        write_thumbnail(folder / pictures[0].file(theme, "png"), folder, theme)
    return pictures


def _pictures(figures: Any) -> tuple[Picture, ...]:
    if not isinstance(figures, dict) or not figures:
        raise TypeError(f"plot returned {figures!r}, expected a dictionary of at least one figure")
    for name, made in figures.items():
        if not isinstance(name, str) or not is_slug(name) or name.endswith("-dark"):
            raise ValueError(
                f"plot: expected names of lower-case words joined by hyphens, none ending in -dark, found {name!r}"
            )
        if not isinstance(made, Figure):
            raise TypeError(f"plot: expected a matplotlib Figure as {name!r}, found {type(made).__name__}")
    return tuple(Picture(name, str(made.get_label() or "")) for name, made in figures.items())


def _without_result(study: Study, error: BaseException, folder: Path, made: dict[str, Any], seconds: float) -> Record:
    from undertow.datasets import DataNotFound  # datasets bring table readers along; most studies need none

    if isinstance(error, DataNotFound):
        return not_run(study, " ".join(str(error).split()) or "its data was not found", made, seconds)
    _keep_traceback(study, error, folder)
    return broken(study, describe(error), made, seconds)


def _keep_traceback(study: Study, error: BaseException, folder: Path) -> None:
    text = "".join(traceback.format_exception(error))
    _log.error("study %s broke: %s; the traceback is in %s", study.id, describe(error), folder / LOG)
    _files.write_text(folder / LOG, text)


def _files_of(pictures: Sequence[Picture]) -> list[str]:
    """The names of all files that these pictures leave, with the thumbnails of the first."""
    figures = [picture.file(theme, kind) for picture in pictures for theme in THEMES for kind in KINDS]
    return [*figures, *map(thumbnail, THEMES)]


def _silent(fraction: float, message: str) -> None:
    """No one watches."""
