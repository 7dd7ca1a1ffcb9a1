"""Where mirror descent ends: the Bregman projection of its start on the points of zero error."""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.optimize import lsq_linear

from .._programs import filter_jit
from .._validation import Numbers, check_array
from ..potentials import Entrywise, Potential
from ..problems import Problem
from ._affine_set import SOLVABLE, AffineSet, affine_set
from ._dual_newton import ACCEPTED, Rows, Vector, independent_rows, is_endless, project
from ._errors import Infeasible
from ._primal_newton import project_in_w


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
    Unsolved
        If the equations are not solved to 1e-10 although they may have a solution, as where the curvature of the
        potential spans more than float64 can take.

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
        # Where the potential is a power, in units of the solution: powers are soon beyond the range of numbers.
        scale = 1.0 if potential.degree is None else _size_of_solution(equations)
        if scale != 1:
            equations = dataclasses.replace(equations, b=equations.b / scale)
            w = w / scale
        inside, dual = _at(potential, w)
        if not bool(inside):
            raise ValueError(
                f"start: expected a point inside the domain of {type(potential).__name__} ({potential.domain}), found "
                f"entries from {float(w.min()):g} to {float(w.max()):g}"
            )
        if not bool(jnp.all(jnp.isfinite(dual))):
            raise ValueError(f"start: expected a point with a finite gradient, found {dual}")
        found = project_from_dual(equations, potential, np.asarray(dual))
        return found if scale == 1 else found * scale


def _size_of_solution(equations: AffineSet) -> float:
    """The largest entry of the smallest solution, as a power of two; 1 where it is zero."""
    if not isinstance(equations.matrix, np.ndarray):
        size = np.max(np.abs(equations.b))
    else:
        rows, b = independent_rows(equations)
        size = np.max(np.abs(rows.T @ b))
    return float(2.0 ** np.frexp(size)[1]) if size > 0 else 1.0


def project_from_dual(
    equations: AffineSet, potential: Potential, dual: Float[np.ndarray, "..."]
) -> Float[np.ndarray, "..."]:
    """The projection of the point whose gradient is ``dual``; 64-bit JAX is on."""
    if potential.acts_entrywise and not isinstance(equations.matrix, np.ndarray):
        w = _with_given_entries(equations, potential, dual)
        if w is not None:
            return w
    rows, b = independent_rows(equations)
    before = np.inf
    while True:
        point = functools.partial(_flat_point, potential, dual.shape)
        curvature = functools.partial(_curvature, potential, dual.shape)
        found = project(point, curvature, rows, b, dual.ravel())
        if found.residual <= ACCEPTED:
            return found.w.reshape(dual.shape)
        nearer = potential.counted_from(jnp.asarray(found.z.reshape(dual.shape)))
        if nearer is None or found.residual > 0.1 * before:
            break
        # Where duals are bounded, and w is far from where they are counted from, all of them round to the same end.
        # Counted from the point that was found they have their digits again.
        potential, dual, before = nearer, np.zeros_like(dual), found.residual
    if isinstance(potential, Entrywise):
        if potential.interval == (-math.inf, math.inf):
            return _in_w(potential, rows, b, dual)
        nowhere = _is_out_of_bounds(potential.interval, rows, b)
    else:
        nowhere = is_endless(point, rows, b, dual.ravel(), found.nu)
    if nowhere:
        raise Infeasible(
            "problem: no point with zero error was found within the domain of the potential; the smallest relative "
            f"residual is {found.residual:.3g}"
        )
    raise found.unsolved()


def _is_out_of_bounds(interval: tuple[float, float], rows: Rows, b: Float[np.ndarray, " r"]) -> bool:
    """Whether no w with entries between the ends of the interval solves the equations."""
    dense = rows if isinstance(rows, np.ndarray) else rows.toarray()
    scale = float(np.max(np.abs(b), initial=0)) or 1.0
    ends = tuple(end / scale for end in interval)
    nearest = lsq_linear(dense, b / scale, bounds=ends, method="bvls", tol=1e-14)
    return bool(np.linalg.norm(nearest.fun) > SOLVABLE * np.linalg.norm(b / scale))


def _in_w(
    potential: Entrywise, rows: Rows, b: Float[np.ndarray, " r"], dual: Float[np.ndarray, "..."]
) -> Float[np.ndarray, "..."]:
    """By Newton's method in w; on the whole line, independent equations have a solution always."""
    dense = rows if isinstance(rows, np.ndarray) else rows.toarray()
    gradient = lambda w: np.asarray(_gradient(potential, w.reshape(dual.shape))).ravel()  # noqa: E731
    curvature = lambda w: np.asarray(_second_derivatives(potential, w.reshape(dual.shape))).ravel()  # noqa: E731
    return project_in_w(gradient, curvature, dense, b, dual.ravel(), dense.T @ b).reshape(dual.shape)


def _with_given_entries(
    equations: AffineSet, potential: Potential, dual: Float[np.ndarray, "..."]
) -> Float[np.ndarray, "..."] | None:
    """Where the equations give entries, and every entry goes its own way, the others stay; None if that is outside."""
    lower, upper = potential.interval if isinstance(potential, Entrywise) else (-math.inf, math.inf)
    bad = np.flatnonzero((equations.b < lower) | (equations.b > upper))
    if bad.size:
        raise Infeasible(
            f"problem: no point with zero error is within the domain of {type(potential).__name__} "
            f"({potential.domain}); an entry is to be {equations.b[bad[0]]:g}"
        )
    w = np.array(_inverse_gradient(potential, dual), np.float64)
    w.ravel()[equations.matrix.indices] = equations.b  # pyright: ignore[reportAttributeAccessIssue] (a sparse one)
    return w if bool(_at(potential, jnp.asarray(w))[0]) else None


def _flat_point(potential: Potential, shape: tuple[int, ...], z: Vector) -> Vector:
    return np.asarray(_inverse_gradient(potential, z.reshape(shape))).ravel()


@filter_jit
def _at(potential: Potential, w: Array) -> tuple[Array, Array]:
    return potential.contains(w), potential.gradient(w)


@filter_jit
def _inverse_gradient(potential: Potential, dual: Any) -> Array:
    return potential.inverse_gradient(jnp.asarray(dual))


@filter_jit
def _gradient(potential: Entrywise, w: Any) -> Array:
    return potential.gradient(jnp.asarray(w))


@filter_jit
def _second_derivatives(potential: Entrywise, w: Any) -> Array:
    w = jnp.asarray(w)
    return jax.jvp(potential.gradient, (w,), (jnp.ones_like(w),))[1]


@filter_jit
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
