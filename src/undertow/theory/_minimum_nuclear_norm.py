"""The solution of smallest nuclear norm, by a splitting method that ends with a certificate."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import scipy.linalg
from jaxtyping import Float

from .._validation import check_integer, check_number
from ..problems import Problem
from ._affine_projection import Matrix, affine_projection
from ._affine_set import AffineSet, affine_set
from ._anderson import Anderson
from ._errors import Infeasible, NotUnique

RELAXATION = 1.7
"""Over-relaxation of a step; any value below 2 converges."""
BALANCE = 0.1
"""Threshold of the singular values, times norm of the multiplier over that of w (measured: 1 and 0.03 are slower)."""
CHECKED = 20
"""Steps between two looks at the certificate."""
DENSE = 128
"""Smaller side up to which a full singular value decomposition is cheaper than that of the Gram matrix."""
ENDLESS = 1e8
"""Where every PSD solution has a trace above this, in units of the norm of the smallest solution, there is none."""
IN_RANGE = 1e-6
"""Singular values of w above this share of the first span its range."""
FACE = 2e7
"""Numbers in the largest table of equations on that range by which uniqueness is decided."""


def minimum_nuclear_norm(
    problem: Problem, psd: bool = False, *, rtol: float | None = None, max_steps: int = 50_000
) -> Float[np.ndarray, "rows columns"]:
    r"""The solution of smallest nuclear norm, :math:`\arg\min \{ |W|_* : A(W) = b \}`, or of least trace if PSD.

    What deep matrix factorization from vanishing initialization was conjectured to find, and finds where the
    measurements commute. Douglas-Rachford splitting between the equations and soft thresholding of the singular
    values, accelerated by Anderson's extrapolation, until a certificate shows the end: a combination
    :math:`\Lambda = A^*(y)` of the measurements, of spectral norm at most 1 (of eigenvalues at most 1 for PSD
    solutions), bounds the nuclear norm of every solution from below by :math:`b^T y`.

    Parameters
    ----------
    problem
        One of a matrix with ``equations``, such as ``MatrixCompletion`` or ``MatrixSensing``.
    psd
        Whether W is confined to symmetric positive semidefinite matrices, whose nuclear norm is the trace.
    rtol
        Duality gap, relative to the nuclear norm, and distance of the two halves of the splitting, relative to the
        norm of W, at the end; 1e-9 where left out, or 1e-5 if the problem holds float32 numbers, whose rounding takes
        the solution off the low rank it may have. W itself is as exact as the problem is well conditioned.
    max_steps
        Most steps: singular value decompositions.

    Returns
    -------
    W, NumPy float64. The equations hold to rounding; singular values that ought to be zero are so to ``rtol``.

    Raises
    ------
    TypeError, ValueError
        If the points of zero error of the problem are not known to be an affine set, it is not one of (square)
        matrices, or an option is out of range.
    Infeasible
        If no W, or no PSD one, has zero error: by a combination of the equations that leaves no solution, or none of
        a trace below 1e8 times the Frobenius norm of the smallest matrix of zero error.
    NotUnique
        If another minimizer is found within the range of the one found (:math:`U D V^T` with a symmetric D that no
        equation sees); it carries both. A minimizer is returned where none is found, or where its rank is too large
        for the search.
    RuntimeError
        If the certificate is not reached.

    References
    ----------
    Recht, Fazel, Parrilo. Guaranteed Minimum-Rank Solutions of Linear Matrix Equations via Nuclear Norm Minimization.
    SIAM Review 2010, Section 2 (the dual). Lions, Mercier. Splitting Algorithms for the Sum of Two Nonlinear
    Operators. SIAM J. Numer. Anal. 1979.

    Examples
    --------
    >>> import undertow as ut
    >>> problem = ut.problems.MatrixCompletion((2, 2), rows=[0, 1, 1], columns=[1, 0, 1], values=[1.0, 1.0, 2.0])
    >>> minimum_nuclear_norm(problem).round(6).tolist()
    [[0.5, 1.0], [1.0, 2.0]]
    """
    equations = affine_set(problem)
    if rtol is None:
        rtol = 1e-5 if any(getattr(leaf, "dtype", None) == np.float32 for leaf in jax.tree.leaves(problem)) else 1e-9
    check_number("rtol", rtol, 0, exclusive=True)
    check_integer("max_steps", max_steps, 1)
    if len(equations.shape) != 2:
        raise ValueError(f"problem: expected one of matrices, found shape {equations.shape}")
    if psd and equations.shape[0] != equations.shape[1]:
        raise ValueError(f"psd: expected a problem of square matrices, found shape {equations.shape}")
    project = affine_projection(equations, symmetric=psd)
    w = project(np.zeros(equations.shape))
    if not np.any(w):
        return w
    w = _split(project, w, _threshold_eigenvalues if psd else _threshold, rtol, max_steps, psd=psd)
    w = project(project(w))  # what rounding left of the equations
    if psd:
        w = (w + w.T) / 2
    other = _other_minimizer(equations, w, psd=psd)
    if other is not None:
        size = np.linalg.norm(w, "nuc")
        raise NotUnique(
            f"problem: the smallest {'trace' if psd else 'nuclear norm'} {size:.6g} is attained by more than one w",
            (w, other),
        )
    return w


def _split(
    project: Callable[[Matrix], Matrix],
    smallest: Matrix,
    threshold: Callable[[Matrix, float], Matrix],
    rtol: float,
    max_steps: int,
    *,
    psd: bool,
) -> Matrix:
    """Douglas-Rachford: v += relaxation * (threshold(2 project(v) - v) - project(v)).

    At a fixed point both halves are the minimizer w, and (w - v) / t, a combination of the measurements, is a
    subgradient of the nuclear norm there.
    """
    scale = float(np.linalg.norm(smallest))
    t = 0.5 * float(np.linalg.norm(smallest, 2))
    v, before = smallest, np.zeros_like(smallest)
    anderson = Anderson()
    balanced = 10  # the step at which t is chosen anew; ever rarer, so that the method converges
    gap = apart = np.inf
    for step in range(1, max_steps + 1):
        w = project(v)
        change = threshold(2 * w - v, t) - w
        if step % CHECKED == 0:
            multiplier = (w - v) / t
            gap = _gap(w, multiplier, psd=psd)
            apart = float(np.linalg.norm(change) / np.linalg.norm(w))
            if gap <= rtol and apart <= rtol:
                return w
            if psd:
                _check_feasible(w, multiplier, multiplier - before, scale)
            before = multiplier
        if step == balanced:
            balanced = int(1.3 * step) + 5
            aim = BALANCE * float(np.linalg.norm(w)) * t / max(float(np.linalg.norm(w - v)), 1e-300)
            aim = min(max(aim, t / 5), 5 * t)
            v, t = w - (aim / t) * (w - v), aim
            anderson = Anderson()
            continue
        v = anderson.next(v, RELAXATION * change)
    raise RuntimeError(
        f"the smallest {'trace' if psd else 'nuclear norm'} was not found to rtol = {rtol:g} within max_steps = "
        f"{max_steps}: relative duality gap {gap:.2g}, distance of the halves {apart:.2g}"
    )


def _gap(w: Matrix, multiplier: Matrix, *, psd: bool) -> float:
    """Of w to what its multiplier proves to be a lower bound, relative."""
    largest = np.linalg.eigvalsh(multiplier)[-1] if psd else np.linalg.norm(multiplier, 2)
    size = np.trace(w) if psd else np.linalg.norm(w, "nuc")
    return float(abs(size - np.vdot(multiplier, w) / max(1.0, float(largest))) / max(abs(float(size)), 1e-300))


def _check_feasible(w: Matrix, *combinations: Any) -> None:
    """Raise where a combination L of measurements proves that any PSD solution has an endless trace.

    For a PSD solution X, <L, w> = <L, X> <= (largest eigenvalue of L) trace X.
    """
    *multipliers, scale = combinations
    for multiplier in multipliers:
        value = float(np.vdot(multiplier, w))
        largest = float(np.linalg.eigvalsh(multiplier)[-1])
        if value > ENDLESS * scale * max(largest, 1e-15 * float(np.linalg.norm(multiplier))):
            raise Infeasible(
                "problem: no positive semidefinite w solves its equations; a combination of them asks for a trace "
                f"above {ENDLESS:g} times the norm {scale:.3g} of the smallest w that solves them"
            )


def _threshold(matrix: Matrix, t: float) -> Matrix:
    """Singular values less t, where that is positive."""
    rows, columns = matrix.shape
    if rows < columns:
        return _threshold(matrix.T, t).T
    if columns <= DENSE:
        u, s, vt = np.linalg.svd(matrix, full_matrices=False)
    else:
        # The right singular vectors that stay, from the Gram matrix; their singular values to all digits afterwards.
        _, vectors = scipy.linalg.eigh(
            matrix.T @ matrix, subset_by_value=(t * t, np.inf), driver="evr", check_finite=False
        )
        if vectors.shape[1] == 0:
            return np.zeros_like(matrix)
        u, s, vt = np.linalg.svd(matrix @ vectors, full_matrices=False)
        vt = vt @ vectors.T
    kept = np.count_nonzero(s > t)
    return (u[:, :kept] * (s[:kept] - t)) @ vt[:kept]


def _threshold_eigenvalues(matrix: Matrix, t: float) -> Matrix:
    """Eigenvalues less t, where that is positive."""
    values, vectors = np.linalg.eigh(matrix)
    kept = values > t
    return (vectors[:, kept] * (values[kept] - t)) @ vectors[:, kept].T


def _other_minimizer(equations: AffineSet, w: Matrix, *, psd: bool) -> Matrix | None:
    """Another minimizer U (S + D) V^T than w = U S V^T, with a symmetric D that no equation sees; None if not found.

    A multiplier is 1 on the range of w, so that the equations see the trace of D, which is then zero: as long as
    S + D is positive semidefinite its nuclear norm is that of w.
    """
    u, s, vt = np.linalg.svd(w)
    rank = int(np.count_nonzero(s > IN_RANGE * s[0]))
    u, s, v = u[:, :rank], s[:rank], vt[:rank].T
    if psd:
        v = u
    m = equations.b.size
    if m * rank * max(rank, equations.shape[0]) > FACE:
        return None
    if isinstance(equations.matrix, np.ndarray):
        seen = np.einsum("mia,ib->mba", equations.matrix.reshape(m, *equations.shape) @ v, u, optimize=True)
    else:
        i, j = np.divmod(equations.matrix.indices, equations.shape[1])
        seen = u[i][:, :, None] * v[j][:, None, :]
    above = np.triu_indices(rank)
    weights = np.where(above[0] == above[1], 1, np.sqrt(2))
    table = ((seen + seen.transpose(0, 2, 1)) / 2)[:, *above] * weights
    _, singular, right = np.linalg.svd(table)
    if right.shape[0] == singular.size and singular[-1] > 1e-9 * singular[0]:
        return None
    step = np.zeros((rank, rank))
    step[above] = right[-1] / weights
    step = step + np.triu(step, 1).T
    root = 1 / np.sqrt(s)
    step = 0.5 * step / np.max(np.abs(np.linalg.eigvalsh(root[:, None] * step * root[None, :])))
    other = w + u @ step @ v.T
    alike = abs(np.linalg.norm(other, "nuc") / np.linalg.norm(w, "nuc") - 1) < 1e-7
    return other if alike and np.linalg.norm(step) > 1e-4 * np.linalg.norm(s) else None
