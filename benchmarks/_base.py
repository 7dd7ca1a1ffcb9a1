"""What a benchmark is, and the clocks that all of them read."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax

COMPILED = "/jax/core/compile/backend_compile_duration"
"""The event that JAX records for every program it compiles."""


@dataclasses.dataclass(frozen=True)
class Scope:
    """How much to run.

    Attributes
    ----------
    seeds
        How many draws of data and initial parameters.
    quick
        A small problem, to see that everything runs; its ratios mean nothing.
    report
        Called with a line for the user before each part.
    """

    seeds: int
    quick: bool
    report: Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a benchmark found, in plain Python throughout, ready for JSON.

    Attributes
    ----------
    settings
        Everything that was the same in all runs.
    runs
        One entry a run: what ran, for which seed, its seconds, its error.
    summary
        Medians and ratios, one entry a row of the table.
    columns
        The table: heading to cell, a function of an entry of ``summary``.
    notes
        Lines to print below the table.
    """

    settings: dict[str, Any]
    runs: list[dict[str, Any]]
    summary: list[dict[str, Any]]
    columns: dict[str, Callable[[dict[str, Any]], str]]
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """A comparison with a name.

    Attributes
    ----------
    name
        What the command line calls it.
    title
        What is compared, one line.
    packages
        What it needs beside undertow, by the names to import.
    run
        Does it.
    """

    name: str
    title: str
    packages: tuple[str, ...]
    run: Callable[[Scope], Outcome]


@dataclasses.dataclass
class Clock:
    """Wall and processor time of a block in seconds, and the programs that JAX compiled in it."""

    seconds: float = 0.0
    processor_seconds: float = 0.0
    compiled: int = 0


_running: list[Clock] = []


def _count(event: str, duration_secs: float, **kwargs: Any) -> None:
    if event == COMPILED:
        for clock in _running:
            clock.compiled += 1


jax.monitoring.register_event_duration_secs_listener(_count)


@contextlib.contextmanager
def timed() -> Iterator[Clock]:
    """Measure a block; whatever it computes has to be waited for inside."""
    clock = Clock()
    _running.append(clock)
    began, processor = time.perf_counter(), time.process_time()
    try:
        yield clock
    finally:
        clock.seconds, clock.processor_seconds = time.perf_counter() - began, time.process_time() - processor
        _running.remove(clock)
