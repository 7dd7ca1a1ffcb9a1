"""The state of a flow: where it is, and what its solvers keep from step to step."""

from typing import Any

from jaxtyping import Array, Float, Int

from ..parameterizations._base import Params
from ._base import State, Stop, ended
from ._clock import Clock
from ._stall import Window


class FlowState(State):
    """The flow after its last accepted step, with all that the next one needs."""

    params: Params
    clock: Clock
    reading: Float[Array, "..."]  # of the clock
    reading_lost: Float[Array, "..."]  # what rounding took from it: float32 runs are long
    step_size: Float[Array, "..."]
    atol: Float[Array, "..."]
    solvers: tuple[Any, ...]
    controller: Any
    votes: Int[Array, "..."]  # steps in a row that speak for the next mode; negative: for the one before
    patience: Int[Array, "..."]  # how many it takes to go on to the next
    direction: Params | None
    steps: Int[Array, "..."]
    gradient_evaluations: Int[Array, "..."]
    lowest: Float[Array, "..."]  # level of the objective so far
    floor: Float[Array, "..."]  # of that level: below, it has no minimum
    level: Float[Array, "..."]  # of the loss
    slope: Float[Array, "..."]  # norm of the field of the level of the objective
    landings: Int[Array, "..."]
    window: Window
    status: Int[Array, "..."]
    mode: Int[Array, "..."]

    @property
    def time(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.clock.time(self.reading)

    @property
    def log_time(self) -> Any:
        return self.clock.log_time(self.reading)

    @property
    def loss(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.clock.loss(self.level)

    @property
    def log_loss(self) -> Any:
        return self.clock.log_loss(self.level)

    @property
    def gradient_norm(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.clock.gradient_norm(self.slope, self.level)

    @property
    def speed(self) -> Any:
        """The norm of the velocity by the clock."""
        return self.slope * self.clock.pace(self.reading, self.level)

    def ended(self, stop: Stop, attained: bool) -> Int[Array, "..."]:
        return ended(self.clock.stop(stop), self.level, self.gradient_norm, self.steps, self.reading, attained)
