"""The loss, its gradient, and the errors that training does not see."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._validation import is_traced
from ..linalg import axes_of
from ..objective import Objective, loss_of
from ..parameterizations import Parameterization
from ..parameterizations._base import Params
from ..problems import ObservedEntries, Problem
from ._base import Probe, check_label


class Loss(Probe):
    """The loss of the problem, as the problem normalizes it; without any penalty.

    Examples
    --------
    >>> Loss().name
    'loss'
    """

    @property
    def name(self) -> str:
        return "loss"

    def __call__(self, problem: Problem, parameterization: Parameterization, params: Params) -> Float[Array, ""]:
        return loss_of(problem, parameterization, params)


class LogLoss(Probe):
    """The natural logarithm of the loss: exact where the loss underflows, if the problem keeps it.

    Examples
    --------
    >>> LogLoss().name
    'log_loss'
    """

    @property
    def name(self) -> str:
        return "log_loss"

    def __call__(self, problem: Problem, parameterization: Parameterization, params: Params) -> Float[Array, ""]:
        if problem.keeps_logarithms:
            return problem.log_loss(parameterization(params))
        return jnp.log(loss_of(problem, parameterization, params))


class GradientNorm(Probe):
    """Euclidean norm of the gradient of loss and penalty over all parameters, as ``Stop`` counts it.

    Examples
    --------
    >>> GradientNorm().name
    'gradient_norm'
    """

    @property
    def name(self) -> str:
        return "gradient_norm"

    def __call__(self, problem: Problem, parameterization: Parameterization, params: Params) -> Float[Array, ""]:
        return self.measure(Objective(problem, parameterization), params)

    def measure(self, objective: Objective, params: Params) -> Float[Array, ""]:
        gradient = jax.grad(lambda p: objective(p)[0])(params)
        return jnp.sqrt(sum(jnp.sum(g**2) for g in jax.tree.leaves(gradient)))


class TestError(Probe):
    """Error on what training does not see.

    Parameters
    ----------
    held_out
        A problem of the same shape: the error is its loss, for completion the mean square over its entries. Left out:
        the mean square of W - truth over the entries that the problem does not observe.
    label
        Name of the probe, where several are watched.

    Raises
    ------
    TypeError, ValueError
        If ``held_out`` is not a problem or ``label`` not a name; before a run, if the shape is another, or there is
        neither ``held_out`` nor a truth with unobserved entries.

    Examples
    --------
    >>> TestError().name
    'test_error'
    """

    __test__ = False  # not a test class, whatever a test runner makes of the name

    held_out: Problem | None = None
    label: str = eqx.field(static=True, default="test_error")

    def __check_init__(self) -> None:
        if self.held_out is not None and not isinstance(self.held_out, Problem):
            raise TypeError(f"held_out: expected an undertow.problems.Problem, found {self.held_out!r}")
        check_label(self.label)

    @property
    def name(self) -> str:
        return self.label

    def check(self, problem: Problem, parameterization: Parameterization) -> None:
        if self.held_out is not None:
            if self.held_out.shape != problem.shape:
                raise ValueError(f"held_out: expected shape {problem.shape}, found {self.held_out.shape}")
            return
        truth = _truth(problem, "TestError")
        if not isinstance(problem, ObservedEntries) or truth[axes_of(problem.indices)].size >= truth.size:
            raise ValueError("held_out: expected a problem, since training sees the whole of w; found None")

    def __call__(self, problem: Problem, parameterization: Parameterization, params: Params) -> Float[Array, ""]:
        if self.held_out is not None:
            return loss_of(self.held_out, parameterization, params)
        assert isinstance(problem, ObservedEntries)
        squares = (parameterization(params) - _truth(problem, "TestError")) ** 2
        seen = axes_of(problem.indices)  # of slices, where they are fewer than the axes
        return squares.at[seen].set(0).sum() / (squares.size - squares[seen].size)


class ReconstructionError(Probe):
    """Mean square of w - truth over all entries, observed or not; or the distance relative to the norm of truth.

    Parameters
    ----------
    relative
        Whether the value is the Frobenius norm of w - truth over that of truth, under the name
        "relative_reconstruction_error".

    Raises
    ------
    TypeError, ValueError
        If ``relative`` is not True or False; before a run, if the problem has no truth, or a relative error is asked
        for and it is zero.

    Examples
    --------
    >>> ReconstructionError().name
    'reconstruction_error'
    """

    relative: bool = eqx.field(static=True, default=False)

    def __check_init__(self) -> None:
        if not isinstance(self.relative, bool):
            raise TypeError(f"relative: expected True or False, found {self.relative!r}")

    @property
    def name(self) -> str:
        return "relative_reconstruction_error" if self.relative else "reconstruction_error"

    def check(self, problem: Problem, parameterization: Parameterization) -> None:
        truth = _truth(problem, "ReconstructionError")
        if self.relative and not is_traced(truth) and not jnp.any(truth):
            raise ValueError("relative: expected a truth that is not zero, found one of zeros")

    def __call__(self, problem: Problem, parameterization: Parameterization, params: Params) -> Float[Array, ""]:
        truth = _truth(problem, "ReconstructionError")
        squares = (parameterization(params) - truth) ** 2
        return jnp.sqrt(jnp.sum(squares) / jnp.sum(truth**2)) if self.relative else jnp.mean(squares)


def _truth(problem: Problem, asker: str) -> Float[Array, "..."]:
    truth = getattr(problem, "truth", None)
    if truth is None:
        raise ValueError(f"{asker}: expected a problem with truth=..., found {type(problem).__name__} without")
    return truth
