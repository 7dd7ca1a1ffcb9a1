"""Batches on workers of dask.distributed: a cluster of this machine's own, or one that runs elsewhere."""

import asyncio
import concurrent.futures
import contextlib
import functools
import importlib
import platform
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from typing import Any

from ..training._progress import Report
from ._engines import TRIALS, Results, Task, ctrl_c_held_back, jax_settings, set_jax, work
from ._ledger import Batch
from ._points import import_path

version = functools.cache(metadata.version)
"""Which reads files, and is asked by every task."""
ANSWER = 8.0
"""Seconds in which a scheduler, and the first of its workers, have to answer."""
POLL, LOOK = 0.02, 30.0
"""Seconds between two looks at what is done, and at whether there are workers."""


class OtherVersionError(ValueError):
    """A worker on which the runs would not be those of this process."""


def on_dask(
    run: Callable[..., Any],
    digest: str,
    batches: Sequence[Batch],
    keep_samples: bool,
    side_by_side: int | None,
    report: Report,
    workers: int,
    scheduler: str | None,
) -> Results:
    """Batches on dask's workers, which are sent the name of the function and plain values.

    What a worker that dies had, dask gives to another one.
    """
    path, here = import_path(run), versions()
    if not batches:
        return
    distributed = _distributed()
    with _client(distributed, workers, scheduler) as client:
        _check_workers(client, scheduler, here)
        futures = {}
        for batch in batches:
            task = Task(path, digest, batch.points, keep_samples, side_by_side)
            # A key of its own: dask takes tasks of one key for the same, and may have one of an earlier sweep.
            name = f"undertow-{uuid.uuid4().hex}"
            future = client.submit(on_worker, tuple(task), jax_settings(), here, key=name, retries=0)
            futures[future.key] = (future, batch)
        waiting, done = distributed.as_completed([future for future, _ in futures.values()], loop=client.loop), 0
        try:
            for future in _as_they_come(client, waiting):
                _, batch = futures.pop(future.key)
                rows = _result(future, batch)
                future.release()
                done += 1
                report(done / len(batches), f"{done}/{len(batches)} batches")
                yield batch, rows
        finally:
            with contextlib.suppress(Exception):  # of a scheduler that is gone
                client.cancel([future for future, _ in futures.values()], force=True)


def _as_they_come(client: Any, waiting: Any) -> Iterator[Any]:
    """Futures that are done, and a word when there is nobody left to do the others: for workers it waits for ever."""
    looked = time.monotonic()
    while not waiting.is_empty():
        if found := waiting.next_batch(block=False):
            yield from found
            looked = time.monotonic()
            continue
        time.sleep(POLL)
        if time.monotonic() - looked > LOOK:
            looked = time.monotonic()
            with contextlib.suppress(OSError):
                gone = not client.nthreads()
                if gone and client.status == "running":  # if not, its scheduler is gone too, which the futures tell
                    warnings.warn("scheduler: its workers are gone; the sweep waits for new ones", stacklevel=2)


def _result(future: Any, batch: Batch) -> list[Any]:
    try:
        return future.result()
    except Exception as error:
        kind = type(error).__name__  # of a package that is imported only where it is used
        if kind == "KilledWorker":
            raise RuntimeError(
                f"engine: workers died {TRIALS + 1} times over the same runs, such as {batch.points[0]}; what was "
                "done is kept"
            ) from error
        if kind in ("CancelledError", "FutureCancelledError", "CommClosedError"):
            raise RuntimeError(
                "scheduler: it was lost on the way; what was done is kept, go on by the same call"
            ) from error
        raise


def on_worker(task: tuple[Any, ...], settings: dict[str, Any], wanted: dict[str, str]) -> list[Any]:
    """What a worker does with a batch."""
    if differences := _differences(versions(), wanted):
        raise OtherVersionError(f"scheduler: a worker on {platform.node()} has {differences}")
    set_jax(settings)
    return work(Task(*task))


