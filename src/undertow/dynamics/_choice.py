"""The choice between the solvers of a flow, made anew at every accepted step."""

from collections.abc import Mapping
from typing import Any

import diffrax
import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from ..parameterizations._base import Params
from ._base import RUNNING, tree_where
from ._explicit import Explicit
from ._flow_solver import FlowSolver, size_of
from ._implicit import Implicit, implicit_effort
from ._stabilized import Stabilized

LADDER: tuple[FlowSolver, ...] = (Explicit(), Stabilized(), Implicit())
"""In the order of the stiffness they are for."""
SOLVERS: Mapping[str, tuple[FlowSolver, ...]] = {"auto": LADDER, **{solver.name: (solver,) for solver in LADDER}}
PATIENCE = 5
"""Stiff steps in a row after which a run changes to the next solver; doubled by every return."""
SETTLING = 12
"""Steps in a row that must look cheap for the solver before, until the run goes back; steps need time to grow."""


def able(solvers: tuple[FlowSolver, ...], params: Params) -> tuple[FlowSolver, ...]:
    """Those that a run with so many parameters may take."""
    return tuple(s for s in solvers if size_of(params) <= s.most_parameters)


def choose(
    number: int,
    solvers: tuple[FlowSolver, ...],
    term: diffrax.AbstractTerm,
    state: Any,
    dense: Any,
    h: Array,
    next_h: Array,
    rtol: float,
) -> Any:
    """The state with the solver to go on with.

    Explicit where accuracy holds the steps back, stabilized where stability does, implicit where that is dear. The step
    after which the run goes on to the next solver comes twice as late after each return, so that a wrong guess costs
    little.
    """
    last = len(able(solvers, state.params)) - 1
    effort = implicit_effort(size_of(state.params)) if last == len(solvers) - 1 else None
    found = solvers[number].stiffness(
        term, state.params, state.solvers[number], dense, h, next_h, state.direction, effort
    )
    against = jnp.where(found.milder, jnp.minimum(state.votes, 0) - 1, 0)
    votes = jnp.where(found.stiffer, jnp.maximum(state.votes, 0) + 1, against)
    running = state.status == RUNNING
    up, down = running & (votes >= state.patience), running & (votes <= -SETTLING)
    states = list(state.solvers)
    for other, chosen in ((number + 1, up), (number - 1, down)):
        if 0 <= other <= last:
            fresh = solvers[other].enter(term, state.params, rtol, state.atol, found)
            states[other] = tree_where(chosen, fresh, states[other])
    return eqx.tree_at(
        lambda s: (s.votes, s.patience, s.mode, s.solvers, s.direction),
        state,
        (
            jnp.where(up | down, 0, votes).astype(jnp.int32),
            jnp.where(down, 2 * state.patience, state.patience).astype(jnp.int32),
            state.mode + up.astype(jnp.int32) - down.astype(jnp.int32),
            tuple(states),
            None if state.direction is None else found.direction,
        ),
        is_leaf=lambda x: x is None,
    )
