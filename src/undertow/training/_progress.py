"""Progress of a run: a bar on a terminal, a line in a notebook, the caller's own function, or nothing elsewhere."""

import contextlib
import importlib
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

Report = Callable[[float, str], None]

PAUSE = 0.1
"""Seconds between two lines that a notebook is sent, at least."""


@contextlib.contextmanager
def reporter(progress: bool | Report) -> Iterator[Report]:
    """A function ``(fraction done, message)`` to call now and then."""
    if callable(progress):
        yield progress
    elif progress and in_notebook():
        yield _line_in_notebook()
    elif progress and sys.stderr.isatty():
        with _bar_on_terminal() as report:
            yield report
    else:
        yield lambda fraction, message: None


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    ipython: Any = sys.modules.get("IPython")  # imported there already, and not needed elsewhere
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


def _line_in_notebook() -> Report:
    # Not rich's bar, which needs another package there, and warns at every step where it is missing.
    display: Any = importlib.import_module("IPython.display").display
    handle = display({"text/plain": "training"}, raw=True, display_id=True)
    began, last = time.monotonic(), -PAUSE

    def report(fraction: float, message: str) -> None:
        nonlocal last
        passed = time.monotonic() - began
        if passed - last < PAUSE and fraction < 1:
            return
        last = passed
        left = "" if fraction <= 0 else f", {_clock(passed / fraction - passed)} left"
        text = f"{message}  {100 * min(fraction, 1.0):.0f} %, {_clock(passed)}{left}"
        handle.update({"text/plain": text}, raw=True)

    return report


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=min(max(round(seconds), 0), 10**9)))


@contextlib.contextmanager
def _bar_on_terminal() -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("training", total=1.0)

        def report(fraction: float, message: str) -> None:
            bar.update(task, completed=fraction, description=message)

        yield report
