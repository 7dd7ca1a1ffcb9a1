"""A sweep that is kept as it goes: what is there is not run again, what is not is run once."""

import contextlib
import functools
import os
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import xarray as xr

from .._description import describe
from .._validation import check_choice, check_integer
from ..training._progress import Report
from . import _engines, _planning
from ._dask import check_dask, on_dask
from ._ledger import Batch, existing_ledger
from ._planning import plan_runs
from ._points import Point, import_path, key_of, kind_of, plain_axes
from ._rows import Row
from ._store import FORMAT, RESERVED, Store, check_same, opened
from ._sweep import check_axes, coordinate, points_of
from ._trial import trial

COMMIT_SECONDS = 5.0
"""How much that is done may be lost with the process: a commit takes some 50 ms, which short runs share."""


def stored_sweep(
    run: Callable[..., Any],
    over: Mapping[str, list[Any]],
    *,
    store: str | os.PathLike[str],
    engine: str,
    workers: int | None,
    scheduler: str | None,
    keep_samples: bool,
    repair: bool,
    side_by_side: int | None,
    report: Report,
    raising: bool = False,
) -> xr.Dataset:
    """``sweep`` with a store; see there. With ``raising`` a run that raises ends it, and is not kept."""
    check_choice("engine", engine, _engines.ENGINES)
    if not isinstance(store, (str, os.PathLike)) or not Path(store).name:
        raise TypeError(f"store: expected the path of a folder, such as 'results.zarr', found {store!r}")
    if workers is not None:
        check_integer("workers", workers, 1)
    axes = checked_axes(over)
    if engine != "here":
        import_path(run)
    if scheduler is not None and (engine != "dask" or not isinstance(scheduler, str)):
        raise ValueError(f"scheduler: expected an address with engine='dask', found {scheduler!r} with {engine!r}")
    count = 1 if engine == "here" else workers or os.cpu_count() or 1
    if engine == "dask":
        count = check_dask(scheduler) or count
    facts = facts_of(run, axes, keep_samples)
    points = points_of(axes)
    with opened(Path(store), facts) as kept:
        if repair:
            kept.repair()
        kept.check_files()
        known = kept.ledger.rows()
        new = [point for point in points if key_of(point) not in known]
        planned: _engines.Planned = {}
        if new:
            plans = plan_runs(run, new, side_by_side, count)
            kept.check_probes(axes, plans.shapes)
            kept.ledger.plan(plans.batches)
            planned = plans.waiting
        wanted = {key_of(point) for point in points}
        waiting = [batch for batch in kept.ledger.left() if any(key_of(point) in wanted for point in batch.points)]
        results = (
            _engines.here(run, waiting, keep_samples, side_by_side, report, planned, raising)
            if engine == "here"
            else _engines.processes(run, facts["function"], waiting, keep_samples, side_by_side, report, count)
            if engine == "processes"
            else on_dask(run, facts["function"], waiting, keep_samples, side_by_side, report, count, scheduler)
        )
        interrupted = _keep(kept, results)
        return _dataset(kept, axes, points).assign_attrs(facts | {"axes": ", ".join(axes), "interrupted": interrupted})


