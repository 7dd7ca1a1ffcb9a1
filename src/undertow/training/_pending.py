"""Runs of a sweep, which wait until all of them are known and can share programs."""

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Any

from ._plan import Plan
from ._run import execute
from ._trajectory import Trajectory


class Pending(Trajectory):
    """The trajectory of a run that has not begun.

    Inside of a sweep ``train`` gives this. Handed back as it is, it is run together with the others of its kind. If the
    function of the sweep asks it for anything before (its end, to go on from there), it is run at once, alone.
    """

    def __init__(self, plan: Plan):
        object.__setattr__(self, "plan", plan)

    def __getattr__(self, name: str) -> Any:
        # Asked for what is not there yet; with underscores Python itself asks, as copying does,
        # or a notebook that looks for a way to show it.
        if name.startswith("_") or "params" in vars(self):
            raise AttributeError(name)
        if _planning.get():
            raise Asked
        (found,) = execute([self.plan], lambda fraction, message: None)
        if found.interrupted:
            raise KeyboardInterrupt
        vars(self).update(vars(found))
        return getattr(self, name)

    @property
    def waits(self) -> bool:
        """Whether it has not been run."""
        return "params" not in vars(self)


class Asked(BaseException):
    """While runs are only planned, one was asked for something: it cannot wait for others. No error of anybody's."""


_planning: contextvars.ContextVar[bool] = contextvars.ContextVar("planning", default=False)
_sweeping: contextvars.ContextVar[bool] = contextvars.ContextVar("sweeping", default=False)


@contextlib.contextmanager
def sweeping() -> Iterator[None]:
    """Inside, ``train`` gives pending trajectories."""
    token = _sweeping.set(True)
    try:
        yield
    finally:
        _sweeping.reset(token)


@contextlib.contextmanager
def planning() -> Iterator[None]:
    """Inside, a pending trajectory that is asked for something does not run, but raises ``Asked``."""
    token = _planning.set(True)
    try:
        yield
    finally:
        _planning.reset(token)


def is_sweeping() -> bool:
    """Whether a sweep is collecting its runs."""
    return _sweeping.get()
