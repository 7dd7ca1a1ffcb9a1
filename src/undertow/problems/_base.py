"""What every problem offers: the shape of what is fit, and its loss.

A problem knows nothing of how the fitted object ``w`` is parameterized or trained; its loss has, as a rule, many
zeros, and which of them is reached is not up to the problem.
"""

import abc
from collections.abc import Callable
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .._repr import shown
from .._validation import check_choice
from ..linalg import EntryPattern, ManyAxes, axes_of
from ._equations import Equations, weight_of

NORMALIZATIONS = ("mean", "half_mean", "sum", "half_sum")


class Problem(eqx.Module):
    """What is fit. Law: ``loss(w) >= 0`` for every ``w`` of shape ``self.shape``."""

    shape: eqx.AbstractVar[tuple[int, ...]]
    attained: ClassVar[bool] = True
    """Whether the smallest loss is that of some ``w``; where it is approached at infinity only, no run "converged"."""

    def __repr__(self) -> str:
        return shown(self)

    @abc.abstractmethod
    def loss(self, w: Float[Array, "..."]) -> Float[Array, ""]:
        """The loss of ``w``, normalized as the class states."""

    def log_loss(self, w: Float[Array, "..."]) -> Float[Array, ""]:
        """The natural logarithm of the loss.

        A problem whose loss falls below all numbers on the way to infinity writes this by log-sum-exp; then flows keep
        to it, and to the logarithm of time, and go as far as they are asked to.
        """
        return jnp.log(self.loss(w))

    @property
    def keeps_logarithms(self) -> bool:
        """Whether the problem has a ``log_loss`` of its own."""
        return type(self).log_loss is not Problem.log_loss

    @property
    def terms(self) -> int | None:
        """Of how many terms (entries, rows, measurements) the loss is the sum; None where it is no such sum."""
        return None

    @property
    def piece(self) -> int | None:
        """Most terms that are looked at together, where each takes much memory; None: as many as there are."""
        return None

    @property
    def chunk(self) -> int | None:
        """How many consecutive terms are at hand together, where the whole is read from a disk; None: all are."""
        return None

    def part(self, positions: Int[Array, " k"], counts: Float[Array, " k"]) -> "Problem":
        """The problem whose loss is ``sum_i counts[i] * term[positions[i]]``; may be traced, as mini-batches are.

        Law: with every position once and counts of 1 it is the whole, however that is normalized.

        Raises
        ------
        NotImplementedError
            Where ``terms`` is None.
        """
        raise NotImplementedError(f"part: the loss of {type(self).__name__} is no sum over terms")

    def residuals(self, w: Float[Array, "..."]) -> Float[Array, " m"] | None:
        """Numbers whose squares add up to twice the loss, all zero where w fits; None where the loss is no such sum."""
        del w
        return None

    def relabeled(self, change: Callable[[Array], Array]) -> "Problem | None":
        """The problem with ``change`` of its labels, the numbers that w, or what is measured of it, is compared with.

        That is where label noise comes in; may be traced. None where the problem does not say what its labels are.
        """
        del change
        return None

    def equations(self) -> Equations | None:
        """The linear equations that the points of zero error solve; None, as here, where they are no affine set."""
        return None


class ObservedEntries(Problem):
    """A problem that looks at some entries of ``w`` only, so that the others need never be formed.

    Law: ``loss(w) == loss_of_entries(entries)`` with ``entries = w[indices]``: one vector of indices an axis of ``w``,
    or fewer, and then an entry is a slice (one vector: a row).
    """

    indices: eqx.AbstractVar[tuple[Int[Array, " m"], ...] | EntryPattern | ManyAxes]

    @abc.abstractmethod
    def loss_of_entries(self, entries: Float[Array, "m ..."]) -> Float[Array, ""]:
        """The loss, from the entries of ``w`` at ``self.indices`` alone."""

    def sum_of(self, costs: Float[Array, " m"]) -> Float[Array, ""]:
        """What the entries cost beside the loss, one number each, weighed against it as its terms are.

        Raises
        ------
        NotImplementedError
            Where a problem does not say how.
        """
        raise NotImplementedError(f"sum_of: {type(self).__name__} does not say what a cost of each entry amounts to")

    def loss(self, w: Float[Array, "..."]) -> Float[Array, ""]:
        return self.loss_of_entries(w[axes_of(self.indices)])


def check_normalization(value: str) -> str:
    """One of "mean", "half_mean", "sum", "half_sum"."""
    return check_choice("normalization", value, NORMALIZATIONS)


def scaled(
    residual: Float[Array, " m"], normalization: str, counts: Float[Array, " m"] | None, terms: int
) -> Float[Array, " m"]:
    """The residual, so that half the sum of its squares is its ``normalized`` loss."""
    weight = weight_of(normalization, terms)
    return residual * jnp.sqrt(weight if counts is None else weight * counts.astype(residual.dtype))


def normalized(
    residual: Float[Array, "m ..."],
    normalization: str,
    counts: Float[Array, " m"] | None = None,
    terms: int | None = None,
) -> Float[Array, ""]:
    """Sum of squares of the residual, over its size and over 2 as the name of the normalization says.

    For a part of a problem: term by term as often as ``counts`` says, and over the size of all its ``terms``.
    """
    squares = residual**2
    if counts is not None:
        squares = squares * counts.astype(squares.dtype).reshape(-1, *[1] * (residual.ndim - 1))
    total = squares.sum()
    if normalization.endswith("mean"):
        total = total / (residual.size if terms is None else terms * residual[:1].size)
    return total / 2 if normalization.startswith("half") else total
