"""What every parameterization offers.

A parameterization writes the fitted object ``w`` in terms of what is trained: ``w = phi(params)``.
Gradient flow on the parameters moves ``w`` by ``dw/dt = -J J^T grad loss(w)`` with ``J = d phi / d params``:
the matrix ``J J^T`` is the whole implicit bias, and it is all that changes from one file of this folder to the next.
"""

import abc
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int

from .._arrays import full, normal
from .._repr import shown
from .._validation import Numbers, check_array, check_number, is_traced
from ..linalg import EntryPattern, ManyAxes, axes_of

Params = Any
"""The trained parameters: any PyTree of floating arrays."""

Indices = tuple[Int[Array, " m"], ...] | EntryPattern | ManyAxes
"""Positions of m entries: one vector of integers an axis; or laid out, many positions of a large matrix, many axes.

Where there are fewer vectors than axes, an entry is a slice: with one, of a matrix, a row.
"""


class Parameterization(eqx.Module):
    r"""A map :math:`w = \phi(\mathrm{params})`.

    Laws, tested for every one: ``phi(phi.lift(w)) == w`` where ``lift`` is defined; ``phi(phi.init(key, scale))``
    has shape ``phi.shape``, and its entries have root-mean-square size ``scale`` over the draws of ``key``
    (exceptions are stated where they are made).
    """

    shape: eqx.AbstractVar[tuple[int, ...]]

    def __repr__(self) -> str:
        return shown(self)

    @abc.abstractmethod
    def init(self, key: Array, scale: ArrayLike) -> Params:
        """Draw parameters such that the entries of ``w(0)`` have root-mean-square size ``scale`` > 0."""

    @abc.abstractmethod
    def __call__(self, params: Params) -> Float[Array, "..."]:
        """The fitted object ``w``, of shape ``self.shape``."""

    @abc.abstractmethod
    def lift(self, w: Numbers) -> Params:
        """Parameters that give ``w``; raises where ``w`` has none, or where none can be computed."""

    def entries(self, params: Params, indices: Indices) -> Float[Array, "m ..."]:
        """The entries ``w[indices]``; overridden where they can be had without forming ``w``."""
        return self(params)[axes_of(indices)]

    @property
    def draws(self) -> bool:
        """Whether it is trained with noise of its own, which a run draws from its key."""
        return False

    def in_training(
        self, params: Params, indices: Indices, key: Array | None
    ) -> tuple[Float[Array, "m ..."], Float[Array, " m"] | None]:
        """The entries as training sees them, and what each adds to what is minimized (None: nothing).

        Where it ``draws``, with the noise of ``key``: that of an entry follows from the key and its position alone,
        however entries are grouped. Law: without a key, the first is ``entries(params, indices)``.
        """
        del key
        return self.entries(params, indices), None


def check_scale(scale: Any) -> Any:
    """``scale`` if it is a positive number (or traced), in the precision of runs too."""
    check_number("scale", scale, 0, exclusive=True)
    if not is_traced(scale) and np.asarray(scale).astype(jnp.result_type(float)) == 0:
        raise ValueError(
            f"scale: expected a finite number above 0, found {scale}, which is 0 in {jnp.result_type(float)}; "
            'jax.config.update("jax_enable_x64", True) gives more range'
        )
    return scale


def check_w(w: Numbers, shape: tuple[int, ...], *, nonnegative: bool = False, positive: bool = False) -> Array:
    """``w`` as an array of the given shape, with the sign that a lift needs."""
    array = check_array("w", w)
    if array.shape != shape:
        raise ValueError(f"w: expected shape {shape}, found {array.shape}")
    if not is_traced(array) and array.size:
        low = float(np.min(np.asarray(array)))
        if positive and low <= 0:
            raise ValueError(f"w: expected positive entries for this parameterization, found {low}")
        if nonnegative and low < 0:
            raise ValueError(f"w: expected nonnegative entries (this depth cannot carry a sign), found {low}")
    return jnp.asarray(array)


def draw_entries(key: Array, shape: tuple[int, ...], scale: ArrayLike, initialization: str) -> Float[Array, "..."]:
    """Entries of root-mean-square size ``scale``: "gaussian" N(0, scale^2), or "constant", all equal to ``scale``."""
    if initialization == "constant":
        return full(shape, scale)
    return normal(key, shape, scale)
