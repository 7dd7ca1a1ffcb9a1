"""Separating matrices of least spectral or nuclear norm, by semidefinite programs."""

from typing import Any

import numpy as np
import scipy.sparse
from jaxtyping import Float

from ._cone_program import cone_program
from ._margin_l2 import dense
from ._margin_rows import DUAL, MarginRows, Solution

RANGE = 1e-12
"""Singular values of the points above this share of the first span their rows, or columns."""


def least_cone(rows: MarginRows, norm: str) -> Solution:
    r"""What the semidefinite program gives: that of the dual, in the weights a of the margins.

    Largest :math:`b^T a` over :math:`a \ge 0` for which :math:`G = \sum_n a_n U_n` has dual norm at most 1. In the
    spectral norm this is to say that :math:`(I, G; G^T, I)` is positive semidefinite, in the nuclear norm that
    :math:`(P, G; G^T, Q)` is, with some P and Q whose traces add up to 2. The multiplier of the block G gives W. (The
    spectral norm as a bound on W itself: the solver ends at gaps of 1e-7.)

    The rows and columns of W are in the span of those of the points: what is off it makes either norm larger, and no
    margin.
    """
    p, q = rows.shape
    points = dense(rows.U).reshape(-1, p, q)
    left = _span(points.transpose(0, 2, 1).reshape(-1, p))
    right = _span(points.reshape(-1, q))
    reduced = np.einsum("npq,pi,qj->nij", points, left, right, optimize=True)
    Z, c, a = _dual_program(reduced, rows.F, rows.b, bounded=DUAL[norm])
    return Solution((left @ Z @ right.T).ravel(), c, a)


def _span(vectors: Float[np.ndarray, "k d"]) -> Float[np.ndarray, "d r"]:
    """An orthonormal basis of the span of the rows."""
    triangle = np.linalg.qr(vectors, mode="r")
    _, s, vt = np.linalg.svd(triangle, full_matrices=False)
    return vt[s > RANGE * s[0]].T


def _dual_program(
    points: Float[np.ndarray, "n p q"], F: Float[np.ndarray, "n f"], b: Float[np.ndarray, " n"], bounded: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """W, c, which is the multiplier of F^T a = 0, and the weights a."""
    n, p, q = points.shape
    f, side = F.shape[1], p + q
    # The upper triangle of (P, G; G^T, Q), column after column, entries off the diagonal times sqrt(2).
    j, i = np.tril_indices(side)
    places = np.full((side, side), -1)
    places[i, j] = np.arange(i.size)
    off = places[:p, p:].ravel()
    combination = np.zeros((i.size, n))
    combination[off] = -np.sqrt(2) * points.reshape(n, -1).T
    if bounded == "spectral":
        fixed = np.where(i == j, 1.0, 0.0)
        blocks = [[F.T], [-scipy.sparse.eye_array(n)], [combination]]
        right, cost = np.zeros(f + n), -b
    else:
        inner = np.flatnonzero((i < p) == (j < p))
        traces = np.where(i[inner] == j[inner], 0.5, 0.0)[None]
        entries = scipy.sparse.csc_array((-np.ones(inner.size), (inner, np.arange(inner.size))), (i.size, inner.size))
        fixed = np.zeros(i.size)
        blocks = [[F.T, None], [-scipy.sparse.eye_array(n), None], [None, traces], [combination, entries]]
        right, cost = np.concatenate([np.zeros(f + n), [1.0]]), np.concatenate([-b, np.zeros(inner.size)])
    blocks = [[block if block is None else scipy.sparse.csc_array(block) for block in row] for row in blocks]
    A: Any = scipy.sparse.block_array(blocks if f else blocks[1:])
    x, z = cone_program(
        scipy.sparse.csc_array((cost.size, cost.size)),
        cost,
        A,
        np.concatenate([right, fixed]),
        {"zero": f, "nonnegative": right.size - f, "psd": side},
    )
    W = -np.sqrt(2) * z[right.size :][off].reshape(p, q)
    return W, z[:f], x[:n]
