"""How a dynamics of single steps is advanced: from sample to sample, inside one compiled program."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from ._base import RUNNING, Snapshots, State


def by_steps(
    step: Callable[[Any], Any], state: Any, targets: Array, passed: Int[Array, ""], limit: Int[Array, ""]
) -> tuple[Any, Snapshots]:
    """``Dynamics.advance`` for dynamics that are a step, sampled by steps.

    Parameters
    ----------
    step
        From a state to the next: one more in ``steps``, and a ``status`` other than RUNNING where the run ends.
    state, targets, passed, limit
        As ``advance`` is given them.

    Returns
    -------
    The state and the samples that ``advance`` returns. Chunks of any length give the same states.
    """

    def go(carry: tuple, end: Array) -> tuple:
        return (jax.lax.while_loop(lambda s: running(s, end), step, carry[0]),)

    (state,), samples = to_targets(go, (state,), targets, passed, limit)
    return state, samples


def running(state: State, end: Array) -> Array:
    """Whether there is a step to take before ``end`` steps are done."""
    return (state.status == RUNNING) & (state.steps < end)


def to_targets(
    go: Callable[[tuple, Array], tuple], carry: tuple, targets: Array, passed: Array, limit: Array
) -> tuple[tuple, Snapshots]:
    """The same, where ``go(carry, end)`` takes a carry whose first part is the state to ``end`` steps."""
    last = carry[0].steps + limit

    def to_target(carry: tuple, index: Array) -> tuple[tuple, tuple[Any, ...]]:
        target = targets[index]
        carry = go(carry, jnp.minimum(target, last))
        state = carry[0]
        # A run that ended is sampled at its end by the caller.
        taken = (state.steps == target) & (state.status == RUNNING) & (index >= passed)
        return carry, (state.params, state.time, state.steps, taken, state.told)

    carry, samples = jax.lax.scan(to_target, carry, jnp.arange(targets.shape[0], dtype=jnp.int32))
    return carry, Snapshots(*samples)
