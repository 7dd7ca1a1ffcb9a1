"""A matrix with an effect of every row and of every column beside it, as of ratings."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .._validation import Numbers, check_shape
from ..linalg import axes_of
from ._base import Indices, Parameterization, Params, check_w


class Biased(Parameterization):
    r"""Row and column effects beside another matrix: :math:`W_{ij} = V_{ij} + b_i + c_j`, params = (those of V, b, c).

    With V = ``DeepMatrix(shape, 2, width)`` the factorization of ratings into user and item embeddings with biases;
    their mean m is no parameter: take it off the data. An entry costs one of V and two sums. The effects are kept as a
    column (rows, 1) and a row (1, columns), so that each has the singular values that a penalty of every array, as
    ``OnParameters`` makes one, may ask for: one, so that a ratio of norms is constant.

    Parameters
    ----------
    matrix
        How V is written. W(0) is drawn as V(0), with effects of 0.

    Raises
    ------
    TypeError, ValueError
        If ``matrix`` is no parameterization, or not of a matrix.

    References
    ----------
    Koren, Bell, Volinsky. Matrix Factorization Techniques for Recommender Systems. Computer 42(8), 2009, equation 3.

    Examples
    --------
    >>> import jax
    >>> import undertow as ut
    >>> phi = Biased(ut.parameterizations.DeepMatrix((4, 3), depth=2, width=2))
    >>> factors, rows, columns = phi.init(jax.random.key(0), 1.0)
    >>> rows.shape, columns.shape
    ((4, 1), (1, 3))
    """

    matrix: Parameterization
    shape: tuple[int, int] = eqx.field(static=True)

    def __init__(self, matrix: Any):
        if not isinstance(matrix, Parameterization):
            raise TypeError(f"matrix: expected an undertow.parameterizations.Parameterization, found {matrix!r}")
        if len(matrix.shape) != 2:
            raise ValueError(f"matrix: expected a parameterization of a matrix, found shape {matrix.shape}")
        self.matrix = matrix
        rows, columns = check_shape("shape", matrix.shape, dimensions=2)
        self.shape = (rows, columns)

    def init(self, key: Array, scale: ArrayLike) -> Params:
        return self._without_effects(self.matrix.init(key, scale))

    def __call__(self, params: Params) -> Float[Array, "rows columns"]:
        inner, rows, columns = params
        return self.matrix(inner) + rows + columns

    def entries(self, params: Params, indices: Indices) -> Float[Array, "m ..."]:
        inner, rows, columns = params
        values = self.matrix.entries(inner, indices)
        i, *j = axes_of(indices)
        return values + rows[i, 0] + columns[0, j[0]] if j else values + rows[i] + columns

    def lift(self, w: Numbers) -> Params:
        return self._without_effects(self.matrix.lift(check_w(w, self.shape)))

    def _without_effects(self, inner: Params) -> Params:
        rows, columns = self.shape
        dtype = jnp.result_type(float)
        return inner, jnp.zeros((rows, 1), dtype), jnp.zeros((1, columns), dtype)
