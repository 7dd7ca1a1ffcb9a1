"""How well the direction of w separates, and how far it is from another one."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._validation import Numbers, check_array, check_choice, is_traced
from ..parameterizations import Parameterization
from ..parameterizations._base import Params
from ..problems import Problem
from ._base import Probe, check_label, check_matrix


def _euclidean(w: Float[Array, "..."]) -> Float[Array, ""]:
    return jnp.sqrt(jnp.sum(w**2))


def _singular_values(w: Float[Array, "rows columns"]) -> Float[Array, " r"]:
    return jnp.linalg.svd(w, compute_uv=False)


NORMS: dict[str, Callable[[Any], Float[Array, ""]]] = {
    "l1": lambda w: jnp.sum(jnp.abs(w)),
    "l2": _euclidean,
    "linf": lambda w: jnp.max(jnp.abs(w)),
    "spectral": lambda w: jnp.max(_singular_values(w)),
    "nuclear": lambda w: jnp.sum(_singular_values(w)),
    "frobenius": _euclidean,
}


class Margin(Probe):
    r"""The margin of the direction of w: :math:`\min_n m_n(w) / |w|`, the smallest margin of the points over a norm.

    Negative as long as a point is on the wrong side; 0 at w = 0. The norm is that of w itself: the largest value that
    can be reached is what ``undertow.theory.maximum_margin`` of the same norm gives.

    Parameters
    ----------
    norm
        "l1", "l2" or "linf", over all entries of w; for a matrix also "spectral", "nuclear" or "frobenius", which is
        its l2.

    Raises
    ------
    ValueError
        If ``norm`` is unknown; before a run, if the problem has no ``margins``, or the norm is one of matrices and w is
        none.

    Examples
    --------
    >>> Margin().name, Margin("l1").name
    ('margin', 'margin_l1')
    """

    norm: str = eqx.field(static=True, default="l2")

    def __check_init__(self) -> None:
        check_choice("norm", self.norm, tuple(NORMS))

    @property
    def name(self) -> str:
        return "margin" if self.norm == "l2" else f"margin_{self.norm}"

    def check(self, problem: Problem, parameterization: Parameterization) -> None:
        _margins_of(problem)
        if self.norm in ("spectral", "nuclear", "frobenius"):
            check_matrix(self.name, parameterization)

    def __call__(self, problem: Problem, parameterization: Parameterization, params: Params) -> Float[Array, ""]:
        w = _of_size_one(parameterization(params))
        size = NORMS[self.norm](w)
        return jnp.min(_margins_of(problem)(w)) / jnp.where(size == 0, 1, size)


class DirectionError(Probe):
    r"""How far the direction of w is from that of a target: :math:`|w / |w| - v / |v||`, Euclidean.

    Between 0 and 2; about the angle, where that is small. At w = 0, which has no direction, it is 1.

    Parameters
    ----------
    target
        v, of the shape of w, not zero; of any length.
    label
        Name of the probe, where several are watched.

    Raises
    ------
    TypeError, ValueError
        If ``target`` is not finite, or zero, or ``label`` is not a name; before a run, if its shape is not that of w.

    Examples
    --------
    >>> DirectionError([3.0, 6.0]).name
    'direction_error'
    """

    target: Float[Array, "..."]
    label: str = eqx.field(static=True)

    def __init__(self, target: Numbers, label: str = "direction_error"):
        check_label(label)
        self.target, self.label = check_array("target", target), label
        if not is_traced(self.target) and not np.any(self.target):
            raise ValueError("target: expected a vector with a direction, found zeros only")

    @property
    def name(self) -> str:
        return self.label

    def check(self, problem: Problem, parameterization: Parameterization) -> None:
        if self.target.shape != parameterization.shape:
            raise ValueError(f"target: expected shape {parameterization.shape}, found {self.target.shape}")

    def __call__(self, problem: Problem, parameterization: Parameterization, params: Params) -> Float[Array, ""]:
        w = parameterization(params)
        return _euclidean(_direction(w) - _direction(self.target.astype(w.dtype)))


def _of_size_one(w: Float[Array, "..."]) -> Float[Array, "..."]:
    """``w`` with a largest entry of 1, whose squares neither overflow nor vanish; zeros stay."""
    size = jnp.max(jnp.abs(w))
    return w / jnp.where(size == 0, 1, size)


def _direction(w: Float[Array, "..."]) -> Float[Array, "..."]:
    w = _of_size_one(w)
    size = _euclidean(w)
    return w / jnp.where(size == 0, 1, size)


def _margins_of(problem: Problem) -> Callable[[Any], Any]:
    margins: Any = getattr(problem, "margins", None)
    if not callable(margins):
        raise ValueError(f"Margin: expected a problem with margins, as Classification, found {type(problem).__name__}")
    return margins
