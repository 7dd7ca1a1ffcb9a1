"""The curvature of the objective as a whole: the trace of the Hessian, and the density of its eigenvalues."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from matfree import funm, stochtrace

from .._validation import Numbers, check_array, check_integer, check_number
from ..objective import Objective
from ..parameterizations import Parameterization
from ..parameterizations._base import Params
from ..problems import Problem
from ._base import Probe, measured
from ._curvature import DENSE, formed, hessian_of, lanczos, size_of_products


class HessianTrace(Probe):
    """The trace of the Hessian of loss and penalty over all parameters, which label noise makes small.

    Parameters
    ----------
    products
        How many products with the Hessian go into it where it is not formed, in pairs.

    Raises
    ------
    TypeError, ValueError
        If ``products`` is not an integer of at least 2.

    Notes
    -----
    Of up to 256 parameters, or up to ``products``, the Hessian is formed, and its trace exact to rounding. Of more
    it is estimated from fixed random vectors by the method XTrace, without bias. It is exact where the rank of the
    Hessian is below ``products`` / 2, as where the loss is a sum of fewer squares that are all zero; else it errs by
    about what is left of the Frobenius norm beyond that many eigenvalues.

    References
    ----------
    Epperly, Tropp, Webber. XTrace: Making the Most of Every Sample in Stochastic Trace Estimation. SIAM Journal on
    Matrix Analysis and Applications 45, 2024.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> import undertow as ut
    >>> problem, phi = ut.problems.LeastSquares([[3.0, 4.0]], [0.0]), ut.parameterizations.Identity(2)
    >>> float(HessianTrace()(problem, phi, jnp.zeros(2)))
    25.0
    """

    products: int = eqx.field(static=True, default=100)

    def __check_init__(self) -> None:
        check_integer("products", self.products, 2)

    @property
    def name(self) -> str:
        return "hessian_trace"

    def __call__(self, problem: Problem, parameterization: Parameterization, params: Params) -> Float[Array, ""]:
        return measured(self, Objective(problem, parameterization), params)

    def measure(self, objective: Objective, params: Params) -> Float[Array, ""]:
        hessian, flat = hessian_of(objective, params)
        if flat.size <= max(DENSE, self.products):
            return jnp.trace(formed(hessian, flat))
        sampler = stochtrace.sampler_normal(flat, num=self.products // 2)
        estimate: Any = stochtrace.estimator_leave_one_out(stochtrace.leave_one_out_xtrace(), sampler)
        size = size_of_products(hessian, flat)
        with jax.numpy_rank_promotion("allow"):  # as the library is written
            return size * estimate(lambda v: hessian(v) / size, jax.random.key(0))


class SpectralDensity(Probe):
    r"""The density of the eigenvalues of the Hessian of loss and penalty, smoothed: its values at points of a grid.

    Each of the n eigenvalues is a normal density of standard deviation ``width`` and mass 1 / n.

    Parameters
    ----------
    grid
        Where.
    width
        Above 0; in units of eigenvalues, as ``grid``.
    products, samples
        How many products with the Hessian go into each of how many random vectors where it is not formed.

    Raises
    ------
    TypeError, ValueError
        If ``grid`` is not a vector of finite numbers, ``width`` not a positive one, or ``products`` or ``samples`` not
        a positive integer.

    Notes
    -----
    Of up to 256 parameters the eigenvalues are exact to rounding. Of more, stochastic Lanczos quadrature finds the
    density without forming the Hessian, from fixed random signs: the mass of a cluster of k eigenvalues errs by
    some :math:`\sqrt{k / \mathrm{samples}} / n`.

    References
    ----------
    Ghorbani, Krishnan, Xiao. An Investigation into Neural Net Optimization via Hessian Eigenvalue Density. ICML 2019.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> import undertow as ut
    >>> problem, phi = ut.problems.PointTarget(jnp.zeros(2)), ut.parameterizations.Identity(2)
    >>> SpectralDensity([0.0, 1.0], width=0.1)(problem, phi, jnp.zeros(2)).round(2).tolist()
    [0.0, 3.99]
    """

    grid: Float[Array, " points"]
    width: Float[Array, ""]
    products: int = eqx.field(static=True)
    samples: int = eqx.field(static=True)

    def __init__(self, grid: Numbers, width: Any, products: int = 100, samples: int = 10):
        self.grid = check_array("grid", grid, dimensions=1)
        self.width = jnp.asarray(check_number("width", width, 0, exclusive=True), jnp.result_type(float))
        self.products = check_integer("products", products, 1)
        self.samples = check_integer("samples", samples, 1)

    @property
    def name(self) -> str:
        return "spectral_density"

    def __call__(self, problem: Problem, parameterization: Parameterization, params: Params) -> Float[Array, " points"]:
        return measured(self, Objective(problem, parameterization), params)

    def measure(self, objective: Objective, params: Params) -> Float[Array, " points"]:
        hessian, flat = hessian_of(objective, params)
        grid, width = self.grid.astype(flat.dtype), self.width.astype(flat.dtype)
        if flat.size <= max(DENSE, self.products):
            values = jnp.linalg.eigvalsh(formed(hessian, flat))
            return jax.vmap(lambda x: jnp.mean(_normal(values, x, width)))(grid)
        sampler = stochtrace.sampler_signs(flat, num=self.samples)

        size = size_of_products(hessian, flat)

        def at(x: Float[Array, ""]) -> Float[Array, ""]:
            density = funm.dense_funm_sym_eigh(lambda value: _normal(size * value, x, width))
            integrand = funm.monte_carlo_funm_sym(density, lanczos(self.products))
            estimate: Any = stochtrace.estimator_monte_carlo(integrand, sampler)
            return estimate(lambda v: hessian(v) / size, jax.random.key(0)) / flat.size

        # What does not depend on the point, Lanczos' products and all, is not batched over the points.
        return jax.vmap(at)(grid)


def _normal(values: Float[Array, "..."], x: Float[Array, ""], width: Float[Array, ""]) -> Float[Array, "..."]:
    """The normal density; that of SciPy squares the width, which may underflow."""
    return jnp.exp(-(((values - x) / width) ** 2) / 2) / width / (2 * jnp.pi) ** 0.5
