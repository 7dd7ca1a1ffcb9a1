"""What is watched along the way: functions of problem, parameterization and parameters."""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from . import linalg
from ._functions import SameCode
from ._validation import check_array, check_integer, check_number
from .objective import loss_of
from .parameterizations import DeepMatrix, Parameterization
from .parameterizations._base import Params, positions
from .problems import ObservedEntries, Problem


class Probe(eqx.Module):
    """A measurement of a run. ``name`` is what it is called in the trajectory; the value is an array of fixed shape."""

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """What ``trajectory[name]`` and the dataset call it."""

    @abc.abstractmethod
    def __call__(self, problem: Problem, parameterization: Parameterization, params: Params) -> Array:
        """The value at ``params``."""

    def check(self, problem: Problem, parameterization: Parameterization) -> None:
        """Raise ValueError where this cannot be measured; called before any work."""


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

    def __call__(
        self, problem: Problem, parameterization: Parameterization, params: Params
    ) -> Float[Array, ""]:
        return loss_of(problem, parameterization, params)


class GradientNorm(Probe):
    """Euclidean norm of the gradient of the loss over all parameters.

    Examples
    --------
    >>> GradientNorm().name
    'gradient_norm'
    """

    @property
    def name(self) -> str:
        return "gradient_norm"

    def __call__(
        self, problem: Problem, parameterization: Parameterization, params: Params
    ) -> Float[Array, ""]:
        gradient = jax.grad(lambda p: loss_of(problem, parameterization, p))(params)
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
        _check_label(self.label)

    @property
    def name(self) -> str:
        return self.label

    def check(self, problem: Problem, parameterization: Parameterization) -> None:
        if self.held_out is not None:
            if self.held_out.shape != problem.shape:
                raise ValueError(f"held_out: expected shape {problem.shape}, found {self.held_out.shape}")
            return
        truth = _truth(problem, "TestError")
        if not isinstance(problem, ObservedEntries) or positions(problem.indices)[0].size >= truth.size:
            raise ValueError("held_out: expected a problem, since training sees the whole of w; found None")

    def __call__(
        self, problem: Problem, parameterization: Parameterization, params: Params
    ) -> Float[Array, ""]:
        if self.held_out is not None:
            return loss_of(self.held_out, parameterization, params)
        assert isinstance(problem, ObservedEntries)
        squares = (parameterization(params) - _truth(problem, "TestError")) ** 2
        seen = positions(problem.indices)
        return squares.at[seen].set(0).sum() / (squares.size - seen[0].size)


class ReconstructionError(Probe):
    """Mean square of w - truth over all entries, observed or not.

    Raises
    ------
    ValueError
        Before a run, if the problem has no truth.

    Examples
    --------
    >>> ReconstructionError().name
    'reconstruction_error'
    """

    @property
    def name(self) -> str:
        return "reconstruction_error"

    def check(self, problem: Problem, parameterization: Parameterization) -> None:
        _truth(problem, "ReconstructionError")

    def __call__(
        self, problem: Problem, parameterization: Parameterization, params: Params
    ) -> Float[Array, ""]:
        return jnp.mean((parameterization(params) - _truth(problem, "ReconstructionError")) ** 2)


class _Spectral(Probe):
    """A function of the singular values of a matrix w."""

    def check(self, problem: Problem, parameterization: Parameterization) -> None:
        if len(parameterization.shape) != 2:
            raise ValueError(f"{self.name}: expected w to be a matrix, found shape {parameterization.shape}")

    @abc.abstractmethod
    def of(self, singular_values: Float[Array, " r"]) -> Array:
        """The value, from the singular values in descending order."""

    def __call__(self, problem: Problem, parameterization: Parameterization, params: Params) -> Array:
        return self.of(jnp.linalg.svd(parameterization(params), compute_uv=False))


