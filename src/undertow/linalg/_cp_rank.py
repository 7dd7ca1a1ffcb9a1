"""The CP rank of a tensor within a tolerance: what can be said of it."""

import importlib
import itertools
import math
from typing import Any, NamedTuple

import numpy as np

from .._repr import shown
from .._validation import Numbers, as_numpy, check_integer, check_number

MANY_AXES = 8
"""Axes from which only matricizations along one axis are looked at; there are 2^(axes - 1) - 1 of all."""
RIDGE = 1e-13
"""Keeps the equations of components that are not needed, of a tensor of norm 1, from being singular."""


class CPRank(NamedTuple):
    """What is known of a CP rank.

    Parameters
    ----------
    rank
        The least number of components that were found to be within the tolerance: an upper bound.
    at_least
        A lower bound, by the ranks of matricizations within the same tolerance.
    error
        The relative error of the components found.
    """

    rank: int
    at_least: int
    error: float

    def __repr__(self) -> str:
        return shown(self)


def cp_rank(tensor: Numbers, tolerance: float, *, starts: int = 3, max_steps: int = 1000, seed: int = 0) -> CPRank:
    r"""The least number of components that come within a relative error of a tensor, as far as they are found.

    That is, the least R with

    .. math:: |T - \sum_{r=1}^R w_r^1 \circ \cdots \circ w_r^N|_F \leq \mathrm{tolerance}\, |T|_F.

    To find it is NP-hard from three axes on. Components are fitted by alternating least squares (TensorLy), from
    singular vectors, where these are enough, and from random starts; R is searched by doubling and halving, as if a
    larger number never fitted worse. So the result is an upper bound. It is exact where it equals the lower bound, and
    always for a matrix.

    Parameters
    ----------
    tensor
        T, of two axes or more.
    tolerance
        Above 0 and below 1. For a tensor of s entries a mean square error of :math:`\delta` is a tolerance of
        :math:`\sqrt{\delta s} / |T|_F`.
    starts
        Of the fit of every R, the first from singular vectors.
    max_steps
        Sweeps of alternating least squares from each start.
    seed
        Of the random starts.

    Raises
    ------
    TypeError, ValueError
        If ``tensor`` is not of two axes or more with entries, all finite; ``tolerance`` is not such a number; or
        ``starts`` or ``max_steps`` is not a positive integer.

    References
    ----------
    Hillar, Lim. Most Tensor Problems Are NP-Hard. Journal of the ACM 2013.
    Razin, Cohen. Implicit Regularization in Deep Learning May Not Be Explainable by Norms. NeurIPS 2020 (Section 5,
    which has one random start).

    Examples
    --------
    >>> import numpy as np
    >>> u, v = np.array([1.0, 0.0]), np.array([1.0, 2.0])
    >>> found = cp_rank(np.einsum("i,j,k->ijk", u, v, v) + np.einsum("i,j,k->ijk", v, u, v), tolerance=1e-6)
    >>> found.rank, found.at_least
    (2, 2)
    """
    array = as_numpy("tensor", tensor)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"tensor: expected an array of real numbers, found dtype {array.dtype}")
    array = array.astype(np.float64)
    if array.ndim < 2 or array.size == 0 or not np.isfinite(array).all():
        raise ValueError(
            f"tensor: expected finite entries and two axes or more, found shape {array.shape}"
            + (" with entries that are not finite" if array.size and not np.isfinite(array).all() else "")
        )
    tolerance = float(check_number("tolerance", tolerance, 0, exclusive=True))
    if tolerance >= 1:
        raise ValueError(f"tolerance: expected a number below 1, found {tolerance}")
    starts, max_steps = check_integer("starts", starts, 1), check_integer("max_steps", max_steps, 1)
    norm = np.linalg.norm(array)
    if norm == 0:
        return CPRank(0, 0, 0.0)
    array = array / norm
    at_least = max(_matrix_rank(matrix, tolerance) for matrix in _matricizations(array))
    if array.ndim == 2:
        s = np.linalg.svd(array, compute_uv=False)
        return CPRank(at_least, at_least, float(np.linalg.norm(s[at_least:])))
    return _searched(array, tolerance, at_least, starts, max_steps, seed)


def _searched(tensor: np.ndarray, tolerance: float, at_least: int, starts: int, max_steps: int, seed: int) -> CPRank:
    """Double until it fits, halve the gap until it closes."""
    # As many as there are fibers that are not zero always do, each fiber a component.
    fits, error = min(int(np.any(tensor, axis=axis).sum()) for axis in range(tensor.ndim)), 0.0
    fails, trial, found_some = at_least - 1, at_least, False
    while fits - fails > 1:
        trial = min(trial, fits - 1)
        found = min(_errors(tensor, trial, tolerance, starts, max_steps, seed))
        if found <= tolerance:
            fits, error, found_some = trial, found, True
        else:
            fails = trial
        trial = (fits + fails) // 2 if found_some else 2 * trial
    return CPRank(fits, at_least, error)


def _errors(tensor: np.ndarray, rank: int, tolerance: float, starts: int, max_steps: int, seed: int) -> list[float]:
    """The relative errors that alternating least squares reaches from each start; none after the first that will do."""
    from tensorly.decomposition import parafac

    tensorly: Any = importlib.import_module("tensorly")  # some of its names come late, unseen by type checkers
    errors: list[float] = []
    for start in range(starts):
        last = [math.inf]

        def watch(_: object, error: float, last: list[float] = last) -> bool:
            last[0] = float(error)
            return last[0] <= tolerance

        options: dict[str, Any] = {
            "n_iter_max": max_steps,
            "init": "svd" if start == 0 and rank <= min(tensor.shape) else "random",
            "tol": 1e-4 * tolerance,
            "l2_reg": RIDGE,
            "random_state": np.random.RandomState([seed, rank, start]),
            "callback": watch,
        }
        with tensorly.backend_context("numpy", local_threadsafe=True):
            parafac(tensor, rank, **options)
        errors.append(last[0])
        if last[0] <= tolerance:
            break
    return errors


def _matricizations(tensor: np.ndarray) -> list[np.ndarray]:
    """All ways to write it as a matrix, up to transposition; along one axis only where there are many."""
    order = tensor.ndim
    sizes = range(1, order // 2 + 1) if order < MANY_AXES else (1,)
    groups = [group for size in sizes for group in itertools.combinations(range(order), size)]
    return [
        np.moveaxis(tensor, group, range(len(group))).reshape(math.prod(tensor.shape[axis] for axis in group), -1)
        for group in groups
    ]


def _matrix_rank(matrix: np.ndarray, tolerance: float) -> int:
    """The least rank of a matrix within ``tolerance`` of one of norm 1."""
    left_out = np.cumsum(np.linalg.svd(matrix, compute_uv=False)[::-1] ** 2)[::-1]
    return int(np.sum(left_out > tolerance**2))
