"""Mini-batches: which terms of a problem each step looks at, and the whole of them in pieces.

A batch is the positions of its terms and how often each counts, such that the average over the batches of an epoch
(with replacement: over the draws) is the whole problem, whatever its normalization. It follows from the run's key and
the number of the step alone: a run that is interrupted, or cut into other chunks, draws the same.
"""

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .._validation import as_key
from ..objective import Objective, sum_over_pieces
from ..parameterizations._base import Params

PIECE = 65_536
"""Most terms that are looked at together where the whole is asked for."""


class Batches(eqx.Module):
    """Batches of ``size`` out of ``terms``, in epochs that take each term once, or with replacement."""

    size: int = eqx.field(static=True)
    terms: int = eqx.field(static=True)
    replacement: bool = eqx.field(static=True)

    @property
    def per_epoch(self) -> int:
        """Batches of one epoch; the last may be filled up with terms that count 0."""
        return math.ceil(self.terms / self.size)

    def order(self, key: Array, epoch: Int[Array, ""]) -> Int[Array, " n"]:
        """The terms in the order in which an epoch takes them, filled up to whole batches."""
        if self.replacement:
            return jnp.zeros(0, jnp.int32)
        if self.size == self.terms:  # the whole, whatever its order
            return jnp.arange(self.terms, dtype=jnp.int32)
        order = jax.random.permutation(jax.random.fold_in(key, epoch), jnp.arange(self.terms, dtype=jnp.int32))
        return jnp.pad(order, (0, self.per_epoch * self.size - self.terms))

    def draw(
        self, key: Array, order: Int[Array, " n"], step: Int[Array, ""]
    ) -> tuple[Int[Array, " k"], Float[Array, " k"]]:
        """Positions and counts for the step of this number, the first being 0."""
        float_ = jnp.result_type(float)
        if self.replacement:
            positions = jax.random.randint(jax.random.fold_in(key, step), (self.size,), 0, self.terms, jnp.int32)
            return positions, jnp.full(self.size, self.terms / self.size, float_)
        start = step % self.per_epoch * self.size
        positions = jax.lax.dynamic_slice(order, (start,), (self.size,))
        there = start + jnp.arange(self.size, dtype=jnp.int32) < self.terms
        return positions, there.astype(float_) * self.per_epoch


def drawing_key(key: Any) -> Array:
    """What a run with this key or seed draws its batches and its noise by."""
    return jax.random.fold_in(as_key(key), 1)


def whole(objective: Objective, params: Params, evaluate: Callable[[Objective], Any]) -> Any:
    """``evaluate``, which must be linear in the terms, of the whole objective: in pieces where it has many terms."""
    terms, piece = objective.problem.terms, min(PIECE, objective.problem.piece or PIECE)
    if terms is None or terms <= piece:
        return evaluate(objective)
    without = eqx.tree_at(lambda o: o.penalty, objective, None, is_leaf=lambda x: x is None)
    total = sum_over_pieces(terms, piece, lambda *some: evaluate(without.part(*some)))
    if objective.penalty is None:
        return total
    nothing = objective.part(jnp.zeros(1, jnp.int32), jnp.zeros(1, jnp.result_type(float)))
    return jax.tree.map(jnp.add, total, evaluate(nothing))
