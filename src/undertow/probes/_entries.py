"""Entries of w and functions of all of them, and the balance of its factors."""

import itertools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._description import Static
from .._validation import check_array, check_choice
from ..parameterizations import CPTensor, DeepMatrix, Parameterization
from ..parameterizations._base import Params
from ..problems import Problem
from ._base import Probe, check_label


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

    def __call__(self, problem: Problem, parameterization: Parameterization, params: Params) -> Float[Array, ""]:
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
        if len(self.index) != len(shape) or any(not 0 <= i < n for i, n in zip(self.index, shape, strict=False)):
            raise ValueError(f"index: expected an entry of shape {shape}, counted from 0, found {self.index}")

    def __call__(self, problem: Problem, parameterization: Parameterization, params: Params) -> Float[Array, ""]:
        return parameterization.entries(params, tuple(jnp.array([i]) for i in self.index))[0]


class Balancedness(Probe):
    r"""How unbalanced factors are: zero for balanced ones, and what it is the size of is conserved by gradient flow.

    Of a deep matrix :math:`\max_j |W_{j+1}^T W_{j+1} - W_j W_j^T|_F`, of the components of a CP tensor
    :math:`\max_{r, n, m} |w_r^n|^2 - |w_r^m|^2`.

    Raises
    ------
    ValueError
        Before a run, if the parameterization is neither a ``DeepMatrix`` of depth 2 at least nor a ``CPTensor``.

    References
    ----------
    Arora, Cohen, Hazan. On the Optimization of Deep Networks. ICML 2018, Theorem 1.
    Razin, Maman, Cohen. Implicit Regularization in Tensor Factorization. ICML 2021, Lemma 1.

    Examples
    --------
    >>> Balancedness().name
    'balancedness'
    """

    @property
    def name(self) -> str:
        return "balancedness"

    def check(self, problem: Problem, parameterization: Parameterization) -> None:
        if isinstance(parameterization, CPTensor):
            return
        if not isinstance(parameterization, DeepMatrix) or parameterization.depth < 2:
            raise ValueError(
                f"balancedness: expected a DeepMatrix of depth 2 at least, or a CPTensor, found {parameterization!r}"
            )

    def __call__(self, problem: Problem, parameterization: Parameterization, params: Params) -> Float[Array, ""]:
        if isinstance(parameterization, CPTensor):
            squares = jnp.stack([jnp.sum(factor**2, axis=0) for factor in params])
            return jnp.max(jnp.max(squares, axis=0) - jnp.min(squares, axis=0))
        gaps = [after.T @ after - before @ before.T for before, after in itertools.pairwise(params)]
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

    def __call__(self, problem: Problem, parameterization: Parameterization, params: Params) -> Float[Array, ""]:
        return jnp.sqrt(jnp.sum((parameterization(params) - self.target) ** 2))


class Function(Probe):
    """Any function of w, or of the parameters.

    Parameters
    ----------
    label
        Name of the probe.
    f
        ``f(w) -> array``, written with jax.numpy.
    of
        "w", or "params": then ``f(params) -> array``.

    Raises
    ------
    TypeError, ValueError
        If ``label`` is not a name, ``f`` is not callable, or ``of`` is neither "w" nor "params".

    Examples
    --------
    >>> Function("largest", lambda w: w.max()).name
    'largest'
    """

    label: str = eqx.field(static=True)
    f: Static = eqx.field(static=True)
    of: str = eqx.field(static=True)

    def __init__(self, label: str, f: Callable[[Any], Any], of: str = "w"):
        check_label(label)
        if not callable(f):
            raise TypeError(f"f: expected a function of w, found {f!r}")
        self.label, self.of = label, check_choice("of", of, ("w", "params"))
        self.f = Static(f)

    @property
    def name(self) -> str:
        return self.label

    def __call__(self, problem: Problem, parameterization: Parameterization, params: Params) -> Array:
        return jnp.asarray(self.f(params if self.of == "params" else parameterization(params)))
