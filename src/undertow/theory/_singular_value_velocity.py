"""How the matrix that a deep factorization represents moves, from the gradient of the loss alone."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from .._validation import Numbers, check_array, check_integer
from ..problems import Problem

TIED = 1e-10
"""Singular values that differ by less than this share of the first one count as equal."""


def end_to_end_velocity(problem: Problem, w: Numbers, depth: int) -> Float[np.ndarray, "rows columns"]:
    r"""The velocity of :math:`W = W_N \cdots W_1` under gradient flow, from balanced factors.

    .. math:: \dot W = -\sum_{j=1}^{N} [W W^T]^{\frac{j-1}{N}}\, \nabla\ell(W)\, [W^T W]^{\frac{N-j}{N}}

    Factors are balanced where :math:`W_{j+1}^T W_{j+1} = W_j W_j^T`, and stay so; the velocity then depends on them
    through W alone, and on no width of at least its rank.

    Parameters
    ----------
    problem
        Any problem of a matrix.
    w
        W, of the shape of the problem.
    depth
        N, at least 1.

    Returns
    -------
    The velocity, NumPy float64.

    Raises
    ------
    TypeError, ValueError
        If ``w`` is not a matrix of the shape of the problem, or ``depth`` not a positive integer.

    References
    ----------
    Arora, Cohen, Hazan. On the Optimization of Deep Networks: Implicit Acceleration by Overparameterization. ICML
    2018, Theorem 1.

    Examples
    --------
    >>> import undertow as ut
    >>> end_to_end_velocity(ut.problems.PointTarget([[3.0]]), [[2.0]], depth=3).round(6).tolist()
    [[7.559526]]
    """
    depth = check_integer("depth", depth, 1)
    u, s, vt, gradient = _in_singular_vectors(problem, w)
    weights = _weights(np.pad(s, (0, u.shape[1] - s.size))[:, None], np.pad(s, (0, vt.shape[0] - s.size)), depth)
    return -u @ (weights * gradient) @ vt


def _weights(left: np.ndarray, right: np.ndarray, depth: int) -> np.ndarray:
    """The sum of left^(2j / N) right^(2 (N - 1 - j) / N) over j = 0, ..., N - 1: a geometric one."""
    high, low = np.maximum(left, right), np.minimum(left, right)
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = np.where(high > 0, np.log(high) - np.log(low), np.inf)
        series = np.where(apart > 0, np.expm1(-2 * apart) / np.expm1(-2 * apart / depth), depth)
    return high ** (2 - 2 / depth) * series


def singular_value_velocity(problem: Problem, w: Numbers, depth: int) -> Float[np.ndarray, " r"]:
    r"""The velocities of the singular values of :math:`W = W_N \cdots W_1` under gradient flow, from balanced factors.

    .. math:: \dot\sigma_r = -N\, (\sigma_r^2)^{1 - 1/N}\, \langle \nabla\ell(W), u_r v_r^T \rangle

    Deeper than one layer, small singular values hardly move and large ones move fast: this is what learns them one by
    one. Where singular values coincide, their velocities are those with which they part.

    Parameters
    ----------
    problem
        Any problem of a matrix.
    w
        W, of the shape of the problem.
    depth
        N, at least 1.

    Returns
    -------
    One for each singular value, in descending order of these; NumPy float64.

    Raises
    ------
    TypeError, ValueError
        If ``w`` is not a matrix of the shape of the problem, or ``depth`` not a positive integer; at depth 1 if w has
        a singular value of zero, which is not differentiable there.

    References
    ----------
    Arora, Cohen, Hu, Luo. Implicit Regularization in Deep Matrix Factorization. NeurIPS 2019, Theorem 3.

    Examples
    --------
    >>> import undertow as ut
    >>> problem = ut.problems.PointTarget([[5.0, 0.0], [0.0, 2.0]])
    >>> singular_value_velocity(problem, [[4.0, 0.0], [0.0, 1.0]], depth=2).tolist()
    [8.0, 2.0]
    """
    depth = check_integer("depth", depth, 1)
    _, s, _, gradient = _in_singular_vectors(problem, w)
    if depth == 1 and s[-1] <= TIED * s[0]:
        raise ValueError("w: expected one of full rank at depth 1, found a singular value of zero")
    block = gradient[: s.size, : s.size]
    velocity = np.zeros_like(s)
    first = 0
    while first < s.size:
        # Within a group of equal ones any rotation of the vectors will do; the one that diagonalizes parts them.
        last = first + np.count_nonzero(s[first:] >= s[first] - TIED * s[0])
        group = block[first:last, first:last]
        velocity[first:last] = np.linalg.eigvalsh(-(group + group.T) / 2)[::-1]
        first = last
    return depth * s ** (2 - 2 / depth) * velocity


def _in_singular_vectors(problem: Problem, w: Numbers) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """All of both singular vectors of w, its singular values, and the gradient of the loss between those vectors."""
    if not isinstance(problem, Problem):
        raise TypeError(f"problem: expected an undertow.problems.Problem, found {type(problem).__name__}")
    with jax.enable_x64(True):
        point = jnp.asarray(check_array("w", w), jnp.float64)
        if len(problem.shape) != 2 or point.shape != problem.shape:
            raise ValueError(f"w: expected a matrix of the problem's shape {problem.shape}, found {point.shape}")
        gradient = np.asarray(jax.grad(problem.loss)(point))
    u, s, vt = np.linalg.svd(np.asarray(point))
    return u, s, vt, u.T @ gradient @ vt.T
