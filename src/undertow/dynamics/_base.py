"""What all dynamics share: when a run ends, and how it is advanced chunk by chunk.

A run is a state, a PyTree of arrays. ``start`` makes it, ``advance`` moves it inside one compiled program until the run
ends, the asked-for samples are taken or a number of steps is used up; the host is visited once per chunk, for
progress, checkpoints and Ctrl-C. Both go through ``vmap``, so that many runs share a program.
"""

import abc
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .._repr import called, number, shown
from .._validation import check_integer, check_number, is_traced
from ..objective import Objective
from ..parameterizations._base import Params

RUNNING, CONVERGED, STOPPED, STALLED, DIVERGED = range(5)
STATUSES = ("running", "converged", "stopped", "stalled", "diverged")

LOSS = 1e-6
"""At which a run ends unless told otherwise."""
STEPS = 1_000_000
"""The same."""
RUNAWAY = 1e12
"""A total loss that has grown by this factor (over max(1, its start)) counts as diverged."""


class Stop(eqx.Module):
    """When a run ends. Whatever comes first.

    Parameters
    ----------
    loss
        The loss of the problem (without penalty) is at most this: "converged", or "stopped" where the problem says that
        its minimum is at infinity (``attained = False``). None: never. It is absolute, in the units of the problem: the
        default is far below the data where these are of order one, and above all of it where they are below 1e-3. Then
        give one that fits, or rescale the data.
    steps
        This many steps were taken: "stopped". Gradient descent counts updates, gradient flow the accepted steps of its
        solver.
    time
        Flow time (for gradient descent learning_rate * steps) has reached this: "stopped".
    gradient
        The Euclidean norm of the gradient over all parameters is at most this: ends as ``loss`` does.
    log_loss, log_time
        In place of ``loss`` and ``time``: their natural logarithms, for what is beyond the range of numbers, as where a
        flow is followed in log time (``GradientFlow``).

    Raises
    ------
    TypeError, ValueError
        If a limit is negative (but for a logarithm) or not finite, or is given twice.

    Examples
    --------
    >>> float(Stop(loss=0.25).loss)
    0.25
    """

    loss: Float[Array, "..."]
    steps: Int[Array, "..."]
    time: Float[Array, "..."]
    gradient: Float[Array, "..."]
    log_loss: Float[Array, "..."]
    log_time: Float[Array, "..."]

    def __init__(
        self,
        loss: Any = LOSS,
        steps: int = STEPS,
        time: Any = None,
        gradient: Any = None,
        *,
        log_loss: Any = None,
        log_time: Any = None,
    ):
        def bound(name: str, value: Any, never: float, least: float = 0) -> Array:
            value = never if value is None else check_number(name, value, least)
            return jnp.asarray(value, dtype=jnp.result_type(float))

        if log_loss is not None and (is_traced(loss) or loss != LOSS):
            raise ValueError(f"log_loss: expected either loss or log_loss, found both, {loss} and {log_loss}")
        if log_time is not None and time is not None:
            raise ValueError(f"log_time: expected either time or log_time, found both, {time} and {log_time}")
        if log_loss is None:
            self.loss = bound("loss", loss, -np.inf)
            self.log_loss = jnp.log(jnp.maximum(self.loss, 0))
        else:
            self.log_loss = bound("log_loss", log_loss, -np.inf, -np.inf)
            self.loss = jnp.exp(self.log_loss)
        if log_time is None:
            self.time = bound("time", time, np.inf)
            self.log_time = jnp.log(self.time)
        else:
            self.log_time = bound("log_time", log_time, np.inf, -np.inf)
            self.time = jnp.exp(self.log_time)
        steps = steps if is_traced(steps) else check_integer("steps", steps, 1)
        if not is_traced(steps) and steps >= 2**31:
            raise ValueError(f"steps: expected less than {2**31}, found {steps}")
        self.steps = jnp.asarray(steps, dtype=jnp.int32)
        self.gradient = bound("gradient", gradient, -np.inf)

    def __repr__(self) -> str:
        limits = {
            "loss": self.loss,
            "log_loss": self.log_loss,
            "steps": self.steps,
            "time": self.time,
            "log_time": self.log_time,
            "gradient": self.gradient,
        }
        # A logarithm says the same as its number, unless that is beyond the range of numbers.
        for name in ("loss", "time"):
            within = number(limits[name]) not in (0.0, np.inf, -np.inf)
            del limits[f"log_{name}" if within else name]
        return called("Stop", {name: x for name, x in limits.items() if number(x) not in (np.inf, -np.inf)})


