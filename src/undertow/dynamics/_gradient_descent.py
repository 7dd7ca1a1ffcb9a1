"""Gradient descent, and every first-order optimizer that optax has."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from .._validation import check_integer
from ..objective import Objective
from ..optimizers import Optimizer
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
from ._batches import Batches, whole
from ._stepping import by_steps, running, to_targets

PATIENCE = 1000
"""Updates in a row that are lost in rounding before the run counts as stalled."""


class GradientDescentState(State):
    """The run before its next update; the gradient at ``params`` is known already."""

    params: Params
    gradient: Params | None  # at params; not known ahead where each step draws its terms
    optimizer: Any
    time: Float[Array, "..."]
    steps: Int[Array, "..."]
    gradient_evaluations: Int[Array, "..."]
    total: Float[Array, "..."]
    loss: Float[Array, "..."]
    gradient_norm: Float[Array, "..."]
    ceiling: Float[Array, "..."]
    unmoved: Int[Array, "..."]
    status: Int[Array, "..."]
    mode: Int[Array, "..."]


def _as_batch_size(size: Any) -> int | None:
    return None if size is None else check_integer("batch_size", size, 1)


class GradientDescent(Dynamics):
    r"""Discrete descent with an optax optimizer.

    With ``optax.sgd``, :math:`u \leftarrow u - \eta \nabla_u \ell(\phi(u))`. The updates run in compiled chunks;
    where the chunks are cut does not change a bit of the result.

    Parameters
    ----------
    optimizer
        An ``optax.GradientTransformation``, or one made by ``undertow.optimizers.make``, which lets a sweep over
        learning rates share one compiled program. Line searches of optax (``lbfgs``) work too.
    batch_size
        How many terms of the problem (entries, rows, measurements) each step looks at; left out: all. What is drawn
        follows from the key of the run. The average over the batches of an epoch is the whole gradient, however the
        problem is normalized; where an epoch is no whole number of batches, its last one is smaller.
    replacement
        False: each epoch takes every term once, in a new order. True: each step draws anew.

    Raises
    ------
    TypeError, ValueError
        If ``optimizer`` has no ``init`` and ``update``, or ``batch_size`` is not a positive integer; at the start of a
        run, if the problem is no sum over terms or has fewer than ``batch_size``, or the run has no key.

    Notes
    -----
    With mini-batches too, the loss that is recorded and that ``Stop`` looks at is that of the whole problem; ``Stop``
    looks at it, and at the gradient of the whole, once an epoch. ``gradient_evaluations`` counts steps, whatever
    their batches.

    Time is learning_rate * steps where the optimizer carries a number ``learning_rate``, else the number of steps.
    "stalled": 1000 updates in a row were shorter than the rounding of the parameters. "diverged": the loss or its
    gradient is not finite, or the total has grown 10^12-fold; the parameters are the last ones before that.

    Examples
    --------
    >>> import undertow as ut
    >>> ut.dynamics.GradientDescent(ut.optimizers.make("sgd", 0.1, momentum=0.9)).samples_by
    'steps'
    """

    optimizer: Any
    batch_size: int | None = eqx.field(static=True, default=None, converter=_as_batch_size)
    replacement: bool = eqx.field(static=True, default=False)

    def __check_init__(self) -> None:
        if not all(callable(getattr(self.optimizer, name, None)) for name in ("init", "update")):
            raise TypeError(
                "optimizer: expected an optax.GradientTransformation or undertow.optimizers.make(...), "
                f"found {self.optimizer!r}"
            )
        if not isinstance(self.replacement, bool):
            raise TypeError(f"replacement: expected True or False, found {self.replacement!r}")

    @property
    def draws(self) -> bool:
        return self.batch_size is not None

    def check(self, objective: Objective, params: Params) -> None:
        if self.batch_size is None:
            return
        name, terms = type(objective.problem).__name__, objective.problem.terms
        if terms is None:
            raise ValueError(f"batch_size: expected None, since the loss of {name} is no sum over terms")
        if self.batch_size > terms:
            raise ValueError(
                f"batch_size: expected at most {terms}, as many terms as {name} has, found {self.batch_size}"
            )

    def _batches(self, objective: Objective) -> Batches | None:
        terms = objective.problem.terms
        if self.batch_size is None or terms is None:
            return None
        return Batches(self.batch_size, terms, self.replacement)

    @property
    def _transformation(self) -> optax.GradientTransformationExtraArgs:
        """The optimizer, told to take the loss and the gradient that a line search asks for."""
        if isinstance(self.optimizer, Optimizer):
            return optax.GradientTransformationExtraArgs(self.optimizer.init, self.optimizer.update)
        return optax.with_extra_args_support(self.optimizer)

    @property
    def modes(self) -> tuple[str, ...]:
        return ("descent",)

    @property
    def samples_by(self) -> str:
        return "steps"

    def first_sample(self, state: State) -> Float[Array, "..."]:
        return jnp.ones_like(state.time)

    def start(self, objective: Objective, params: Params, stop: Stop) -> GradientDescentState:
        (total, loss), gradient = whole(objective, params, lambda o: _value_and_gradient(o, params))
        norm = tree_norm(gradient)
        count = jnp.zeros((), jnp.int32)
        time = jnp.zeros((), jnp.result_type(float))
        return GradientDescentState(
            params=params,
            gradient=None if self.draws else gradient,
            optimizer=self._transformation.init(params),
            time=time,
            steps=count,
            gradient_evaluations=count + 1,
            total=total,
            loss=loss,
            gradient_norm=norm,
            ceiling=RUNAWAY * jnp.maximum(1, jnp.abs(total)),
            unmoved=count,
            status=jnp.where(
                finite(total, norm), ended(stop, loss, norm, count, time, objective.problem.attained), DIVERGED
            ).astype(jnp.int32),
            mode=count,
        )

    def _step(self, objective: Objective, state: GradientDescentState, stop: Stop) -> GradientDescentState:
        """One update, by the gradient of the given objective; of the whole one, what it gives at the new parameters."""
        if state.gradient is None:
            (total, loss), gradient = _value_and_gradient(objective, state.params)
        else:
            total, gradient = state.total, state.gradient
        # optax counts in integers and mixes them with numbers.
        with jax.numpy_dtype_promotion("standard"):
            updates, optimizer = self._transformation.update(
                gradient,
                state.optimizer,
                state.params,
                value=total,
                grad=gradient,
                value_fn=lambda params: objective(params)[0],
            )
        params = optax.apply_updates(state.params, updates)
        if state.gradient is None:
            loss, norm, after = state.loss, state.gradient_norm, None
            sound = finite(total, tree_norm(gradient), tree_norm(params))
        else:
            (total, loss), after = _value_and_gradient(objective, params)
            norm = tree_norm(after)
            sound = finite(total, norm)
        steps = state.steps + 1
        rate = self._learning_rate()
        time = steps.astype(rate.dtype) * rate
        eps = jnp.finfo(loss.dtype).eps
        unmoved = jnp.where(tree_norm(updates) <= eps / 2 * tree_norm(params), state.unmoved + 1, 0)
        status = ended(stop, loss, norm, steps, time, objective.problem.attained)
        status = jnp.where((status == RUNNING) & (unmoved >= PATIENCE), STALLED, status)
        new = GradientDescentState(
            params=params,
            gradient=after,
            optimizer=optimizer,
            time=time,
            steps=steps,
            gradient_evaluations=state.gradient_evaluations + 1,
            total=total,
            loss=loss,
            gradient_norm=norm,
            ceiling=state.ceiling,
            unmoved=unmoved,
            status=status.astype(jnp.int32),
            mode=state.mode,
        )
        kept = eqx.tree_at(lambda s: s.status, state, jnp.asarray(DIVERGED, jnp.int32))
        return tree_where(sound & (total <= state.ceiling), new, kept)

    def _look_at_the_whole(
        self, objective: Objective, state: GradientDescentState, stop: Stop, due: Array
    ) -> GradientDescentState:
        """At the end of an epoch: the loss of the whole, and the gradient where its norm is waited for."""
        params = state.params

        def with_gradient(_: None) -> tuple[Array, Array]:
            (_, loss), gradient = whole(objective, params, lambda o: _value_and_gradient(o, params))
            return loss, tree_norm(gradient)

        def loss_alone(_: None) -> tuple[Array, Array]:
            return whole(objective, params, lambda o: o(params))[1], state.gradient_norm

        def look(_: None) -> tuple[Array, Array]:
            return jax.lax.cond(stop.gradient >= 0, with_gradient, loss_alone, None)

        loss, norm = jax.lax.cond(due, look, lambda _: (state.loss, state.gradient_norm), None)
        status = ended(stop, loss, norm, state.steps, state.time, objective.problem.attained)
        status = jnp.where(finite(loss, norm), status, DIVERGED)
        status = jnp.where(due & (state.status != DIVERGED) & (state.status != STALLED), status, state.status)
        return eqx.tree_at(lambda s: (s.loss, s.gradient_norm, s.status), state, (loss, norm, status.astype(jnp.int32)))

    def _learning_rate(self) -> Any:
        rate = getattr(self.optimizer, "learning_rate", 1.0)
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
        assert isinstance(state, GradientDescentState)
        batches = self._batches(objective)
        if batches is None:
            return by_steps(lambda s: self._step(objective, s, stop), state, targets, passed, limit)
        return self._advance_by_batches(batches, objective, state, stop, targets, passed, limit)

    def _advance_by_batches(
        self,
        batches: Batches,
        objective: Objective,
        state: GradientDescentState,
        stop: Stop,
        targets: Array,
        passed: Array,
        limit: Array,
    ) -> tuple[State, Snapshots]:
        """Epoch by epoch, each in an order of its own, which is drawn once."""
        key, length = objective.key, batches.per_epoch
        assert key is not None  # as train sees to

        def one_epoch(carry: tuple, end: Array) -> tuple:
            state, order, epoch = carry
            now = state.steps // length
            order = jax.lax.cond(now == epoch, lambda: order, lambda: batches.order(key, now))

            def step(state: GradientDescentState) -> GradientDescentState:
                return self._step(objective.part(*batches.draw(key, order, state.steps)), state, stop)

            until = jnp.minimum(end, (now + 1) * length)
            state = jax.lax.while_loop(lambda s: running(s, until), step, state)
            return self._look_at_the_whole(objective, state, stop, state.steps % length == 0), order, now

        def go(carry: tuple, end: Array) -> tuple:
            return jax.lax.while_loop(lambda c: running(c[0], end), lambda c: one_epoch(c, end), carry)

        no_epoch = jnp.full((), -1, jnp.int32)
        blank = jnp.zeros_like(jax.eval_shape(lambda: batches.order(key, no_epoch)))
        carry, samples = to_targets(go, (state, blank, no_epoch), targets, passed, limit)
        return carry[0], samples


def _value_and_gradient(objective: Objective, params: Params) -> tuple[tuple[Array, Array], Params]:
    return jax.value_and_grad(objective, has_aux=True)(params)
