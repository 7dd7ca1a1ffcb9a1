"""Stabilized steps: explicit, with as many stages as stability asks for."""

from typing import Any, ClassVar

import jax.numpy as jnp

from ._explicit import EXPLICIT_COST
from ._flow_solver import Evidence, FlowSolver
from ._rkc import Rkc, RkcState
from ._stiffness import EXPLICIT_EDGE


class Stabilized(FlowSolver):
    """Runge-Kutta-Chebyshev 2."""

    name: ClassVar[str] = "stabilized"

    def method(self, params: Any, rtol: float, atol: Any) -> Rkc:
        del params, rtol, atol
        return Rkc()

    def prepare(self, term: Any, params: Any, ready: RkcState, step_size: Any) -> tuple:
        ready, spent = Rkc().refresh(term, params, ready)
        # What is learnt about the spectral radius outlives a rejected step, but is learnt once more.
        return ready, Rkc().outdated(ready), jnp.minimum(step_size, Rkc().longest(ready)), spent

    def cost(self, params: Any, ready: RkcState, h: Any) -> Any:
        del params
        return Rkc().stages(h, ready)

    def stiffness(
        self, term: Any, params: Any, ready: RkcState, dense: Any, h: Any, next_h: Any, direction: Any, effort: Any
    ) -> Evidence:
        """Stabilized steps must get further for each gradient than explicit ones at their edge."""
        del term, params, dense, direction
        radius = ready.radius
        stiffer = jnp.asarray(False) if effort is None else Rkc().effort(next_h * radius) > effort
        milder = h * radius < EXPLICIT_EDGE / EXPLICIT_COST * Rkc().effort(h * radius)
        return Evidence(ready.derivative, ready.direction, radius, stiffer, milder)

    def enter(self, term: Any, params: Any, rtol: float, atol: Any, evidence: Evidence) -> RkcState:
        del term, params, rtol, atol
        return Rkc().enter(evidence.derivative, evidence.direction, evidence.radius)
