"""Where a run is sampled, and what the samples say: the records of one run, on the host."""

import dataclasses
from typing import Any

import numpy as np

from ._plan import EarlyStopping


@dataclasses.dataclass(frozen=True)
class LogTimes:
    """Where to sample a flow, by the natural logarithm of its time: for times beyond the range of numbers.

    Parameters
    ----------
    values
        Increasing finite numbers.

    Raises
    ------
    TypeError, ValueError
        By ``train``, if they are not, or the dynamics are sampled by steps.

    Examples
    --------
    >>> LogTimes([1.0, 10.0, 1000.0]).values
    [1.0, 10.0, 1000.0]
    """

    values: Any


@dataclasses.dataclass
class Grid:
    """Sample targets, in blocks of fixed length: steps, times or logarithms of times.

    A grid that the caller gives is taken as it is. An automatic one is spaced evenly in steps, or evenly in the
    logarithm of time; when it has as many samples as asked for, every second is dropped and the spacing doubled. Blocks
    are cut at fixed places of the grid, so that a run does not depend on where its chunks end.
    """

    by: str
    block_length: int
    capacity: int
    given: np.ndarray | None = None
    first: float = 1.0
    spacing: float = 1.0
    done: int = 0  # targets passed since the grid last changed
    origin: float | None = None  # where the present spacing starts

    def block(self) -> tuple[np.ndarray, int]:
        """The targets of the present block, and how many of them are passed."""
        start = self.done - self.done % self.block_length
        index = np.arange(start, start + self.block_length)
        if self.given is not None:
            # Beyond the last: never reached. An int32 count of steps cannot be infinite.
            beyond = 2**31 - 1 if self.by == "steps" else np.inf
            targets = np.full(self.block_length, beyond)
            rest = self.given[start : start + self.block_length]
            targets[: rest.size] = rest
        elif self.by == "time":
            with np.errstate(over="ignore"):  # a target beyond all numbers is one that is never reached
                targets = (
                    self.first * np.exp(self.spacing * index)
                    if self.origin is None
                    else self.origin * np.exp(self.spacing * (index + 1))
                )
        elif self.by == "log_time":
            targets = (
                self.first + self.spacing * index if self.origin is None else self.origin + self.spacing * (index + 1)
            )
        else:
            targets = np.minimum((self.origin or 0) + self.spacing * (index + 1), 2**31 - 1)
        return targets, self.done - start

    def passed(self, count: int) -> None:
        """``count`` more targets were sampled."""
        self.done += count

    def full(self, samples: int) -> bool:
        """Whether the records of ``samples`` samples are due for thinning; at the end of a block only."""
        return self.given is None and samples >= self.capacity and self.done > 0 and self.done % self.block_length == 0

    def thin(self, last: float) -> None:
        """Go on from ``last`` with twice the spacing."""
        self.spacing *= 2
        self.origin, self.done = last, 0


@dataclasses.dataclass
class Records:
    """The samples of one run so far; times are as the grid counts them."""

    names: tuple[str, ...]
    times: list[float] = dataclasses.field(default_factory=list)
    steps: list[int] = dataclasses.field(default_factory=list)
    values: list[tuple[Any, ...]] = dataclasses.field(default_factory=list)
    best: int = 0
    best_params: Any = None
    closed: bool = False  # early stopping has ended the run

    def add(self, time: float, step: int, values: tuple[Any, ...]) -> None:
        self.times.append(time)
        self.steps.append(step)
        self.values.append(values)

    def watch(self, early: EarlyStopping, names: tuple[str, ...]) -> bool:
        """Whether the latest sample is the best so far; closes the record where patience is lost."""
        monitored, loss = names.index(early.monitor), names.index("loss")
        latest, lowest = self.values[-1][monitored], self.values[self.best][monitored]
        if len(self.times) == 1 or latest < lowest or (np.isnan(lowest) and not np.isnan(latest)):
            self.best = len(self.times) - 1
            return True
        under_way = self.values[-1][loss] <= early.loss_share * self.values[0][loss]
        self.closed = bool(under_way) and len(self.times) - 1 - self.best >= early.patience
        return False

    def fit(self, count: int) -> None:
        """Thin until there are at most ``count`` samples (or the first, the chosen and the last)."""
        while len(self.times) > max(count, len({0, self.best, len(self.times) - 1})):
            self.thin()

    def thin(self) -> None:
        """Keep the first sample, every second one after it, and the chosen one."""
        kept = sorted({0, self.best, *range(len(self.times) - 1, 0, -2)})
        self.best = kept.index(self.best)
        self.times = [self.times[i] for i in kept]
        self.steps = [self.steps[i] for i in kept]
        self.values = [self.values[i] for i in kept]

    def column(self, name: str) -> np.ndarray:
        place = self.names.index(name)
        found = [values[place] for values in self.values]
        return np.array(found, found[0].dtype) if np.ndim(found[0]) == 0 else np.stack(found)  # ten times as fast
