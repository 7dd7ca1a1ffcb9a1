"""What every problem offers: the shape of what is fit, and its loss.

A problem knows nothing of how the fitted object ``w`` is parameterized or trained; its loss has, as a rule, many
zeros, and which of them is reached is not up to the problem.
"""

import abc

import equinox as eqx
from jaxtyping import Array, Float, Int

from .._validation import check_choice
from ..linalg import EntryPattern
from ._equations import Equations

NORMALIZATIONS = ("mean", "half_mean", "sum", "half_sum")


class Problem(eqx.Module):
    """What is fit. Law: ``loss(w) >= 0`` for every ``w`` of shape ``self.shape``."""

    shape: eqx.AbstractVar[tuple[int, ...]]

    @abc.abstractmethod
    def loss(self, w: Float[Array, "..."]) -> Float[Array, ""]:
        """The loss of ``w``, normalized as the class states."""

    def equations(self) -> Equations | None:
        """The linear equations that the points of zero error solve; None, as here, where they are no affine set."""
        return None


class ObservedEntries(Problem):
    """A problem that looks at some entries of ``w`` only, so that the others need never be formed.

    Law: ``loss(w) == loss_of_entries(entries)`` with the entries of ``w`` at ``indices``.
    """

    indices: eqx.AbstractVar[tuple[Int[Array, " m"], ...] | EntryPattern]

    @abc.abstractmethod
    def loss_of_entries(self, entries: Float[Array, " m"]) -> Float[Array, ""]:
        """The loss, from the entries of ``w`` at ``self.indices`` alone."""

    def loss(self, w: Float[Array, "..."]) -> Float[Array, ""]:
        indices = self.indices
        if isinstance(indices, EntryPattern):
            indices = indices.rows, indices.columns
        return self.loss_of_entries(w[indices])


def check_normalization(value: str) -> str:
    """One of "mean", "half_mean", "sum", "half_sum"."""
    return check_choice("normalization", value, NORMALIZATIONS)


def normalized(residual: Float[Array, "..."], normalization: str) -> Float[Array, ""]:
    """Sum of squares of the residual, over its size and over 2 as the name of the normalization says."""
    squares = (residual**2).sum()
    if normalization.endswith("mean"):
        squares = squares / residual.size
    return squares / 2 if normalization.startswith("half") else squares
