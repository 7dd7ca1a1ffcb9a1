"""What all descent shares: updates by an optax transformation, in compiled chunks, by all terms or in mini-batches."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from .._validation import check_integer
from ..objective import Objective
from ..parameterizations._base import Params
from ..problems import Problem
from ..problems._chunked_rows import Window, chunked, with_windows
from ._base import (
    DIVERGED,
    RUNAWAY,
    RUNNING,
    STALLED,
    STEPS,
    Dynamics,
    Snapshots,
    State,
    Stop,
    finite,
    tree_norm,
    tree_where,
)
from ._batches import Batches, drawing_key, whole
from ._descent_state import DescentState
from ._noise import PARAMETERIZATION, Noise, of_step
from ._stepping import by_steps, running, to_targets

UNASKED = 16
"""The whole is looked at once in so many epochs where nothing waits for its loss but the eyes of the user."""
PATIENCE = 1000
"""Updates in a row that are lost in rounding before the run counts as stalled."""


def check_batches(size: Any, replacement: Any) -> tuple[int | None, bool]:
    """The arguments that say which mini-batches to take."""
    size = None if size is None else check_integer("batch_size", size, 1)
    if not isinstance(replacement, bool):
        raise TypeError(f"replacement: expected True or False, found {replacement!r}")
    return size, replacement


class Descent(Dynamics):
    """What moves by updates: a descent says by which transformation of the gradient."""

    batch_size: eqx.AbstractVar[int | None]
    replacement: eqx.AbstractVar[bool]
    takes_noise = True

    @property
    @abc.abstractmethod
    def transformation(self) -> optax.GradientTransformationExtraArgs:
        """From gradients to updates."""

    @property
    @abc.abstractmethod
    def learning_rate(self) -> Any:
        """The time of a step; where it is a schedule, time counts steps."""

    @property
    def may_begin_late(self) -> bool:
        """Whether a run at rest may move again, so that within limits of its own it is never stalled."""
        return False

    def decay_at(self, step: Int[Array, ""]) -> Float[Array, ""] | None:
        """By which share the step of this number makes the parameters smaller; None: by none."""
        del step
        return None

    @property
    def noise(self) -> Noise:
        """What is added to labels and gradients."""
        return Noise()

    @property
    def draws(self) -> bool:
        return self.batch_size is not None or self.noise.draws

    def check_terms(self, objective: Objective) -> None:
        """Raise ValueError where the problem cannot be cut into such mini-batches, or has no labels for noise."""
        self.noise.check(objective)
        if not self._drawn_by_step(objective):
            return
        _size(objective.problem, self.batch_size)

    def _drawn_by_step(self, objective: Objective) -> bool:
        """Whether each step has an objective of its own: some of the terms, or noise."""
        return self.batch_size is not None or self.noise.labels is not None or objective.parameterization.draws

    def _batches(self, objective: Objective) -> Batches | None:
        terms = objective.problem.terms
        if terms is None or not self._drawn_by_step(objective):
            return None
        size = _size(objective.problem, self.batch_size)
        return Batches(size, terms, self.replacement, objective.problem.chunk)

    def reads(self, objective: Objective) -> bool:
        batches = self._batches(objective)
        return batches is not None and batches.in_chunks

    def batches(self, problem: Problem, key: Any, steps: int) -> tuple[Int[Array, "steps k"], Float[Array, "steps k"]]:
        """The terms that each step of a run with this key looks at, and how often each counts.

        Parameters
        ----------
        problem
            What is fit.
        key
            The key or the seed that ``train`` is given.
        steps
            How many steps, from the first on.

        Returns
        -------
        Positions and counts, as ``Problem.part`` takes them, a row a step; without a ``batch_size`` all terms.

        Raises
        ------
        ValueError
            If the loss of the problem is no sum over terms, or is one of too few.

        Examples
        --------
        >>> import undertow as ut
        >>> problem = ut.problems.LeastSquares([[1.0], [2.0], [3.0]], [1.0, 1.0, 1.0])
        >>> descent = ut.dynamics.GradientDescent(ut.optimizers.make("sgd", 0.1), batch_size=1)
        >>> positions, counts = descent.batches(problem, key=0, steps=3)
        >>> sorted(positions[:, 0].tolist()), counts[:, 0].tolist()
        ([0, 1, 2], [3.0, 3.0, 3.0])
        """
        size, drawing = _size(problem, self.batch_size), drawing_key(key)
        batches = Batches(size, problem.terms or size, self.replacement, problem.chunk)

        def draw(step: Array) -> tuple[Array, Array]:
            part, first, _ = batches.place(drawing, step)
            return batches.draw(drawing, batches.order(drawing, part), step, first)

        return jax.lax.map(draw, jnp.arange(check_integer("steps", steps, 0), dtype=jnp.int32))

    @property
    def modes(self) -> tuple[str, ...]:
        return ("descent",)

    @property
    def samples_by(self) -> str:
        return "steps"

    def first_sample(self, state: State) -> Float[Array, "..."]:
        return jnp.ones_like(state.time)

    def start(self, objective: Objective, params: Params, stop: Stop) -> DescentState:
        logarithms, attained = self.keeps_log_loss(objective), objective.problem.attained
        levels = _levels(objective, logarithms)
        (total, level), gradient = whole(levels, params, lambda o: _value_and_gradient(o, params))
        ceiling = jnp.full_like(total, jnp.inf) if logarithms else RUNAWAY * jnp.maximum(1, jnp.abs(total))
        count = jnp.zeros((), jnp.int32)
        state = DescentState(  # pyright: ignore[reportCallIssue] (what its properties give is no argument)
            params=params,
            gradient=None if self._drawn_by_step(objective) else gradient,
            optimizer=self.transformation.init(params),
            logarithms=logarithms,
            time=jnp.zeros((), jnp.result_type(float)),
            steps=count,
            gradient_evaluations=count + 1,
            total=total,
            level=level,
            slope=tree_norm(gradient),
            ceiling=ceiling,
            unmoved=count,
            status=count,
            mode=count,
        )
        status = jnp.where(finite(total, state.slope), state.ended(stop, attained), DIVERGED).astype(jnp.int32)
        return eqx.tree_at(lambda s: s.status, state, status)

    def _step(self, objective: Objective, state: DescentState, stop: Stop) -> DescentState:
        """One update, by the gradient of the given objective; of the whole one, what it gives at the new parameters."""
        levels = _levels(objective, state.logarithms)
        if state.gradient is None:
            (total, _), gradient = _value_and_gradient(levels, state.params)
        else:
            total, gradient = state.total, state.gradient
        gradient = self.noise.in_gradient(gradient, objective.key, state.steps)
        # optax counts in integers and mixes them with numbers.
        with jax.numpy_dtype_promotion("standard"):
            updates, optimizer = self.transformation.update(
                gradient,
                state.optimizer,
                state.params,
                value=total,
                grad=gradient,
                value_fn=lambda params: levels(params)[0],
            )
        decay = self.decay_at(state.steps)
        if decay is not None:
            updates = jax.tree.map(lambda x, p: x - decay.astype(p.dtype) * p, updates, state.params)
        params = optax.apply_updates(state.params, updates)
        if state.gradient is None:
            level, slope, after = state.level, state.slope, None
            sound = finite(total, tree_norm(gradient), tree_norm(params))
        else:
            (total, level), after = _value_and_gradient(levels, params)
            slope = tree_norm(after)
            sound = finite(total, slope)
        steps = state.steps + 1
        rate = self._time_of_a_step()
        eps = jnp.finfo(level.dtype).eps
        unmoved = jnp.where(tree_norm(updates) <= eps / 2 * tree_norm(params), state.unmoved + 1, 0)
        new = DescentState(  # pyright: ignore[reportCallIssue] (what its properties give is no argument)
            params=params,
            gradient=after,
            optimizer=optimizer,
            logarithms=state.logarithms,
            time=steps.astype(rate.dtype) * rate,
            steps=steps,
            gradient_evaluations=state.gradient_evaluations + 1,
            total=total,
            level=level,
            slope=slope,
            ceiling=state.ceiling,
            unmoved=unmoved,
            status=state.status,
            mode=state.mode,
        )
        status = new.ended(stop, objective.problem.attained)
        lost = unmoved >= PATIENCE
        if self.may_begin_late:
            lost &= (stop.steps >= STEPS) & jnp.isinf(stop.time)
        status = jnp.where((status == RUNNING) & lost, STALLED, status).astype(jnp.int32)
        new = eqx.tree_at(lambda s: s.status, new, status)
        kept = eqx.tree_at(lambda s: s.status, state, jnp.asarray(DIVERGED, jnp.int32))
        return tree_where(sound & (total <= state.ceiling), new, kept)

    def _look_at_the_whole(self, objective: Objective, state: DescentState, stop: Stop, due: Array) -> DescentState:
        """At the end of an epoch: the loss of the whole, and the gradient where its norm is waited for."""
        params, levels = state.params, _levels(objective, state.logarithms)

        def with_gradient(_: None) -> tuple[Array, Array]:
            (_, level), gradient = whole(levels, params, lambda o: _value_and_gradient(o, params))
            return level, tree_norm(gradient)

        def level_alone(_: None) -> tuple[Array, Array]:
            return whole(levels, params, lambda o: o(params))[1], state.slope

        def look(_: None) -> tuple[Array, Array]:
            return jax.lax.cond(stop.gradient >= 0, with_gradient, level_alone, None)

        level, slope = jax.lax.cond(due, look, lambda _: (state.level, state.slope), None)
        new = eqx.tree_at(lambda s: (s.level, s.slope), state, (level, slope))
        status = jnp.where(finite(level, slope), new.ended(stop, objective.problem.attained), DIVERGED)
        status = jnp.where(due & (state.status != DIVERGED) & (state.status != STALLED), status, state.status)
        return eqx.tree_at(lambda s: s.status, new, status.astype(jnp.int32))

    def _time_of_a_step(self) -> Array:
        rate = self.learning_rate
        return jnp.asarray(1.0 if callable(rate) else rate, jnp.result_type(float))

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
        assert isinstance(state, DescentState)
        batches = self._batches(objective)
        if batches is None:
            return by_steps(lambda s: self._step(objective, s, stop), state, targets, passed, limit)
        return self._advance_by_batches(batches, objective, state, stop, targets, passed, limit)

    def _advance_by_batches(
        self,
        batches: Batches,
        objective: Objective,
        state: DescentState,
        stop: Stop,
        targets: Array,
        passed: Array,
        limit: Array,
    ) -> tuple[State, Snapshots]:
        """Part by part of each epoch, in an order and with data at hand that are drawn and read once."""
        key, length = objective.key, batches.per_epoch
        assert key is not None  # as train sees to
        apart = chunked(objective) if batches.in_chunks else []

        def load(part: Array) -> tuple[Array, list[Window]]:
            first = batches.first(key, part)
            return batches.order(key, part), [x.window(first, batches.per_part * batches.size) for x in apart]

        def one_part(carry: tuple, end: Array) -> tuple:
            state, held, number = carry
            now, first, beyond = batches.place(key, state.steps)
            held = jax.lax.cond(now == number, lambda: held, lambda: load(now))
            order, windows = held
            near = with_windows(objective, windows) if windows else objective

            def step(state: DescentState) -> DescentState:
                part = near.part(*batches.draw(key, order, state.steps, first))
                part = self.noise.in_labels(part, key, state.steps)
                if objective.parameterization.draws:
                    part = part.drawn(of_step(key, PARAMETERIZATION, state.steps))
                return self._step(part, state, stop)

            state = jax.lax.while_loop(lambda s: running(s, jnp.minimum(end, beyond)), step, state)
            epoch = state.steps // length
            waited = (stop.loss > -jnp.inf) | (stop.gradient >= 0) | (epoch % UNASKED == 0)
            due = (state.steps % length == 0) & waited
            return self._look_at_the_whole(objective, state, stop, due), held, now

        def go(carry: tuple, end: Array) -> tuple:
            return jax.lax.while_loop(lambda c: running(c[0], end), lambda c: one_part(c, end), carry)

        nothing = jnp.full((), -1, jnp.int32)
        blank = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(load, nothing))
        carry, samples = to_targets(go, (state, blank, nothing), targets, passed, limit)
        return carry[0], samples


def _size(problem: Problem, batch_size: int | None) -> int:
    """How many terms a step looks at; ValueError where the problem has fewer, or is no sum over terms."""
    name, terms = type(problem).__name__, problem.terms
    if terms is None:
        raise ValueError(f"batch_size: expected None, since the loss of {name} is no sum over terms")
    if batch_size is not None and batch_size > terms:
        raise ValueError(f"batch_size: expected at most {terms}, as many terms as {name} has, found {batch_size}")
    return terms if batch_size is None else batch_size


def _value_and_gradient(objective: Objective, params: Params) -> tuple[tuple[Array, Array], Params]:
    return jax.value_and_grad(objective, has_aux=True)(params)


def _levels(objective: Objective, logarithms: bool) -> Objective:
    """What has the levels as its values."""
    levels = objective.logarithm if logarithms else objective
    assert levels is not None  # the dynamics ask
    return levels
