"""Convex cone programs by Clarabel, an interior-point method."""

from typing import Any

import clarabel
import numpy as np
import scipy.sparse
from jaxtyping import Float

TOLERANCE = 1e-11
"""Asked of the solver; what it reached, a certificate has to tell."""

_clarabel: Any = clarabel  # compiled, with no types


def cone_program(
    P: Any, cost: Float[np.ndarray, " n"], A: Any, b: Float[np.ndarray, " m"], cones: dict[str, int]
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " m"]]:
    """A minimizer x of ``x P x / 2 + cost x`` with ``b - A x`` in a product of cones, and its dual variables.

    The cones are given by their sizes, in the order of the rows: "zero", "nonnegative" and "psd" (side of the matrix,
    whose upper triangle is written column after column, with entries off the diagonal times the square root of 2).
    """
    settings = _clarabel.DefaultSettings()
    settings.verbose = False
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = TOLERANCE
    of = {
        "zero": _clarabel.ZeroConeT,
        "nonnegative": _clarabel.NonnegativeConeT,
        "psd": _clarabel.PSDTriangleConeT,
    }
    found = _clarabel.DefaultSolver(
        scipy.sparse.csc_matrix(P),
        cost,
        scipy.sparse.csc_matrix(A),
        b,
        [of[kind](size) for kind, size in cones.items() if size],
        settings,
    ).solve()
    return np.asarray(found.x), np.asarray(found.z)
