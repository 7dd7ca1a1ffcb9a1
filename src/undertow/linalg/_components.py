"""Sums of outer products, by their factors: one matrix an axis, with a column for every component."""

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

ELEMENTS = 2**17
"""Numbers gathered from a factor at once on a CPU: they stay in cache, ten times faster than all at once."""
ELEMENTS_ELSEWHERE = 2**24
"""The same on an accelerator, where it only bounds the memory."""
LOOPED = 16
"""Axes of equal length from which their product is a loop; what is compiled does not grow with their number then."""


def khatri_rao(factors: Sequence[Float[Array, "_ k"]]) -> Float[Array, "rows k"]:
    r"""The Khatri-Rao product: column r is :math:`a_r \otimes b_r \otimes \cdots`, of the columns r of the factors.

    Parameters
    ----------
    factors
        One or more matrices of as many columns each; the rows of the last run fastest.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> khatri_rao([jnp.array([[1.0], [2.0]]), jnp.array([[3.0], [4.0]])]).ravel().tolist()
    [3.0, 4.0, 6.0, 8.0]
    """

    def product(left: Array, right: Array) -> Array:
        return (left[:, None, :] * right[None, :, :]).reshape(-1, left.shape[1])

    return functools.reduce(product, factors)


def sum_of_outer_products(factors: Sequence[Float[Array, "_ k"]]) -> Float[Array, "..."]:
    r"""The tensor :math:`\sum_r a_r \circ b_r \circ \cdots` of the columns r of two factors or more.

    One product of two matrices: the Khatri-Rao products of the first axes and of the others, at a cost of its entries
    times the number of components.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> sum_of_outer_products([jnp.array([[1.0], [2.0]]), jnp.array([[3.0], [4.0]])]).tolist()
    [[3.0, 4.0], [6.0, 8.0]]
    """
    shape = tuple(factor.shape[0] for factor in factors)
    sizes = [max(math.prod(shape[:first]), math.prod(shape[first:])) for first in range(1, len(shape))]
    first = sizes.index(min(sizes)) + 1
    return (khatri_rao(factors[:first]) @ khatri_rao(factors[first:]).T).reshape(shape)


def sampled_sum_of_outer_products(
    factors: Sequence[Float[Array, "_ k"]], axes: Sequence[Int[Array, " m"]]
) -> Float[Array, " m"]:
    """The entries of ``sum_of_outer_products(factors)`` at positions ``axes``, one vector of indices an axis.

    Time grows with m times the components times the axes, and memory with less: gathered rows are made piece by piece,
    and made again for the derivative instead of kept.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> factors = [jnp.array([[1.0], [2.0]]), jnp.array([[3.0], [4.0]])]
    >>> sampled_sum_of_outer_products(factors, (jnp.array([1, 0]), jnp.array([1, 0]))).tolist()
    [8.0, 3.0]
    """
    count, components = axes[0].shape[0], factors[0].shape[1]
    elements = ELEMENTS if jax.default_backend() == "cpu" else ELEMENTS_ELSEWHERE
    # The derivative of a piece is added to whole factors, so that it should have no fewer rows than these.
    size = max(elements // components, *(factor.shape[0] for factor in factors))
    if count <= size:
        return _of_piece(tuple(factors), tuple(axes))
    pieces = tuple(jnp.pad(axis, (0, -count % size)).reshape(-1, size) for axis in axes)
    entries = jax.lax.map(lambda at: jax.checkpoint(_of_piece)(tuple(factors), at), pieces)
    return entries.reshape(-1)[:count]


def gathered_products(factors: Sequence[Float[Array, "_ k"]], axes: Sequence[Int[Array, " m"]]) -> Float[Array, "m k"]:
    """The products, component by component, of one row of each factor: of those at ``axes``."""
    if len(factors) < LOOPED or len({factor.shape for factor in factors}) > 1:
        return functools.reduce(jnp.multiply, [factor[axis] for factor, axis in zip(factors, axes, strict=True)])

    def step(product: Array, at: tuple[Array, Array]) -> tuple[Array, None]:
        factor, axis = at
        return product * factor[axis], None

    others = jnp.stack(factors[1:]), jnp.stack(axes[1:])
    return jax.lax.scan(step, factors[0][axes[0]], others)[0]


def _of_piece(factors: tuple[Array, ...], axes: tuple[Array, ...]) -> Float[Array, " m"]:
    return jnp.sum(gathered_products(factors, axes), axis=1)
