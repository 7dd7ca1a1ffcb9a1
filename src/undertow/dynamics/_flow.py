"""Flows, solved as the ordinary differential equations that they are."""

import abc
import math
from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ..objective import Objective
from ..parameterizations._base import Params
from ._base import (
    DIVERGED,
    RUNNING,
    STALLED,
    Dynamics,
    Snapshots,
    State,
    Stop,
    finite,
    once,
    tree_norm,
    tree_where,
)
from ._choice import LADDER, PATIENCE, SOLVERS, able, choose
from ._clock import Clock, LogClock
from ._flow_solver import size_of
from ._flow_state import FlowState
from ._numbers import missed
from ._one_array import in_one_array
from ._stall import first_window, smallest_step, watch

Unpack = Callable[[Params], Params]

LANDING = 0.999
"""A run that stops at a loss ends between this share of it and the loss itself."""


class Flow(Dynamics):
    """What follows a field by adaptive solvers: steps, samples, limits and what standing still is.

    A flow says which field it follows. Where that is minus the gradient of the objective, no step may raise it.
    """

    solver: eqx.AbstractVar[str]
    rtol: eqx.AbstractVar[float]
    atol: eqx.AbstractVar[float | None]

    @abc.abstractmethod
    def field(self, objective: Objective, params: Params) -> Params:
        """The velocity of the parameters."""

    @property
    @abc.abstractmethod
    def descends(self) -> bool:
        """Whether the objective falls along the field, so that a step that raises it is refused."""

    def decay_at(self, time: Float[Array, ""]) -> Float[Array, ""] | None:
        """The rate of weight decay beside the field; None: there is none."""
        del time
        return None

    @property
    def may_begin_late(self) -> bool:
        """Whether a run at rest may move again, so that before a time that is asked for it is never stalled."""
        return False

    def gradients(self, objective: Objective) -> int:
        """How many gradients the field is worth."""
        del objective
        return 1

    @property
    def modes(self) -> tuple[str, ...]:
        return tuple(solver.name for solver in SOLVERS[self.solver])

    @property
    def samples_by(self) -> str:
        return "time"

    @property
    def scales(self) -> bool:
        """Whether the field is linear in the gradient of the objective, so that a run can be followed in log time."""
        return False

    def in_log_time(self, objective: Objective) -> bool:
        return self.scales and objective.logarithm is not None

    def first_sample(self, state: State) -> Float[Array, "..."]:
        """A hundredth of the time in which the initial velocity would double the parameters."""
        pace = state.gradient_norm / tree_norm(state.params)
        return 0.01 / jnp.where(jnp.isfinite(pace) & (pace > 0), pace, 1)

    def _term(self, objective: Objective, unpack: Unpack, clock: Clock, reading: Array) -> diffrax.ODETerm:
        """The velocity by the clock, at a time since its present reading."""

        # Compiled as a function of its own, it is traced once for all stages of a step.
        @jax.jit
        def velocity(t: Any, packed: Params) -> Params:
            params = unpack(packed)
            field = in_one_array(self.field(objective, params))[0]
            rate = self.decay_at(reading + t)
            if rate is not None:
                field = jax.tree.map(lambda f, p: f - rate.astype(f.dtype) * p, field, packed)
            return clock.velocity(field, reading + t, lambda: objective(params)[0])

        return diffrax.ODETerm(lambda t, packed, args: velocity(t, packed))

    def _controller(self, atol: Any) -> diffrax.PIDController:
        return diffrax.PIDController(rtol=self.rtol, atol=atol, pcoeff=0.4, icoeff=0.3)

    def start(self, objective: Objective, params: Params, stop: Stop) -> FlowState:
        given, (params, unpack) = params, in_one_array(params)
        size = size_of(params)
        solvers = SOLVERS[self.solver]
        usable = able(solvers, params)
        if not usable:
            raise ValueError(
                f"solver: expected at most {solvers[0].most_parameters} parameters for {self.solver!r}, found {size}; "
                "use 'auto' or 'stabilized'"
            )
        clock, attained = self._clock(objective), objective.problem.attained
        objective = clock.objective(objective)
        # The solver knows one dtype, that of the parameters; the problem may have another.
        dtype = jnp.result_type(*jax.tree.leaves(params))
        count, zero = jnp.zeros((), jnp.int32), jnp.zeros((), dtype)
        term = self._term(objective, unpack, clock, zero)
        total, level = objective(given)
        velocity = term.vf(zero, params, None)
        slope = tree_norm(velocity) / clock.pace(zero, level)
        rms = tree_norm(params) / math.sqrt(size)
        unit = (clock.length(level, slope) / math.sqrt(size)).astype(dtype)
        unit = jnp.where(rms > 0, rms, jnp.where(jnp.isfinite(unit) & (unit > 0), unit, 1))
        atol = unit * self.rtol * 1e-3 if self.atol is None else zero + self.atol
        first = usable[0].method(params, self.rtol, atol)
        # The first step by Hairer's rule, which the controller of diffrax knows.
        step_size, controller = self._controller(atol).init(
            term, zero, zero + 1, params, None, None, first.func, first.error_order(term)
        )
        # Its squares leave the range of numbers where the velocity is huge.
        speed = tree_norm(velocity)
        short = jnp.where(speed > 0, 0.01 * unit * math.sqrt(size) / speed, 1)
        state = FlowState(  # pyright: ignore[reportCallIssue] (what its properties give is no argument)
            params=given,
            clock=clock,
            reading=zero,
            reading_lost=zero,
            step_size=jnp.where(jnp.isfinite(step_size) & (step_size > 0), step_size, short).astype(dtype),
            atol=atol,
            solvers=tuple(
                s.method(params, self.rtol, atol).init(term, zero, zero + 1, params, None) if s in usable else None
                for s in solvers
            ),
            controller=jax.tree.map(jnp.asarray, controller),
            votes=count,
            patience=count + PATIENCE,
            direction=velocity if usable == LADDER else None,
            steps=count,
            gradient_evaluations=count + 1 + 2 * self.gradients(objective),
            lowest=total,
            floor=clock.floor(total),
            level=level,
            slope=slope,
            landings=count,
            window=first_window(params, level),
            status=count,
            mode=count,
        )
        sound = finite(total, slope, state.loss)
        status = jnp.where(sound, state.ended(stop, attained), DIVERGED).astype(jnp.int32)
        return eqx.tree_at(lambda s: s.status, state, status)

    def _clock(self, objective: Objective) -> Clock:
        return LogClock() if self.in_log_time(objective) else Clock()

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
        assert isinstance(state, FlowState)
        count, readings = targets.shape[0], state.clock.of(targets)
        params, unpack = in_one_array(state.params)
        state = eqx.tree_at(lambda s: s.params, state, params)
        buffer = jax.tree.map(lambda x: jnp.broadcast_to(x, (count, *x.shape)), state.params)
        number = self.modes.index(mode)

        def going(carry: tuple) -> Bool[Array, ""]:
            state, _, slot, _, attempts = carry
            here = (state.status == RUNNING) & (state.mode == number)
            return here & (slot < count) & (attempts < limit)

        def attempt(carry: tuple) -> tuple:
            state, buffer, slot, steps_at, attempts = carry
            new, interpolate = self._attempt(mode, objective, unpack, state, stop, readings[-1])

            def due(carry: tuple) -> Bool[Array, ""]:
                _, slot, _ = carry
                inside = readings[jnp.minimum(slot, count - 1)] <= new.reading
                # A run that ended is sampled at its end by the caller.
                return (slot < count) & inside & ((new.status == RUNNING) | (readings[slot] < new.reading))

            def sample(carry: tuple) -> tuple:
                buffer, slot, steps_at = carry
                params = interpolate(readings[slot] - state.reading)
                buffer = jax.tree.map(lambda b, x: b.at[slot].set(x), buffer, params)
                return buffer, slot + 1, steps_at.at[slot].set(new.steps)

            buffer, slot, steps_at = jax.lax.while_loop(due, sample, (buffer, slot, steps_at))
            return new, buffer, slot, steps_at, attempts + 1

        zero = jnp.zeros((), jnp.int32)
        start = (state, buffer, passed, jnp.zeros(count, jnp.int32), zero)
        state, buffer, slot, steps_at, _ = jax.lax.while_loop(going, attempt, start)
        state, buffer = eqx.tree_at(lambda s: s.params, state, unpack(state.params)), jax.vmap(unpack)(buffer)
        slots = jnp.arange(count, dtype=jnp.int32)
        return state, Snapshots(buffer, targets, steps_at, (slots < slot) & (slots >= passed))

    def _attempt(
        self, mode: str, objective: Objective, unpack: Unpack, state: FlowState, stop: Stop, last_reading: Array
    ) -> tuple[FlowState, Any]:
        """One step, accepted or not, and the function that interpolates it (time since the step's start -> params)."""
        number, clock, attained = self.modes.index(mode), state.clock, objective.problem.attained
        dtype = state.reading.dtype  # limits are in the process's precision, the run is in that of its parameters
        objective, limits = clock.objective(objective), _in_precision(dtype, clock.stop(stop))
        solver = SOLVERS[self.solver][number]
        method = solver.method(state.params, self.rtol, state.atol)
        controller = self._controller(state.atol)
        term = self._term(objective, unpack, clock, state.reading)
        ready, kept, step_size, spent = solver.prepare(term, state.params, state.solvers[number], state.step_size)
        state = eqx.tree_at(lambda s: s.solvers[number], state, kept)
        horizon = jnp.minimum(jnp.minimum(limits.time, last_reading.astype(dtype)), jnp.finfo(dtype).max)
        clipped = state.reading + step_size >= horizon
        h = jnp.where(clipped, horizon - state.reading, step_size)
        # Every step starts at time 0, so that nothing is lost where time is long.
        zero = jnp.zeros_like(h)
        cost = self.gradients(objective) * (spent + solver.cost(state.params, ready, h))
        params, error, dense, solver_state, result = method.step(
            term, zero, h, state.params, None, ready, made_jump=False
        )
        total, level = objective(unpack(params))
        speed = tree_norm(jax.tree.map(lambda k: k[-1], dense["k"])) / jnp.where(h > 0, h, 1)
        slope = speed / clock.pace(state.reading + h, total)
        sound = once(finite(total, level, slope) & (result == diffrax.RESULTS.successful))
        if self.may_begin_late:
            unseen = missed(self.decay_at, state.reading, h)
            error = jax.tree.map(lambda e, p: jnp.maximum(jnp.abs(e), unseen * jnp.abs(p)), error, state.params)
        error = jax.tree.map(lambda e: jnp.where(sound & jnp.isfinite(e), e, jnp.inf), error)
        order = method.error_order(term)
        assert order is not None  # all three have one
        keep, t0, t1, _, controller_state, _ = controller.adapt_step_size(
            zero, h, state.params, params, None, error, order, state.controller
        )
        next_h = t1 - t0

        uphill = once(keep & self.descends & _raises(state, total, jnp.maximum(slope, state.slope)))
        below, above = level < clock.share(limits.loss, LANDING), state.level > limits.loss
        overshoot = once(keep & below & above & (state.landings < 20))
        share = clock.fall(state.level, limits.loss) / clock.fall(state.level, level)
        share = jnp.where(jnp.isfinite(share), jnp.clip(share, 0.1, 0.95), 0.5)
        next_h = jnp.where(uphill, h / 2, jnp.where(overshoot, share * h, next_h))
        keep = once(keep & ~uphill & ~overshoot)
        next_h = jnp.where(keep & clipped, jnp.maximum(next_h, state.step_size), next_h)

        increment = h - state.reading_lost
        later = state.reading + increment
        next_h = solver.limit(next_h, h, later)
        new = eqx.tree_at(
            lambda s: (
                s.params,
                s.reading,
                s.reading_lost,
                s.solvers,
                s.steps,
                s.lowest,
                s.level,
                s.slope,
                s.controller,
            ),
            state,
            (
                params,
                jnp.where(clipped, horizon, later),
                jnp.where(clipped, 0, (later - state.reading) - increment),
                tuple(solver_state if i == number else other for i, other in enumerate(state.solvers)),
                state.steps + 1,
                jnp.minimum(total, state.lowest),
                level,
                slope,
                jax.tree.map(jnp.asarray, controller_state),
            ),
        )
        status = jnp.where(total < state.floor, DIVERGED, new.ended(stop, attained)).astype(jnp.int32)
        # Waited for, in a run that ends by itself.
        patient = self.may_begin_late & jnp.isfinite(limits.time)
        new = watch(eqx.tree_at(lambda s: s.status, new, status), self.rtol, limits, patient)
        if len(self.modes) > 1:
            term = self._term(objective, unpack, clock, new.reading)
            new = choose(number, SOLVERS[self.solver], term, new, dense, h, next_h, self.rtol)
        new = tree_where(jnp.asarray(keep), new, state)
        lost = ~keep & (next_h <= smallest_step(state, speed if self.may_begin_late else None))
        new = eqx.tree_at(
            lambda s: (s.step_size, s.landings, s.gradient_evaluations, s.status),
            new,
            (
                jnp.where(jnp.isfinite(next_h), next_h, h / 10).astype(h.dtype),
                state.landings + overshoot.astype(jnp.int32),
                state.gradient_evaluations + cost,
                jnp.where(lost, jnp.where(sound, STALLED, DIVERGED), new.status).astype(jnp.int32),
            ),
        )
        return new, method.interpolation_cls(t0=zero, t1=h, **dense).evaluate


def _in_precision(dtype: Any, stop: Stop) -> Stop:
    """With numbers of this floating type; counts stay counts."""
    return jax.tree.map(lambda x: x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x, stop)


def _raises(state: FlowState, total: Array, slope: Array) -> Bool[Array, ""]:
    """Whether a step raises the total above the lowest so far, and not by rounding.

    A total of nearly equal numbers is no more exact than its arguments: it may be above by what a few roundings of the
    parameters along the gradient make, up to a thousandth. Above the last one instead, it could climb step by step.
    """
    eps, size = 100 * jnp.finfo(total.dtype).eps, jnp.abs(state.lowest)
    along = jnp.minimum(eps * tree_norm(state.params) * slope, 1e-3 * size)
    return total > state.lowest + eps * size + along
