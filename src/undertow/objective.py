"""Problem and parameterization put together: what is minimized, and the field that moves ``w``."""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from . import penalties
from ._description import describe
from ._public import public_names as _public_names
from ._repr import shown
from ._validation import as_numpy
from .parameterizations import Parameterization
from .parameterizations._base import Params
from .penalties import Penalty
from .problems import ObservedEntries, Problem

__all__ = ["Objective", "velocity"]
__dir__ = _public_names(__name__)


def _as_penalty(penalty: Any) -> Penalty | None:
    return penalty if penalty is None or isinstance(penalty, Penalty) else penalties.Function(penalty)


class _Logarithm(Problem):
    """The logarithm of the loss of a problem, as a loss."""

    shape: tuple[int, ...] = eqx.field(static=True)
    problem: Problem

    def loss(self, w: Float[Array, "..."]) -> Float[Array, ""]:
        return self.problem.log_loss(w)


class Objective(eqx.Module):
    """What the dynamics minimize over ``params``: the loss of the problem and the penalty.

    Called, it gives ``(total, loss)`` with the loss of the problem alone beside the total. Where the problem looks at
    some entries only, and no penalty at w, nothing but those entries is asked of the parameterization.

    ``key`` is the run's random key, for dynamics that draw (mini-batches, noise), and None for those that do not.
    """

    problem: Problem
    parameterization: Parameterization
    penalty: Penalty | None = eqx.field(converter=_as_penalty, default=None)
    key: Array | None = None

    def __repr__(self) -> str:
        return shown(self)

    def __check_init__(self) -> None:
        if not isinstance(self.problem, Problem):
            raise TypeError(f"problem: expected an undertow.problems.Problem, found {kind_of(self.problem)}")
        if not isinstance(self.parameterization, Parameterization):
            raise TypeError(
                "parameterization: expected an undertow.parameterizations.Parameterization, found "
                f"{kind_of(self.parameterization)}"
            )
        if self.problem.shape != self.parameterization.shape:
            raise ValueError(
                f"parameterization: expected shape {self.problem.shape}, as {type(self.problem).__name__} has, "
                f"found {self.parameterization.shape}"
            )

    def __call__(self, params: Params) -> tuple[Float[Array, ""], Float[Array, ""]]:
        if self.penalty is None:
            loss = loss_of(self.problem, self.parameterization, params)
            return loss, loss
        if self.penalty.of_w:
            loss = self.problem.loss(self.parameterization(params))  # the compiler forms w once
        else:
            loss = loss_of(self.problem, self.parameterization, params)
        return loss + self.penalty.of(self.parameterization, params), loss

    def part(self, positions: Int[Array, " k"], counts: Float[Array, " k"]) -> "Objective":
        """The objective with a part of the problem, as ``Problem.part`` says; the penalty stays whole."""
        return eqx.tree_at(lambda o: o.problem, self, self.problem.part(positions, counts))

    @property
    def logarithm(self) -> "Objective | None":
        """The objective with the logarithm of the loss as its loss; None with a penalty, or where there is none."""
        if self.penalty is not None or not self.problem.keeps_logarithms:
            return None
        return eqx.tree_at(lambda o: o.problem, self, _Logarithm(self.problem.shape, self.problem))

    def check(self, params: Params) -> None:
        """Raise where the objective has no value or no gradient at such parameters; called before any work."""
        name = type(self.problem).__name__
        try:
            if _has_array(self.problem.shape):
                w = jax.ShapeDtypeStruct(self.problem.shape, jnp.result_type(*jax.tree.leaves(params)))
                loss = jax.eval_shape(self.problem.loss, w)
            else:
                loss = jax.eval_shape(lambda p: loss_of(self.problem, self.parameterization, p), params)
        except jax.errors.TracerArrayConversionError as error:
            raise TypeError(
                f"problem: the loss of {name} turns what JAX traces into numpy arrays; write it with jax.numpy"
            ) from error
        if not hasattr(loss, "shape") or loss.shape != () or not jnp.issubdtype(loss.dtype, jnp.floating):
            raise ValueError(f"problem: expected the loss of {name} to be one real number, found {loss}")
        if self.penalty is not None:
            self.penalty.check(self.parameterization, params)