class SingularValues(_Spectral):
    """The singular values of w, in descending order.

    Parameters
    ----------
    count
        How many of the largest to keep; all where left out.

    Raises
    ------
    TypeError, ValueError
        If ``count`` is not a positive integer.

    Examples
    --------
    >>> SingularValues(count=10).name
    'singular_values'
    """

    count: int | None = eqx.field(static=True, default=None)

    def __check_init__(self) -> None:
        if self.count is not None:
            check_integer("count", self.count, 1)

    @property
    def name(self) -> str:
        return "singular_values"

    def of(self, singular_values: Float[Array, " r"]) -> Float[Array, " k"]:
        return singular_values[: self.count]


class EffectiveRank(_Spectral):
    """Effective rank of w: the exponential of the entropy (nats) of the normalized singular values.

    References
    ----------
    Roy, Vetterli. The effective rank: a measure of effective dimensionality. EUSIPCO 2007.

    Examples
    --------
    >>> EffectiveRank().name
    'effective_rank'
    """

    @property
    def name(self) -> str:
        return "effective_rank"

    def of(self, singular_values: Float[Array, " r"]) -> Float[Array, ""]:
        return linalg.effective_rank(singular_values)


class StableRank(_Spectral):
    """Stable rank of w: squared Frobenius norm over squared spectral norm.

    Examples
    --------
    >>> StableRank().name
    'stable_rank'
    """

    @property
    def name(self) -> str:
        return "stable_rank"

    def of(self, singular_values: Float[Array, " r"]) -> Float[Array, ""]:
        return linalg.stable_rank(singular_values)


class NuclearNorm(_Spectral):
    """Nuclear norm of w: the sum of its singular values.

    Examples
    --------
    >>> NuclearNorm().name
    'nuclear_norm'
    """

    @property
    def name(self) -> str:
        return "nuclear_norm"

    def of(self, singular_values: Float[Array, " r"]) -> Float[Array, ""]:
        return jnp.sum(singular_values)


class SchattenNorm(_Spectral):
    r"""Schatten norm :math:`(\sum_i \sigma_i^p)^{1/p}` of w; a quasi-norm for p < 1.

    Parameters
    ----------
    p
        Exponent, > 0.

    Raises
    ------
    TypeError, ValueError
        If ``p`` is not a positive number.

    Examples
    --------
    >>> SchattenNorm(0.5).name
    'schatten_0.5'
    """

    p: float = eqx.field(static=True)

    def __check_init__(self) -> None:
        check_number("p", self.p, 0, exclusive=True)

    @property
    def name(self) -> str:
        return f"schatten_{self.p:g}"

    def of(self, singular_values: Float[Array, " r"]) -> Float[Array, ""]:
        return jnp.sum(singular_values**self.p) ** (1 / self.p)


class FrobeniusNorm(Probe):
    """Euclidean norm of all entries of w: the Frobenius norm of a matrix, the l2 norm of a vector.

    Examples
    --------
    >>> FrobeniusNorm().name
    'frobenius_norm'
    """

    @property
    def name(self) -> str:
        return "frobenius_norm"

    def __call__(
        self, problem: Problem, parameterization: Parameterization, params: Params
    ) -> Float[Array, ""]:
        return jnp.sqrt(jnp.sum(parameterization(params) ** 2))


class Entry(Probe):
    """One entry of w.

    Parameters
    ----------
    *index
        Its index, counted from 0: ``Entry(3)``, ``Entry(0, 1)``.

    Raises
    ------
    TypeError, ValueError
        If the index is not made of integers; before a run, if w has no such entry.

    Examples
    --------
    >>> Entry(0, 1).name
    'entry_0_1'
    """

    index: tuple[int, ...] = eqx.field(static=True)

    def __init__(self, *index: int):
        if not index or not all(isinstance(i, int) and not isinstance(i, bool) for i in index):
            raise TypeError(f"index: expected integers, found {index!r}")
        self.index = index

    @property
    def name(self) -> str:
        return "_".join(["entry", *map(str, self.index)])

    def check(self, problem: Problem, parameterization: Parameterization) -> None:
        shape = parameterization.shape
        if len(self.index) != len(shape) or any(
            not 0 <= i < n for i, n in zip(self.index, shape, strict=False)
        ):
            raise ValueError(f"index: expected an entry of shape {shape}, counted from 0, found {self.index}")

    def __call__(
        self, problem: Problem, parameterization: Parameterization, params: Params
    ) -> Float[Array, ""]:
        return parameterization.entries(params, tuple(jnp.array([i]) for i in self.index))[0]


