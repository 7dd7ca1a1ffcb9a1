"""What theory says instead of a wrong answer."""

import numpy as np
from jaxtyping import Float


class Infeasible(ValueError):  # noqa: N818 (what is the case, not that it is an error)
    """No point within the domain has zero error."""


class NotUnique(ValueError):  # noqa: N818 (what is the case, not that it is an error)
    """More than one point attains the minimum.

    Attributes
    ----------
    points
        Two of them, different.
    """

    def __init__(self, message: str, points: tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]]):
        super().__init__(message)
        self.points = points


class NotSeparable(ValueError):  # noqa: N818 (what is the case, not that it is an error)
    """No linear predictor has all margins positive.

    Attributes
    ----------
    weights
        The proof: weights of the margins, none negative and few of them positive, with which the margins of every
        predictor add up to zero. Of shape (points,), or (points, classes) where labels are classes.
    """

    def __init__(self, message: str, weights: Float[np.ndarray, "..."]):
        super().__init__(message)
        self.weights = weights


class NotAMirrorFlow(ValueError):  # noqa: N818 (what is the case, not that it is an error)
    """The fields by which the parameters move do not commute, so that no potential is implied.

    Attributes
    ----------
    point
        Parameters at which the two fields were found not to commute (the PyTree of the parameterization).
    pair
        Indices in w of the two entries whose gradients are these fields.
    size
        Norm of their commutator at ``point``, over the norms of its two terms: 0 where they commute, at most 1.
    """

    def __init__(self, message: str, point: object, pair: tuple[tuple[int, ...], tuple[int, ...]], size: float):
        super().__init__(message)
        self.point = point
        self.pair = pair
        self.size = size


class Unsolved(RuntimeError):  # noqa: N818 (what is the case, not that it is an error)
    """An answer was not found, or did not pass the check of what makes it one: rounding, or too few steps."""
