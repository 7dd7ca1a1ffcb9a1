"""How far a sweep is, as a table on a terminal that changes while it runs."""

import contextlib
import datetime as dt
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from undertow.sweeps import Status

PAUSE = 1.0
"""Seconds between two looks at the store."""


def watch(look: Callable[[], "Status"], console: "Console") -> None:
    """Show it until nothing is left, nobody writes any more, or Ctrl-C; what was seen last stays on the screen."""
    from rich.live import Live

    now = look()
    with contextlib.suppress(KeyboardInterrupt), Live(_table(now), console=console, auto_refresh=False) as live:
        while now.running and (now.left or not now.planned):
            time.sleep(PAUSE)
            now = look()
            live.update(_table(now), refresh=True)


def _table(now: "Status") -> "Table":
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    ended = now.done + now.failed
    rows = {
        "done": f"{now.done:,}",
        "failed": f"{now.failed:,}",
        "left": f"{now.left:,}",
        "runs/s": "" if now.rate is None else f"{now.rate:.3g}",
        "time left": "" if now.seconds_left is None else f"{dt.timedelta(seconds=round(now.seconds_left))}",
    }
    table = Table(title=now.run, show_header=False, title_justify="left")
    table.add_column()
    table.add_column(justify="right", min_width=30)
    for name, value in rows.items():
        table.add_row(name, value)
    if now.planned:
        table.add_row(f"{ended / now.planned:.0%}", ProgressBar(now.planned, ended, width=30))
    else:
        table.caption = "being planned"
    if now.left and not now.running:
        table.caption = "no process is writing it"
    return table
