"""The solution of smallest Euclidean norm."""

import numpy as np
from jaxtyping import Float

from ..problems import Problem
from ._affine_set import affine_set


def minimum_norm(problem: Problem) -> Float[np.ndarray, "..."]:
    r"""The least-squares solution of smallest l2 norm, :math:`A^+ b`.

    Plain gradient flow (and gradient descent) from zero ends here, because it never leaves the row space of A. For
    matrix completion these are the observed entries and zeros.

    Parameters
    ----------
    problem
        One whose points of zero error are an affine set: it has ``equations``.

    Returns
    -------
    w of the shape of the problem, NumPy float64. Where no w has zero error, the smallest of those with least error.

    Raises
    ------
    TypeError
        If the points of zero error of the problem are not known to be an affine set.

    References
    ----------
    Gunasekar, Lee, Soudry, Srebro. Characterizing Implicit Bias in Terms of Optimization Geometry. ICML 2018,
    Section 2.

    Examples
    --------
    >>> import undertow as ut
    >>> minimum_norm(ut.problems.LeastSquares([[1.0, 2.0]], [5.0])).round(6).tolist()
    [1.0, 2.0]
    """
    equations = affine_set(problem)
    if isinstance(equations.matrix, np.ndarray):
        w = np.linalg.lstsq(equations.matrix, equations.b)[0]
    else:
        w = equations.matrix.T @ equations.b
    return w.reshape(equations.shape)
