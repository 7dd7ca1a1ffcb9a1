"""Completion with one entry hidden: what the entry exceeds, and how near the matrix is to one of lower rank."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from .._validation import Numbers, as_numpy, check_integer, check_number


def hidden_entry_bound(loss: Numbers, size: int = 2, corner: Sequence[float] = (1.0, 1.0)) -> Float[np.ndarray, "..."]:
    r"""What the hidden entry exceeds in size while the determinant has not the sign of the solutions.

    All entries of a size x size matrix are seen but one, the leading block is :math:`(?, z; z', 0)`, the other
    diagonal entries are 1 and all else is 0, so that every solution has determinant :math:`-z z'`. Balanced gradient
    flow keeps the sign of the determinant; from the other one it can fit in the limit only, and the hidden entry goes
    to infinity. With :math:`\epsilon = \sqrt{2 \ell}`, the Frobenius norm of the residuals, and m the least of
    :math:`|z|, |z'|, 1`, for :math:`\epsilon < m`:

    .. math:: |W_{11}| > \frac{|z z'| (1 - \epsilon / m)^d}{\epsilon (1 + \epsilon)^{d - 2}}

    For d = 2 and z = z' = 1 this is :math:`1 / \epsilon - 2 + \epsilon`. It follows from
    :math:`\det W = W_{11} \det B + \det W|_{W_{11} = 0}`: the first minor B has one singular value of at most
    :math:`\epsilon`, the others of at most :math:`1 + \epsilon`, and the second term keeps the sign of the solutions
    and is at least the numerator in size.

    Parameters
    ----------
    loss
        Half the sum of squares over the seen entries, at least 0; any shape.
    size
        d, at least 2.
    corner
        z and z', not 0.

    Returns
    -------
    Of the shape of ``loss``, NumPy float64; NaN where the loss is NaN or too large for the bound
    (:math:`\epsilon \ge m`), infinite where it is 0.

    Raises
    ------
    TypeError, ValueError
        If a loss is negative or no number, the size below 2, or z or z' is 0.

    References
    ----------
    Razin, Cohen. Implicit Regularization in Deep Learning May Not Be Explainable by Norms. NeurIPS 2020, Theorem 1,
    for d = 2; the bound here is derived anew, at any size, and independent of the constants there.

    Examples
    --------
    >>> hidden_entry_bound([0.5e-2, 0.5e-4]).round(2).tolist()
    [8.1, 98.01]
    """
    size = check_integer("size", size, 2)
    if not isinstance(corner, Sequence) or len(corner) != 2:
        raise ValueError(f"corner: expected 2 numbers, found {corner!r}")
    z, other = (abs(float(check_number(f"corner[{i}]", value))) for i, value in enumerate(corner))
    if z == 0 or other == 0:
        raise ValueError(f"corner: expected numbers other than 0, found {tuple(corner)}")
    epsilon, m = _residual_norm(loss), min(z, other, 1.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        bound = z * other * (1 - epsilon / m) ** size / (epsilon * (1 + epsilon) ** (size - 2))
    return np.where(epsilon < m, bound, np.nan)


def hidden_entry_rank_bound(loss: Numbers) -> Float[np.ndarray, "..."]:
    r"""What the distance from rank d - 1 stays below while the determinant has not the sign of the solutions.

    .. math:: \sigma_d(W) \le \sqrt{2 \ell}

    With the seen entries put right, W would be a solution, of the other sign: on the straight way there, which has
    that length, lies a singular matrix. The problem is that of `hidden_entry_bound`.

    Parameters
    ----------
    loss
        Half the sum of squares over the seen entries, at least 0; any shape.

    Returns
    -------
    Of the shape of ``loss``, NumPy float64; NaN where the loss is NaN.

    Raises
    ------
    TypeError, ValueError
        If a loss is negative or no number.

    References
    ----------
    Razin, Cohen. Implicit Regularization in Deep Learning May Not Be Explainable by Norms. NeurIPS 2020, Theorem 1
    (distance from rank one); derived anew, at any size.

    Examples
    --------
    >>> hidden_entry_rank_bound([0.5, 0.5e-4]).round(6).tolist()
    [1.0, 0.01]
    """
    return _residual_norm(loss)


def _residual_norm(loss: Numbers) -> Float[np.ndarray, "..."]:
    """The root of twice the loss. NaN passes: records of runs of different lengths are filled up with it."""
    numbers = as_numpy("loss", loss)
    if numbers.dtype.kind not in "iuf":
        raise TypeError(f"loss: expected real numbers, found dtype {numbers.dtype}")
    numbers = numbers.astype(np.float64)
    if np.any(numbers < 0):
        raise ValueError(f"loss: expected numbers of at least 0, found {np.nanmin(numbers):g}")
    return np.asarray(np.sqrt(2 * numbers))
