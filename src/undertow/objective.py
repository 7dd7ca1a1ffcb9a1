"""Problem and parameterization put together: what is minimized, and the field that moves ``w``."""

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from . import penalties
from ._arrays import placed
from ._programs import filter_jit
from ._public import public_names as _public_names
from ._repr import shown
from ._validation import MOST_ENTRIES, as_numpy
from .linalg import ManyAxes, axes_of
from .linalg._many_axes import MANY_AXES
from .parameterizations import Parameterization
from .parameterizations._base import Params
from .penalties import Penalty
from .problems import ObservedEntries, Problem
from .problems._chunked_rows import chunked, with_windows

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
    some entries only, and no penalty at w, nothing but those entries is asked of the parameterization. The total has
    in it what the parameterization itself adds, as a variational code its divergence.

    ``key`` is the run's random key, for what draws (mini-batches, noise), and None where nothing does; ``noise`` the
    key of the noise of one step, and None where the parameterization is looked at without.
    """

    problem: Problem
    parameterization: Parameterization
    penalty: Penalty | None = eqx.field(converter=_as_penalty, default=None)
    key: Array | None = None
    noise: Array | None = None

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
        if self.parameterization.draws and not isinstance(self.problem, ObservedEntries):
            raise ValueError(
                f"problem: expected one of entries, as Reconstruction, for {type(self.parameterization).__name__}, "
                f"which draws noise for each of them; found {kind_of(self.problem)}"
            )

    def __call__(self, params: Params) -> tuple[Float[Array, ""], Float[Array, ""]]:
        if self.penalty is not None and self.penalty.of_w and not self.parameterization.draws:
            loss = self.problem.loss(self.parameterization(params))  # the compiler forms w once
            return loss + self.penalty.of(self.parameterization, params), loss
        total, loss = _total_and_loss(self.problem, self.parameterization, params, self.noise)
        return total if self.penalty is None else total + self.penalty.of(self.parameterization, params), loss

    def part(self, positions: Int[Array, " k"], counts: Float[Array, " k"]) -> "Objective":
        """The objective with a part of the problem, as ``Problem.part`` says; the penalty stays whole."""
        return eqx.tree_at(lambda o: o.problem, self, self.problem.part(positions, counts))

    def drawn(self, key: Array) -> "Objective":
        """The objective with the noise that this key draws, where the parameterization is trained with noise."""
        if not self.parameterization.draws:
            return self
        return eqx.tree_at(lambda o: o.noise, self, key, is_leaf=lambda x: x is None)

    @property
    def logarithm(self) -> "Objective | None":
        """The objective with the logarithm of the loss as its loss; None with a penalty, or where there is none."""
        if self.penalty is not None or self.parameterization.draws or not self.problem.keeps_logarithms:
            return None
        return eqx.tree_at(lambda o: o.problem, self, _Logarithm(self.problem.shape, self.problem))

    def check(self, params: Params) -> None:
        """Raise where the objective has no value or no gradient at parameters of such shapes, before any work."""
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
    return _total_and_loss(problem, parameterization, params, None)[1]


def _total_and_loss(
    problem: Problem, parameterization: Parameterization, params: Params, noise: Array | None
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The loss, and before it the loss with what the parameterization adds; in pieces where the problem asks for it."""
    if not isinstance(problem, ObservedEntries):
        loss = problem.loss(parameterization(params))
        return loss, loss

    def of(problem: Any, parameterization: Parameterization) -> tuple[Array, Array]:
        entries, costs = parameterization.in_training(params, problem.indices, noise)
        loss = problem.loss_of_entries(entries)
        return loss if costs is None else loss + problem.sum_of(costs), loss

    size = 0 if problem.piece is None else axes_of(problem.indices)[0].size
    if problem.piece is None or size <= problem.piece:
        return of(problem, parameterization)

    def piece(both: tuple[Any, Any], *some: Array) -> tuple[Array, Array]:
        # A derivative computes each piece again, and keeps none.
        return jax.checkpoint(lambda *some: of(both[0].part(*some), both[1]))(*some)

    return sum_over_pieces(size, problem.piece, piece, (problem, parameterization), problem.chunk)


