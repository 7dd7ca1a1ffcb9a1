"""Sensing of a matrix or a tensor by inner products: what is the same for any number of axes."""

import functools
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._repr import shown
from .._validation import Numbers, check_array, check_holdable
from ._base import Problem, check_normalization, normalized, scaled
from ._completion import check_truth
from ._equations import Equations, weight_of


class RankOne(eqx.Module):
    """Measurements of rank one: outer products of the i-th rows of the factors, one an axis, never formed."""

    factors: tuple[Float[Array, "m _"], ...]

    def __repr__(self) -> str:
        return shown(self)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of all measurements written out: how many, and the shape of each."""
        return (self.factors[0].shape[0], *(factor.shape[1] for factor in self.factors))

    def products(self, w: Float[Array, "..."]) -> Float[Array, " m"]:
        """The inner products with w, axis by axis."""
        first, *others = self.factors
        found = jnp.tensordot(first, w, 1)
        for factor in others:
            found = jnp.sum(found * factor.reshape(*factor.shape, *[1] * (found.ndim - 2)), axis=1)
        return found

    def written_out(self) -> Float[Array, "m ..."]:
        """The measurements as they are."""

        def product(left: Array, right: Array) -> Array:
            return left[..., None] * right.reshape(right.shape[0], *[1] * (left.ndim - 1), right.shape[1])

        return functools.reduce(product, self.factors)


class Sensing(Problem):
    """Fit m inner products of w with measurements of its shape.

    What a subclass adds is how measurements are given, and what they are called.
    """

    shape: eqx.AbstractVar[tuple[int, ...]]
    measurements: Float[Array, "m ..."] | RankOne
    values: Float[Array, " m"]
    truth: Float[Array, "..."] | None
    normalization: str = eqx.field(static=True)
    measured: int = eqx.field(static=True)
    counts: Float[Array, " m"] | None

    def __init__(
        self,
        measurements: Float[Array, "m ..."] | RankOne,
        values: Numbers,
        truth: Numbers | None,
        normalization: str,
        kind: str,
    ):
        self.measurements, self.values = measurements, check_array("values", values, dimensions=1)
        m, *shape = measurements.shape
        if 0 in (m, *shape):
            raise ValueError(f"measurements: expected at least one {kind} with entries, found shape {(m, *shape)}")
        if self.values.shape[0] != m:
            raise ValueError(f"values: expected one number for each of the {m} measurements, found {len(self.values)}")
        self.shape, self.measured, self.counts = tuple(shape), m, None
        self.truth = check_truth(truth, self.shape)
        self.normalization = check_normalization(normalization)

    def loss(self, w: Float[Array, "..."]) -> Float[Array, ""]:
        return normalized(self._errors(w), self.normalization, self.counts, self.measured)

    def residuals(self, w: Float[Array, "..."]) -> Float[Array, " m"]:
        return scaled(self._errors(w), self.normalization, self.counts, self.measured)

    def _errors(self, w: Float[Array, "..."]) -> Float[Array, " m"]:
        if isinstance(self.measurements, RankOne):
            products = self.measurements.products(w)
        else:  # one product of a matrix and a vector, which is what it is
            products = self.measurements.reshape(self.values.size, -1) @ jnp.ravel(w)
        return products - self.values

    @property
    def terms(self) -> int:
        """The measurements."""
        return self.measured

    def part(self, positions: Int[Array, " k"], counts: Float[Array, " k"]) -> "Sensing":
        measurements = jax.tree.map(lambda x: x[positions], self.measurements)
        return eqx.tree_at(
            lambda p: (p.measurements, p.values, p.counts),
            self,
            (measurements, self.values[positions], counts),
            is_leaf=lambda x: x is None,
        )

    def relabeled(self, change: Callable[[Array], Array]) -> "Sensing":
        return eqx.tree_at(lambda p: p.values, self, change(self.values))

    def equations(self) -> Equations:
        m = self.values.size
        matrix = np.asarray(self.written_out()).reshape(m, -1)
        return Equations(matrix, self.values, weight_of(self.normalization, m))

    def written_out(self) -> Float[Array, "m ..."]:
        """The measurements, those of rank one too, as arrays of the shape of w."""
        if not isinstance(self.measurements, RankOne):
            return self.measurements
        check_holdable("measurements", self.measurements.shape)
        return self.measurements.written_out()


def rank_one(**factors: Numbers) -> RankOne:
    """The measurements of rank one with these factors, each under its name."""
    arrays = [check_array(name, factor, dimensions=2) for name, factor in factors.items()]
    if len({array.shape[0] for array in arrays}) > 1:
        shapes = ", ".join(str(array.shape) for array in arrays[:-1]) + f" and {arrays[-1].shape}"
        raise ValueError(f"{', '.join(factors)}: expected equal lengths, found shapes {shapes}")
    return RankOne(tuple(arrays))
