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

CHUNK = 2**32 - 4
"""The orders within chunks are drawn apart from the order of chunks: by the key of the epoch with this number."""
PIECE = 65_536
"""Most terms that are looked at together where the whole is asked for."""


class Batches(eqx.Module):
    """Batches of ``size`` out of ``terms``, in epochs that take each term once, or with replacement.

    An epoch has parts, whose terms are at hand together: one, or where the data are read in chunks of consecutive terms
    a part for each of these, in random order. A part is a whole number of batches, so that all but the last term of the
    data have the same company; the one with that term may be shorter, wherever it comes.
    """

    size: int = eqx.field(static=True)
    terms: int = eqx.field(static=True)
    replacement: bool = eqx.field(static=True)
    chunk: int | None = eqx.field(static=True, default=None)

    @property
    def per_epoch(self) -> int:
        """Batches of one epoch; the last of a part may be filled up with terms that count 0."""
        return math.ceil(self.terms / self.size)

    @property
    def in_chunks(self) -> bool:
        """Whether a step finds its terms among consecutive ones that are at hand: not those of all, or of any."""
        return self.chunk is not None and not self.replacement and self.size < self.terms

    @property
    def per_part(self) -> int:
        """Batches of one part; the one with the last terms may have fewer."""
        if self.chunk is None or not self.in_chunks or self.chunk >= self.terms:
            return self.per_epoch
        return max(1, self.chunk // self.size)

    @property
    def parts(self) -> int:
        """Parts of an epoch."""
        return math.ceil(self.per_epoch / self.per_part)

    def place(self, key: Array, step: Int[Array, ""]) -> tuple[Int[Array, ""], Int[Array, ""], Int[Array, ""]]:
        """Of the step of this number, the first being 0: which part it belongs to, and that one's first and next step.

        Parts are numbered through all epochs.
        """
        epoch = step // self.per_epoch
        if self.parts == 1:
            return epoch, epoch * self.per_epoch, (epoch + 1) * self.per_epoch
        # By how much the part with the last terms, wherever it comes, is shorter.
        missing = self.parts * self.per_part - self.per_epoch
        short = jnp.argmax(self._chunks(key, epoch))
        starts = self.per_part * jnp.arange(self.parts + 1, dtype=jnp.int32)
        starts = epoch * self.per_epoch + starts - missing * (jnp.arange(self.parts + 1) > short).astype(jnp.int32)
        within = jnp.searchsorted(starts, step, side="right").astype(jnp.int32) - 1
        return epoch * self.parts + within, starts[within], starts[within + 1]

    def _chunks(self, key: Array, epoch: Int[Array, ""]) -> Int[Array, " c"]:
        """The chunks in the order in which an epoch takes them."""
        return jax.random.permutation(jax.random.fold_in(key, epoch), jnp.arange(self.parts, dtype=jnp.int32))

    def first(self, key: Array, part: Int[Array, ""]) -> Int[Array, ""]:
        """The first of the terms that are at hand in this part."""
        if self.parts == 1:
            return jnp.zeros((), jnp.int32)
        return self._chunks(key, part // self.parts)[part % self.parts] * (self.per_part * self.size)

    def order(self, key: Array, part: Int[Array, ""]) -> Int[Array, " n"]:
        """The terms in the order in which a part takes them, filled up to whole batches."""
        if self.replacement:
            return jnp.zeros(0, jnp.int32)
        if self.size == self.terms:  # the whole, whatever its order
            return jnp.arange(self.terms, dtype=jnp.int32)
        drawn = jax.random.fold_in(key, part // self.parts)
        if self.parts == 1:
            order = jax.random.permutation(drawn, jnp.arange(self.terms, dtype=jnp.int32))
            return jnp.pad(order, (0, self.per_epoch * self.size - self.terms), constant_values=self.terms)
        first, length = self.first(key, part), self.per_part * self.size
        drawn = jax.random.fold_in(jax.random.fold_in(drawn, CHUNK), first)
        order = first + jax.random.permutation(drawn, jnp.arange(length, dtype=jnp.int32))
        return order[jnp.argsort(order >= self.terms, stable=True)]

    def draw(
        self, key: Array, order: Int[Array, " n"], step: Int[Array, ""], first: Int[Array, ""] | None = None
    ) -> tuple[Int[Array, " k"], Float[Array, " k"]]:
        """Positions and counts for the step of this number, in a part whose first step is given."""
        float_ = jnp.result_type(float)
        if self.replacement:
            positions = jax.random.randint(jax.random.fold_in(key, step), (self.size,), 0, self.terms, jnp.int32)
            return positions, jnp.full(self.size, self.terms / self.size, float_)
        start = step % self.per_epoch if first is None else step - first
        positions = jax.lax.dynamic_slice(order, (start * self.size,), (self.size,))
        there = positions < self.terms
        return jnp.where(there, positions, positions[0]), there.astype(float_) * self.per_epoch


def drawing_key(key: Any) -> Array:
    """What a run with this key or seed draws its batches and its noise by."""
    return jax.random.fold_in(as_key(key), 1)


def whole(objective: Objective, params: Params, evaluate: Callable[[Objective], Any]) -> Any:
    """``evaluate``, which must be linear in the terms, of the whole objective: in pieces where it has many terms."""
    terms, piece = objective.problem.terms, min(PIECE, objective.problem.piece or PIECE)
    if terms is None or terms <= piece:
        return evaluate(objective)
    without = eqx.tree_at(lambda o: o.penalty, objective, None, is_leaf=lambda x: x is None)
    total = sum_over_pieces(terms, piece, lambda o, *some: evaluate(o.part(*some)), without, without.problem.chunk)
    if objective.penalty is None:
        return total
    nothing = objective.part(jnp.zeros(1, jnp.int32), jnp.zeros(1, jnp.result_type(float)))
    return jax.tree.map(jnp.add, total, evaluate(nothing))
