"""Greedy low-rank learning: the path of matrix factorization from vanishing initialization, one rank at a time."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.integrate import solve_ivp

from .._repr import shown
from .._validation import check_integer, check_number
from ..problems import Problem
from ._errors import NotUnique

STEP_OFF = 1e-5
"""Size of the new column, relative to the size at which it would settle by its gradient's own scale."""
TIED = 1e-6
"""A gap below this share of the largest eigenvalue leaves the direction open."""
FLAT = 1e-8
"""Curvature below this share of the largest one is that of a rotation of the columns, and rounding."""
CRITICAL = 1e-11
"""Gradient, relative to that at the origin times the size of the factors, at which a point is critical."""
CHUNKS = 40
"""Most pieces in which the flow from one point to the next is followed; every piece takes twice the time."""

Factors = Float[np.ndarray, "_ _"]


class GreedyPath(NamedTuple):
    """Points of rank 0, 1, 2, ... and why there is no more.

    ``points[0]`` is zero and ``points[r]`` of rank at most r; ``losses`` are those of the problem. ``rates[r]`` is the
    rate at which factors leave ``points[r]``, like exp(rate t) in flow time: the largest singular value of the negative
    gradient G for W = V U^T, the largest eigenvalue of G + G^T (0 at least) for W = U U^T. ``ended`` is "zero loss",
    "minimum" (no direction lowers the loss) or "max_rank".
    """

    points: Float[np.ndarray, "ranks rows columns"]
    losses: Float[np.ndarray, " ranks"]
    rates: Float[np.ndarray, " ranks"]
    ended: str

    def __repr__(self) -> str:
        return shown(self)


def greedy_low_rank_learning(
    problem: Problem, psd: bool = False, *, max_rank: int | None = None, rtol: float = 1e-9
) -> GreedyPath:
    r"""The path of gradient flow on :math:`W = V U^T` (``psd``: :math:`W = U U^T`), as its start tends to zero.

    From W = 0: at a critical point W_r take the top pair of singular vectors (the top eigenvector) of
    :math:`-\nabla\ell(W_r)`, add a small multiple of it to the factors as a new column, and follow gradient flow of
    r + 1 columns to the next critical point W_{r+1}; stop where no direction lowers the loss. The flow of full-size
    factors from a random start of size alpha passes by these points, the nearer the smaller alpha, at a power of it
    that the gap below the top singular value sets. It is rank that is kept low, step by step, and no norm.

    Parameters
    ----------
    problem
        Any problem of a matrix with a smooth loss.
    psd
        Whether W is a Gram matrix; the gradient is then symmetrized.
    max_rank
        Where to stop at the latest; the smaller side where left out.
    rtol
        Of the flow between the points, which are then polished by Newton's method. The path also ends where the rate,
        or the loss, is below this share (its square, for the loss) of that at zero.

    Returns
    -------
    GreedyPath

    Raises
    ------
    TypeError, ValueError
        If ``problem`` is not one of (square, for ``psd``) matrices, or an option is out of range.
    NotUnique
        If the top singular value of the gradient has a multiplicity, so that the direction is open; it carries two
        candidates of norm 1.
    RuntimeError
        If the flow settles nowhere, as where the loss has no minimum of some rank.

    References
    ----------
    Li, Luo, Lyu. Towards Resolving the Implicit Bias of Gradient Descent for Matrix Factorization: Greedy Low-Rank
    Learning. ICLR 2021, Algorithm 1, Theorems 5.4 and 5.6.

    Examples
    --------
    >>> import undertow as ut
    >>> path = greedy_low_rank_learning(ut.problems.PointTarget([[3.0, 0.0], [0.0, 1.0]]))
    >>> np.abs(path.points).round(6).tolist()[1:], path.ended
    ([[[3.0, 0.0], [0.0, 0.0]], [[3.0, 0.0], [0.0, 1.0]]], 'zero loss')
    """
    if not isinstance(problem, Problem):
        raise TypeError(f"problem: expected an undertow.problems.Problem, found {type(problem).__name__}")
    if len(problem.shape) != 2 or (psd and problem.shape[0] != problem.shape[1]):
        raise ValueError(f"problem: expected one of {'square ' * psd}matrices, found shape {problem.shape}")
    side = min(problem.shape)
    limit = side if max_rank is None else min(side, check_integer("max_rank", max_rank, 1))
    check_number("rtol", rtol, 0, exclusive=True)
    with jax.enable_x64(True):
        return _follow(_Landscape(problem, psd=psd), limit, float(rtol))


