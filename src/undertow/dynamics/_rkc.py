"""The stabilized explicit method of Sommeijer, Shampine and Verwer."""

import functools
from typing import Any, ClassVar

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..parameterizations._base import Params
from ._base import tree_norm
from ._stiffness import power_method

STAGES = 200
"""Most stages of a step. Their number grows with the square root of the stiffness, which this lets go up to 26,000."""
DAMPING = 2 / 13
"""How far the polynomials stay below 1 in absolute value; all but a third of it."""
LIFETIME = 10
"""Accepted steps after which the spectral radius is estimated anew."""
SAFETY = 1.2
"""The factor by which the spectral radius may be above its estimate."""
REACH = (STAGES**2 - 1) / (1.54 * SAFETY)
"""Most that the product of a step size and the estimate may be."""
LENIENCE = 3.0
"""The factor by which the estimated error may exceed the tolerance: a stiff flow forgets most of its errors.

Measured on stiff completion: the end point is then still as exact as ``rtol`` asks, and 1 takes 13% more gradients.
"""

ROUNDINGS = 4.0
"""Roundings of the derivative that are no error, in units of the spectral radius times the length of the parameters."""


class RkcState(eqx.Module):
    """What a step knows beforehand."""

    derivative: Params
    radius: Float[Array, "..."]
    direction: Params
    age: Int[Array, "..."]  # steps since the radius was estimated


class Rkc(eqx.Module):
    r"""Runge-Kutta-Chebyshev of second order: s gradients allow a step of :math:`0.65 s^2 / \rho`.

    :math:`\rho` is the spectral radius of the Hessian. s steps of an explicit method get 3 s / rho far at best, of one
    gradient each.

    References
    ----------
    Sommeijer, Shampine, Verwer. RKC: an explicit solver for parabolic PDEs. J. Comput. Appl. Math. 88, 1998.
    """

    interpolation_cls: ClassVar[Any] = diffrax.ThirdOrderHermitePolynomialInterpolation.from_k

    def error_order(self, term: diffrax.AbstractTerm) -> Any:
        """Order of the error of one step."""
        del term
        return 3

    def func(self, term: diffrax.AbstractTerm, t0: Any, y0: Any, args: Any) -> Any:
        """The derivative."""
        return term.vf(t0, y0, args)

    def init(self, term: diffrax.AbstractTerm, t0: Any, t1: Any, y0: Any, args: Any) -> RkcState:
        """The solver state for a first step."""
        derivative = term.vf(t0, y0, args)
        return self.enter(derivative, derivative, 0.0)

    def enter(self, derivative: Params, direction: Params, radius: Any) -> RkcState:
        """The state for a first step where the derivative is known, and the spectral radius perhaps."""
        dtype = jnp.result_type(*jax.tree.leaves(derivative))
        return RkcState(derivative, jnp.asarray(radius, dtype), direction, jnp.asarray(LIFETIME, jnp.int32))

    def refresh(self, term: diffrax.AbstractTerm, y: Any, state: RkcState) -> tuple[RkcState, Int[Array, ""]]:
        """Estimate the spectral radius if the last estimate is old: the new state, and the gradients it took."""
        due = state.age >= LIFETIME
        field = functools.partial(term.vf, 0.0, args=None)
        radius, direction, count = power_method(field, y, state.derivative, state.direction, state.radius, due)
        return RkcState(state.derivative, radius, direction, jnp.where(due, 0, state.age)), count

    def outdated(self, state: RkcState) -> RkcState:
        """The same, but for the spectral radius to be estimated anew."""
        return RkcState(state.derivative, state.radius, state.direction, jnp.full_like(state.age, LIFETIME))

    def longest(self, state: RkcState) -> Float[Array, ""]:
        """The step size that the most stages allow."""
        return REACH / state.radius

    def stages(self, h: Array, state: RkcState) -> Int[Array, ""]:
        """How many stages a step takes, each a gradient."""
        return jnp.minimum(jnp.ceil(self.effort(h * state.radius)), STAGES).astype(jnp.int32)

    def effort(self, stiffness: Float[Array, "..."]) -> Float[Array, "..."]:
        """Gradients to get as far as a given product of time and spectral radius, in one step or in many."""
        one = jnp.sqrt(1 + (STAGES**2 - 1) / REACH * stiffness)
        return jnp.maximum(jnp.where(stiffness <= REACH, one, STAGES / REACH * stiffness), 2)

    def step(
        self, term: diffrax.AbstractTerm, t0: Any, t1: Any, y0: Any, args: Any, solver_state: RkcState, made_jump: Any
    ) -> tuple[Any, Any, dict[str, Any], RkcState, diffrax.RESULTS]:
        """One step, as a solver of diffrax takes it: end, error, what interpolates it, next state, result."""
        del made_jump
        h = t1 - t0
        first = jax.tree.map(lambda f: h * f, solver_state.derivative)
        count = self.stages(h, solver_state)
        table = jnp.asarray(coefficients(), h.dtype)[count]

        # In increments, of a stage and since the start of the step: rounding is relative to the step, not to y. Time
        # goes along as one more parameter, of velocity 1.
        def stage(j: Array, carry: tuple[Any, Any]) -> tuple[Any, Any]:
            moved, last = carry
            a, b, c, d = table[j]
            f = term.vf(t0 + moved[1], jax.tree.map(jnp.add, y0, moved[0]), args), jnp.ones_like(h)
            last = jax.tree.map(lambda m, x, k, k0: a * m + b * x + c * h * k + d * k0, moved, last, f, (first, h))
            return jax.tree.map(jnp.add, moved, last), last

        start = jax.tree.map(lambda k: table[1, 2] * k, (first, h))
        (moved, _), _ = jax.lax.fori_loop(2, count + 1, stage, (start, start))
        y1 = jax.tree.map(jnp.add, y0, moved)
        derivative = term.vf(t1, y1, args)
        k = jax.tree.map(lambda k0, f: jnp.stack([k0, h * f]), first, derivative)
        error = jax.tree.map(lambda m, k: (0.4 * (k[0] + k[1]) - 0.8 * m) / LENIENCE, moved, k)
        # Where a flow is at rest but for something small, as at a saddle, all that is left of the error is the rounding
        # of the derivative, which the next steps forget: it may not hold them back.
        rounding = ROUNDINGS * jnp.finfo(h.dtype).eps * solver_state.radius * tree_norm(y0)
        at_rest = tree_norm(solver_state.derivative) <= rounding
        rounding, size = jnp.where(at_rest, h * rounding, 0), tree_norm(error)
        share = jnp.where(size > rounding, 1 - rounding / jnp.where(size > 0, size, 1), 0)
        error = jax.tree.map(lambda e: jnp.where(jnp.isfinite(e), share * e, e), error)
        state = RkcState(derivative, solver_state.radius, solver_state.direction, solver_state.age + 1)
        return y1, error, {"y0": y0, "y1": y1, "k": k}, state, diffrax.RESULTS.successful


