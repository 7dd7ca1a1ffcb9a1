"""Explicit steps: cheapest where accuracy, not stability, holds them back."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from ._flow_solver import Evidence, FlowSolver
from ._stiffness import EXPLICIT_EDGE, explicit_stiffness
from ._tsit5 import Tsit5

EXPLICIT_COST = 6
"""Gradients of one explicit step."""


class Explicit(FlowSolver):
    """Tsitouras 5(4)."""

    name: ClassVar[str] = "explicit"

    def method(self, params: Any, rtol: float, atol: Any) -> Tsit5:
        del params, rtol, atol
        return Tsit5()

    def cost(self, params: Any, ready: Any, h: Any) -> int:
        del params, ready, h
        return EXPLICIT_COST

    def stiffness(
        self, term: Any, params: Any, ready: Any, dense: Any, h: Any, next_h: Any, direction: Any, effort: Any
    ) -> Evidence:
        del term, params, next_h, direction, effort
        stiffness = explicit_stiffness(Tsit5.tableau, dense["k"])
        apart = jax.tree.map(lambda k: k[-1] - k[-2], dense["k"])
        return Evidence(ready, apart, stiffness / h, stiffness > EXPLICIT_EDGE, jnp.asarray(False))

    def enter(self, term: Any, params: Any, rtol: float, atol: Any, evidence: Evidence) -> Any:
        del term, params, rtol, atol
        return evidence.derivative
