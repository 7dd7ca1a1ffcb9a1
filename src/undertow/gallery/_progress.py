"""What a gallery run shows: bars with time left on a terminal, a line in a notebook, elsewhere one line per event."""

import contextlib
import sys
from types import TracebackType
from typing import Any, Protocol, runtime_checkable

from undertow.gallery._record import Record
from undertow.gallery._words import duration, outcome
from undertow.studies import Study
from undertow.training._progress import Report, in_notebook, reporter


@runtime_checkable
class Display(Protocol):
    """Is told what happens; used as a context."""

    def __enter__(self) -> "Display": ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def begin(self, study: Study) -> None:
        """A study starts."""

    def move(self, study: Study, fraction: float, message: str) -> None:
        """A study is this far, from 0 to 1."""

    def end(self, record: Record) -> None:
        """A study ended, or was found finished."""


def display_on(stream: Any = None, *, total: int) -> Display:
    """Bars where the stream (standard error by default) is a terminal, a line in a notebook, else plain lines."""
    if stream is None and in_notebook():
        return Notebook(total)
    chosen = stream or sys.stderr
    return Bars(chosen, total) if chosen.isatty() else Lines(chosen)


class Lines:
    """One plain line where a study starts and where it ends."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def __enter__(self) -> "Lines":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stream.flush()

    def begin(self, study: Study) -> None:
        self._say(f"{study.id}: started")

    def move(self, study: Study, fraction: float, message: str) -> None:
        pass  # a log is no place for bars

    def end(self, record: Record) -> None:
        self._say(_last_line(record))

    def _say(self, line: str) -> None:
        self.stream.write(line + "\n")
        self.stream.flush()


class Notebook:
    """In a notebook: one line that changes with what is under way, and a plain line where a study ends."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.shares: dict[str, float] = {}
        self.lines = Lines(sys.stdout)
        self.shown = contextlib.ExitStack()
        self.report: Report = lambda fraction, message: None

    def __enter__(self) -> "Notebook":
        self.report = self.shown.enter_context(reporter(progress=True))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shown.close()

    def begin(self, study: Study) -> None:
        self.move(study, 0.0, "started")

    def move(self, study: Study, fraction: float, message: str) -> None:
        self.shares[study.id] = max(fraction, self.shares.get(study.id, 0.0))
        self.report(sum(self.shares.values()) / self.total, f"{study.id}: {message}")

    def end(self, record: Record) -> None:
        self.shares[record.study.id] = 1.0
        self.lines.end(record)
        self.report(sum(self.shares.values()) / self.total, f"{record.study.id}: {outcome(record)}")


class Bars:
    """A bar with time left for each study under way, and one for all."""

    def __init__(self, stream: Any, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self.progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=16),  # all columns but the message fit on 80 characters
            TextColumn("{task.percentage:>3.0f} %"),
            TimeRemainingColumn(),
            TextColumn("left"),
            TextColumn("{task.fields[message]}", markup=False),
            console=Console(file=stream, highlight=False),
            transient=True,
        )
        self.whole = self.progress.add_task("all studies", total=total, message="")
        self.tasks: dict[str, tuple[Any, float]] = {}  # the bar, and how far it has counted

    def __enter__(self) -> "Bars":
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()

    def begin(self, study: Study) -> None:
        task = self.progress.add_task(study.id, total=1.0, message="")
        self.tasks[study.id] = (task, 0.0)

    def move(self, study: Study, fraction: float, message: str) -> None:
        task, before = self.tasks[study.id]
        self.progress.update(task, completed=fraction, message=message)
        self.progress.advance(self.whole, max(fraction - before, 0.0))
        self.tasks[study.id] = (task, max(fraction, before))

    def end(self, record: Record) -> None:
        before = 0.0
        if record.study.id in self.tasks:
            task, before = self.tasks.pop(record.study.id)
            self.progress.remove_task(task)
        self.progress.advance(self.whole, 1.0 - before)
        self.progress.console.print(_last_line(record), markup=False, soft_wrap=True)


def _last_line(record: Record) -> str:
    tail = "reused from an earlier run" if record.reused else duration(record.seconds)
    line = f"{record.study.id}: {outcome(record)}, {tail}"
    for check in (*record.checks, *((record.refutation,) if record.refutation else ())):
        if check.verdict == "fails":
            line += f"\n    {check.name}: {check.reason}"
    return line
