r"""What mirror descent and mirror flow share: they are descent and flow of the dual variable.

The dual :math:`z = \nabla\phi(w)` moves by the gradient in w, :math:`\dot z = -\nabla\ell(w)`: that is gradient flow of
:math:`\ell((\nabla\phi)^{-1}(z))`, but for the derivative of the inverse mirror map, which counts as the identity.
So everything else, steps, tolerances, limits and samples, is that of ``GradientDescent`` and ``GradientFlow``.
"""

import abc
import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from .._validation import Numbers
from ..objective import Objective
from ..parameterizations import Parameterization
from ..parameterizations._base import Indices, Params
from ..penalties import Penalty
from ..potentials import Potential
from ..potentials._base import check_inside
from ._base import RUNNING, STALLED, Dynamics, Snapshots, State, Stop, tree_norm, tree_where

WINDOW = 1000
"""Steps over which a run must get somewhere, or it has stalled."""
AHEAD = 1000
"""Windows for which a run is thought to go on in the same way when it is asked whether it gets anywhere."""
REST = 1e-4
"""Relative change of the total that counts as none."""


def _to_primal(potential: Potential, dual: Params) -> Params:
    return jax.tree.map(potential.inverse_gradient, dual)


def _to_dual(potential: Potential, params: Params) -> Params:
    return jax.tree.map(potential.gradient, params)


@eqx.filter_custom_jvp
def _straight_through(dual: Params, *, potential: Potential) -> Params:
    return _to_primal(potential, dual)


@_straight_through.def_jvp
def _(primals: tuple[Params], tangents: tuple[Params], *, potential: Potential) -> tuple[Params, Params]:
    """The derivative is the identity; that of the field, where it is asked for, is the true one."""
    return _to_primal(potential, *primals), *tangents


class Dual(Parameterization):
    """A parameterization whose parameters are written by their dual."""

    shape: tuple[int, ...] = eqx.field(static=True)
    parameterization: Parameterization
    potential: Potential

    def __init__(self, parameterization: Parameterization, potential: Potential):
        self.shape = parameterization.shape
        self.parameterization, self.potential = parameterization, potential

    def init(self, key: Array, scale: ArrayLike) -> Params:
        return _to_dual(self.potential, self.parameterization.init(key, scale))

    def __call__(self, params: Params) -> Float[Array, "..."]:
        return self.parameterization(_straight_through(params, potential=self.potential))

    def lift(self, w: Numbers) -> Params:
        return _to_dual(self.potential, self.parameterization.lift(w))

    def entries(self, params: Params, indices: Indices) -> Float[Array, "m ..."]:
        return self.parameterization.entries(_straight_through(params, potential=self.potential), indices)


class PenaltyOfPrimal(Penalty):
    """A penalty of the parameters that a dual stands for."""

    penalty: Penalty
    potential: Potential

    def __call__(self, w: Float[Array, "..."]) -> Float[Array, ""]:
        return self.penalty(w)

    @property
    def of_w(self) -> bool:
        return self.penalty.of_w

    def of(self, parameterization: Parameterization, params: Params) -> Float[Array, ""]:
        assert isinstance(parameterization, Dual)
        primal = _straight_through(params, potential=self.potential)
        return self.penalty.of(parameterization.parameterization, primal)


