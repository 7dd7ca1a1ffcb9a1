"""Studies in processes beside this one, some at a time: one that crashes takes no other study with it."""

import contextlib
import multiprocessing
import os
import signal
import tempfile
import time
from collections.abc import Generator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple

from undertow.gallery import _files

_LEAST_SECONDS_BETWEEN_MESSAGES = 0.1


class Started(NamedTuple):
    """A worker took up the study with this id."""

    id: str


class Moved(NamedTuple):
    """A study is this far."""

    id: str
    fraction: float
    message: str


class Ended(NamedTuple):
    """A study is done; ``trouble`` says how its worker ended where it wrote no record, and is empty else."""

    id: str
    trouble: str


def run_in_processes(
    ids: Sequence[str], out: Path, budget: str, seed: int, jobs: int
) -> Generator[Started | Moved | Ended, None, None]:
    """Run studies by id, ``jobs`` at a time; yields what happens.

    A worker starts Python afresh (no fork: JAX has threads), looks its studies up by their ids, so they have to be
    built in or installed, and takes one after the other; what the workers compile they share by a folder. One that
    crashes fails the study that it had, and another takes its place. Closing the iterator ends the workers.
    """
    waiting = list(ids)
    workers: list[_Worker] = []
    with tempfile.TemporaryDirectory(prefix="undertow-", ignore_cleanup_errors=True) as programs:
        try:
            while waiting or any(worker.study_id for worker in workers):
                while waiting and (worker := _free(workers, jobs, (str(out), budget, seed, programs))):
                    worker.study_id = waiting.pop(0)
                    yield Started(worker.study_id)
                    worker.send(worker.study_id)
                busy = {worker.connection: worker for worker in workers if worker.study_id}
                ready: list[Any] = wait(list(busy))
                for connection in ready:
                    yield from _hear(busy[connection], workers)
        finally:
            for worker in workers:
                worker.end(out)


class _Worker:
    """A process, the pipe to it, and the study that it has."""

    def __init__(self, arguments: tuple[Any, ...]) -> None:
        context = multiprocessing.get_context("spawn")
        self.study_id = ""
        self.connection, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(target=_work, args=(*arguments, theirs), name="undertow worker")
        self.process.daemon = True
        self.process.start()
        theirs.close()  # so that the end of the worker reads as the end of the pipe

    def send(self, study_id: str) -> None:
        with contextlib.suppress(OSError):  # it has ended; the end of the pipe says so
            self.connection.send(study_id)

    def end(self, out: Path) -> None:
        """End it: at once where it has a study, else as it likes."""
        self.connection.close()
        if self.study_id:
            self.process.terminate()
        self.process.join(5.0)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        if self.study_id:
            _files.remove_partial(out / self.study_id)


def _free(workers: list[_Worker], jobs: int, arguments: tuple[Any, ...]) -> _Worker | None:
    """A worker without a study: a new one where there may be more, None where all are busy."""
    for worker in workers:
        if not worker.study_id:
            return worker
    if len(workers) == jobs:
        return None
    workers.append(_Worker(arguments))
    return workers[-1]


def _hear(worker: _Worker, workers: list[_Worker]) -> Generator[Moved | Ended, None, None]:
    """What a worker has to say: how far its study is, that it is done, or by its silence that it crashed."""
    study_id = worker.study_id
    try:
        content = worker.connection.recv()
    except (EOFError, OSError):  # it ended without a last word
        worker.process.join()
        worker.connection.close()
        workers.remove(worker)
        yield Ended(study_id, _how(worker.process.exitcode))
        return
    if content is None:
        worker.study_id = ""
        yield Ended(study_id, "")
    else:
        yield Moved(study_id, *content)


def _how(exit_status: int | None) -> str:
    if exit_status is not None and exit_status < 0:
        return f"its process was ended by {signal.Signals(-exit_status).name} (out of memory?)"
    return f"its process ended with exit status {exit_status}"


def _work(out: str, budget: str, seed: int, programs: str, connection: Connection) -> None:
    """The life of a worker."""
    # Ctrl-C reaches the whole process group; the parent alone decides, and ends the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import jax

    from undertow import keep_programs
    from undertow.gallery._memory import let_go
    from undertow.gallery._run import run_again
    from undertow.studies import find

    if jax.config.jax_compilation_cache_dir is None:  # pyright: ignore[reportAttributeAccessIssue]
        keep_programs(programs)
    while True:
        try:
            study_id = connection.recv()
        except (EOFError, OSError):  # no more to do
            return
        last = -_LEAST_SECONDS_BETWEEN_MESSAGES

        def progress(fraction: float, message: str) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last >= _LEAST_SECONDS_BETWEEN_MESSAGES:
                last = now
                _send(connection, (fraction, message))

        (study,) = find([study_id])
        run_again(study, out, budget, seed, progress)
        let_go()
        _send(connection, None)


def _send(connection: Connection, content: Any) -> None:
    try:
        connection.send(content)
    except OSError:
        os._exit(1)  # no parent is left to work for; an exception would be taken for the study's own
