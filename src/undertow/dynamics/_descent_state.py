"""The state of a descent: where it is, and what is known there."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ..parameterizations._base import Params
from ._base import State, Stop, ended


class DescentState(State):
    """The run before its next update; the gradient at ``params`` is known already.

    Levels are losses, or in a run that keeps logarithms those of losses; the gradient and its ``slope`` are of levels.
    """

    params: Params
    gradient: Params | None  # at params; not known ahead where each step draws its terms
    optimizer: Any
    logarithms: bool = eqx.field(static=True)
    time: Float[Array, "..."]
    steps: Int[Array, "..."]
    gradient_evaluations: Int[Array, "..."]
    total: Float[Array, "..."]  # level of the objective
    level: Float[Array, "..."]  # of the loss
    slope: Float[Array, "..."]
    ceiling: Float[Array, "..."]  # of the total
    unmoved: Int[Array, "..."]
    status: Int[Array, "..."]
    mode: Int[Array, "..."]

    @property
    def loss(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        return jnp.exp(self.level) if self.logarithms else self.level

    @property
    def log_loss(self) -> Any:
        return self.level if self.logarithms else jnp.log(self.level)

    @property
    def gradient_norm(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.slope * jnp.exp(self.level) if self.logarithms else self.slope

    def ended(self, stop: Stop, attained: bool) -> Int[Array, "..."]:
        if self.logarithms:
            stop = eqx.tree_at(lambda s: s.loss, stop, stop.log_loss)
        return ended(stop, self.level, self.gradient_norm, self.steps, self.time, attained)
