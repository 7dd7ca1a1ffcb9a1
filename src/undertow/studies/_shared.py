"""What studies of several chapters share."""

from typing import Any

import jax
import numpy as np
from scipy.optimize import linprog

from ..probes import Function
from ..problems import LeastSquares

DEEP_MATRIX_FACTORIZATION = (
    "S. Arora, N. Cohen, W. Hu, Y. Luo, Implicit Regularization in Deep Matrix Factorization, NeurIPS 2019, "
    "arXiv:1905.13655"
)
W = Function("w", lambda w: w)
"""The probe that records w itself."""


def generator(key: Any) -> np.random.Generator:
    """NumPy's generator from the key of a study."""
    return np.random.default_rng(np.asarray(jax.random.key_data(key)).tolist())


def predicted_order(problem: LeastSquares, w: np.ndarray, *, signed: bool) -> float:
    """The power of alpha by which the distance falls, 2 (1 - rho).

    An entry off the support tends to zero like alpha^(2 (1 - rho_i)), where rho = A^T nu and nu is the limit of the
    duals. These satisfy A_S^T nu = sign(w_S); among all that do, the limit has the smallest largest rho_i, because it
    minimizes the sum of what is left off the support: a linear program in nu and rho.
    """
    A = np.asarray(problem.A)
    support = abs(w) > 1e-9
    off = A[:, ~support].T
    above = np.concatenate([off, -off]) if signed else off
    found = linprog(
        np.append(np.zeros(A.shape[0]), 1.0),
        A_ub=np.column_stack([above, -np.ones(len(above))]),
        b_ub=np.zeros(len(above)),
        A_eq=np.column_stack([A[:, support].T, np.zeros(support.sum())]),
        b_eq=np.sign(w[support]),
        bounds=(None, None),
    )
    return float(2 * (1 - found.fun))