def versions() -> dict[str, str]:
    """What has to be the same for numbers to be."""
    return {name: version(name) for name in ("undertow", "jax", "jaxlib", "numpy")}


def _differences(found: dict[str, str], wanted: dict[str, str]) -> str:
    return ", ".join(f"{name} {found[name]} (here {wanted[name]})" for name in wanted if found[name] != wanted[name])


def _check_workers(client: Any, scheduler: str | None, here: dict[str, str]) -> int:
    """How many workers there are.

    Raises ValueError unless there are some, and all that there are have the versions of this process.
    """
    where = scheduler or "the cluster on this machine"
    try:
        client.wait_for_workers(1, timeout=ANSWER if scheduler else 60)
        found = client.run(versions)
    except TimeoutError as error:
        raise ValueError(f"scheduler: {where} has no workers; start one, as by 'dask worker {scheduler}'") from error
    except Exception as error:
        raise ValueError(
            f"scheduler: expected workers of {where} that have undertow {here['undertow']} installed, found one that "
            f"does not answer as such ({type(error).__name__}: {error})"
        ) from error
    for address, theirs in found.items():
        if differences := _differences(theirs, here):
            raise ValueError(
                f"scheduler: expected workers with the versions of this process; {address} has {differences}"
            )
    return len(found)


def check_dask(scheduler: str | None) -> int:
    """How many workers a scheduler has now; 0 where none is named.

    Raises ValueError where dask is not installed, or the scheduler or its workers are not there; before any work.
    """
    distributed = _distributed()
    if scheduler is None:
        return 0
    with _client(distributed, 0, scheduler) as client:
        return _check_workers(client, scheduler, versions())


def _distributed() -> Any:
    try:
        return importlib.import_module("distributed")
    except ImportError as error:
        raise ValueError(
            "engine: 'dask' needs dask.distributed, which is not installed: pip install 'undertow[dask]'; "
            "engine='processes' needs nothing more"
        ) from error


@contextlib.contextmanager
def _client(distributed: Any, workers: int, scheduler: str | None) -> Iterator[Any]:
    config = importlib.import_module("dask.config")
    with contextlib.ExitStack() as stack:
        stack.enter_context(config.set({"distributed.scheduler.allowed-failures": TRIALS}))
        if scheduler is None:
            # On loopback only, with a certificate of its own so that nobody else on the machine can send it code.
            security = distributed.Security.temporary()
            # Its profiler looks at every worker a hundred times a second, and nobody at what it finds.
            stack.enter_context(config.set({"distributed.worker.profile.enabled": False}))
            with ctrl_c_held_back():
                cluster = stack.enter_context(
                    distributed.LocalCluster(
                        n_workers=workers,
                        threads_per_worker=1,
                        host="127.0.0.1",
                        dashboard_address=None,
                        worker_dashboard_address=None,
                        memory_limit=0,
                        silence_logs="CRITICAL",
                        security=security,
                    )
                )
            client = distributed.Client(cluster, set_as_default=False)
        else:
            _ask(distributed, scheduler)
            client = distributed.Client(scheduler, timeout=ANSWER, set_as_default=False)
        stack.callback(client.close, timeout=5)
        yield client


def _ask(distributed: Any, scheduler: str) -> None:
    """Raise ValueError unless a scheduler answers; a client would wait for ever for one that is silent."""

    async def identity() -> None:
        async with distributed.rpc(scheduler) as asked:
            await asyncio.wait_for(asked.identity(), ANSWER)

    try:
        with concurrent.futures.ThreadPoolExecutor(1) as thread:  # a notebook has a loop of its own in this one
            thread.submit(asyncio.run, identity()).result()
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(
            f"scheduler: {scheduler!r} does not answer within {ANSWER:.0f} s; expected the address of a scheduler of "
            f"dask that runs, such as 'tcp://127.0.0.1:8786' ({type(error).__name__} {error})"
        ) from error
