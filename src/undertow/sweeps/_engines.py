"""Where batches are run: in this process, or in others on this machine; ``_dask`` has those on a cluster."""

import concurrent.futures
import contextlib
import functools
import multiprocessing
import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import resource_tracker
from typing import Any, NamedTuple

import jax

from .._description import describe
from ..training import Trajectory
from ..training._progress import Report
from ..training._run import execute
from ._ledger import Batch
from ._points import Point, import_path, imported, key_of
from ._rows import Row, failed, row_of
from ._sweep import groups_of, run_of

ENGINES = ("here", "processes", "dask")
TRIALS = 3
"""How often a batch is given to a new process after one died with it."""
SETTINGS = (
    "jax_enable_x64",
    "jax_default_matmul_precision",
    "jax_default_prng_impl",
    "jax_threefry_partitionable",
    "jax_numpy_dtype_promotion",
)
"""Of JAX, that numbers hang on."""


Planned = dict[str, Trajectory]
"""Runs that were called and have not run, by their keys."""


def computed(
    run: Callable[..., Any],
    points: Sequence[Point],
    keep_samples: bool,
    side_by_side: int | None,
    report: Report,
    planned: Planned | None = None,
    raising: bool = False,
) -> list[Row]:
    """The rows of a batch. A run that raises is a row that says so, and the others go on; or it raises here.

    Those that were ``planned`` are not called again, and forgotten.

    Raises KeyboardInterrupt where Ctrl-C ended a run on its way: half a run is none.
    """
    rows: dict[int, Row] = {}
    trajectories = {}
    for place, point in enumerate(points):
        try:
            known = (planned or {}).pop(key_of(point), None)
            trajectories[place] = run_of(run, point) if known is None else known
        except Exception as error:
            if raising:
                raise
            rows[place] = failed(error)
    found, groups = groups_of(trajectories, side_by_side)
    for group in groups:
        found |= _together(group, {place: trajectories[place].plan for place in group}, rows, report, raising)
    if any(trajectory.interrupted for trajectory in found.values()):
        raise KeyboardInterrupt
    rows |= {place: row_of(trajectory, keep_samples) for place, trajectory in found.items()}
    return [rows[place] for place in range(len(points))]


def _together(
    group: Sequence[int], plans: dict[int, Any], rows: dict[int, Row], report: Report, raising: bool = False
) -> dict[int, Any]:
    try:
        for plan in plans.values():
            plan.check_unchanged()
        return dict(zip(group, execute(list(plans.values()), report), strict=True))
    except Exception as error:
        if raising:
            raise
        if len(group) == 1:
            rows[group[0]] = failed(error)
            return {}
    # One of them is at fault: each alone says which.
    found: dict[int, Any] = {}
    for place in group:
        found |= _together([place], {place: plans[place]}, rows, report)
    return found


Results = Generator[tuple[Batch, list[Row]], None, None]


def here(
    run: Callable[..., Any],
    batches: Sequence[Batch],
    keep_samples: bool,
    side_by_side: int | None,
    report: Report,
    planned: Planned,
    raising: bool = False,
) -> Results:
    """One batch after the other."""
    for number, batch in enumerate(batches):

        def part(fraction: float, message: str, number: int = number) -> None:
            report((number + fraction) / len(batches), message)

        yield batch, computed(run, batch.points, keep_samples, side_by_side, part, planned, raising)


def processes(
    run: Callable[..., Any],
    digest: str,
    batches: Sequence[Batch],
    keep_samples: bool,
    side_by_side: int | None,
    report: Report,
    workers: int,
) -> Results:
    """Batches in fresh processes, which are sent the name of the function and plain values.

    What a process that dies had is given to another one.
    """
    path, left = import_path(run), {batch.number: batch for batch in batches}
    trials, done = dict.fromkeys(left, 0), 0
    while left:
        with _pool(min(workers, len(left))) as pool:
            tasks = {
                batch.number: Task(path, digest, batch.points, keep_samples, side_by_side) for batch in left.values()
            }
            with ctrl_c_held_back():
                futures = {pool.submit(work, task): left[number] for number, task in tasks.items()}
            try:
                for future in concurrent.futures.as_completed(futures):
                    batch = futures[future]
                    rows = future.result()
                    del left[batch.number]
                    done += 1
                    report(done / len(batches), f"{done}/{len(batches)} batches")
                    yield batch, rows
            except BrokenProcessPool as error:
                for number in left:
                    trials[number] += 1
                worst = max(trials[number] for number in left)
                if worst > TRIALS * max(1, len(left)):
                    raise RuntimeError(
                        f"engine: processes died {worst} times over the same runs, such as "
                        f"{next(iter(left.values())).points[0]}; what was done is kept"
                    ) from error


@contextlib.contextmanager
def _pool(workers: int) -> Iterator[concurrent.futures.ProcessPoolExecutor]:
    pool = concurrent.futures.ProcessPoolExecutor(
        workers, mp_context=multiprocessing.get_context("spawn"), initializer=_begin, initargs=(jax_settings(),)
    )
    try:
        yield pool
    except BaseException:
        for process in list((pool._processes or {}).values()):  # Ctrl-C: nobody waits for what will not be kept
            process.terminate()
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def ctrl_c_held_back() -> Iterator[None]:
    """Inside, Ctrl-C waits; threads and processes that are started here never get it, not even while they import."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # which lets Ctrl-C through where it is started
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(settings: dict[str, Any]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the main process's affair
    set_jax(settings)


def jax_settings() -> dict[str, Any]:
    """What other processes need to be told for the same numbers."""
    return {name: getattr(jax.config, name) for name in SETTINGS}


def set_jax(settings: dict[str, Any]) -> None:
    """Take them over."""
    for name, value in settings.items():
        if getattr(jax.config, name) != value:
            jax.config.update(name, value)


class Task(NamedTuple):
    """A batch for another process: the name of the function, what it is here, and plain values."""

    path: str
    digest: str
    points: list[Point]
    keep_samples: bool
    side_by_side: int | None


def work(task: Task) -> list[Row]:
    """The rows of a task.

    Raises ValueError if the function is another one here than where it was sent from.
    """
    run = _same(task.path, task.digest)
    return computed(run, task.points, task.keep_samples, task.side_by_side, lambda fraction, message: None)


@functools.cache
def _same(path: str, digest: str) -> Callable[..., Any]:
    run = imported(path)
    if describe(run).digest.hex() != digest:
        raise ValueError(
            f"run: {path} is something else in the process that should run it: another file, or a value that it "
            "reads, as one that was set after its module was imported; read it from the file, make it an axis, or take "
            'engine="here"'
        )
    return run
