"""Anderson's extrapolation of a fixed-point iteration."""

import numpy as np
from jaxtyping import Float

Point = Float[np.ndarray, "..."]

MEMORY = 10
"""Steps that an extrapolation looks back on, and steps between two of them."""
REGULARIZATION = 1e-10
"""Of the least-squares problem, relative to its trace."""


class Anderson:
    """Takes the steps of a fixed-point iteration, and a long one now and then.

    After every ``MEMORY`` steps it goes where the residual would be least if it were an affine function; where the
    residual has more than doubled there it goes back, so that a bad extrapolation does no harm.

    References
    ----------
    Walker, Ni. Anderson Acceleration for Fixed-Point Iterations. SIAM J. Numer. Anal. 2011.
    """

    def __init__(self) -> None:
        self._arrivals: list[Point] = []
        self._changes: list[Point] = []
        self._way_back: tuple[Point, float] | None = None

    def next(self, v: Point, change: Point) -> Point:
        """Where to go on from v, from which the iteration would go to ``v + change``."""
        size = float(np.linalg.norm(change))
        if self._way_back is not None:
            arrival, before = self._way_back
            self._way_back = None
            if not size <= 2 * before:
                self._arrivals, self._changes = [], []
                return arrival
        arrival = v + change
        self._arrivals.append(arrival)
        self._changes.append(change)
        if len(self._changes) <= MEMORY:
            return arrival
        last = arrival
        changes = np.diff(np.stack(self._changes).reshape(MEMORY + 1, -1), axis=0)
        arrivals = np.diff(np.stack(self._arrivals).reshape(MEMORY + 1, -1), axis=0)
        gram = changes @ changes.T
        gram += REGULARIZATION * np.trace(gram) * np.eye(MEMORY)
        self._arrivals, self._changes = [last], [change]
        if not np.trace(gram) > 0:
            return last
        self._way_back = last, size
        weights = np.linalg.solve(gram, changes @ change.ravel())
        return last - (weights @ arrivals).reshape(v.shape)
