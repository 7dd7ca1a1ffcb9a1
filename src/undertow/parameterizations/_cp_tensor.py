"""CP tensor factorization: a sum of outer products of vectors."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from .._arrays import normal
from .._validation import Numbers, check_choice, check_holdable, check_integer, check_number, check_shape, is_traced
from ..linalg import EntryPattern, ManyAxes, axes_of, khatri_rao, sampled_product, sampled_sum_of_outer_products
from ..linalg import sum_of_outer_products as dense
from ..linalg._components import gathered_products
from ..linalg._many_axes import fits, sampled_sum_of_stack
from ._base import Indices, Parameterization, check_scale, check_w

Factors = tuple[Float[Array, "_ _"], ...] | Float[Array, "axes _ _"]

DENSE_RATIO = 20
"""Up to this many entries of w for each one asked for, all of w costs less than the chosen ones."""


class CPTensor(Parameterization):
    r"""The sum of outer products :math:`w = \sum_{r=1}^R w_r^1 \circ \cdots \circ w_r^N`, of any order N of at least 2.

    Params are N factor matrices, one an axis; the vector :math:`w_r^n` is column r of the n-th. Differences
    :math:`|w_r^n|^2 - |w_r^m|^2` are conserved along the flow. Where they are zero (balanced), the norm
    :math:`c_r = \prod_n |w_r^n|` of a component moves by :math:`\dot c_r = N \gamma_r c_r^{2 - 2/N}`, with
    :math:`\gamma_r` the inner product of the component's direction and the negative gradient of the loss at w: from a
    small start components are learned one after another, and w has low tensor rank.

    Parameters
    ----------
    shape
        Of w; two axes at least.
    components
        R. There may be more of them than w has entries. As many as the product of all axes but the longest write any
        w.
    initialization
        How w(0) is drawn; in each case its entries have root-mean-square size ``scale``, and for one key w(0) is the
        same in all three.

        - "gaussian": all entries of all factors N(0, s^2), independent, with
          :math:`s = (\mathrm{scale} / \sqrt R)^{1/N}`: near zero in all vectors where ``scale`` is, and unbalanced by
          what chance makes of their norms.
        - "balanced": the vectors of each component brought to equal norms.
        - "unbalanced": all of a component's norm in the vector of the first axis, those of the other axes of norm 1.
          Then no start is near zero, and components grow together.
    stacked
        Keep params as one array of shape (N, n, R), for axes of equal length n; ``params[j]`` is the j-th matrix all
        the same. For tensors of hundreds of axes, as of images with an axis for every pixel: what is compiled does not
        grow with their number, and entries of axes up to 8 long are had by products of matrices, as sums of logarithms.

    Raises
    ------
    TypeError, ValueError
        If ``shape`` is not made of two positive integers or more, ``components`` is not a positive integer,
        ``initialization`` is unknown, ``stacked`` is no bool or axes to be stacked are not of equal length; by ``lift``
        if ``components`` are too few for what it does.

    Notes
    -----
    Razin et al. quote the standard deviation s of the factors' entries: ``scale_of(s)`` is the scale that gives it.

    ``lift`` gives balanced components: of a matrix its singular vectors; of a tensor of higher order one component for
    every fiber along the longest axis that is not zero, since nobody knows how to find the least number.

    References
    ----------
    Razin, Maman, Cohen. Implicit Regularization in Tensor Factorization. ICML 2021, Lemma 1 and Corollary 1.
    Kolda, Bader. Tensor Decompositions and Applications. SIAM Review 2009.

    Examples
    --------
    >>> import jax
    >>> phi = CPTensor((4, 3, 2), components=5)
    >>> params = phi.init(jax.random.key(0), 1e-3)
    >>> [factor.shape for factor in params], phi(params).shape
    ([(4, 5), (3, 5), (2, 5)], (4, 3, 2))
    """

    shape: tuple[int, ...] = eqx.field(static=True)
    components: int = eqx.field(static=True)
    initialization: str = eqx.field(static=True)
    stacked: bool = eqx.field(static=True)

    def __init__(
        self, shape: tuple[int, ...], components: int, initialization: str = "gaussian", *, stacked: bool = False
    ):
        self.shape = check_shape("shape", shape, least_dimensions=2)
        self.components = check_integer("components", components, 1)
        self.initialization = check_choice("initialization", initialization, ("gaussian", "balanced", "unbalanced"))
        if not isinstance(stacked, bool):
            raise TypeError(f"stacked: expected True or False, found {stacked!r}")
        if stacked and len(set(self.shape)) > 1:
            raise ValueError(
                f"stacked: expected False for axes of different lengths, found True with shape {self.shape}"
            )
        self.stacked = stacked

    def scale_of(self, deviation: ArrayLike) -> ArrayLike:
        r"""The ``scale`` at which "gaussian" factors have this standard deviation s: :math:`\sqrt R\, s^N`.

        Raises
        ------
        TypeError, ValueError
            If ``deviation`` is not a finite number above 0.
        """
        check_number("deviation", deviation, 0, exclusive=True)
        return math.sqrt(self.components) * deviation ** len(self.shape)

    def init(self, key: Array, scale: ArrayLike) -> Factors:
        return self._kept(self._drawn(key, scale))

    def _kept(self, factors: tuple[Array, ...]) -> Factors:
        return jnp.stack(factors) if self.stacked else factors

    def _drawn(self, key: Array, scale: ArrayLike) -> tuple[Array, ...]:
        scale = jnp.asarray(check_scale(scale), dtype=jnp.result_type(float))
        order = len(self.shape)
        deviation = (scale / math.sqrt(self.components)) ** (1 / order)
        keys = jax.random.split(key, order)
        shapes = [(n, self.components) for n in self.shape]
        if self.initialization == "gaussian":
            return tuple(normal(k, s, deviation) for k, s in zip(keys, shapes, strict=True))
        drawn = [normal(k, s) for k, s in zip(keys, shapes, strict=True)]
        norms = [jnp.linalg.norm(factor, axis=0) for factor in drawn]
        first, *others = (factor / norm[None, :] for factor, norm in zip(drawn, norms, strict=True))
        log_norm = jnp.sum(jnp.log(jnp.stack(norms)), axis=0)[None, :]
        if self.initialization == "unbalanced":
            return (first * scale / math.sqrt(self.components) * jnp.exp(log_norm), *others)
        return tuple(deviation * jnp.exp(log_norm / order) * factor for factor in (first, *others))

    def __call__(self, params: Factors) -> Float[Array, "..."]:
        check_holdable("w", self.shape)
        return dense(tuple(params))

    def entries(self, params: Factors, indices: Indices) -> Float[Array, "m ..."]:
        if isinstance(indices, EntryPattern):
            left, right = params
            return sampled_product(left, right, indices)
        if not isinstance(params, tuple):
            # As a stack where there are many short axes; else as if they were apart.
            if isinstance(indices, ManyAxes) and fits(self.shape) and not self._is_small(len(indices.rows)):
                return sampled_sum_of_stack(params, indices.rows)
            params = tuple(params)
        axes = axes_of(indices)
        if len(axes) < len(self.shape):  # whole slices
            rest = khatri_rao(params[len(axes) :])
            slices = gathered_products(params[: len(axes)], axes) @ rest.T
            return slices.reshape(-1, *self.shape[len(axes) :])
        if self._is_small(axes[0].size):
            return self(params)[axes]
        return sampled_sum_of_outer_products(params, axes)

    def _is_small(self, asked: int) -> bool:
        """Whether all of w costs less than so many entries of it."""
        return math.prod(self.shape) <= DENSE_RATIO * asked

    def component_norms(self, params: Factors) -> Float[Array, " components"]:
        r"""The norms :math:`c_r = \prod_n |w_r^n|` of the components, in their order."""
        return jnp.prod(jnp.stack([jnp.linalg.norm(factor, axis=0) for factor in params]), axis=0)

    def lift(self, w: Numbers) -> Factors:
        w = check_w(w, self.shape)
        return self._kept((_of_matrix if len(self.shape) == 2 else _of_fibers)(w, self.components))


def _of_matrix(w: Float[Array, "rows columns"], components: int) -> tuple[Array, ...]:
    """Singular vectors, each pair with the root of its singular value."""
    u, s, vt = jnp.linalg.svd(w, full_matrices=False)
    if not is_traced(w) and components < s.size:
        rank = int(np.linalg.matrix_rank(np.asarray(w)))
        if rank > components:
            raise ValueError(f"w: expected rank at most the {components} components, found rank {rank}")
    root = jnp.sqrt(s)[None, :components]
    padding = (0, 0), (0, max(components - s.size, 0))
    return jnp.pad(u[:, :components] * root, padding), jnp.pad(vt[:components].T * root, padding)


def _of_fibers(w: Float[Array, "..."], components: int) -> tuple[Array, ...]:
    """A component for each fiber along the longest axis, those that are not zero first."""
    shape, longest = w.shape, int(np.argmax(w.shape))
    fibers = jnp.moveaxis(w, longest, 0).reshape(shape[longest], -1)
    norms = jnp.linalg.norm(fibers, axis=0)
    kept = min(components, norms.size)
    if not is_traced(w) and int(jnp.count_nonzero(norms)) > components:
        raise ValueError(
            f"w: expected at most {components} fibers along axis {longest} that are not zero, as many as components, "
            f"found {int(jnp.count_nonzero(norms))}"
        )
    chosen = jnp.argsort(-norms)[:kept]
    size = norms[chosen] ** (1 / len(shape))
    along = fibers[:, chosen] / jnp.where(norms[chosen] > 0, norms[chosen], 1)[None, :]
    others = jnp.unravel_index(chosen, shape[:longest] + shape[longest + 1 :])
    vectors = [
        jax.nn.one_hot(at, n, axis=0, dtype=w.dtype) for at, n in zip(others, _without(shape, longest), strict=True)
    ]
    vectors.insert(longest, along)
    return tuple(jnp.pad(vector * size[None, :], ((0, 0), (0, components - kept))) for vector in vectors)


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return shape[:axis] + shape[axis + 1 :]
