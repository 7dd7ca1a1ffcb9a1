"""How many steps to take before the host looks again."""

import dataclasses

FIRST_STEPS = 4
"""Steps of the first chunk: where a step takes long, progress should show soon."""
MOST_STEPS = 2**24
SHARE = 3.0
"""A chunk takes this many times as long as what it takes beside its steps: shorter ones would be nothing else."""


@dataclasses.dataclass
class Pace:
    """The steps of the next chunk, by how long those before it took.

    A chunk takes some time beside its steps: drawing the order of an epoch of many rows, reading from a disk. What
    chunks of unlike lengths took tells it from the steps, so every other chunk is twice as long as it should be.

    Attributes
    ----------
    seconds
        How long a chunk should take.
    steps
        Of the next one.
    """

    seconds: float
    steps: int = FIRST_STEPS
    _beside: float = 0.0
    _before: tuple[int, float] | None = None
    _first: bool = True

    def took(self, elapsed: float, taken: int) -> None:
        """So many seconds went by in a chunk of so many steps; fewer than were asked for, where something ended it."""
        taken = max(taken, 1)
        if not self._first:  # which compiles
            self._learn(elapsed, taken)
        self._first = False
        rate = max(elapsed - self._beside, elapsed / 20, 1e-9) / taken
        wanted = (max(self.seconds, SHARE * self._beside) - self._beside) / rate
        steps = round(min(max(wanted, taken / 4, 1), 4 * taken))
        self.steps = min(steps if _unlike(steps, taken) else 2 * steps, MOST_STEPS)

    def _learn(self, elapsed: float, taken: int) -> None:
        if self._before is not None and _unlike(self._before[0], taken):
            steps, seconds = self._before
            rate = max((elapsed - seconds) / (taken - steps), 0.0)
            self._beside = (self._beside + max(elapsed - rate * taken, 0.0)) / 2
        self._before = taken, elapsed


def _unlike(a: int, b: int) -> bool:
    return max(a, b) >= 1.5 * min(a, b)
