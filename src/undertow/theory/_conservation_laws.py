"""How many independent quantities a gradient flow conserves whatever the loss, from its map alone."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from .._programs import filter_jit
from .._validation import check_integer
from ..objective import check_params
from ..parameterizations import Parameterization
from ..parameterizations._base import Params
from ._curves import VectorMap, pulled_back
from ._errors import Unsolved

INDEPENDENT = 1e-7
"""Singular values above this share of the largest are counted, of fields scaled to their terms ..."""
ROUNDING = 1e-11
"""... those below this one are rounding, and between the two nobody knows."""
NEARBY = 0.3
"""How far the second point is, as a share of the root mean square of each array of parameters."""


def conservation_laws(parameterization: Parameterization, params: Params, *, max_depth: int = 6) -> int:
    r"""The number of independent functions of the parameters that gradient flow conserves, whatever the loss.

    Flows move along the gradients of the entries of w, :math:`\dot p = -J^T \nabla \ell(w)`, in mixtures that the loss
    decides. What all of them conserve is constant on all that can be reached along them, and that is, near a point,
    of the dimension of the Lie algebra that these fields generate, at the point (its trace): the number of laws is the
    number of parameters less this dimension. Brackets of more and more fields are taken until a depth adds nothing, at
    the point and at another one near it.

    Parameters
    ----------
    parameterization
        The map.
    params
        The point. The number is that of its surroundings.
    max_depth
        Of brackets within brackets. A bracket at each further depth takes twice as long.

    Returns
    -------
    The number of laws, at least 0.

    Raises
    ------
    TypeError, ValueError
        If ``parameterization`` is none or ``params`` are not its parameters, or dimensions at the point are not those
        of the points near it, as at zero.
    Unsolved
        If brackets of ``max_depth`` still add something, or the numbers do not tell which are independent.

    Notes
    -----
    It counts what holds for all losses. The loss of a problem that looks at few entries of w may conserve more.

    References
    ----------
    Marcotte, Gribonval, Peyre. Abide by the Law and Follow the Flow: Conservation Laws for Gradient Flows. NeurIPS
    2023.

    Examples
    --------
    >>> import jax, undertow as ut
    >>> phi = ut.parameterizations.DeepMatrix((2, 2), depth=2)
    >>> conservation_laws(phi, phi.init(jax.random.key(0), 1.0))  # U^T U - V V^T, symmetric: 3 entries
    3
    """
    if not isinstance(parameterization, Parameterization):
        raise TypeError(
            "parameterization: expected an undertow.parameterizations.Parameterization, found "
            f"{type(parameterization).__name__}"
        )
    check_integer("max_depth", max_depth, 1)
    with jax.enable_x64(True):
        params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), check_params(parameterization, params))
        phi = VectorMap(parameterization, params)
        at, near = _traces(phi, phi.vector(jnp.float64), max_depth), _traces(phi, _nearby(params), max_depth)
    if at != near:
        raise ValueError(
            "params: expected a point whose surroundings look like it, found brackets that span, depth by depth, "
            f"{at} dimensions there and {near} nearby"
        )
    return sum(x.size for x in jax.tree.leaves(params)) - at[-1]


def _nearby(params: Params) -> Float[Array, " k"]:
    """A random point near the given one, whose numbers have the sizes of its."""
    rng = np.random.default_rng(1)

    def moved(x: Array) -> Array:
        size = float(jnp.sqrt(jnp.mean(x**2))) or 1.0
        return x + NEARBY * size * jnp.asarray(rng.uniform(-1, 1, x.shape))

    return ravel_pytree(jax.tree.map(moved, params))[0]


def _traces(phi: VectorMap, p: Float[Array, " k"], max_depth: int) -> list[int]:
    """The dimensions at p of the brackets up to each depth of the gradients of all entries of w.

    A bracket of depth j, ``[X_1, [X_2, ... X_j]]`` of mixtures of these gradients, is linear in the weights of each
    mixture: random weights, a few more than there are parameters, span what all do. Where a depth adds no dimension, at
    p and near it, those fields span a module that is closed under brackets, and no further depth adds one.
    """
    size, entries = p.size, int(np.prod(phi.parameterization.shape))
    rng = np.random.default_rng(0)
    found, dimensions = np.zeros((0, size)), [0]
    for depth in range(1, max_depth + 1):
        weights = rng.normal(size=(size + 3, depth, entries))
        found = np.concatenate([found, np.asarray(_brackets(phi, p, jnp.asarray(weights)))])
        dimensions.append(_rank(found))
        if dimensions[-1] in (dimensions[-2], size):
            return dimensions
    raise Unsolved(
        f"max_depth: expected brackets of some depth up to {max_depth} to add nothing, found dimensions {dimensions} "
        f"of {size}, depth by depth; ask for more"
    )


def _rank(fields: Float[np.ndarray, "m k"]) -> int:
    s = np.linalg.svd(fields, compute_uv=False)
    share = s / (s[0] if s[0] > 0 else 1)
    if np.any((share > ROUNDING) & (share < INDEPENDENT)):
        doubtful = share[(share > ROUNDING) & (share < INDEPENDENT)]
        raise Unsolved(
            f"params: expected fields that are clearly independent or clearly not, found a singular value of "
            f"{doubtful[0]:.1g} of the largest; rescale the params, or take others"
        )
    return int(np.sum(share >= INDEPENDENT))


@filter_jit
def _brackets(phi: VectorMap, p: Float[Array, " k"], weights: Float[Array, "m depth d"]) -> Float[Array, "m k"]:
    """Random brackets at p, each over the size of its terms, so that one of fields that commute is rounding."""
    return jax.lax.map(lambda w: _scaled(phi, p, w), weights)


Field = Callable[[Array], Array]


def _bracket(one: Field, two: Field) -> Field:
    """The Lie bracket of two fields, as a field."""

    def bracket(p: Array) -> Array:
        return jax.jvp(two, (p,), (one(p),))[1] - jax.jvp(one, (p,), (two(p),))[1]

    return bracket


def _scaled(phi: VectorMap, p: Float[Array, " k"], weights: Float[Array, "depth d"]) -> Float[Array, " k"]:
    first, *others = [lambda p, w=w: pulled_back(phi, p, w) for w in weights[::-1]]
    inner = first
    for outer in others[:-1]:
        inner = _bracket(outer, inner)
    if not others:
        value = inner(p)
        terms = jnp.linalg.norm(value)
    else:
        outer = others[-1]
        forth, back = jax.jvp(inner, (p,), (outer(p),))[1], jax.jvp(outer, (p,), (inner(p),))[1]
        value, terms = forth - back, jnp.linalg.norm(forth) + jnp.linalg.norm(back)
    return value / jnp.where(terms > 0, terms, 1)