class MirrorState(State):
    """The run of the dual, and where it has brought the parameters."""

    params: Params
    inner: State
    pace: Float[Array, "..."]  # of the parameters at the start, relative to their size
    window: tuple[Params, Float[Array, "..."], Int[Array, "..."]]  # dual, total and steps at its beginning

    def __init__(self, params: Params, inner: State, pace: Array, window: tuple[Params, Array, Array]):
        self.params, self.inner, self.pace, self.window = params, inner, pace, window

    @property
    def time(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.inner.time

    @property
    def steps(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.inner.steps

    @property
    def gradient_evaluations(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.inner.gradient_evaluations

    @property
    def loss(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.inner.loss

    @property
    def gradient_norm(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.inner.gradient_norm

    @property
    def log_time(self) -> Any:
        return self.inner.log_time

    @property
    def log_loss(self) -> Any:
        return self.inner.log_loss

    def ended(self, stop: Stop, attained: bool) -> Any:
        return self.inner.ended(stop, attained)

    @property
    def status(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.inner.status

    @property
    def mode(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.inner.mode


class Mirror(Dynamics):
    """Dynamics of the dual variable of a potential."""

    potential: eqx.AbstractVar[Potential]

    @property
    @abc.abstractmethod
    def inner(self) -> Dynamics:
        """What moves the dual."""

    @property
    def modes(self) -> tuple[str, ...]:
        return self.inner.modes

    @property
    def samples_by(self) -> str:
        return self.inner.samples_by

    def in_log_time(self, objective: Objective) -> bool:
        return self.inner.in_log_time(objective)

    def check(self, objective: Objective, params: Params) -> None:
        """Raise ValueError where the run cannot start at ``params``."""
        for leaf in jax.tree.leaves(params):
            check_inside("params", self.potential, leaf)

    def start(self, objective: Objective, params: Params, stop: Stop) -> MirrorState:
        # Outside of the domain there is no dual, which the run that starts there is told by its loss.
        inside = jnp.stack([self.potential.contains(x) for x in jax.tree.leaves(params)]).all()
        dual = jax.tree.map(lambda s: jnp.where(inside, s, jnp.nan), _to_dual(self.potential, params))
        (total, _), slope = jax.value_and_grad(objective, has_aux=True)(params)
        speed = jax.jvp(lambda dual: _to_primal(self.potential, dual), (dual,), (slope,))[1]
        inner = self.inner.start(self._objective(objective), dual, stop)
        pace = tree_norm(speed) / tree_norm(params)
        level = total if not self.in_log_time(objective) else inner.log_loss
        return MirrorState(params, inner, pace, (dual, level, inner.steps))

    def first_sample(self, state: State) -> Float[Array, "..."]:
        """For a flow, a hundredth of the time in which the initial velocity would double the parameters."""
        assert isinstance(state, MirrorState)
        if self.samples_by == "steps":
            return self.inner.first_sample(state.inner)
        return 0.01 / jnp.where(jnp.isfinite(state.pace) & (state.pace > 0), state.pace, 1)

    def advance(
        self,
        mode: str,
        objective: Objective,
        state: State,
        stop: Stop,
        targets: Array,
        passed: Int[Array, ""],
        limit: Int[Array, ""],
    ) -> tuple[State, Snapshots]:
        assert isinstance(state, MirrorState)
        objective = self._objective(objective)
        number, count = self.modes.index(mode), targets.shape[0]
        zero = jnp.zeros((), jnp.int32)
        buffer = jax.tree.map(lambda x: jnp.broadcast_to(x, (count, *x.shape)), state.inner.params)
        nothing = Snapshots(
            buffer, jnp.zeros(count, state.time.dtype), jnp.zeros(count, jnp.int32), jnp.zeros(count, bool)
        )

        def going(carry: tuple) -> Array:
            state, snapshots, used = carry
            here = (state.status == RUNNING) & (state.mode == number)
            return here & (passed + jnp.sum(snapshots.taken, dtype=jnp.int32) < count) & (used < limit)

        def to_window(carry: tuple) -> tuple:
            """To the end of the window at most, so that windows do not depend on where chunks are cut."""
            state, snapshots, used = carry
            steps = jnp.minimum(WINDOW - state.steps % WINDOW, limit - used)
            already = passed + jnp.sum(snapshots.taken, dtype=jnp.int32)
            inner, fresh = self.inner.advance(mode, objective, state.inner, stop, targets, already, steps)
            state = self._watch_progress(objective, eqx.tree_at(lambda s: s.inner, state, inner))
            merge = jax.vmap(tree_where)(fresh.taken, fresh, snapshots)
            return state, merge, used + steps

        state, snapshots, _ = jax.lax.while_loop(going, to_window, (state, nothing, zero))
        primal = functools.partial(_to_primal, self.potential)
        state = eqx.tree_at(lambda s: s.params, state, primal(state.inner.params))
        return state, eqx.tree_at(lambda s: s.params, snapshots, jax.vmap(primal)(snapshots.params))

    def _objective(self, objective: Objective) -> Objective:
        penalty = objective.penalty and PenaltyOfPrimal(objective.penalty, self.potential)
        dual = Dual(objective.parameterization, self.potential)
        return eqx.tree_at(
            lambda o: (o.parameterization, o.penalty), objective, (dual, penalty), is_leaf=lambda x: x is None
        )

    def _watch_progress(self, objective: Objective, state: MirrorState) -> MirrorState:
        """Once every WINDOW steps: mark a run that gets nowhere as stalled.

        On the boundary of the domain the dual goes on for ever. At rest is a run whose total would not change if its
        dual went on in the same way for a long time.
        """
        if self.in_log_time(objective):
            objective = objective.logarithm or objective
        dual, before, steps = state.window
        over = (state.steps % WINDOW == 0) & (state.steps != steps)
        now = state.inner.params
        ahead = jax.tree.map(lambda a, b: a + AHEAD * (a - b), now, dual)
        total, later = objective(now)[0], objective(ahead)[0]
        at_rest = (jnp.abs(later - total) <= REST * jnp.abs(total)) & (total >= before - REST * jnp.abs(before))
        stalled = over & at_rest & (state.status == RUNNING)
        status = jnp.where(stalled, STALLED, state.status).astype(jnp.int32)
        window = tree_where(over, (now, total, state.steps), state.window)
        return eqx.tree_at(lambda s: (s.inner.status, s.window), state, (status, window))
