"""The central flow: the time average of descent at the edge of stability."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int

from .._validation import check_integer
from ..objective import Objective
from ..parameterizations._base import Params
from ._averaged_optimizers import Averaged, Averages, averaged
from ._base import DIVERGED, RUNAWAY, Dynamics, Snapshots, State, Stop, finite, tree_where
from ._complementarity import pairs, solve, to_matrix, to_vector, weights
from ._edge import Directions, curvature_gradients, directions
from ._stepping import by_steps

NEARLY = 0.9
"""Directions count as unstable from this share of the edge on."""


class CentralState(State):
    """The run between two steps."""

    params: Params
    gradient: Float[Array, " n"]
    averages: Averages
    vectors: Float[Array, "k n"]  # the least stable directions v, with v^T P v = 1
    values: Float[Array, " k"]  # their eigenvalues
    oscillation: Float[Array, "k k"]  # X, of covariance V^T X V
    edge: float = eqx.field(static=True)
    time: Float[Array, "..."]
    steps: Int[Array, "..."]
    gradient_evaluations: Int[Array, "..."]
    total: Float[Array, "..."]
    loss: Float[Array, "..."]
    gradient_norm: Float[Array, "..."]
    ceiling: Float[Array, "..."]
    status: Int[Array, "..."]
    mode: Int[Array, "..."]

    @property
    def told(self) -> dict[str, Array]:
        values, X = self.values, self.oscillation
        # The covariance V^T X V has the eigenvalues of X^(1/2) V V^T X^(1/2) = R^T X R, of V V^T = R R^T.
        x, Q = jnp.linalg.eigh(X)
        half = (Q * jnp.sqrt(jnp.maximum(x, 0))) @ Q.T
        variances = jnp.linalg.eigvalsh(half @ (self.vectors @ self.vectors.T) @ half)[::-1]
        return {
            "mean_loss": self.total + values @ jnp.diag(X) / 2,
            "variances": jnp.maximum(variances, 0),
            "stability": values / self.edge,
        }


class CentralFlow(Dynamics):
    optimizer: Any
    directions: int = eqx.field(static=True)
    substeps: int = eqx.field(static=True)
    tells = ("mean_loss", "variances", "stability")

    def __init__(self, optimizer: Any, directions: int = 6, substeps: int = 4):
        rule = averaged(optimizer)
        self.optimizer = optimizer
        self.directions = check_integer("directions", directions, 1)
        self.substeps = check_integer("substeps", substeps, 1)
        for decay in (rule.decay, rule.momentum):
            if decay and rule.pace(decay) > self.substeps:
                raise ValueError(
                    f"optimizer: expected averages with a decay of at least {1 / (1 + self.substeps):.3g}, slow enough "
                    f"for {self.substeps} substeps, found {decay}"
                )

    @property
    def modes(self) -> tuple[str, ...]:
        return ("central",)

    @property
    def samples_by(self) -> str:
        return "steps"

    def first_sample(self, state: State) -> Float[Array, "..."]:
        return jnp.ones_like(state.time)

    def start(self, objective: Objective, params: Params, stop: Stop) -> CentralState:
        flat, unravel = ravel_pytree(params)
        (total, loss), gradient = _value_and_gradient(objective, unravel, flat)
        count, k = jnp.zeros((), jnp.int32), min(self.directions, flat.size)
        norm = jnp.sqrt(gradient @ gradient)
        state = CentralState(
            params=params,
            gradient=gradient,
            averages=averaged(self.optimizer).start(gradient),
            vectors=jax.random.normal(jax.random.key(0), (k, flat.size), flat.dtype),
            values=jnp.zeros(k, flat.dtype),
            oscillation=jnp.zeros((k, k), flat.dtype),
            edge=averaged(self.optimizer).edge,
            time=jnp.zeros((), jnp.result_type(float)),
            steps=count,
            gradient_evaluations=count + 1,
            total=total,
            loss=loss,
            gradient_norm=norm,
            ceiling=RUNAWAY * jnp.maximum(1, jnp.abs(total)),
            status=count,
            mode=count,
        )
        status = jnp.where(finite(total, norm), state.ended(stop, objective.problem.attained), DIVERGED)
        return eqx.tree_at(lambda s: s.status, state, status.astype(jnp.int32))

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
        return by_steps(lambda s: self._step(objective, s, stop), state, targets, passed, limit)

    def _step(self, objective: Objective, state: CentralState, stop: Stop) -> CentralState:
        """As long as one update of the optimizer takes."""
        before, unravel = state, ravel_pytree(state.params)[1]

        def substep(i: Array, state: CentralState) -> CentralState:
            return self._substep(objective, unravel, state, before.steps + i / self.substeps)

        flat = eqx.tree_at(lambda s: s.params, state, ravel_pytree(state.params)[0])
        new = jax.lax.fori_loop(0, self.substeps, substep, flat)
        steps, rate = before.steps + 1, averaged(self.optimizer).rate
        rate = jnp.asarray(1.0 if callable(rate) else rate, state.time.dtype)
        new = eqx.tree_at(
            lambda s: (s.params, s.steps, s.time),
            new,
            (unravel(new.params), steps, steps.astype(rate.dtype) * rate),
        )
        new = eqx.tree_at(lambda s: s.status, new, new.ended(stop, objective.problem.attained))
        kept = eqx.tree_at(lambda s: s.status, before, jnp.asarray(DIVERGED, jnp.int32))
        sound = finite(new.total, new.gradient_norm) & (new.total <= before.ceiling)
        # What is not watched could turn unstable too.
        k, n = before.vectors.shape
        watched = (k == n) | (new.values[-1] < averaged(self.optimizer).edge)
        return tree_where(sound & watched, new, kept)

    def _substep(self, objective: Objective, unravel: Any, state: CentralState, time: Array) -> CentralState:
        rule, dt, x, g = averaged(self.optimizer), 1 / self.substeps, state.params, state.gradient
        second, first = state.averages
        c = rule.edge
        p = rule.preconditioner(second, time, dt).astype(x.dtype)

        def total(x: Array) -> Array:
            return objective(unravel(x))[0]

        found = directions(total, x, p, state.vectors, NEARLY * c)
        V = found.vectors
        k = V.shape[0]
        unstable = jnp.sum(found.values > NEARLY * c)
        T = curvature_gradients(total, x, V, unstable)
        # Where the averages go while nothing oscillates, and how P goes with them.
        pace, inertia = rule.pace(rule.decay or 0.5), rule.pace(rule.momentum or 0.5)
        later = second + dt * pace * (rule.square(g) - second) if rule.kind != "none" else second
        drift = rule.preconditioner(later, time + dt, dt).astype(x.dtype) - p
        first = first + dt * inertia * (g - first) if rule.momentum else first
        force = rule.force(Averages(later, first), g, time, dt)
        rows, columns = pairs(k)
        S = V[rows] * V[columns] * weights(k).astype(x.dtype)[:, None]
        if rule.kind != "entrywise":
            S = jnp.sum(S, axis=1, keepdims=True)
        # c P - H among these directions after the substep, if nothing oscillates and by what does.
        A = jnp.diag(c - found.values) + to_matrix(c * (S @ drift) + dt * (T @ (force / p)), k)
        B = dt / 2 * (T / p) @ T.T
        if rule.kind != "none":
            # The gradient of an oscillation v at the edge is H v = c P v.
            slope = rule.slope(second, time, dt).astype(x.dtype)
            B = B + dt * pace * c**3 * (S * (slope * p**2)) @ S.T
        turn = (V * p) @ state.vectors.T
        X = solve(A, B, turn @ state.oscillation @ turn.T).X
        push = to_vector(X)
        x = x - dt * (force + push @ T / 2) / p
        if rule.kind != "none":
            later = later + dt * pace * c**2 * p**2 * (push @ S)
        (value, loss), g = _value_and_gradient(objective, unravel, x)
        products = found.products + unstable.astype(jnp.int32) * (unstable.astype(jnp.int32) + 1) // 2 + 1
        return eqx.tree_at(
            lambda s: (
                s.params,
                s.gradient,
                s.averages,
                s.vectors,
                s.values,
                s.oscillation,
                s.gradient_evaluations,
                s.total,
                s.loss,
                s.gradient_norm,
            ),
            state,
            (
                x,
                g,
                Averages(later, first),
                V,
                found.values,
                X,
                state.gradient_evaluations + products,
                value,
                loss,
                jnp.sqrt(g @ g),
            ),
        )


def _value_and_gradient(objective: Objective, unravel: Any, x: Array) -> Any:
    return jax.value_and_grad(lambda x: objective(unravel(x)), has_aux=True)(x)
