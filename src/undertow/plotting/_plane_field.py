"""The field of two weights and its paths, computed: parameters at each point of the plane, and gradient flow."""

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from .._description import Static
from ..dynamics import GradientFlow, Stop
from ..objective import velocity
from ..parameterizations import Function, Parameterization
from ..parameterizations._base import Params
from ..probes import Function as Probe
from ..problems import Problem
from ..training import train

STAGES, CORRECTIONS = 40, 3
"""Steps along the line to a point, and steps of Newton's method in each."""
REACHED = 1e-3
"""Largest distance from a point, over its size, at which its parameters count as found; NaN otherwise."""
SHARE, STEPS = 1e-8, 5_000
"""A path ends where the loss is this share of the first one, or after so many steps."""


class _Loss(Problem):
    """A loss of the user's own."""

    shape: tuple[int, ...] = eqx.field(static=True)
    of: Static = eqx.field(static=True)

    def loss(self, w: Float[Array, " 2"]) -> Float[Array, ""]:
        return self.of(w)


@dataclasses.dataclass(frozen=True)
class TrainedPath:
    """The points of a path, shape (n, 2), and whether it reached its end."""

    points: np.ndarray
    converged: bool


def as_problem(value: Any) -> Problem:
    """The problem, or the one of this loss; of two weights."""
    if not isinstance(value, Problem):
        if not callable(value) or isinstance(value, type):
            raise TypeError(f"problem: expected a Problem of shape (2,), or a function w -> loss, found {value!r}")
        return _Loss((2,), Static(value))
    if value.shape != (2,):
        raise ValueError(f"problem: expected shape (2,), found {value.shape}")
    return value


def as_map(value: Any) -> Parameterization:
    """The parameterization, or that of this map; of two weights."""
    if not isinstance(value, Parameterization):
        if not callable(value) or isinstance(value, type):
            raise TypeError(
                f"parameterization: expected a Parameterization of shape (2,), or a map u -> w, found {value!r}"
            )
        phi: Any = value  # seen to be callable, of what the type checker cannot tell
        return Function(phi, shape=2)
    if value.shape != (2,):
        raise ValueError(f"parameterization: expected shape (2,), found {value.shape}")
    return value


def lift(phi: Parameterization, w: np.ndarray, params: Params | None, name: str) -> Params:
    """Parameters of the one point in ``w``, shape (1, 2); raises where it has none."""
    found = jax.tree.map(lambda leaf: leaf[0], _lift(phi, params)(jnp.asarray(w)))
    if not all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(found)):
        raise ValueError(f"{name}: expected a point that the parameterization reaches, found {w[0].tolist()}")
    return found


def field_at(problem: Problem, phi: Parameterization, grid: np.ndarray, params: Params | None) -> np.ndarray:
    """The velocity at the points of a grid, shape (m, n, 2); NaN where a point has no parameters."""
    points = jnp.asarray(grid.reshape(-1, 2))
    found = _lift(phi, params)(points)
    at = np.array(jax.jit(jax.vmap(lambda u: velocity(problem, phi, u)))(found), float)
    at[~np.isfinite(at).all(axis=1)] = np.nan
    if np.isnan(at).all():
        raise ValueError("limits: expected a part of the plane where the field is finite, found none")
    return at.reshape(grid.shape)


def trained_path(problem: Problem, phi: Parameterization, params: Params) -> TrainedPath:
    """Gradient flow from these parameters."""
    first = float(problem.loss(phi(params)))
    stop = Stop(loss=max(SHARE * first, 0.0), steps=STEPS)
    watched = [Probe("w", lambda w: w)]
    run = train(problem, phi, GradientFlow(), params=params, stop=stop, probes=watched)
    return TrainedPath(np.asarray(run["w"], float), run.status in ("converged", "stalled"))


def _lift(phi: Parameterization, params: Params | None) -> Callable[[Array], Params]:
    """Points, shape (n, 2), to parameters with the points first; NaN where there are none."""
    try:
        jax.eval_shape(phi.lift, jnp.ones(2))
    except NotImplementedError:
        return _follow(phi, params)

    def known(w: Array) -> Params:
        params = phi.lift(w)
        # Where w has no parameters a lift that cannot look at its entries gives those of another w.
        reached = _miss(phi(params), w) <= REACHED
        return jax.tree.map(lambda leaf: jnp.where(reached, leaf, jnp.nan), params)

    return jax.jit(jax.vmap(known))


def _miss(found: Array, w: Array) -> Array:
    """The distance of what was found from w, over its size."""
    return jnp.abs(found - w).max() / (1 + jnp.abs(w).max())


def _follow(phi: Parameterization, params: Params | None) -> Callable[[Array], Params]:
    """The inverse of a map of two parameters, followed along straight lines from a point where it is known."""
    if params is None:
        raise ValueError(
            f"params: expected two numbers, parameters of {type(phi).__name__} from which its inverse is followed (it "
            "has no lift), found None"
        )
    if isinstance(params, (list, tuple)) and all(isinstance(each, (int, float)) for each in params):
        params = jnp.asarray(params, jnp.result_type(float))  # two numbers, not a PyTree of two scalars
    origin, unravel = ravel_pytree(jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.result_type(float)), params))
    if origin.shape != (2,):
        raise ValueError(f"params: expected two numbers, because the map has no lift, found {origin.size}")

    def of(u: Array) -> Array:
        return phi(unravel(u))

    w0 = of(origin)

    def inverse(w: Array) -> Array:
        def stage(u: Array, share: Array) -> tuple[Array, None]:
            wanted = w0 + share * (w - w0)
            for _ in range(CORRECTIONS):
                u = u - jnp.linalg.solve(jax.jacfwd(of)(u), of(u) - wanted)
            return u, None

        u, _ = jax.lax.scan(stage, origin, jnp.linspace(0, 1, STAGES + 1, dtype=origin.dtype)[1:])
        return jnp.where(_miss(of(u), w) <= REACHED, u, jnp.nan)

    return lambda points: jax.vmap(unravel)(jax.jit(jax.vmap(inverse))(points.astype(origin.dtype)))
