"""What the solvers of a flow have in common: the method that takes a step, and what the choice between them asks."""

import abc
import math
from typing import Any, ClassVar

import diffrax
import equinox as eqx
import jax
from jaxtyping import Array, Bool, Float

from ..parameterizations._base import Params


class Evidence(eqx.Module):
    """What an accepted step says about the flow: how stiff it is, and whether another solver suits it better."""

    derivative: Params
    direction: Params  # of the largest eigenvalue of the Hessian, roughly
    radius: Float[Array, ""]
    stiffer: Bool[Array, ""]  # too stiff for this solver
    milder: Bool[Array, ""]  # the one before would do


class FlowSolver(eqx.Module):
    """One way to take the steps of a flow. ``ready`` is the state that its method keeps from step to step."""

    name: ClassVar[str]
    most_parameters: ClassVar[float] = math.inf
    """For how many parameters it is an option."""

    @abc.abstractmethod
    def method(self, params: Params, rtol: float, atol: Any) -> Any:
        """What takes a step, as a solver of diffrax does."""

    def prepare(self, term: diffrax.AbstractTerm, params: Params, ready: Any, step_size: Array) -> tuple:
        """Before a step: the state to take it with, the one to keep if it is rejected, its size, gradients spent."""
        del term, params
        return ready, ready, step_size, 0

    @abc.abstractmethod
    def cost(self, params: Params, ready: Any, h: Array) -> Any:
        """Gradients of one step of size h."""

    def limit(self, next_h: Array, h: Array, time: Array) -> Array:
        """The step size to go on with where accuracy allows ``next_h`` after a step of h until ``time``."""
        del h, time
        return next_h

    @abc.abstractmethod
    def stiffness(
        self,
        term: diffrax.AbstractTerm,
        params: Params,
        ready: Any,
        dense: Any,
        h: Array,
        next_h: Array,
        direction: Params,
        effort: float | None,
    ) -> Evidence:
        """What a step tells. ``effort``: the time of an implicit step in gradients, None where that is no option."""

    @abc.abstractmethod
    def enter(self, term: diffrax.AbstractTerm, params: Params, rtol: float, atol: Any, evidence: Evidence) -> Any:
        """The state for a first step after those of another solver."""


def size_of(params: Params) -> int:
    """The number of parameters."""
    return sum(x.size for x in jax.tree.leaves(params))
