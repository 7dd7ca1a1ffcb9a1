"""Ctrl-C inside a gallery run: an exception of our own, which no study catches by habit.

`undertow.train` catches `KeyboardInterrupt` to keep the result so far. Inside a study that would
turn an interrupted run into a short one that looks finished.
"""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType


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
    asked = threading.Event()

    def check() -> None:
        if asked.is_set():
            raise Interrupted

    def handle(number: int, frame: FrameType | None) -> None:
        asked.set()
        if callable(previous) and getattr(previous, "raises_interrupted", False):
            previous(number, frame)
        raise Interrupted

    handle.raises_interrupted = True  # pyright: ignore[reportFunctionMemberAccess]
    if threading.current_thread() is not threading.main_thread():
        yield check
        return
    previous = signal.getsignal(signal.SIGINT)
    if previous is signal.SIG_IGN:  # a worker: whoever started it decides
        yield check
        return
    signal.signal(signal.SIGINT, handle)
    try:
        yield check
    finally:
        # None stands for a handler that was not installed from Python, which cannot be put back.
        signal.signal(signal.SIGINT, previous if previous is not None else signal.SIG_DFL)
