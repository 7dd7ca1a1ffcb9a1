"""Where mirror descent ends: the Bregman projection of its start on the points of zero error."""

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._validation import Numbers, check_array
from ..potentials import Potential
from ..problems import Problem
from ._affine_set import AffineSet, affine_set
from ._dual_newton import ACCEPTED, Rows, Vector, check_solved, independent_rows, project
from ._implied_potential import ImpliedPotential


def bregman_projection(problem: Problem, potential: Potential, start: Numbers) -> Float[np.ndarray, "..."]:
    r"""The point of zero error at the smallest Bregman divergence, :math:`\arg\min \{ D(w, w_0) : A w = b \}`.

    Mirror descent and mirror flow with this potential end here, whatever their step sizes, if they reach zero error.
    By the optimality conditions, in as many unknowns as there are equations: Newton's method on
    :math:`A\, (\nabla\phi)^{-1}(\nabla\phi(w_0) + A^T \nu) = b`, with a line search along which the dual objective
    falls, until the equations hold to 1e-13 of their size (1e-10 where rounding allows no better). Points of the edge
    of the domain are approached to that accuracy where no solution lies inside it.

    Parameters
    ----------
    problem
        One whose points of zero error are an affine set: it has ``equations``.
        Equations may be redundant.
    potential
        One of ``undertow.potentials``, or what ``implied_potential`` gives.
    start
        :math:`w_0`, of the shape of the problem, inside the domain of the potential.

    Returns
    -------
    w of the shape of the problem, NumPy float64.

    Raises
    ------
    TypeError, ValueError
        If the points of zero error of the problem are not known to be an affine set, ``potential`` is none, or
        ``start`` has another shape or is not inside the domain.
    Infeasible
        If no point of the domain has zero error.

    References
    ----------
    Gunasekar, Lee, Soudry, Srebro. Characterizing Implicit Bias in Terms of Optimization Geometry. ICML 2018,
    Theorem 1.

    Examples
    --------
    >>> import undertow as ut
    >>> problem = ut.problems.LeastSquares([[1.0, 1.0]], [1.0])
    >>> bregman_projection(problem, ut.potentials.Entropy(), [1.0, 3.0]).round(6).tolist()
    [0.25, 0.75]
    """
    equations = affine_set(problem)
    if not isinstance(potential, Potential):
        raise TypeError(f"potential: expected an undertow.potentials.Potential, found {type(potential).__name__}")
    with jax.enable_x64(True):
        w = jnp.asarray(check_array("start", start), jnp.float64)
        if w.shape != equations.shape:
            raise ValueError(f"start: expected the shape of the problem, {equations.shape}, found {w.shape}")
        inside, dual = _at(potential, w)
        if not bool(inside):
            raise ValueError(
                f"start: expected a point inside the domain of {type(potential).__name__} ({potential.domain}), found "
                f"entries from {float(w.min()):g} to {float(w.max()):g}"
            )
        if not bool(jnp.all(jnp.isfinite(dual))):
            raise ValueError(f"start: expected a point with a finite gradient, found {dual}")
        return project_from_dual(equations, potential, np.asarray(dual))


def project_from_dual(
    equations: AffineSet, potential: Potential, dual: Float[np.ndarray, "..."]
) -> Float[np.ndarray, "..."]:
    """The projection of the point whose gradient is ``dual``; 64-bit JAX is on."""
    rows, b = independent_rows(equations)
    residual = np.inf
    while True:
        before = residual
        point = functools.partial(_flat_point, potential, dual.shape)
        curvature = functools.partial(_curvature, potential, dual.shape)
        z, w, residual = project(point, curvature, rows, b, dual.ravel())
        if residual <= ACCEPTED or not isinstance(potential, ImpliedPotential) or residual > 0.1 * before:
            break
        # Where duals are bounded, and w is far from where they are counted from, all of them round to the same end.
        # Counted from the point that was found they have their digits again.
        potential, dual = potential.counted_from(jnp.asarray(z.reshape(dual.shape))), np.zeros_like(dual)
    check_solved(residual)
    return w.reshape(dual.shape)


def _flat_point(potential: Potential, shape: tuple[int, ...], z: Vector) -> Vector:
    return np.asarray(_inverse_gradient(potential, z.reshape(shape))).ravel()


@eqx.filter_jit
def _at(potential: Potential, w: Array) -> tuple[Array, Array]:
    return potential.contains(w), potential.gradient(w)


@eqx.filter_jit
def _inverse_gradient(potential: Potential, dual: Any) -> Array:
    return potential.inverse_gradient(jnp.asarray(dual))


@eqx.filter_jit
def _responses(potential: Potential, dual: Any, steps: Any) -> Array:
    """What of w each small step of the dual moves."""
    _, response = jax.linearize(potential.inverse_gradient, jnp.asarray(dual))
    return jax.vmap(response)(jnp.asarray(steps))


def _curvature(potential: Potential, shape: tuple[int, ...], z: Vector, rows: Rows) -> np.ndarray:
    """The Hessian of the conjugate at z: its diagonal where it is diagonal, else its product with ``rows.T``."""
    dual = z.reshape(shape)
    # Two steps tell: a diagonal matrix answers both entry by entry.
    probe = np.random.default_rng(0).uniform(1, 2, shape)
    diagonal, response = np.asarray(_responses(potential, dual, np.stack([np.ones(shape), probe])))
    if np.all(np.abs(response - probe * diagonal) <= 1e-12 * np.abs(response)):
        return diagonal.ravel()
    dense = rows if isinstance(rows, np.ndarray) else rows.toarray()
    steps = dense.reshape(-1, *shape)
    return np.asarray(_responses(potential, dual, steps)).reshape(len(steps), -1).T
