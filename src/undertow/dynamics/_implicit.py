"""Implicit steps, with the dense Hessian: as long as accuracy allows, however stiff the flow is."""

import math
from typing import Any, ClassVar

import diffrax
import jax.numpy as jnp

from ._base import tree_norm
from ._flow_solver import Evidence, FlowSolver, size_of
from ._rkc import Rkc
from ._root_finder import GuardedNewton
from ._stiffness import spectral_radius

HESSIANS = 12
"""Of one implicit step: 6 stages, each of which takes about 2 iterations of Newton's method."""


class Implicit(FlowSolver):
    """Kvaerno 5(4), L-stable."""

    name: ClassVar[str] = "implicit"
    most_parameters: ClassVar[float] = 400  # for the dense linear algebra

    def method(self, params: Any, rtol: float, atol: Any) -> diffrax.Kvaerno5:
        # The last correction of Newton's method is far larger than the error that it leaves, so that a hundred times
        # the tolerance is exact enough; nor can it get below some roundings, in float32 above all. With the Hessian at
        # every iteration: one for a whole step, or a stage, is no longer that of the end where the flow is very stiff
        # and curved (2 x 2 to infinity, loss 1e-6: 7,822 and 325 steps, against 180).
        rms = tree_norm(params) / math.sqrt(size_of(params))
        floor = 1e4 * float(jnp.finfo(rms.dtype).eps)
        root_finder = GuardedNewton(
            rtol=max(min(100 * rtol, 0.1), floor),
            atol=jnp.maximum(100 * atol, floor * rms),
            rounding=floor * rms,
        )
        return diffrax.Kvaerno5(root_finder=root_finder, root_find_max_steps=20, scan_kind="lax")

    def cost(self, params: Any, ready: Any, h: Any) -> int:
        """Its dense Hessians, each as many products with a vector as there are parameters."""
        del ready, h
        return HESSIANS * 2 * size_of(params)

    def limit(self, next_h: Any, h: Any, time: Any) -> Any:
        """Where a run has arrived, time would outgrow all numbers before that shows."""
        return jnp.minimum(next_h, jnp.maximum(h, 2 * time))

    def stiffness(
        self, term: Any, params: Any, ready: Any, dense: Any, h: Any, next_h: Any, direction: Any, effort: Any
    ) -> Evidence:
        del ready, dense, next_h

        def field(params: Any) -> Any:
            return term.vf(0.0, params, None)

        radius, image = spectral_radius(field, params, direction)
        milder = Rkc().effort(h * radius) < effort / 2
        return Evidence(field(params), image, radius, jnp.asarray(False), milder)

    def enter(self, term: Any, params: Any, rtol: float, atol: Any, evidence: Evidence) -> Any:
        del evidence
        zero = jnp.zeros((), tree_norm(params).dtype)
        return self.method(params, rtol, atol).init(term, zero, zero, params, None)


def implicit_effort(size: int) -> float:
    """Time of one implicit step in times of a gradient, its linear algebra included (measured on two cores)."""
    return 30 + size**2 / 33