def sum_over_pieces(
    terms: int, piece: int, evaluate: Callable[[Any, Array, Array], Any], data: Any, chunk: int | None = None
) -> Any:
    """The sum of ``evaluate(data, positions, counts)`` over pieces of so many terms, the last with counts of 0 behind.

    Data that are read from a disk are at hand for many pieces at once, a ``chunk`` or one piece at least.
    """

    def total(data: Any, first: Any, pieces: int) -> Any:
        def one(number: Array) -> Any:
            positions = first + number * piece + jnp.arange(piece, dtype=jnp.int32)
            there = (positions < terms).astype(jnp.result_type(float))
            return evaluate(data, jnp.minimum(positions, terms - 1), there)

        return _sum_of(one, pieces)

    pieces, apart = math.ceil(terms / piece), [] if chunk is None else chunked(data)
    if chunk is None or not apart:
        return total(data, 0, pieces)
    together = min(max(1, chunk // piece), pieces)
    size = together * piece

    @jax.checkpoint  # or what was read would be kept for a derivative
    def of_chunk(number: Array) -> Any:
        return total(with_windows(data, [x.window(number * size, size) for x in apart]), number * size, together)

    return _sum_of(of_chunk, math.ceil(pieces / together))


def _sum_of(one: Callable[[Array], Any], count: int) -> Any:
    def add(total: Any, number: Array) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, total, one(number)), None

    numbers = jnp.arange(count, dtype=jnp.int32)
    first = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(one, numbers[0]))
    return jax.lax.scan(add, first, numbers)[0]


def check_params(parameterization: Parameterization, params: Params) -> Params:
    """``params`` with arrays of one floating dtype as leaves, if the parameterization maps them to its shape."""
    params = as_params(params)
    check_shapes(parameterization, params)
    return params


def as_params(params: Params) -> Params:
    """``params`` with arrays of one floating dtype as leaves."""
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
    with jax.numpy_dtype_promotion("standard"):
        dtype = jnp.result_type(*floating) if floating else jnp.result_type(float)
    return jax.tree.map(
        lambda x: placed(x, dtype) if isinstance(x, np.ndarray) else jnp.asarray(x, dtype=dtype), params
    )


def check_shapes(parameterization: Parameterization, params: Params) -> None:
    """Raise ValueError unless the parameterization maps parameters of such shapes to its own."""
    try:
        if _has_array(parameterization.shape):
            out = jax.eval_shape(parameterization, params)
        else:  # a tensor that only ever has entries
            shape = parameterization.shape
            axes = (np.zeros(1, np.int32),) * len(shape)
            first = ManyAxes(axes, max(shape)) if len(shape) >= MANY_AXES else tuple(map(jnp.asarray, axes))
            jax.eval_shape(lambda p: parameterization.entries(p, first), params)
            return
    except (TypeError, ValueError, IndexError) as error:
        shapes = jax.tree.map(lambda x: x.shape, params)
        raise ValueError(
            f"params: {type(parameterization).__name__} of shape {parameterization.shape} cannot take arrays of "
            f"shapes {shapes} ({error})"
        ) from error
    if not hasattr(out, "shape"):
        raise ValueError(
            f"params: expected parameters of which {type(parameterization).__name__} makes an array of shape "
            f"{parameterization.shape}, found that it makes a {type(out).__name__} of them; a list of numbers is one "
            "array, jnp.array(params)"
        )
    if out.shape != parameterization.shape:
        raise ValueError(f"params: expected parameters that give shape {parameterization.shape}, found {out.shape}")


def _has_array(shape: tuple[int, ...]) -> bool:
    """Whether there can be an array of this shape at all."""
    return math.prod(shape) < MOST_ENTRIES


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
    return _velocity(problem, parameterization, check_params(parameterization, params))


@filter_jit
def _velocity(problem: Problem, parameterization: Parameterization, params: Params) -> Float[Array, "..."]:
    w, pullback = jax.vjp(parameterization, params)
    (params_gradient,) = pullback(jax.grad(problem.loss)(w))
    descent = jax.tree.map(jnp.negative, params_gradient)
    return jax.jvp(parameterization, (params,), (descent,))[1]
