"""Progress of a run: a bar with loss and time left on a terminal, nothing elsewhere, or the caller's own function."""

import contextlib
import sys
from collections.abc import Callable, Iterator

Report = Callable[[float, str], None]


@contextlib.contextmanager
def reporter(progress: bool | Report) -> Iterator[Report]:
    """A function ``(fraction done, message)`` to call now and then."""
    if callable(progress):
        yield progress
        return
    if not progress or not sys.stderr.isatty():
        yield lambda fraction, message: None
        return
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
