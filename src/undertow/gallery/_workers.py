"""Studies in processes of their own, some at a time: one that crashes takes no other with it."""

import multiprocessing
import os
import signal
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
    """A worker is done; ``trouble`` says how it ended where it wrote no record, and is empty else."""

    id: str
    trouble: str


def run_in_processes(
    ids: Sequence[str], out: Path, budget: str, seed: int, jobs: int
) -> Generator[Started | Moved | Ended, None, None]:
    """Run studies by id, ``jobs`` at a time, each in a new process; yields what happens.

    Every process starts Python afresh (no fork: JAX has threads) and looks its study up by the id,
    so the study has to be built in or installed. Closing the iterator ends the workers.
    """
    context = multiprocessing.get_context("spawn")
    waiting = list(ids)
    running: dict[Any, tuple[str, BaseProcess]] = {}
    leaving: list[BaseProcess] = []
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                study_id = waiting.pop(0)
                ours, theirs = context.Pipe(duplex=False)
                process = context.Process(
                    target=_work, args=(study_id, str(out), budget, seed, theirs), name=f"undertow {study_id}"
                )
                process.daemon = True
                process.start()
                theirs.close()  # so that the end of the worker reads as the end of the pipe
                running[ours] = (study_id, process)
                yield Started(study_id)
            ready: list[Any] = wait(list(running))
            for connection in ready:
                study_id, process = running[connection]
                try:
                    content = connection.recv()
                except EOFError:  # it ended without a last word
                    process.join()
                    connection.close()
                    del running[connection]
                    yield Ended(study_id, _how(process.exitcode))
                    continue
                if content is None:
                    # The record is written; Python takes its time to leave, and no one has to wait.
                    connection.close()
                    del running[connection]
                    leaving.append(process)
                    yield Ended(study_id, "")
                else:
                    yield Moved(study_id, *content)
    finally:
        for connection, (study_id, process) in running.items():
            process.terminate()
            process.join(5.0)
            if process.is_alive():
                process.kill()
                process.join()
            connection.close()
            _files.remove_partial(out / study_id)
        for process in leaving:
            process.join()


def _how(exit_status: int | None) -> str:
    if exit_status is not None and exit_status < 0:
        return f"its process was ended by {signal.Signals(-exit_status).name} (out of memory?)"
    return f"its process ended with exit status {exit_status}"


def _work(study_id: str, out: str, budget: str, seed: int, connection: Connection) -> None:
    """The life of a worker."""
    # Ctrl-C reaches the whole process group; the parent alone decides, and ends the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from undertow.gallery._run import run
    from undertow.studies import find

    last = -_LEAST_SECONDS_BETWEEN_MESSAGES

    def progress(fraction: float, message: str) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _LEAST_SECONDS_BETWEEN_MESSAGES:
            last = now
            _send(connection, (fraction, message))

    (study,) = find([study_id])
    run(study, out, budget, seed=seed, progress=progress)
    _send(connection, None)
    connection.close()


def _send(connection: Connection, content: Any) -> None:
    try:
        connection.send(content)
    except OSError:
        os._exit(1)  # no parent is left to work for; an exception would be taken for the study's own