class Balancedness(Probe):
    r"""How unbalanced the factors of a deep matrix are: :math:`\max_j |W_{j+1}^T W_{j+1} - W_j W_j^T|_F`.

    Zero for balanced factors, and conserved, matrix by matrix, along gradient flow.

    Raises
    ------
    ValueError
        Before a run, if the parameterization is not a ``DeepMatrix`` of depth 2 at least.

    References
    ----------
    Arora, Cohen, Hazan. On the Optimization of Deep Networks. ICML 2018, Theorem 1.

    Examples
    --------
    >>> Balancedness().name
    'balancedness'
    """

    @property
    def name(self) -> str:
        return "balancedness"

    def check(self, problem: Problem, parameterization: Parameterization) -> None:
        if not isinstance(parameterization, DeepMatrix) or parameterization.depth < 2:
            raise ValueError(
                f"balancedness: expected a DeepMatrix of depth 2 at least, found {parameterization!r}"
            )

    def __call__(
        self, problem: Problem, parameterization: Parameterization, params: Params
    ) -> Float[Array, ""]:
        gaps = [
            after.T @ after - before @ before.T for before, after in zip(params[:-1], params[1:], strict=True)
        ]
        return jnp.max(jnp.stack([jnp.sqrt(jnp.sum(gap**2)) for gap in gaps]))


class DistanceTo(Probe):
    """Euclidean distance of w from a target.

    Parameters
    ----------
    target
        Of the shape of w.

    Raises
    ------
    TypeError, ValueError
        If ``target`` is not finite; before a run, if its shape is not that of w.

    Examples
    --------
    >>> DistanceTo([3.0, 6.0]).name
    'distance'
    """

    target: Float[Array, "..."] = eqx.field(converter=lambda target: check_array("target", target))

    @property
    def name(self) -> str:
        return "distance"

    def check(self, problem: Problem, parameterization: Parameterization) -> None:
        if self.target.shape != parameterization.shape:
            raise ValueError(f"target: expected shape {parameterization.shape}, found {self.target.shape}")

    def __call__(
        self, problem: Problem, parameterization: Parameterization, params: Params
    ) -> Float[Array, ""]:
        return jnp.sqrt(jnp.sum((parameterization(params) - self.target) ** 2))


class Function(Probe):
    """Any function of w.

    Parameters
    ----------
    label
        Name of the probe.
    f
        ``f(w) -> array``, written with jax.numpy.

    Raises
    ------
    TypeError
        If ``label`` is not a name or ``f`` is not callable.

    Examples
    --------
    >>> Function("largest", lambda w: w.max()).name
    'largest'
    """

    label: str = eqx.field(static=True)
    f: SameCode = eqx.field(static=True)

    def __init__(self, label: str, f: Callable[[Any], Any]):
        _check_label(label)
        if not callable(f):
            raise TypeError(f"f: expected a function of w, found {f!r}")
        self.label = label
        self.f = SameCode(f)

    @property
    def name(self) -> str:
        return self.label

    def __call__(self, problem: Problem, parameterization: Parameterization, params: Params) -> Array:
        return jnp.asarray(self.f(parameterization(params)))


def _check_label(label: object) -> None:
    if not isinstance(label, str) or not label:
        raise TypeError(f"label: expected a name, found {label!r}")


def _truth(problem: Problem, asker: str) -> Float[Array, "..."]:
    truth = getattr(problem, "truth", None)
    if truth is None:
        raise ValueError(
            f"{asker}: expected a problem with truth=..., found {type(problem).__name__} without"
        )
    return truth
