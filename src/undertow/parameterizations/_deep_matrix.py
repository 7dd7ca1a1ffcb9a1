"""Deep matrix factorization: a product of matrices, trained factor by factor."""

import functools
import itertools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from .._arrays import normal
from .._validation import Numbers, check_choice, check_integer, check_shape, is_traced
from ..linalg import EntryPattern, axes_of, sampled_product
from ._base import Indices, Parameterization, check_scale, check_w

Factors = tuple[Float[Array, "_ _"], ...]

LOOPED = 4
"""Equal factors in a row from which their product is a loop; fewer are faster written out."""


class DeepMatrix(Parameterization):
    r"""The deep factorization :math:`W = W_N \cdots W_1`, params = (W_1, ..., W_N), first factor applied first.

    From small initialization gradient flow learns singular values one by one, the more sharply the deeper:
    balanced, :math:`\dot\sigma_r = -N \sigma_r^{2 - 2/N} \langle \nabla \ell(W), u_r v_r^T \rangle`.

    Parameters
    ----------
    shape
        (rows, columns) of W.
    depth
        N, the number of factors, at least 1.
    width
        Inner dimension of the factors; min(rows, columns) where left out, which leaves the rank of W free.
    initialization
        How W(0) is drawn; in each case its entries have root-mean-square size ``scale``.

        - "gaussian": independent normal entries in every factor, all of the same standard deviation
          :math:`(\mathrm{scale}\; \mathrm{width}^{-(N-1)/2})^{1/N}`. Unbalanced.
        - "identity": every factor is the same multiple of the (rectangular) identity, so that for square W
          :math:`W(0) = \mathrm{scale} \sqrt{n}\, I`. Balanced.
        - "orthogonal": every factor is the same multiple of an independent random matrix with orthonormal rows or
          columns, whichever are fewer.
        - "balanced": one Gaussian W(0) (of rank ``width`` where that is below the smaller side), factored through its
          singular value decomposition such that :math:`W_{j+1}^T W_{j+1} = W_j W_j^T`.

    Raises
    ------
    TypeError, ValueError
        If ``shape`` is not two positive integers, ``depth`` or ``width`` is not a positive integer, or
        ``initialization`` is unknown; by ``lift`` if the rank of ``w`` is above ``width``.

    Notes
    -----
    Arora et al. (2019) quote an initialization a with entries of standard deviation :math:`a / \sqrt n`: that is
    ``scale = a / sqrt(n)``, for Gaussian and identity alike.

    References
    ----------
    Arora, Cohen, Hu, Luo. Implicit Regularization in Deep Matrix Factorization. NeurIPS 2019, Theorem 3.

    Examples
    --------
    >>> import jax
    >>> phi = DeepMatrix((4, 3), depth=3)
    >>> [factor.shape for factor in phi.init(jax.random.key(0), 1e-3)]
    [(3, 3), (3, 3), (4, 3)]
    """

    shape: tuple[int, int] = eqx.field(static=True)
    depth: int = eqx.field(static=True)
    width: int = eqx.field(static=True)
    initialization: str = eqx.field(static=True)

    def __init__(self, shape: tuple[int, int], depth: int, width: int | None = None, initialization: str = "gaussian"):
        rows, columns = check_shape("shape", shape, dimensions=2)
        self.shape = (rows, columns)
        self.depth = check_integer("depth", depth, 1)
        self.width = min(rows, columns) if width is None else check_integer("width", width, 1)
        self.initialization = check_choice(
            "initialization", initialization, ("gaussian", "identity", "orthogonal", "balanced")
        )

    @property
    def factor_shapes(self) -> tuple[tuple[int, int], ...]:
        """Shapes of W_1, ..., W_N."""
        rows, columns = self.shape
        sizes = [columns, *[self.width] * (self.depth - 1), rows]
        return tuple((after, before) for before, after in itertools.pairwise(sizes))

    def init(self, key: Array, scale: ArrayLike) -> Factors:
        scale = jnp.asarray(check_scale(scale), dtype=jnp.result_type(float))
        keys = jax.random.split(key, self.depth)
        shapes = self.factor_shapes
        rows, columns = self.shape
        if self.initialization == "gaussian":
            size = (scale / self.width ** ((self.depth - 1) / 2)) ** (1 / self.depth)
            return tuple(normal(k, s, size) for k, s in zip(keys, shapes, strict=True))
        if self.initialization == "balanced":
            return self._balanced(scale * self._gaussian_product(key))
        # |W(0)|_F^2 at size 1: the rank where the product is a partial isometry; where the width is above both sides,
        # random orthonormal factors keep only the share min / width of it, on average.
        rank = min(self.width, rows, columns) if self.depth > 1 else min(rows, columns)
        if self.initialization == "orthogonal" and self.depth > 1 and self.width > max(rows, columns):
            rank = rows * columns / self.width
        size = (scale * math.sqrt(rows * columns / rank)) ** (1 / self.depth)
        if self.initialization == "identity":
            return tuple(size * jnp.eye(*s) for s in shapes)
        orthogonal = jax.nn.initializers.orthogonal()
        factors = [orthogonal(k, s) for k, s in zip(keys, shapes, strict=True)]
        return tuple(size * f for f in factors)

    def _gaussian_product(self, key: Array) -> Float[Array, "rows columns"]:
        """A matrix of rank min(width, rows, columns) whose entries have mean square 1."""
        rows, columns = self.shape
        if self.depth == 1 or self.width >= min(rows, columns):
            return normal(key, self.shape)
        left, right = jax.random.split(key)
        product = normal(left, (rows, self.width)) @ normal(right, (self.width, columns))
        return product / math.sqrt(self.width)

    def _balanced(self, w: Float[Array, "rows columns"]) -> Factors:
        if self.depth == 1:
            return (w,)
        u, s, vt = jnp.linalg.svd(w, full_matrices=False)
        kept = min(self.width, s.size)
        padding = self.width - kept
        root = s[:kept] ** (1 / self.depth)
        first = jnp.pad(root[:, None] * vt[:kept], ((0, padding), (0, 0)))
        last = jnp.pad(u[:, :kept] * root[None, :], ((0, 0), (0, padding)))
        middle = jnp.diag(jnp.pad(root, (0, padding)))
        return (first, *[middle] * (self.depth - 2), last)

    def __call__(self, params: Factors) -> Float[Array, "rows columns"]:
        rows, columns = self.shape
        if rows <= columns:
            return _from_the_left(params)
        return _from_the_left(tuple(factor.T for factor in params[::-1])).T

    def entries(self, params: Factors, indices: Indices) -> Float[Array, "m ..."]:
        if self.depth > 1 and isinstance(indices, EntryPattern):
            left = _from_the_left(params[1:])
            return sampled_product(left, params[0].T, indices)
        rows, *columns = axes_of(indices)
        if not columns:  # whole rows
            return functools.reduce(jnp.matmul, params[-2::-1], params[-1][rows])
        (columns,) = columns
        if self.depth > 1 and self.shape[0] * self.shape[1] > 20 * rows.size:
            # Few entries: as many dot products of length `width` cost less than the whole product.
            left = _from_the_left(params[1:])
            return jnp.sum(left[rows] * params[0].T[columns], axis=1)
        return self(params)[rows, columns]

    def lift(self, w: Numbers) -> Factors:
        w = check_w(w, self.shape)
        if self.depth > 1 and not is_traced(w) and self.width < min(self.shape):
            rank = int(np.linalg.matrix_rank(np.asarray(w)))
            if rank > self.width:
                raise ValueError(f"w: expected rank at most the width {self.width}, found rank {rank}")
        return self._balanced(w)


def _from_the_left(factors: Factors) -> Float[Array, "_ _"]:
    """The product W_N ... W_1 of factors given as (W_1, ..., W_N), from W_N on."""
    last, *others = factors[::-1]
    count = len(list(itertools.takewhile(lambda factor: factor.shape == others[0].shape, others)))
    if count < LOOPED:
        return functools.reduce(jnp.matmul, others, last)
    # In a loop, what is compiled does not grow with the depth.
    product, _ = jax.lax.scan(lambda product, factor: (product @ factor, None), last, jnp.stack(others[:count]))
    return functools.reduce(jnp.matmul, others[count:], product)
