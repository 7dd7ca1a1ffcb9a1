"""The curvature of the objective over its parameters: eigenvalues of the Hessian.

By matfree, but for what it has not: several eigenvalues as often as they are there, and an end of Lanczos' method where
a Hessian of low rank has no more directions.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float
from matfree import decomp, eig

from .._validation import check_choice, check_integer
from ..objective import Objective
from ..parameterizations import Parameterization
from ..parameterizations._base import Params
from ..problems import Problem
from ._base import Probe, measured

DENSE = 256
"""Parameters up to which the Hessian is formed, and its eigenvalues are exact to rounding: tens of milliseconds."""

Product = Callable[[Float[Array, " n"]], Float[Array, " n"]]


class HessianEigenvalues(Probe):
    r"""The largest or least eigenvalues of the Hessian of loss and penalty over all parameters, the extreme one first.

    A least eigenvalue below zero is a way out of a saddle. Where the loss underflows, as that of separable data far
    out, they are zero: it is the Hessian of the loss, not of its logarithm.

    Parameters
    ----------
    count
        How many.
    which
        "largest" or "least" (the most negative).
    products
        How many products with the Hessian go into each eigenvalue where it is not formed.

    Raises
    ------
    TypeError, ValueError
        If ``count`` or ``products`` is not a positive integer or ``which`` unknown; in a run, if there are fewer
        parameters than ``count``.

    Notes
    -----
    Of up to 256 parameters, or up to ``products``, the Hessian is formed, and its eigenvalues are exact to rounding. Of
    more, Lanczos' method finds them from products of the Hessian and vectors, with full reorthogonalization, from a
    fixed random start, in ``products * n`` numbers of memory; one after the other, each orthogonal to those before, so
    that multiple ones are found as often as they are there. Such a value never lies beyond the true one, but for
    rounding. It is exact to rounding where the eigenvalue stands apart; at worst, where nothing does, it is expected to
    be short by :math:`0.103 (\ln(n (k - 1)^4) / (k - 1))^2` of the whole range of eigenvalues after k products: 0.8
    percent for 10,000 parameters and the default of 100.

    References
    ----------
    Kuczynski, Wozniakowski. Estimating the Largest Eigenvalue by the Power and Lanczos Algorithms with a Random Start.
    SIAM Journal on Matrix Analysis and Applications 13, 1992 (the bound).

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> import undertow as ut
    >>> problem, phi = ut.problems.PointTarget([[3.0, 0.0], [0.0, 1.0]]), ut.parameterizations.DeepMatrix((2, 2), 2)
    >>> least = HessianEigenvalues(3, "least")
    >>> least.name
    'least_hessian_eigenvalues'
    >>> least(problem, phi, (jnp.zeros((2, 2)), jnp.zeros((2, 2)))).round(4).tolist()
    [-3.0, -3.0, -1.0]
    """

    count: int = eqx.field(static=True, default=1)
    which: str = eqx.field(static=True, default="largest")
    products: int = eqx.field(static=True, default=100)

    def __check_init__(self) -> None:
        check_integer("count", self.count, 1)
        check_choice("which", self.which, ("largest", "least"))
        check_integer("products", self.products, 1)

    @property
    def name(self) -> str:
        return f"{self.which}_hessian_eigenvalues"

    def __call__(self, problem: Problem, parameterization: Parameterization, params: Params) -> Float[Array, " count"]:
        return measured(self, Objective(problem, parameterization), params)

    def measure(self, objective: Objective, params: Params) -> Float[Array, " count"]:
        if self.which == "largest":
            return _largest(objective, params, self.count, self.products, 1.0)
        return -_largest(objective, params, self.count, self.products, -1.0)


class Sharpness(Probe):
    """The largest eigenvalue of the Hessian of loss and penalty over all parameters.

    Gradient descent of step size eta is stable where it is below 2 / eta. How it is computed, and how exactly, is said
    at ``HessianEigenvalues``.

    Parameters
    ----------
    products
        How many products with the Hessian go into it where it is not formed.

    Raises
    ------
    TypeError, ValueError
        If ``products`` is not a positive integer.

    References
    ----------
    Cohen, Kaur, Li, Kolter, Talwalkar. Gradient Descent on Neural Networks Typically Occurs at the Edge of Stability.
    ICLR 2021.

    Examples
    --------
    >>> Sharpness().name
    'sharpness'
    """

    products: int = eqx.field(static=True, default=100)

    def __check_init__(self) -> None:
        check_integer("products", self.products, 1)

    @property
    def name(self) -> str:
        return "sharpness"

    def __call__(self, problem: Problem, parameterization: Parameterization, params: Params) -> Float[Array, ""]:
        return measured(self, Objective(problem, parameterization), params)

    def measure(self, objective: Objective, params: Params) -> Float[Array, ""]:
        return _largest(objective, params, 1, self.products, 1.0)[0]


def _largest(objective: Objective, params: Params, count: int, products: int, sign: float) -> Float[Array, " count"]:
    """The largest eigenvalues of ``sign`` times the Hessian, in descending order."""
    hessian, flat = hessian_of(objective, params)
    if count > flat.size:
        raise ValueError(f"count: expected at most the {flat.size} parameters that there are, found {count}")

    def product(v: Float[Array, " n"]) -> Float[Array, " n"]:
        return sign * hessian(v)

    if flat.size <= max(DENSE, products):
        return jnp.linalg.eigvalsh(formed(product, flat))[::-1][:count]
    return _by_lanczos(product, flat, count, products)


def hessian_of(objective: Objective, params: Params) -> tuple[Product, Float[Array, " n"]]:
    """Products of the Hessian with vectors over all parameters, and these as one vector."""
    flat, unravel = ravel_pytree(params)
    # Twice in reverse: sparse problems have a derivative of their own, which forward differentiation cannot enter.
    _, pullback = jax.vjp(jax.grad(lambda x: objective(unravel(x))[0]), flat)
    return lambda v: pullback(v)[0], flat


def formed(product: Product, like: Float[Array, " n"]) -> Float[Array, "n n"]:
    """The symmetric matrix of these products."""
    return jax.vmap(product)(jnp.eye(like.size, dtype=like.dtype))


def _by_lanczos(product: Product, like: Float[Array, " n"], count: int, products: int) -> Float[Array, " count"]:
    """The largest eigenvalues of a symmetric operator, each by a run of its own among what is orthogonal to the last.

    ``like`` has the shape and the type of the vectors.
    """
    size = size_of_products(product, like)

    def next_one(found: Float[Array, "count n"], i: Array) -> tuple[Float[Array, "count n"], Float[Array, ""]]:
        start = jax.random.normal(jax.random.fold_in(jax.random.key(0), i), like.shape, like.dtype)
        start = _without(found, start)
        # Eigenvectors that are known get a value from within the others' range: so they are nobody's extreme.
        inner = start @ (product(start) / size) / (start @ start)

        def rest(v: Float[Array, " n"]) -> Float[Array, " n"]:
            return _without(found, product(_without(found, v)) / size) + inner * (found.T @ (found @ v))

        values, vectors = eig.eigh_partial(lanczos(products))(rest, start)
        vector = _without(found, vectors[-1])
        return found.at[i].set(vector / jnp.sqrt(vector @ vector)), values[-1]

    found = jnp.zeros((count, *like.shape), like.dtype)
    # Of a cluster a later run may find the higher one.
    return size * jnp.sort(jax.lax.scan(next_one, found, jnp.arange(count))[1])[::-1]


def _without(found: Float[Array, "count n"], v: Float[Array, " n"]) -> Float[Array, " n"]:
    return v - found.T @ (found @ v)


def size_of_products(product: Product, like: Float[Array, " n"]) -> Float[Array, ""]:
    """By which products come to a size of about 1: the squares of what is left of a loss near infinity underflow."""
    sample = product(jax.random.normal(jax.random.key(0), like.shape, like.dtype))
    size = jnp.max(jnp.abs(sample))
    return jnp.where(size == 0, 1, size)


def lanczos(products: int) -> Callable[..., tuple[Float[Array, "k n"], Float[Array, "k k"]]]:
    """The tridiagonalization of matfree by so many products, for its methods, without what means nothing in it.

    A start that has no more than so many eigenvectors in it spans no further: what comes then is rounding, or 0 / 0.
    """
    # Its ``tridiag_sym`` averages what is beside the diagonal, and so hides that a length has fallen to rounding.
    whole = decomp.hessenberg(products, reortho="full", custom_vjp=False)

    def until_it_ends(product: Product, start: Float[Array, " n"]) -> tuple[Float[Array, "k n"], Float[Array, "k k"]]:
        found: Any = whole(product, start)
        basis, diagonal, beside = found[0], jnp.diag(found[1]), jnp.diag(found[1], -1)
        # Beside what came before: rounding that is blown up may exceed all that means anything.
        before = jnp.maximum(jnp.abs(diagonal[:-1]), jnp.pad(jnp.abs(beside), (1, 0))[:-1])
        rounding = 10 * float(start.size) ** 0.5 * float(jnp.finfo(start.dtype).eps) * jax.lax.cummax(before)
        alive = jnp.concatenate([jnp.ones(1, bool), jnp.cumprod(beside > rounding).astype(bool)])
        diagonal, beside = jnp.where(alive, diagonal, 0), jnp.where(alive[1:], beside, 0)
        size = jnp.maximum(jnp.max(jnp.abs(diagonal)), jnp.max(beside, initial=0))
        # The rest is put below all that is alive, by Gershgorin's circles, and apart, so that it has no weight.
        diagonal = jnp.where(alive, diagonal, -jnp.where(size == 0, 1, 4 * size))
        matrix = jnp.diag(diagonal) + jnp.diag(beside, 1) + jnp.diag(beside, -1)
        return jnp.where(alive[:, None], basis, 0), matrix

    return until_it_ends
