"""Ctrl-C inside a gallery run: an exception of our own, which no study catches by habit.

`undertow.train` catches `KeyboardInterrupt` to keep the result so far. Inside a study that would
turn an interrupted run into a short one that looks finished.
"""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any


class Interrupted(BaseException):
    """The user asked to stop. Like `KeyboardInterrupt`, no `Exception`; unlike it, caught by no study."""


@contextlib.contextmanager
def raised_on_ctrl_c() -> Iterator[Callable[[], None]]:
    """Turn SIGINT into `Interrupted` inside the block; the previous handler returns afterwards.

    Yields
    ------
    Callable
        Raises `Interrupted` if the signal has come; for where the exception may have been lost on
        its way, as in a callback from compiled code.

    Notes
    -----
    Python lets the main thread alone handle signals: elsewhere the block changes nothing. Blocks
    nest; a signal is known to all of them.
    """
    if threading.current_thread() is not threading.main_thread():
        yield _nothing
        return
    previous = signal.getsignal(signal.SIGINT)
    if previous is signal.SIG_IGN:  # a worker: whoever started it decides
        yield _nothing
        return
    handler = _Handler(previous)
    signal.signal(signal.SIGINT, handler)
    try:
        yield handler.check
    finally:
        # None stands for a handler that was not installed from Python, which cannot be put back.
        signal.signal(signal.SIGINT, signal.SIG_DFL if previous is None else previous)


class _Handler:
    def __init__(self, previous: Any) -> None:
        self.asked = False
        self.outer = previous if isinstance(previous, _Handler) else None

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        handler: _Handler | None = self
        while handler is not None:
            handler.asked = True
            handler = handler.outer
        raise Interrupted

    def check(self) -> None:
        if self.asked:
            raise Interrupted


def _nothing() -> None:
    """No signal arrives here."""
