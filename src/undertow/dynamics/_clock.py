"""What a flow counts its steps in: time, or its logarithm where the loss reaches zero at infinity only.

There, time grows like the exponential of what the parameters do, and soon beyond all numbers, while the loss falls
below them. With the clock s = log(1 + t) the same flow is du/ds = -exp(s + log L) grad log L: all its parts stay of
order one, however long it runs.
"""

import math
from collections.abc import Callable
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..objective import Objective
from ..parameterizations._base import Params
from ._base import RUNAWAY, Stop


class Clock(eqx.Module):
    """Time as it is: the clock is the time, and levels are losses."""

    steady: ClassVar[float] = math.inf
    """For how long by the clock the pace changes by no more than a small factor, where the level stays."""

    def objective(self, objective: Objective) -> Objective:
        """What has the levels as its values."""
        return objective

    def pace(self, reading: Array, level: Array) -> Array | float:
        """The velocity by the clock over the field of the objective of levels."""
        del reading, level
        return 1.0

    def velocity(self, field: Params, reading: Array, level: Callable[[], Array]) -> Params:
        """The field of the objective of levels, at the pace of the clock, which may ask for the level."""
        del reading, level
        return field

    def stop(self, stop: Stop) -> Stop:
        """The limits, of time by the clock and of loss as a level."""
        return stop

    def of(self, target: Array) -> Array:
        """The clock at a sample target."""
        return target

    def time(self, reading: Array) -> Array:
        """The time."""
        return reading

    def log_time(self, reading: Array) -> Array:
        """Its logarithm."""
        return jnp.log(reading)

    def loss(self, level: Array) -> Array:
        """The loss."""
        return level

    def log_loss(self, level: Array) -> Array:
        """Its logarithm."""
        return jnp.log(level)

    def gradient_norm(self, slope: Array, level: Array) -> Array:
        """That of the loss, from that of the level."""
        del level
        return slope

    def length(self, level: Array, slope: Array) -> Array:
        """How far the parameters move until the loss is of another order, as far as its gradient tells."""
        return jnp.abs(level) / slope

    def floor(self, level: Array) -> Array:
        """Of the levels of an objective that starts at ``level``: what is below has no minimum."""
        return -RUNAWAY * jnp.maximum(1, jnp.abs(level))

    def share(self, level: Array, factor: float) -> Array:
        """The level of ``factor`` times the loss."""
        return factor * level

    def fall(self, before: Array, after: Array) -> Float[Array, "..."]:
        """The logarithm of the loss before over that after."""
        return jnp.log(before / after)


class LogClock(Clock):
    """The logarithm of 1 + time, and levels are logarithms of losses."""

    steady: ClassVar[float] = 1.0

    def objective(self, objective: Objective) -> Objective:
        logarithm = objective.logarithm
        assert logarithm is not None  # the flow asks
        return logarithm

    def pace(self, reading: Array, level: Array) -> Array:
        return jnp.exp(reading + level)

    def velocity(self, field: Params, reading: Array, level: Callable[[], Array]) -> Params:
        pace = self.pace(reading, level())
        return jax.tree.map(lambda x: pace * x, field)

    def stop(self, stop: Stop) -> Stop:
        return eqx.tree_at(lambda s: (s.loss, s.time), stop, (stop.log_loss, self.of(stop.log_time)))

    def of(self, target: Array) -> Array:
        return jax.nn.softplus(target)  # keeps infinity

    def time(self, reading: Array) -> Array:
        return jnp.expm1(reading)

    def log_time(self, reading: Array) -> Array:
        return reading + jnp.log(-jnp.expm1(-reading))

    def loss(self, level: Array) -> Array:
        return jnp.exp(level)

    def log_loss(self, level: Array) -> Array:
        return level

    def gradient_norm(self, slope: Array, level: Array) -> Array:
        return slope * jnp.exp(level)

    def length(self, level: Array, slope: Array) -> Array:
        del level
        return 1 / slope

    def floor(self, level: Array) -> Array:
        return jnp.full_like(level, -jnp.inf)

    def share(self, level: Array, factor: float) -> Array:
        return level + jnp.log(factor)

    def fall(self, before: Array, after: Array) -> Float[Array, "..."]:
        return before - after
