"""Gradient flow, solved as the ordinary differential equation that it is."""

import math
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import optimistix
from jaxtyping import Array, Bool, Float, Int

from .._validation import check_choice, check_number
from ..objective import Objective
from ..parameterizations._base import Params
from ._base import (
    DIVERGED,
    RUNAWAY,
    RUNNING,
    STALLED,
    Dynamics,
    Snapshots,
    State,
    Stop,
    ended,
    finite,
    tree_norm,
    tree_where,
)
from ._rkc import Rkc
from ._stall import Window, first_window, smallest_step, watch
from ._stiffness import EXPLICIT_EDGE, explicit_stiffness, spectral_radius
from ._tsit5 import Tsit5

MODES = ("explicit", "stabilized", "implicit")  # in the order of the stiffness they are for
SOLVERS = {"auto": MODES} | {mode: (mode,) for mode in MODES}
IMPLICIT_SIZE = 400
"""Most parameters for which the dense linear algebra of an implicit step is an option."""
HESSIANS = 12
"""Of one implicit step: 6 stages, each of which takes about 2 iterations of Newton's method."""
EXPLICIT_COST = 6
"""Gradients of one explicit step."""
LANDING = 0.999
"""A run that stops at a loss ends between this share of it and the loss itself."""
PATIENCE = 5
"""Stiff steps in a row after which a run changes to the next solver; doubled by every return."""
SETTLING = 12
"""Steps in a row that must look cheap for the solver before, until the run goes back; steps need time to grow."""


class GradientFlowState(State):
    """The flow after its last accepted step, with all that the next one needs."""

    params: Params
    time: Float[Array, "..."]
    time_lost: Float[Array, "..."]  # what rounding took from time: float32 runs are long
    step_size: Float[Array, "..."]
    atol: Float[Array, "..."]
    solvers: tuple[Any, ...]
    controller: Any
    votes: Int[Array, "..."]  # steps in a row that speak for the next mode; negative: for the one before
    patience: Int[Array, "..."]  # how many it takes to go on to the next
    direction: Params | None
    steps: Int[Array, "..."]
    gradient_evaluations: Int[Array, "..."]
    total: Float[Array, "..."]
    floor: Float[Array, "..."]  # of the total: below, it has no minimum
    loss: Float[Array, "..."]
    gradient_norm: Float[Array, "..."]
    landings: Int[Array, "..."]
    window: Window
    status: Int[Array, "..."]
    mode: Int[Array, "..."]