class State(eqx.Module):
    """Where a run stands; every dynamics adds what it needs to go on. All of it is arrays, and is saved in checkpoints.

    ``status`` is RUNNING, CONVERGED, STOPPED, STALLED or DIVERGED; ``mode`` the place in ``Dynamics.modes`` of the
    program that is next; ``loss`` that of the problem alone, and ``gradient_norm`` of the objective. The logarithms of
    time and loss are exact where these are beyond the range of numbers, if the dynamics keep them.
    """

    params: eqx.AbstractVar[Params]
    time: eqx.AbstractVar[Float[Array, "..."]]
    steps: eqx.AbstractVar[Int[Array, "..."]]
    gradient_evaluations: eqx.AbstractVar[Int[Array, "..."]]
    loss: eqx.AbstractVar[Float[Array, "..."]]
    gradient_norm: eqx.AbstractVar[Float[Array, "..."]]
    status: eqx.AbstractVar[Int[Array, "..."]]
    mode: eqx.AbstractVar[Int[Array, "..."]]

    @property
    def log_time(self) -> Float[Array, "..."]:
        return jnp.log(self.time)

    @property
    def log_loss(self) -> Float[Array, "..."]:
        return jnp.log(self.loss)

    @property
    def told(self) -> dict[str, Array]:
        """What it tells of itself where it is sampled, beside what probes see: by the names that the dynamics tell."""
        return {}

    def ended(self, stop: Stop, attained: bool) -> Int[Array, "..."]:
        """The status that the limits of ``stop`` give where the run stands."""
        return ended(stop, self.loss, self.gradient_norm, self.steps, self.time, attained)


class PlainState(State):
    """A state of what every run has, for dynamics that need no more."""

    params: Params
    time: Float[Array, "..."]
    steps: Int[Array, "..."]
    gradient_evaluations: Int[Array, "..."]
    loss: Float[Array, "..."]
    gradient_norm: Float[Array, "..."]
    status: Int[Array, "..."]
    mode: Int[Array, "..."]


class Snapshots(eqx.Module):
    """Parameters at the sample targets of one chunk; ``taken`` says which were reached.

    ``told`` is what the states there told.

    ``time`` is its logarithm in a run in log time, as the targets are.
    """

    params: Params
    time: Float[Array, "*batch p"]
    steps: Int[Array, "*batch p"]
    taken: Bool[Array, "*batch p"]
    told: dict[str, Array] = eqx.field(default_factory=dict)


class Dynamics(eqx.Module):
    """How the parameters move. Law: ``advance`` in chunks of any length gives the same states, bit for bit."""

    def __repr__(self) -> str:
        return shown(self)

    tells: ClassVar[tuple[str, ...]] = ()
    """Names of what its states tell, ``State.told``: recorded like probes."""
    takes_noise: ClassVar[bool] = False
    """Whether it moves a parameterization that ``draws`` by what each step draws."""

    @property
    @abc.abstractmethod
    def modes(self) -> tuple[str, ...]:
        """The compiled programs that a run may need; ``state.mode`` says which one is next."""

    @property
    @abc.abstractmethod
    def samples_by(self) -> str:
        """What sample targets are counted in: "time" or "steps"."""

    def in_log_time(self, objective: Objective) -> bool:
        """Whether a run keeps logarithms of time and loss, and its sample targets are those of the time."""
        del objective
        return False

    def keeps_log_loss(self, objective: Objective) -> bool:
        """Whether a run keeps the logarithm of the loss, exact where the loss underflows; then it is watched."""
        return self.in_log_time(objective)

    @property
    def draws(self) -> bool:
        """Whether a run needs a random key, as for mini-batches: ``objective.key``."""
        return False

    def reads(self, objective: Objective) -> bool:
        """Whether data are read from a disk whenever it goes on, so that it should go on for a while at once."""
        del objective
        return False

    def check(self, objective: Objective, params: Params) -> None:
        """Raise ValueError where a run cannot start at ``params``; called before any work."""

    @abc.abstractmethod
    def start(self, objective: Objective, params: Params, stop: Stop) -> State:
        """The state before the first step; its loss decides whether there is anything to do."""

    @abc.abstractmethod
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
        """Go on in one mode until the run ends, leaves the mode, passes the last target or uses up ``limit`` steps.

        The first ``passed`` of the ``targets`` were sampled by an earlier call.
        """

    @abc.abstractmethod
    def first_sample(self, state: State) -> Float[Array, "..."]:
        """Where the first sample after the start belongs, in the units of ``samples_by``."""


def tree_norm(tree: Any) -> Float[Array, ""]:
    """Euclidean norm over all leaves."""
    return jnp.sqrt(sum(jnp.vdot(x, x) for x in jax.tree.leaves(tree)))


def tree_where(condition: Bool[Array, ""], yes: Any, no: Any) -> Any:
    """``jnp.where`` over two PyTrees of the same structure."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), yes, no)


def once(condition: Any) -> Bool[Array, ""]:
    """The same, computed in one place of a compiled program.

    XLA copies cheap arithmetic into whatever uses it, and a decision about a step is used by all that the step changes:
    it was compiled two dozen times. A root is dear enough not to be copied.
    """
    return jnp.sqrt(condition.astype(jnp.float32)) > 0


def finite(*values: Float[Array, ""]) -> Bool[Array, ""]:
    """Whether all are finite."""
    return jnp.all(jnp.isfinite(jnp.stack(values)))


def ended(
    stop: Stop, loss: Array, gradient_norm: Array, steps: Array, time: Array, attained: bool = True
) -> Int[Array, ""]:
    """The status that the limits of ``stop`` give; nothing converges to a minimum that is not ``attained``."""
    # Limits are in the process's precision, the run is in that of its parameters.
    converged = (loss <= stop.loss.astype(loss.dtype)) | (gradient_norm <= stop.gradient.astype(gradient_norm.dtype))
    over = (steps >= stop.steps) | (time >= stop.time.astype(time.dtype))
    return jnp.where(converged, CONVERGED if attained else STOPPED, jnp.where(over, STOPPED, RUNNING)).astype(jnp.int32)