@functools.cache
def coefficients() -> np.ndarray:
    r"""For s stages and stage j: the factors of :math:`Y_{j-1} - Y_0, Y_{j-1} - Y_{j-2}, h F_{j-1}, h F_0`.

    Their sum is :math:`Y_j - Y_{j-1}`. In double precision, whatever the precision of the run: order two hangs on them.
    """
    table = np.zeros((STAGES + 1, STAGES + 1, 4))
    for s in range(2, STAGES + 1):
        w0 = 1 + DAMPING / s**2
        # T_j, its first and its second derivative at w0.
        t, d, e = (np.zeros(s + 1) for _ in range(3))
        t[:2], d[1] = (1, w0), 1
        for j in range(2, s + 1):
            t[j] = 2 * w0 * t[j - 1] - t[j - 2]
            d[j] = 2 * t[j - 1] + 2 * w0 * d[j - 1] - d[j - 2]
            e[j] = 4 * d[j - 1] + 2 * w0 * e[j - 1] - e[j - 2]
        w1 = d[s] / e[s]
        b = np.ones(s + 1)
        b[2:] = e[2:] / d[2:] ** 2
        b[:2] = b[2]
        mu, nu, nearby = 2 * w0 * b[2:] / b[1:-1], -b[2:] / b[:-2], 2 * w1 * b[2:] / b[1:-1]
        table[s, 1, 2] = b[1] * w1
        table[s, 2 : s + 1] = np.stack([mu + nu - 1, -nu, nearby, (b[1:-1] * t[1:-1] - 1) * nearby], axis=1)
    return table