class GradientFlow(Dynamics):
    r"""Gradient flow :math:`\dot u = -\nabla_u \ell(\phi(u))`, by adaptive solvers of diffrax.

    Parameters
    ----------
    solver
        "explicit" (Tsitouras 5(4)), "stabilized" (Runge-Kutta-Chebyshev 2, explicit, with as many stages as stability
        asks for), "implicit" (Kvaerno 5(4), L-stable, with the dense Hessian), or "auto": explicit until stability and
        not accuracy holds the steps back, then stabilized, and implicit where that takes longer than the linear
        algebra of an implicit step; back when it no longer pays. With more than 400 parameters "auto" is never
        implicit.
    rtol, atol
        Tolerances of the local error, relative and absolute, as a root mean square over the parameters. The default
        ``atol`` is ``rtol`` / 1000 times the root-mean-square size of the initial parameters, so that a small
        initialization is resolved. For stabilized steps both count three times, since the stiff part of a path
        forgets its errors (measured: the end point of "auto" is within ``rtol`` on completion, within 12 times that on
        sparse regression; of "stabilized" from the start on, within 5 and 21 times).

    Raises
    ------
    TypeError, ValueError
        If ``solver`` is unknown or a tolerance is not a positive number; at the start of a run, if "implicit" is asked
        for with more than 400 parameters.

    Notes
    -----
    A step that raises the objective is never accepted, but for rounding, since no gradient flow does that. A run that
    stops at a loss lands on it: its last step is shortened until the loss is at most 0.1% below.
    ``gradient_evaluations`` is exact for explicit and stabilized steps, with what estimates the spectral radius; an
    implicit step counts as 24 for each parameter (12 Hessians: two in each of its six stages, which is about what its
    root finding takes).

    "stalled": the gradient is exactly zero; or over 256 accepted steps, in which time has at least doubled, the
    parameters moved less than the tolerance, no entry grew by a hundredth of its size, the way was not half as long
    again as in the 256 steps before, and the loss fell by less than a ten-thousandth; or only steps that are lost in
    rounding would be accepted. "diverged": the same, and what is beyond them is not finite, as where a solution leaves
    its domain; or the objective has fallen to -10^12 times its start (or 1). The parameters are the last sound ones.

    Examples
    --------
    >>> GradientFlow().solver
    'auto'
    """

    solver: str = eqx.field(static=True, default="auto")
    rtol: float = eqx.field(static=True, default=1e-5)
    atol: float | None = eqx.field(static=True, default=None)

    def __check_init__(self) -> None:
        check_choice("solver", self.solver, tuple(SOLVERS))
        check_number("rtol", self.rtol, 0, exclusive=True)
        if self.atol is not None:
            check_number("atol", self.atol, 0, exclusive=True)

    @property
    def modes(self) -> tuple[str, ...]:
        return SOLVERS[self.solver]

    @property
    def samples_by(self) -> str:
        return "time"

    def first_sample(self, state: State) -> Float[Array, "..."]:
        """A hundredth of the time in which the initial velocity would double the parameters."""
        pace = state.gradient_norm / tree_norm(state.params)
        return 0.01 / jnp.where(jnp.isfinite(pace) & (pace > 0), pace, 1)

    def _modes_for(self, params: Params) -> tuple[str, ...]:
        """The modes that a run with so many parameters may take."""
        return tuple(m for m in self.modes if m != "implicit" or _size(params) <= IMPLICIT_SIZE)

    def _solver(self, mode: str, params: Params, atol: Any) -> Any:
        if mode == "explicit":
            return Tsit5()
        if mode == "stabilized":
            return Rkc()
        # The last correction of Newton's method is far larger than the error that it leaves, so that a hundred times
        # the tolerance is exact enough; nor can it get below some roundings, in float32 above all. With the Hessian at
        # every iteration: one for a whole step, or a stage, is no longer that of the end where the flow is very stiff
        # and curved (2 x 2 to infinity, loss 1e-6: 7,822 and 325 steps, against 180).
        rms = tree_norm(params) / math.sqrt(_size(params))
        floor = 1e4 * float(jnp.finfo(rms.dtype).eps)
        root_finder = optimistix.Newton(
            rtol=max(min(100 * self.rtol, 0.1), floor),
            atol=jnp.maximum(100 * atol, floor * rms),  # pyright: ignore[reportArgumentType] (an array will do)
        )
        return diffrax.Kvaerno5(root_finder=root_finder, scan_kind="lax")

    def _controller(self, atol: Any) -> diffrax.PIDController:
        return diffrax.PIDController(rtol=self.rtol, atol=atol, pcoeff=0.4, icoeff=0.3)

    def start(self, objective: Objective, params: Params, stop: Stop) -> GradientFlowState:
        size = _size(params)
        if self.solver == "implicit" and size > IMPLICIT_SIZE:
            raise ValueError(
                f"solver: expected at most {IMPLICIT_SIZE} parameters for 'implicit', found {size}; "
                "use 'auto' or 'stabilized'"
            )
        term = _term(objective)
        total, loss = objective(params)
        descent = term.vf(0.0, params, None)
        norm = tree_norm(descent)
        # The solver knows one dtype, that of the parameters; the problem may have another.
        dtype = jnp.result_type(*jax.tree.leaves(params))
        count, zero = jnp.zeros((), jnp.int32), jnp.zeros((), dtype)
        rms = tree_norm(params) / math.sqrt(size)
        atol = jnp.where(rms > 0, rms, 1) * self.rtol * 1e-3 if self.atol is None else zero + self.atol
        modes = self._modes_for(params)
        solvers = {mode: self._solver(mode, params, atol) for mode in modes}
        first = solvers[modes[0]]
        # The first step by Hairer's rule, which the controller of diffrax knows.
        step_size, controller = self._controller(atol).init(
            term, zero, zero + 1, params, None, None, first.func, first.error_order(term)
        )
        return GradientFlowState(
            params=params,
            time=zero,
            time_lost=zero,
            step_size=jnp.where(jnp.isfinite(step_size), step_size, 1).astype(dtype),
            atol=atol,
            solvers=tuple(
                solvers[mode].init(term, zero, zero + 1, params, None) if mode in modes else None for mode in self.modes
            ),
            controller=jax.tree.map(jnp.asarray, controller),
            votes=count,
            patience=count + PATIENCE,
            direction=descent if modes == MODES else None,
            steps=count,
            gradient_evaluations=count + 3,
            total=total,
            floor=-RUNAWAY * jnp.maximum(1, jnp.abs(total)),
            loss=loss,
            gradient_norm=norm,
            landings=count,
            window=first_window(params, loss),
            status=jnp.where(
                finite(total, norm), ended(stop, loss, norm, count, zero, objective.problem.attained), DIVERGED
            ).astype(jnp.int32),
            mode=count,
        )

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
        assert isinstance(state, GradientFlowState)
        count = targets.shape[0]
        buffer = jax.tree.map(lambda x: jnp.broadcast_to(x, (count, *x.shape)), state.params)
        number = self.modes.index(mode)

        def going(carry: tuple) -> Bool[Array, ""]:
            state, _, slot, _, attempts = carry
            here = (state.status == RUNNING) & (state.mode == number)
            return here & (slot < count) & (attempts < limit)

        def attempt(carry: tuple) -> tuple:
            state, buffer, slot, steps_at, attempts = carry
            new, interpolate = self._attempt(mode, objective, state, stop, targets[-1])

            def due(carry: tuple) -> Bool[Array, ""]:
                _, slot, _ = carry
                inside = targets[jnp.minimum(slot, count - 1)] <= new.time
                # A run that ended is sampled at its end by the caller.
                return (slot < count) & inside & ((new.status == RUNNING) | (targets[slot] < new.time))

            def sample(carry: tuple) -> tuple:
                buffer, slot, steps_at = carry
                params = interpolate(targets[slot] - state.time)
                buffer = jax.tree.map(lambda b, x: b.at[slot].set(x), buffer, params)
                return buffer, slot + 1, steps_at.at[slot].set(new.steps)

            buffer, slot, steps_at = jax.lax.while_loop(due, sample, (buffer, slot, steps_at))
            return new, buffer, slot, steps_at, attempts + 1

        zero = jnp.zeros((), jnp.int32)
        start = (state, buffer, passed, jnp.zeros(count, jnp.int32), zero)
        state, buffer, slot, steps_at, _ = jax.lax.while_loop(going, attempt, start)
        return state, Snapshots(buffer, targets, steps_at, (jnp.arange(count) < slot) & (jnp.arange(count) >= passed))

    def _attempt(
        self, mode: str, objective: Objective, state: GradientFlowState, stop: Stop, last_target: Array
    ) -> tuple[GradientFlowState, Any]:
        """One step, accepted or not, and the function that interpolates it (time since the step's start -> params)."""
        solver = self._solver(mode, state.params, state.atol)
        controller = self._controller(state.atol)
        term = _term(objective)
        number = self.modes.index(mode)
        step_size = state.step_size
        cost = EXPLICIT_COST if mode == "explicit" else _implicit_cost(_size(state.params))
        ready, spent = state.solvers[number], 0
        if isinstance(solver, Rkc):
            ready, spent = solver.refresh(term, state.params, ready)
            step_size = jnp.minimum(step_size, solver.longest(ready))
            # What is learnt about the spectral radius outlives a rejected step, but is learnt once more.
            state = eqx.tree_at(lambda s: s.solvers[number], state, solver.outdated(ready))
        longest = jnp.finfo(state.time.dtype).max
        horizon = jnp.minimum(jnp.minimum(stop.time, last_target), longest).astype(state.time.dtype)
        clipped = state.time + step_size >= horizon
        h = jnp.where(clipped, horizon - state.time, step_size)
        # The flow is autonomous: every step starts at time 0, so that nothing is lost where time is long.
        zero = jnp.zeros_like(h)
        if isinstance(solver, Rkc):
            cost = spent + solver.stages(h, ready)
        params, error, dense, solver_state, result = solver.step(
            term, zero, h, state.params, None, ready, made_jump=False
        )
        total, loss = objective(params)
        norm = tree_norm(jax.tree.map(lambda k: k[-1], dense["k"])) / jnp.where(h > 0, h, 1)
        sound = finite(total, loss, norm) & (result == diffrax.RESULTS.successful)
        error = jax.tree.map(lambda e: jnp.where(sound & jnp.isfinite(e), e, jnp.inf), error)
        keep, t0, t1, _, controller_state, _ = controller.adapt_step_size(
            zero, h, state.params, params, None, error, solver.error_order(term), state.controller
        )
        next_h = t1 - t0

        uphill = keep & _raises(state, total, jnp.maximum(norm, state.gradient_norm))
        overshoot = keep & (loss < LANDING * stop.loss) & (state.loss > stop.loss) & (state.landings < 20)
        share = jnp.log(state.loss / stop.loss) / jnp.log(state.loss / loss)
        share = jnp.where(jnp.isfinite(share), jnp.clip(share, 0.1, 0.95), 0.5)
        next_h = jnp.where(uphill, h / 2, jnp.where(overshoot, share * h, next_h))
        keep = keep & ~uphill & ~overshoot
        next_h = jnp.where(keep & clipped, jnp.maximum(next_h, state.step_size), next_h)

        increment = h - state.time_lost
        later = state.time + increment
        if mode == "implicit":
            # Where a run has arrived, time would outgrow all numbers before that shows.
            next_h = jnp.minimum(next_h, jnp.maximum(h, 2 * later))
        time = jnp.where(clipped, horizon, later)
        time_lost = jnp.where(clipped, 0, (later - state.time) - increment)
        steps = state.steps + 1
        status = jnp.where(
            total < state.floor, DIVERGED, ended(stop, loss, norm, steps, time, objective.problem.attained)
        )
        new = eqx.tree_at(
            lambda s: (
                s.params,
                s.time,
                s.time_lost,
                s.solvers,
                s.steps,
                s.total,
                s.loss,
                s.gradient_norm,
                s.status,
            ),
            state,
            (
                params,
                time,
                time_lost,
                tuple(solver_state if i == number else other for i, other in enumerate(state.solvers)),
                steps,
                total,
                loss,
                norm,
                status,
            ),
        )
        new = eqx.tree_at(lambda s: s.controller, new, jax.tree.map(jnp.asarray, controller_state))
        new = watch(new, self.rtol, stop)
        new = self._choose_mode(mode, objective, new, dense, h, next_h)
        new = tree_where(jnp.asarray(keep), new, state)
        lost = ~keep & (next_h <= smallest_step(state))
        new = eqx.tree_at(
            lambda s: (s.step_size, s.landings, s.gradient_evaluations, s.status),
            new,
            (
                jnp.where(jnp.isfinite(next_h), next_h, h / 10).astype(h.dtype),
                state.landings + overshoot,
                state.gradient_evaluations + cost,
                jnp.where(lost, jnp.where(sound, STALLED, DIVERGED), new.status).astype(jnp.int32),
            ),
        )
        return new, solver.interpolation_cls(t0=zero, t1=h, **dense).evaluate

    def _choose_mode(
        self, mode: str, objective: Objective, state: GradientFlowState, dense: Any, h: Array, next_h: Array
    ) -> GradientFlowState:
        """Explicit where accuracy holds the steps back, stabilized where stability does, implicit where that is dear.

        Stabilized steps must get further for each gradient than explicit ones at their edge. The step after which the
        run goes on to the next solver comes twice as late after each return, so that a wrong guess costs little.
        """
        if self.solver != "auto":
            return state
        number, last = self.modes.index(mode), len(self._modes_for(state.params)) - 1
        effort, stabilized = _implicit_effort(_size(state.params)), Rkc()
        stiffer = milder = jnp.asarray(False)
        if mode == "explicit":
            derivative, direction = state.solvers[number], jax.tree.map(lambda k: k[-1] - k[-2], dense["k"])
            stiffness = explicit_stiffness(Tsit5.tableau, dense["k"])
            radius, stiffer = stiffness / h, stiffness > EXPLICIT_EDGE
        elif mode == "stabilized":
            ready = state.solvers[number]
            derivative, direction, radius = ready.derivative, ready.direction, ready.radius
            if number < last:
                stiffer = stabilized.effort(next_h * radius) > effort
            milder = h * radius < EXPLICIT_EDGE / EXPLICIT_COST * stabilized.effort(h * radius)
        else:
            gradient = jax.grad(lambda p: objective(p)[0])
            derivative = jax.tree.map(jnp.negative, gradient(state.params))
            radius, direction = spectral_radius(gradient, state.params, state.direction)
            milder = stabilized.effort(h * radius) < effort / 2
        against = jnp.where(milder, jnp.minimum(state.votes, 0) - 1, 0)
        votes = jnp.where(stiffer, jnp.maximum(state.votes, 0) + 1, against)
        running = state.status == RUNNING
        up, down = running & (votes >= state.patience), running & (votes <= -SETTLING)
        solvers = list(state.solvers)
        for other, chosen in ((number + 1, up), (number - 1, down)):
            if 0 <= other <= last:
                fresh = self._enter(self.modes[other], objective, state, derivative, direction, radius)
                solvers[other] = tree_where(chosen, fresh, solvers[other])
        return eqx.tree_at(
            lambda s: (s.votes, s.patience, s.mode, s.solvers, s.direction),
            state,
            (
                jnp.where(up | down, 0, votes).astype(jnp.int32),
                jnp.where(down, 2 * state.patience, state.patience).astype(jnp.int32),
                (state.mode + up - down).astype(jnp.int32),
                tuple(solvers),
                None if state.direction is None else direction,
            ),
            is_leaf=lambda x: x is None,
        )

    def _enter(
        self,
        mode: str,
        objective: Objective,
        state: GradientFlowState,
        derivative: Params,
        direction: Params,
        radius: Array,
    ) -> Any:
        """What the solver of a mode needs for its first step."""
        if mode == "explicit":
            return derivative
        if mode == "stabilized":
            return Rkc().enter(derivative, direction, radius)
        zero = jnp.zeros_like(state.time)
        solver = self._solver(mode, state.params, state.atol)
        return solver.init(_term(objective), zero, zero, state.params, None)


def _raises(state: GradientFlowState, total: Array, norm: Array) -> Bool[Array, ""]:
    """Whether a step raises the total, and not by rounding.

    A total of nearly equal numbers is no more exact than its arguments: it may rise by what a few roundings of the
    parameters along the gradient make, up to a thousandth.
    """
    eps, size = 100 * jnp.finfo(total.dtype).eps, jnp.abs(state.total)
    slope = jnp.minimum(eps * tree_norm(state.params) * norm, 1e-3 * size)
    return total > state.total + eps * size + slope


def _term(objective: Objective) -> diffrax.ODETerm:
    gradient = jax.grad(lambda params: objective(params)[0])
    return diffrax.ODETerm(lambda t, params, args: jax.tree.map(jnp.negative, gradient(params)))


def _size(params: Params) -> int:
    return sum(x.size for x in jax.tree.leaves(params))


def _implicit_cost(size: int) -> int:
    """Gradients of one implicit step: its dense Hessians."""
    return HESSIANS * 2 * size


def _implicit_effort(size: int) -> float:
    """Time of one implicit step in times of a gradient, its linear algebra included (measured on two cores)."""
    return 30 + size**2 / 33
