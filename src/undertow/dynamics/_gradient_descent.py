"""Gradient descent, and every first-order optimizer that optax has."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

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

PATIENCE = 1000
"""Updates in a row that are lost in rounding before the run counts as stalled."""


class GradientDescentState(State):
    """The run before its next update; the gradient at ``params`` is known already."""

    params: Params
    gradient: Params
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


class GradientDescent(Dynamics):
    r"""Discrete descent with an optax optimizer.

    With ``optax.sgd``, :math:`u \leftarrow u - \eta \nabla_u \ell(\phi(u))`. Full-batch. The updates
    run in compiled chunks; where the chunks are cut does not change a bit of the result.

    Parameters
    ----------
    optimizer
        An ``optax.GradientTransformation``, or one made by ``undertow.optimizers.make``, which lets a sweep over
        learning rates share one compiled program. Line searches of optax (``lbfgs``) work too.

    Raises
    ------
    TypeError
        If ``optimizer`` has no ``init`` and ``update``.

    Notes
    -----
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

    def __check_init__(self) -> None:
        if not all(callable(getattr(self.optimizer, name, None)) for name in ("init", "update")):
            raise TypeError(
                "optimizer: expected an optax.GradientTransformation or undertow.optimizers.make(...), "
                f"found {self.optimizer!r}"
            )

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
        (total, loss), gradient = _value_and_gradient(objective, params)
        norm = tree_norm(gradient)
        count = jnp.zeros((), jnp.int32)
        time = jnp.zeros((), jnp.result_type(float))
        return GradientDescentState(
            params=params,
            gradient=gradient,
            optimizer=self._transformation.init(params),
            time=time,
            steps=count,
            gradient_evaluations=count + 1,
            total=total,
            loss=loss,
            gradient_norm=norm,
            ceiling=RUNAWAY * jnp.maximum(1, jnp.abs(total)),
            unmoved=count,
            status=jnp.where(finite(total, norm), ended(stop, loss, norm, count, time), DIVERGED).astype(jnp.int32),
            mode=count,
        )

    def _step(self, objective: Objective, state: GradientDescentState, stop: Stop) -> GradientDescentState:
        updates, optimizer = self._transformation.update(
            state.gradient,
            state.optimizer,
            state.params,
            value=state.total,
            grad=state.gradient,
            value_fn=lambda params: objective(params)[0],
        )
        params = optax.apply_updates(state.params, updates)
        (total, loss), gradient = _value_and_gradient(objective, params)
        norm = tree_norm(gradient)
        steps = state.steps + 1
        time = steps * self._learning_rate()
        sound = finite(total, norm) & (total <= state.ceiling)
        eps = jnp.finfo(loss.dtype).eps
        unmoved = jnp.where(tree_norm(updates) <= eps / 2 * tree_norm(params), state.unmoved + 1, 0)
        status = ended(stop, loss, norm, steps, time)
        status = jnp.where((status == RUNNING) & (unmoved >= PATIENCE), STALLED, status)
        new = GradientDescentState(
            params=params,
            gradient=gradient,
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
        return tree_where(sound, new, kept)

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
        last = state.steps + limit

        def to_target(
            state: GradientDescentState, index: Array
        ) -> tuple[GradientDescentState, tuple[Params, Array, Array, Array]]:
            target = targets[index]
            state = jax.lax.while_loop(
                lambda s: (s.status == RUNNING) & (s.steps < target) & (s.steps < last),
                lambda s: self._step(objective, s, stop),
                state,
            )
            # A run that ended is sampled at its end by the caller.
            taken = (state.steps == target) & (state.status == RUNNING) & (index >= passed)
            return state, (state.params, state.time, state.steps, taken)

        state, samples = jax.lax.scan(to_target, state, jnp.arange(targets.shape[0]))
        return state, Snapshots(*samples)


def _value_and_gradient(objective: Objective, params: Params) -> tuple[tuple[Array, Array], Params]:
    return jax.value_and_grad(objective, has_aux=True)(params)
