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
from ._averaged_optimizers import Averages, averaged
from ._base import DIVERGED, RUNAWAY, Dynamics, Snapshots, State, Stop, finite, tree_where
from ._complementarity import pairs, solve, to_matrix, to_vector, weights
from ._edge import curvature_gradients, directions
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
        half = (Q * jnp.sqrt(jnp.maximum(x, 0))[None]) @ Q.T
        variances = jnp.linalg.eigvalsh(half @ (self.vectors @ self.vectors.T) @ half)[::-1]
        return {
            "mean_loss": self.total + values @ jnp.diag(X) / 2,
            "variances": jnp.maximum(variances, 0),
            "stability": values / self.edge,
        }


class CentralFlow(Dynamics):
    r"""The time average of descent at the edge of stability.

    Descent :math:`u \leftarrow u - P^{-1} g` of large steps drives the largest eigenvalues of its preconditioned
    Hessian :math:`P^{-1} H` up to the edge, 2, and there it oscillates. The oscillation of covariance :math:`\Sigma`,
    which lies in the directions at the edge, pushes the average down the gradient of the curvature:

    .. math:: P \dot u = -\nabla \Bigl( L + \tfrac12 \langle H, \Sigma \rangle \Bigr), \qquad
              \Sigma \ge 0, \quad 2 P - H \ge 0, \quad \langle \Sigma, 2 P - H \rangle = 0,

    with :math:`\Sigma` held still where the gradient is taken. It is as large as it takes to keep the eigenvalues at
    the edge, and zero where none is: there this is gradient flow. Of adaptive descent, what is averaged of the squares
    of gradients goes with the oscillation's squares in it, :math:`\dot\nu \propto g^2 + \operatorname{diag}(H \Sigma
    H) - \nu`.

    Parameters
    ----------
    optimizer
        Of which the time average is asked, made by ``undertow.optimizers.make``: "gd", "group_rmsprop" (scalar
        RMSprop), "rmsprop" or "adam"; not centered, without Nesterov's look ahead and, but for Adam's, without
        momentum. The learning rate may be a schedule.
    directions
        How many eigenvectors are followed: at least as many as come to the edge, and one. Work grows with it, and with
        the square of how many are there.
    substeps
        Euler's steps in the time of one update.

    Raises
    ------
    TypeError, ValueError
        If there is no central flow for the optimizer, a number is no positive integer, or an average is so short that
        the substeps do not resolve it.

    Notes
    -----
    Beside the probes it records, as ``trajectory[name]``:

    ============= ====================================================================================================
    "mean_loss"   :math:`L + \tfrac12 \langle H, \Sigma \rangle`, the prediction for the average loss of descent
    "variances"   the eigenvalues of :math:`\Sigma`, as many as ``directions``, the largest first
    "stability"   the largest eigenvalues of :math:`P^{-1} H`, over the edge: 1 where descent is about to be unstable
    ============= ====================================================================================================

    The last two, and :math:`\Sigma` in the first, are those of the last substep.

    With Adam's average of gradients, of decay :math:`\beta_1`, the edge is at :math:`2 (1 + \beta_1) / (1 - \beta_1)`
    instead of 2. The force of the oscillation is taken as it stands, and that of L by its average, which lags: the
    paper has no Adam, and this is our own.

    Each substep is Euler's, with the :math:`\Sigma` by which the eigenvalues are not beyond the edge at its end: a
    semidefinite complementarity problem of the size of ``directions``, solved within the compiled program to rounding.
    Up to 64 parameters the Hessian is formed; beyond, those of its eigenvectors that are near the edge are followed
    from substep to substep by products, to residuals of 1e-4. The loss needs three derivatives.

    ``steps`` are those of the optimizer, time is learning_rate * steps (with a schedule, steps), and
    ``gradient_evaluations`` counts gradients, products with the Hessian and gradients of curvature alike. "diverged":
    as for ``GradientDescent``, as where no oscillation can hold the curvature (of a quadratic loss); or all
    ``directions`` are at the edge, and there may be more.

    It is an average over oscillations that stay small. Descent that meets the edge in a narrow valley without any noise
    swings in bursts, and by their size may depart from it.

    References
    ----------
    Cohen, Damian, Talwalkar, Kolter, Lee. Understanding Optimization in Deep Learning with Central Flows. ICLR 2025.
    Cohen, Ghorbani, Krishnan et al. Adaptive Gradient Methods at the Edge of Stability. 2022 (the edge with momentum).

    Examples
    --------
    The sharpness of (uv - 1)^2 / 2 + (u - 4)^2 / 100 would rise to 16; descent by steps of 0.2 cannot go beyond 10.

    >>> import jax.numpy as jnp
    >>> import undertow as ut
    >>> valley = ut.parameterizations.Function(lambda u: jnp.stack([u[0] * u[1] - 1, (u[0] - 4) / 50**0.5]), shape=2)
    >>> run = ut.train(
    ...     ut.problems.PointTarget([0.0, 0.0]),
    ...     valley,
    ...     CentralFlow(ut.optimizers.make("gd", 0.2)),
    ...     params=jnp.array([1.2, 0.6]),
    ...     stop=ut.Stop(steps=1000),
    ... )
    >>> [round(float(run[name][-1].max()), 4) for name in ("stability", "variances", "loss", "mean_loss")]
    [1.0, 0.0055, 0.0073, 0.0347]
    """

    optimizer: Any
    directions: int = eqx.field(static=True)
    substeps: int = eqx.field(static=True)
    tells = ("mean_loss", "variances", "stability")

    def __init__(self, optimizer: Any, directions: int = 6, substeps: int = 4):
        rule = averaged(optimizer)
        self.optimizer = optimizer
        self.directions = check_integer("directions", directions, 1)
        self.substeps = check_integer("substeps", substeps, 1)
        averages = [rule.decay] if rule.kind != "none" else []
        for decay in averages + ([rule.momentum] if rule.momentum else []):
            if decay == 0 or rule.pace(decay) > self.substeps:
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
        (flat, unravel), rule = ravel_pytree(params), averaged(self.optimizer)
        (total, loss), gradient = _value_and_gradient(objective, unravel, flat)
        count, k = jnp.zeros((), jnp.int32), min(self.directions, flat.size)
        norm, averages = jnp.sqrt(gradient @ gradient), rule.start(gradient)
        p = rule.preconditioner(averages.second, jnp.zeros(()), 1 / self.substeps).astype(flat.dtype)
        moves, p = _where_finite(p)
        near = jax.random.normal(jax.random.key(0), (k, flat.size), flat.dtype)
        found = directions(lambda x: objective(unravel(x))[0], flat, p, near, NEARLY * rule.edge)
        state = CentralState(
            params=params,
            gradient=gradient,
            averages=averages,
            vectors=found.vectors,
            values=jnp.where(moves, found.values, 0),
            oscillation=jnp.zeros((k, k), flat.dtype),
            edge=rule.edge,
            time=jnp.zeros((), jnp.result_type(float)),
            steps=count,
            gradient_evaluations=count + 1 + found.products,
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
            time = (before.steps * self.substeps + i).astype(state.total.dtype) / self.substeps
            return self._substep(objective, unravel, state, time)

        flat = eqx.tree_at(lambda s: s.params, state, ravel_pytree(state.params)[0])
        new = jax.lax.fori_loop(0, self.substeps, substep, flat)
        steps, rate = before.steps + 1, self.optimizer.learning_rate
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
        moves, p = _where_finite(rule.preconditioner(second, time, dt).astype(x.dtype))

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
        drift = jnp.where(jnp.isfinite(drift), drift, 0)
        first = first + dt * inertia * (g - first) if rule.momentum else first
        force = rule.force(Averages(later, first), g, time, dt)
        rows, columns = pairs(k)
        S = V[rows] * V[columns] * weights(k).astype(x.dtype)[:, None]
        if rule.kind != "entrywise":
            S = jnp.sum(S, axis=1, keepdims=True)
        # c P - H among these directions after the substep, if nothing oscillates and by what does.
        A = jnp.diag(c - found.values) + to_matrix(c * (S @ drift) + dt * (T @ (force / p)), k)
        B = dt / 2 * (T / p[None]) @ T.T
        if rule.kind != "none":
            # The gradient of an oscillation v at the edge is H v = c P v.
            slope = rule.slope(second, time, dt).astype(x.dtype)
            B = B + dt * pace * c**3 * (S * (slope * p**2)[None]) @ S.T
        turn = (V * p[None]) @ state.vectors.T
        X = solve(A, B, turn @ state.oscillation @ turn.T).X
        push = to_vector(X)
        x = x - dt * (force + push @ T / 2) / p
        if rule.kind != "none":
            later = later + dt * pace * c**2 * p**2 * (push @ S)
        (value, loss), g = _value_and_gradient(objective, unravel, x)
        products = found.products + unstable.astype(jnp.int32) * (unstable.astype(jnp.int32) + 1) // 2 + 1
        new = eqx.tree_at(
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
        return tree_where(moves, new, state)


def _where_finite(p: Array) -> tuple[Array, Array]:
    """Whether the preconditioner is finite, and 1 instead of it if not: at a learning rate of 0 nothing moves.

    What is not a number is no such rate, and ends the run.
    """
    finite_ = ~jnp.any(jnp.isinf(p))
    return finite_, jnp.where(finite_, p, 1)


def _value_and_gradient(objective: Objective, unravel: Any, x: Array) -> Any:
    return jax.value_and_grad(lambda x: objective(unravel(x)), has_aux=True)(x)
