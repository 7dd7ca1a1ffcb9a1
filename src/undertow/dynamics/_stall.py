"""When a flow has got nowhere."""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ..parameterizations._base import Params
from ._base import RUNNING, STALLED, STOPPED, Stop, tree_norm, tree_where
from ._flow_solver import size_of

WINDOW = 256
"""Accepted steps over which a run must get somewhere, or it has stalled; time has at least doubled in them."""
LEAP = 1e12
"""A window is over earlier where time has grown by this factor: the steps of a flow at rest have no bound."""
GROWTH = 1.5
"""What moves this many times as far as in the window before is on its way."""


class Window(eqx.Module):
    """Where a stretch of a run began, and how far the run got in the one before."""

    params: Params
    level: Float[Array, "..."]
    reading: Float[Array, "..."]
    steps: Int[Array, "..."]
    moved: Float[Array, "..."]


def first_window(params: Params, level: Float[Array, ""]) -> Window:
    """The window at the start of a run."""
    zero = jnp.zeros((), jnp.result_type(*jax.tree.leaves(params)))
    return Window(params, level, zero, jnp.zeros((), jnp.int32), zero)


def watch(state: Any, rtol: float, limits: Stop, patient: Bool[Array, ""] | bool = False) -> Any:
    """The state of a flow after a step, marked if it has stalled and is not patient; its limits by the clock.

    It has where the gradient is exactly zero, or parameters and loss are what they were one window ago, up to the
    tolerances of the solver. The time of a window is at least that of the run before it, so that slow does not count as
    still, however short stability keeps the steps. A run for which numbers have no more time ends too.
    """
    window, clock, reading = state.window, state.clock, state.reading
    moved = tree_norm(jax.tree.map(jnp.subtract, state.params, window.params))
    growth = clock.log_time(reading) - clock.log_time(window.reading)  # infinite in the first window
    over = (growth >= math.log(2)) & (state.steps - window.steps >= WINDOW)
    over |= (growth >= math.log(LEAP)) & (window.reading > 0)
    rests = over & _stands_still(state, moved, rtol)
    # Zero for good; where a time was asked for, a few long steps reach it.
    rests = (rests | ((state.slope == 0) & jnp.isinf(limits.time))) & jnp.logical_not(patient)
    status = jnp.where(rests, STALLED, jnp.where(reading >= jnp.finfo(reading.dtype).max, STOPPED, RUNNING))
    fresh = Window(state.params, state.level, reading, state.steps, moved)
    return eqx.tree_at(
        lambda s: (s.status, s.window),
        state,
        (
            jnp.where(state.status == RUNNING, status, state.status).astype(jnp.int32),
            tree_where(over, fresh, window),
        ),
    )


def _stands_still(state: Any, moved: Float[Array, ""], rtol: float) -> Bool[Array, ""]:
    """Whether parameters and loss are what they were, and nothing grows.

    Near a saddle nothing seems to move for long, but something small grows, and will be large one day. It may be an
    entry of its own, however small; or a direction across large entries, and then the way grows from window to window,
    as it does not where a flow settles.
    """
    window, atol = state.window, state.atol
    length = tree_norm(state.params)
    near = moved <= rtol * length + atol * math.sqrt(size_of(state.params))
    rounding = 10 * jnp.finfo(moved.dtype).eps * length
    grows = (moved > GROWTH * window.moved) & (moved > rounding)
    entries = jax.tree.map(
        lambda x, y: jnp.any((jnp.abs(x) > 1.01 * jnp.abs(y)) & (jnp.abs(x) > 100 * atol)), state.params, window.params
    )
    grows |= jnp.any(jnp.stack(jax.tree.leaves(entries)))
    return near & ~grows & (state.level >= state.clock.share(window.level, 1 - 1e-4))


def smallest_step(state: Any, later: Float[Array, ""] | None = None) -> Float[Array, ""]:
    """The step size from which on a rejected step is the last: what it moves is lost in rounding many times over.

    ``later`` is the speed at its end, where that may be what counts: of a run at rest that decay sets in motion.
    """
    dtype, speed = state.reading.dtype, state.speed
    if later is not None:
        speed = jnp.where(jnp.isfinite(later), jnp.maximum(speed, later), speed)
    length = tree_norm(state.params) + state.atol * math.sqrt(size_of(state.params))
    reach = 1e-3 * jnp.finfo(dtype).eps * length / jnp.where(speed > 0, speed, 1)
    # By a clock of log time the speed grows, and a step that is too long is not yet lost because it moves nothing here:
    # points of a unit of 1e-100 stand still until log t = 450.
    reach = jnp.minimum(reach, state.clock.steady)
    return jnp.where(speed > 0, reach, 0).astype(dtype) + jnp.finfo(dtype).tiny