class _Landscape:
    """The loss as a function of the stacked factors, of r columns: U for W = U U^T, V over U for W = V U^T."""

    def __init__(self, problem: Problem, *, psd: bool) -> None:
        self.problem, self.psd = problem, psd
        self.length = problem.shape[0] if psd else sum(problem.shape)
        self.gradient = jax.jit(jax.grad(self._loss))
        self.hessian = jax.jit(jax.hessian(self._loss))
        self._gradient_of_w: Callable[[Array], Array] = jax.jit(jax.grad(problem.loss))

    def _loss(self, factors: Float[Array, "_ k"]) -> Float[Array, ""]:
        rows = self.problem.shape[0]
        right = factors if self.psd else factors[rows:]
        return self.problem.loss(factors[:rows] @ right.T)

    def product(self, factors: Factors) -> Float[np.ndarray, "rows columns"]:
        rows = self.problem.shape[0]
        return factors[:rows] @ (factors if self.psd else factors[rows:]).T

    def directions(self, w: Float[np.ndarray, "rows columns"]) -> tuple[np.ndarray, np.ndarray]:
        """The rates at which columns leave w, descending, and these columns."""
        gradient = np.asarray(self._gradient_of_w(jnp.asarray(w)))
        if self.psd:
            values, vectors = np.linalg.eigh(-(gradient + gradient.T))
            return values[::-1], vectors[:, ::-1]
        u, s, vt = np.linalg.svd(-gradient, full_matrices=False)
        return s, np.concatenate([u, vt.T])

    def scale(self) -> float:
        """The size of the first column where the loss along it is least, by its slope and curvature at zero."""
        column = self.directions(np.zeros(self.problem.shape))[1][:, :1]
        along = lambda a: self.problem.loss(a * jnp.asarray(self.product(column)))  # noqa: E731
        slope, curvature = jax.grad(along)(0.0), jax.grad(jax.grad(along))(0.0)
        return float(jnp.sqrt(-slope / curvature)) if curvature > 0 else 1.0


def _follow(landscape: _Landscape, limit: int, rtol: float) -> GreedyPath:
    factors = np.zeros((landscape.length, 0))
    points, losses, rates = [], [], []
    while True:
        w = landscape.product(factors)
        points.append(w)
        losses.append(float(landscape.problem.loss(jnp.asarray(w))))
        values, columns = landscape.directions(w)
        rates.append(float(values[0]))
        if losses[-1] <= rtol**2 * losses[0]:
            ended = "zero loss"
        elif rates[-1] <= rtol * rates[0]:
            ended = "minimum"
        elif factors.shape[1] == limit:
            ended = "max_rank"
        else:
            if values.size > 1 and values[0] - values[1] <= TIED * values[0]:
                first, second = (landscape.product(column[:, None]) for column in columns[:, :2].T)
                raise NotUnique(
                    f"problem: at rank {factors.shape[1]} of the path two directions grow at one rate, "
                    f"{values[0]:.9g} and {values[1]:.9g}; which is learned is not decided by the problem",
                    (first, second),
                )
            factors = _descend(landscape, factors, columns[:, 0], rates, rtol)
            continue
        return GreedyPath(np.stack(points), np.array(losses), np.maximum(rates, 0), ended)


def _descend(landscape: _Landscape, factors: Factors, column: np.ndarray, rates: list[float], rtol: float) -> Factors:
    """From a critical point along a new column to the critical point where the flow of all of them settles."""
    rows, count = landscape.length, factors.shape[1] + 1
    scale = landscape.scale()
    flat = np.column_stack([factors, STEP_OFF * scale * column]).ravel()
    shape = (rows, count)

    def field(_: float, y: np.ndarray) -> np.ndarray:
        return -np.asarray(landscape.gradient(y.reshape(shape))).ravel()

    time = 2 * np.log(1 / STEP_OFF) / rates[-1]
    for _ in range(CHUNKS):
        solution = solve_ivp(field, (0, time), flat, method="LSODA", rtol=rtol, atol=rtol * STEP_OFF * scale)
        if not solution.success:
            raise RuntimeError(f"the flow to rank {count} was not followed: {solution.message}")
        flat = solution.y[:, -1]
        found = _polish(landscape, flat.reshape(shape), CRITICAL * rates[0] * scale)
        if found is not None:
            return found
        time = 2 * time
    raise RuntimeError(f"the flow to rank {count} settles at no point of zero gradient in a time of {time:g}")


def _polish(landscape: _Landscape, start: Factors, tolerance: float) -> Factors | None:
    """The local minimum next to the factors, by Newton's method; None where there is none close by."""
    factors = start
    for _ in range(20):
        gradient = np.asarray(landscape.gradient(factors)).ravel()
        values, vectors = np.linalg.eigh(np.asarray(landscape.hessian(factors)).reshape(gradient.size, -1))
        if values[0] < -1e-6 * values[-1]:
            return None  # a saddle, or on the way
        if np.linalg.norm(gradient) <= tolerance:
            return factors
        # Rotations of the columns change nothing: no step that way.
        curved = values > FLAT * values[-1]
        step = -vectors[:, curved] @ ((vectors[:, curved].T @ gradient) / values[curved])
        factors = factors + step.reshape(factors.shape)
        if np.linalg.norm(factors - start) > 1e-2 * np.linalg.norm(start):
            return None
    return None