def checked_axes(over: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """The axes as a store keeps them.

    Raises TypeError or ValueError where it cannot.
    """
    axes = plain_axes(over)
    for name in axes:
        if name in RESERVED:
            raise ValueError(f"over: {name!r} is what a store calls a result; give the axis another name")
        if "/" in name or name.startswith("."):
            raise ValueError(
                f"over: expected names without '/' and a dot in front, which are files of a store, found {name!r}"
            )
    return axes


def facts_of(run: Callable[..., Any], axes: Mapping[str, list[Any]], keep_samples: bool) -> dict[str, Any]:
    """What a store is of: all that has to be the same for runs to be.

    Raises ValueError where that cannot be told.
    """
    digest, unseen, _ = describe(run)
    if unseen:
        raise ValueError(
            f"run: a store knows a function again by what it can reach, and of this nothing can be told: "
            f"{'; '.join(unseen)}; bind plain values and arrays instead, or sweep without a store"
        )
    return {
        "format": FORMAT,
        "undertow": version("undertow"),
        "jax": version("jax"),
        "precision": "float64" if jax.config.jax_enable_x64 else "float32",  # pyright: ignore[reportAttributeAccessIssue]
        "settings": ", ".join(f"{name}={value}" for name, value in _engines.jax_settings().items()),
        "run": _name_of(run),
        "function": digest.hex(),
        "axes": {name: kind_of(axes[name]) for name in sorted(axes)},
        "keeps_samples": keep_samples,
    }


def _name_of(run: Callable[..., Any]) -> str:
    """For people to read: of a function, of what binds arguments to one, or of a class whose objects are called."""
    while isinstance(run, functools.partial):
        run = run.func
    named = run if hasattr(run, "__qualname__") else type(run)
    return f"{named.__module__}:{named.__qualname__}"


def _keep(kept: Store, results: _engines.Results) -> int:
    """Commit what comes, as much together as share a chunk or came within seconds; 1 if Ctrl-C ended it."""
    found: list[tuple[Batch, list[Row]]] = []
    began = time.monotonic()
    try:
        with contextlib.closing(results):  # whatever happens, no process goes on working for nobody
            for result in results:
                found.append(result)
                late = time.monotonic() - began >= COMMIT_SECONDS
                if late or sum(len(rows) for _, rows in found) >= _planning.CHUNK:
                    whole, found = found, []  # what cannot be written is not tried again
                    kept.commit_all(whole)
                    began = time.monotonic()
    except KeyboardInterrupt:
        return 1
    finally:
        kept.commit_all(found)
    return 0


def _dataset(kept: Store, axes: dict[str, list[Any]], points: list[Point]) -> xr.Dataset:
    """The grid, read from the store."""
    rows, states = kept.ledger.rows(), kept.ledger.states()
    places = np.array([rows[key_of(point)] for point in points], int)
    there = np.array([states[row] != "left" for row in places])
    shape = tuple(len(values) for values in axes.values())
    variables: dict[str, Any] = {}
    for name, (dims, values) in kept.read([name for name in kept.names if name not in axes], places).items():
        if values.dtype.kind == "T":
            column = np.where(there, values.astype(object), "not run" if name == "status" else "").astype(str)
        else:
            column = values.copy()
            column[~there] = -1 if np.issubdtype(values.dtype, np.integer) else np.nan
        variables[name] = ([*axes, *dims[1:]], column.reshape(*shape, *column.shape[1:]))
    if not variables:
        variables["status"] = (list(axes), np.full(shape, "not run"))
    return xr.Dataset(variables, coords={name: coordinate(values) for name, values in axes.items()})


class Foreseen(NamedTuple):
    """What a sweep would do: runs in all, those that a store has, programs of the others, and seconds for them.

    ``seconds`` tells how long they would take, and how that is known; it may run some of them. None: it is not known.
    """

    runs: int
    there: int
    programs: int
    seconds: Callable[[], tuple[float | None, str]]


def foreseen(run: Callable[..., Any], over: Mapping[str, list[Any]], store: Path, keep_samples: bool) -> Foreseen:
    """Look at what a grid would take; the store is left as it is.

    Raises as a sweep would, where the store is of another one.
    """
    axes = checked_axes(check_axes(over))
    points, there, rate = points_of(axes), set(), None
    if store.with_name(store.name + ".sqlite").is_file():
        with existing_ledger(store) as ledger:
            if known := ledger.facts():
                check_same(store, known, facts_of(run, axes, keep_samples))
            there = {key for _, key, _, state in ledger.runs() if state != "left"}
            rate = ledger.rate()
    left = [point for point in points if key_of(point) not in there]
    plans = plan_runs(run, left, None)

    def seconds() -> tuple[float | None, str]:
        if not left or rate is not None:
            return len(left) / (rate or 1.0), "at the pace of the last commits"
        return trial(run, plans), "in one process, by a trial"

    return Foreseen(len(points), len(points) - len(left), plans.programs, seconds)
