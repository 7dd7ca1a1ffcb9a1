"""Ranks of the matrices that a tensor can be written as."""

import math
from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._validation import check_number
from ..parameterizations import Parameterization
from ..parameterizations._base import Params
from ..problems import Problem
from ._base import Probe


class MatricizationRanks(Probe):
    r"""The ranks of matricizations of w, within a relative error.

    A matricization has the axes of a group as its rows and all others as its columns. Its rank here is the least r for
    which some matrix of rank r is within ``tolerance`` of it, :math:`\sum_{i > r} \sigma_i^2 \leq
    \mathrm{tolerance}^2 \sum_i \sigma_i^2`. Each is a lower bound of the CP rank of w within the same tolerance.

    Parameters
    ----------
    tolerance
        Relative error in the Frobenius norm, above 0 and below 1.
    groups
        Of axes, one tuple for each matricization; each axis by itself where left out.

    Raises
    ------
    TypeError, ValueError
        If ``tolerance`` is not such a number or ``groups`` are no tuples of axes; before a run, if w has no such axes,
        or a group has none of them or all.

    References
    ----------
    Kolda, Bader. Tensor Decompositions and Applications. SIAM Review 2009.

    Examples
    --------
    >>> MatricizationRanks(1e-3).name
    'matricization_ranks'
    """

    tolerance: float = eqx.field(static=True)
    groups: tuple[tuple[int, ...], ...] | None = eqx.field(static=True)

    def __init__(self, tolerance: float, groups: Sequence[Sequence[int]] | None = None):
        self.tolerance = float(check_number("tolerance", tolerance, 0, exclusive=True))
        if self.tolerance >= 1:
            raise ValueError(f"tolerance: expected a number below 1, found {self.tolerance}")
        self.groups = None if groups is None else tuple(tuple(group) for group in groups)
        axes = [axis for group in self.groups or () for axis in group]
        if not all(isinstance(axis, int) and not isinstance(axis, bool) for axis in axes):
            raise TypeError(f"groups: expected tuples of axes, found {groups!r}")

    @property
    def name(self) -> str:
        return "matricization_ranks"

    def check(self, problem: Problem, parameterization: Parameterization) -> None:
        order = len(parameterization.shape)
        if order < 2:
            raise ValueError(f"{self.name}: expected w to have two axes or more, found {parameterization.shape}")
        for group in self.groups or ():
            if not 0 < len(set(group)) == len(group) < order or not all(0 <= axis < order for axis in group):
                raise ValueError(f"groups: expected some, but not all, of the axes 0 to {order - 1}, found {group}")

    def __call__(self, problem: Problem, parameterization: Parameterization, params: Params) -> Float[Array, " groups"]:
        w = parameterization(params)
        groups = [(axis,) for axis in range(w.ndim)] if self.groups is None else self.groups
        return jnp.stack([self._rank(w, group) for group in groups])

    def _rank(self, w: Array, group: tuple[int, ...]) -> Float[Array, ""]:
        rows = math.prod(w.shape[axis] for axis in group)
        matrix = jnp.moveaxis(w, group, range(len(group))).reshape(rows, -1)
        singular_values = jnp.linalg.svd(matrix, compute_uv=False)
        # What is left out by each rank from 0 on, from the smallest up, so that it is exact where it is small.
        left_out = jnp.cumsum(singular_values[::-1] ** 2)[::-1]
        return jnp.sum(left_out > self.tolerance**2 * left_out[0], dtype=w.dtype)
