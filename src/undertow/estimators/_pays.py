"""How much of what a model adds to a trivial answer is kept, by held-out values."""

import numpy as np

BEYOND_CHANCE = 2.0
"""Standard errors by which it has to pay to be kept at all. Of a sum over symmetric values and the root of the sum of
their squares, the ratio is above x with a chance of at most exp(-x^2 / 2), however heavy their tails; four values
or fewer, or one that outweighs all others, never reach this."""


def share_that_pays(added: np.ndarray, wanted: np.ndarray, weight: np.ndarray | None = None) -> float:
    """From 0 to 1: the share to keep of what is ``added`` to an answer that misses held-out values by ``wanted``.

    One standard error less than fits best, and nothing where what it gains may be chance: what is within noise of the
    trivial answer is left to that.
    """
    weight = np.ones(len(added)) if weight is None else weight
    gains, squares = weight * added * wanted, float(np.sum(weight * added**2))
    gain = float(gains.sum())
    if squares == 0 or gain <= BEYOND_CHANCE * np.sqrt(np.sum(gains**2)):
        return 0.0
    error = float(np.sqrt(np.sum((weight * added * (wanted - added)) ** 2)))
    return float(np.clip((gain - error) / squares, 0, 1))
