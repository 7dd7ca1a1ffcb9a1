"""Positive semidefinite matrices as Gram matrices."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from .._arrays import normal
from .._validation import Numbers, check_choice, check_integer, is_traced
from ..linalg import EntryPattern, axes_of
from ._base import Indices, Parameterization, check_scale, check_w


class Gram(Parameterization):
    r"""The Gram matrix :math:`W = Y Y^T` of the rows of Y: symmetric, positive semidefinite, of rank at most ``width``.

    :math:`\dot W = -(G W + W G)` with G the gradient plus its transpose, so that large eigenvalues move faster: from
    small initialization the flow finds low rank. Where the measurements commute it ends at the smallest trace, that is
    the smallest nuclear norm; in general it does not.

    Parameters
    ----------
    size
        n, for W of shape (n, n).
    width
        Columns of Y; n where left out.
    initialization
        "gaussian": Y has independent normal entries; "identity": Y(0) is a multiple of the identity (of its first
        ``width`` columns); "orthogonal": of a random matrix with orthonormal columns (rows, where ``width`` is above
        n).

    Raises
    ------
    TypeError, ValueError
        If ``size`` or ``width`` is not a positive integer, or ``initialization`` is unknown; by ``lift`` if w is not
        symmetric, not positive semidefinite, or of a rank above ``width``.

    References
    ----------
    Gunasekar, Woodworth, Bhojanapalli, Neyshabur, Srebro. Implicit Regularization in Matrix Factorization. NeurIPS
    2017.
    Li, Luo, Lyu. Towards Resolving the Implicit Bias of Gradient Descent for Matrix Factorization: Greedy Low-Rank
    Learning. ICLR 2021.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> Gram(2)(jnp.array([[1.0, 0.0], [2.0, 1.0]])).tolist()
    [[1.0, 2.0], [2.0, 5.0]]
    """

    shape: tuple[int, int] = eqx.field(static=True)
    width: int = eqx.field(static=True)
    initialization: str = eqx.field(static=True)

    def __init__(self, size: int, width: int | None = None, initialization: str = "gaussian"):
        size = check_integer("size", size, 1)
        self.shape = (size, size)
        self.width = size if width is None else check_integer("width", width, 1)
        self.initialization = check_choice("initialization", initialization, ("gaussian", "identity", "orthogonal"))

    def init(self, key: Array, scale: ArrayLike) -> Float[Array, "n k"]:
        scale = jnp.asarray(check_scale(scale), dtype=jnp.result_type(float))
        n, k = self.shape[0], self.width
        if self.initialization == "gaussian":
            # E |Y Y^T|_F^2 = n k (k + n + 1) for standard normal entries: k (k + 2) on the diagonal, k elsewhere.
            return normal(key, (n, k), jnp.sqrt(scale / math.sqrt(k * (k + n + 1) / n)))
        size = jnp.sqrt(scale * n / math.sqrt(min(n, k)))
        if self.initialization == "identity":
            return size * jnp.eye(n, k)
        return size * jax.nn.initializers.orthogonal()(key, (n, k))

    def __call__(self, params: Float[Array, "n k"]) -> Float[Array, "n n"]:
        return params @ params.T

    def entries(self, params: Float[Array, "n k"], indices: Indices) -> Float[Array, "m ..."]:
        rows, *columns = axes_of(indices)
        if not columns:  # whole rows
            return params[rows] @ params.T
        (columns,) = columns
        if isinstance(indices, EntryPattern) or self.shape[0] ** 2 > 20 * rows.size:
            # Few entries: as many dot products of length `width` cost less than the whole product.
            return jnp.sum(params[rows] * params[columns], axis=1)
        return self(params)[rows, columns]

    def lift(self, w: Numbers) -> Float[Array, "n k"]:
        w = check_w(w, self.shape)
        values, vectors = jnp.linalg.eigh(w)
        if not is_traced(w):
            _check_semidefinite(np.asarray(w), np.asarray(values), self.width)
        kept = min(self.width, values.size)
        root = vectors[:, ::-1][:, :kept] * jnp.sqrt(jnp.maximum(values[::-1][:kept], 0))[None, :]
        return jnp.pad(root, ((0, 0), (0, self.width - kept)))


def _check_semidefinite(w: np.ndarray, values: np.ndarray, width: int) -> None:
    noise = w.shape[0] * np.finfo(w.dtype).eps * max(np.abs(values).max(), np.finfo(w.dtype).tiny)
    if np.abs(w - w.T).max() > noise:
        raise ValueError(f"w: expected a symmetric matrix, found entries that differ by {np.abs(w - w.T).max():g}")
    if values[0] < -noise:
        raise ValueError(f"w: expected a positive semidefinite matrix, found the eigenvalue {values[0]:g}")
    rank = int((values > noise).sum())
    if rank > width:
        raise ValueError(f"w: expected rank at most the width {width}, found rank {rank}")