def kind_of(value: Any) -> str:
    """What was found where an instance of a part was expected."""
    return f"the class {value.__name__} itself: call it" if isinstance(value, type) else type(value).__name__


def loss_of(problem: Problem, parameterization: Parameterization, params: Params) -> Float[Array, ""]:
    """The loss at ``params``, through the observed entries alone where the problem looks at no others."""
    if isinstance(problem, ObservedEntries):
        return problem.loss_of_entries(parameterization.entries(params, problem.indices))
    return problem.loss(parameterization(params))


def check_params(parameterization: Parameterization, params: Params) -> Params:
    """``params`` with arrays of one floating dtype as leaves, if the parameterization maps them to its shape."""
    leaves = jax.tree.leaves(params)
    if not leaves:
        raise ValueError("params: expected a PyTree of floating arrays, found no array")
    for leaf in leaves:
        key = hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        if not eqx.is_array_like(leaf) or key or jnp.iscomplexobj(leaf):
            raise TypeError(f"params: expected a PyTree of real arrays, found a leaf {leaf!r}")
    # Masks are refused, and foreign byte orders read.
    params = jax.tree.map(lambda x: as_numpy("params", x) if isinstance(x, np.ndarray) else x, params)
    leaves = jax.tree.leaves(params)
    # Python's numbers and integers have no say in the precision; what is left decides together, because a solver
    # cannot mix precisions.
    floating = [
        jax.dtypes.canonicalize_dtype(x.dtype)
        for x in leaves
        if hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jnp.floating)
    ]
    dtype = jnp.result_type(*floating) if floating else jnp.result_type(float)
    params = jax.tree.map(lambda x: jnp.asarray(x, dtype=dtype), params)
    try:
        if _has_array(parameterization.shape):
            out = jax.eval_shape(parameterization, params)
        else:  # a tensor that only ever has entries
            first = tuple(jnp.zeros(1, jnp.int32) for _ in parameterization.shape)
            jax.eval_shape(lambda p: parameterization.entries(p, first), params)
            return params
    except (TypeError, ValueError, IndexError) as error:
        shapes = jax.tree.map(lambda x: x.shape, params)
        raise ValueError(
            f"params: {type(parameterization).__name__} of shape {parameterization.shape} cannot take arrays of "
            f"shapes {shapes} ({error})"
        ) from error
    if out.shape != parameterization.shape:
        raise ValueError(f"params: expected parameters that give shape {parameterization.shape}, found {out.shape}")
    return params


def _has_array(shape: tuple[int, ...]) -> bool:
    """Whether JAX can name an array of this shape at all: one of fewer than 2^63 entries."""
    return math.prod(shape) < 2**63


def velocity(problem: Problem, parameterization: Parameterization, params: Params) -> Float[Array, "..."]:
    r"""The induced field :math:`\dot w = -J J^T \nabla \ell(w)` of gradient flow on the parameters.

    By automatic differentiation (one vector-Jacobian and one Jacobian-vector product; J is never formed), for every
    parameterization. Time is that of :math:`\dot u = -\nabla_u \ell(\phi(u))`.

    Parameters
    ----------
    problem
        What is fit.
    parameterization
        How w is written.
    params
        Where; use ``parameterization.lift(w)`` to ask for a given w.

    Returns
    -------
    dw/dt, of the shape of w. Goes through ``jit``, ``vmap`` and ``grad``.

    Raises
    ------
    TypeError, ValueError
        If the shapes of problem, parameterization and parameters do not fit.

    References
    ----------
    Gissin. A Primer on Implicit Regularization. 2020 (which writes :math:`J^T J` where :math:`J J^T` is right).

    Examples
    --------
    >>> import undertow as ut
    >>> phi = ut.parameterizations.Power(2, depth=2)
    >>> ut.velocity(ut.problems.PointTarget([3.0, 6.0]), phi, phi.lift([1.0, 8.0])).round(4).tolist()
    [8.0, -64.0]
    """
    Objective(problem, parameterization)  # checks that the shapes fit
    describe(problem, parameterization)  # so that JAX forgets what it has kept of functions that changed
    params = check_params(parameterization, params)
    w, pullback = jax.vjp(parameterization, params)
    (params_gradient,) = pullback(jax.grad(problem.loss)(w))
    descent = jax.tree.map(jnp.negative, params_gradient)
    return jax.jvp(parameterization, (params,), (descent,))[1]
