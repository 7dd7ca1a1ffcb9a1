"""Entries of sums of outer products of very many equal axes, as the pixels of an image are, by products of matrices."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Integer

from .._repr import shown

MANY_AXES = 16
"""From so many on, positions are one array: what is compiled, and passed, does not grow with their number then."""
SHORT = 8
"""Longest axes that go by products of matrices, one for each index: longer ones are quicker gathered."""
ELEMENTS = 2**22
"""Indices looked at together. A derivative makes each piece again, and keeps none."""


class ManyAxes(eqx.Module):
    """Positions of m entries in a tensor of many axes, as one array with a row for each.

    Parameters
    ----------
    axes
        One vector of m integers an axis.
    length
        Of the longest axis: the smallest unsigned integers that count so far are kept.

    Examples
    --------
    >>> positions = ManyAxes([[0, 1], [1, 1], [0, 0]], length=2)
    >>> positions.rows.tolist(), len(positions.axes)
    ([[0, 1, 0], [1, 1, 0]], 3)
    """

    rows: Integer[Array, "m axes"]

    def __init__(self, axes: Sequence[Any], length: int):
        self.rows = jnp.asarray(np.stack([np.asarray(axis) for axis in axes], axis=1), np.min_scalar_type(length - 1))

    def __repr__(self) -> str:
        return shown(self)

    @property
    def axes(self) -> tuple[Int[Array, " m"], ...]:
        """One vector of integers an axis, as for indices of any number of dimensions."""
        return tuple(self.rows.T.astype(jnp.int32))

    def at(self, positions: Integer[Array, " k"]) -> "ManyAxes":
        """Some of them."""
        return eqx.tree_at(lambda x: x.rows, self, self.rows[positions])


def sampled_sum_of_stack(stack: Float[Array, "axes n k"], rows: Integer[Array, "m axes"]) -> Float[Array, " m"]:
    r"""The entries :math:`\sum_r \prod_j a^j_{i_j r}` of a sum of outer products, ``stack[j]`` the factor of axis j.

    Products of hundreds of numbers are taken as sums of their logarithms, so that no part of one over- or underflows
    before the whole does; signs and zeros are counted apart, and first derivatives are right where a factor is zero,
    too. In float32 the logarithms leave relative errors of about 1e-7 times the sum of their sizes.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> stack = jnp.array([[[1.0], [2.0]], [[3.0], [-4.0]]])
    >>> sampled_sum_of_stack(stack, jnp.array([[1, 1], [0, 0]])).round(4).tolist()
    [-8.0, 3.0]
    """
    count, size = rows.shape[0], max(ELEMENTS // rows.shape[1], 1)
    if count <= size:
        return jnp.sum(_products(stack, rows), axis=1)
    pieces = jnp.pad(rows, ((0, -count % size), (0, 0))).reshape(-1, size, rows.shape[1])
    entries = jax.lax.map(lambda at: jax.checkpoint(lambda a, i: jnp.sum(_products(a, i), axis=1))(stack, at), pieces)
    return entries.reshape(-1)[:count]


@jax.custom_jvp
def _products(stack: Float[Array, "axes n k"], rows: Integer[Array, "m axes"]) -> Float[Array, "m k"]:
    product, zeros = _nonzero_products(stack, rows)
    return jnp.where(zeros == 0, product, 0)


@_products.defjvp
def _(primals: tuple[Array, Array], tangents: tuple[Array, Any]) -> tuple[Array, Array]:
    """The product times the sum of relative changes; one factor of zero changes it by the product of the others."""
    (stack, rows), (change, _) = primals, tangents
    product, zeros = _nonzero_products(stack, rows)
    zero = stack == 0
    relative, of_zero = _selected(
        [jnp.where(zero, 0, change / jnp.where(zero, 1, stack)), jnp.where(zero, change, 0)], rows
    )
    moved = jnp.where(zeros == 0, product * relative, jnp.where(zeros == 1, product * of_zero, 0))
    return _products(stack, rows), moved


def _nonzero_products(stack: Array, rows: Array) -> tuple[Float[Array, "m k"], Float[Array, "m k"]]:
    """Of each row, the products of the factors that are not zero, and how many are."""
    zero = stack == 0
    kinds = [jnp.log(jnp.abs(jnp.where(zero, 1, stack))), (stack < 0).astype(stack.dtype), zero.astype(stack.dtype)]
    logarithm, negative, zeros = _selected(kinds, rows)
    return (1 - 2 * (negative % 2)) * jnp.exp(logarithm), zeros


def _selected(tables: list[Array], rows: Array) -> list[Float[Array, "m k"]]:
    """Of each table the sums, over axes, of what it has at the row's indices."""
    table = jnp.concatenate(tables, axis=-1)
    last = table.shape[1] - 1
    found = jnp.broadcast_to(jnp.sum(table[:, last], axis=0)[None, :], (rows.shape[0], table.shape[-1]))
    for index in range(last):
        chosen = (rows == index).astype(table.dtype)
        # The rounding of an accelerator's quick products is more than a logarithm can bear.
        found = found + jnp.matmul(chosen, table[:, index] - table[:, last], precision="highest")
    return jnp.split(found, len(tables), axis=-1)


def fits(shape: tuple[int, ...]) -> bool:
    """Whether a tensor of this shape is one of very many axes, short and of equal length."""
    return len(shape) >= MANY_AXES and len(set(shape)) == 1 and shape[0] <= SHORT
