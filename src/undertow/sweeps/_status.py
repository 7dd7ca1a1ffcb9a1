"""What a store has, without opening its arrays."""

import dataclasses
import os

from ._ledger import being_written, existing_ledger


@dataclasses.dataclass(frozen=True)
class Status:
    """How far a sweep is.

    Attributes
    ----------
    run
        The function that it is of.
    done, failed, left
        Runs that are there, that raised (the message is in the store), and that are still to be run.
    rate
        Runs per second over the last commits; None before the first.
    running
        Whether a process is writing it.
    """

    run: str
    done: int
    failed: int
    left: int
    rate: float | None = dataclasses.field(default=None, compare=False)
    running: bool = dataclasses.field(default=False, compare=False)

    @property
    def seconds_left(self) -> float | None:
        """How long the rest takes at this rate; None where none is known."""
        return 0.0 if not self.left else None if self.rate is None else self.left / self.rate

    @property
    def planned(self) -> int:
        """All runs."""
        return self.done + self.failed + self.left


def status(store: str | os.PathLike[str]) -> Status:
    """How far the sweep of a store is; another process may be writing it.

    Raises
    ------
    ValueError
        If there is no store.

    Examples
    --------
    >>> import tempfile
    >>> import undertow as ut
    >>> from undertow.sweeps import status
    >>> def run(scale):
    ...     line, phi = ut.problems.LineTarget(-1.0, -2.0, 15.0), ut.parameterizations.Power(2, 1)
    ...     return ut.train(line, phi, ut.dynamics.GradientFlow(), key=0, scale=scale)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = ut.sweep(run, over={"scale": [0.1, 1.0]}, store=f"{folder}/line.zarr")
    ...     status(f"{folder}/line.zarr").done
    2
    """
    with existing_ledger(store) as ledger:
        counts = ledger.counts()
        found = (counts.get(state, 0) for state in ("done", "failed", "left"))
        return Status(str(ledger.facts().get("run", "?")), *found, rate=ledger.rate(), running=being_written(store))
