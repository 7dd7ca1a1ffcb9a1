"""What the studies of norms that go to infinity share: the problem at any size, its starts, bounds, and exact flow.

All entries of a matrix are seen but one. In the smallest case W_12 = W_21 = 1 and W_22 = 0, so that every solution has
determinant -1, whatever W_11. Balanced gradient flow keeps the sign of the determinant; from a positive one it can
fit only in the limit, and then W_11 has to grow without bound while W approaches rank one.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.integrate import solve_ivp

SOURCE = (
    "N. Razin, N. Cohen, Implicit Regularization in Deep Learning May Not Be Explainable by Norms, NeurIPS 2020 "
    "(arXiv 2005.06398)"
)
# Depth -> learning rates and the standard deviations of the entries of W(0) that the paper's figures are made with.
PUBLISHED = {2: ((6e-3, 1e-5), (3e-3, 1e-6)), 3: ((6e-3, 1e-5), (3e-3, 1e-6)), 4: ((3e-3, 1e-3), (1.5e-3, 1e-4))}


def start(key: Any, scale: Any, sign: int, size: int = 2) -> jax.Array:
    """W(0): independent normal entries of standard deviation ``scale``; a row flipped where its sign is another."""
    w = scale * jax.random.normal(key, (size, size))
    return w.at[0].multiply(sign * jnp.sign(jnp.linalg.det(w / scale)))


def entry_bound(loss: Any, size: int = 2, corner: tuple[float, float] = (1.0, 1.0)) -> np.ndarray:
    r"""What the hidden entry exceeds in size while the determinant has the other sign than the solutions (e = 0).

    With :math:`\epsilon = \sqrt{2 \ell}`, the Frobenius norm of the residuals, and m the least of
    :math:`|z|, |z'|, 1`, for :math:`\epsilon < m`:

    .. math:: |W_{11}| > \frac{|z z'| (1 - \epsilon / m)^d}{\epsilon (1 + \epsilon)^{d - 2}}

    For d = 2 and z = z' = 1 this is :math:`1 / \epsilon - 2 + \epsilon`. It follows from
    :math:`\det W = W_{11} \det B + \det W|_{W_{11} = 0}`: the first minor B has one singular value of at most
    :math:`\epsilon`, the others of at most :math:`1 + \epsilon`, and the second term keeps the sign of the solutions
    and is at least the numerator in size. NaN where the loss is too large for it.
    """
    z, other = np.abs(corner)
    epsilon, m = np.sqrt(2 * np.asarray(loss, float)), min(z, other, 1.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        bound = z * other * (1 - epsilon / m) ** size / (epsilon * (1 + epsilon) ** (size - 2))
    return np.where(epsilon < m, bound, np.nan)


def rank_bound(loss: Any) -> np.ndarray:
    r"""What the distance from rank d - 1 stays below while the sign is kept (e = 0): :math:`\sqrt{2 \ell}`.

    With the seen entries put right, W would be a solution, of the other sign: on the straight way there, of that
    length, lies a singular matrix.
    """
    return np.asarray(np.sqrt(2 * np.asarray(loss, float)))


class ExactFlow(NamedTuple):
    """The end-to-end flow at the solver's own steps, or at the times asked for."""

    time: np.ndarray
    w: np.ndarray
    log_singular_values: np.ndarray
    loss: np.ndarray


def exact_flow(
    w: Any,
    depth: int,
    *,
    corner: tuple[float, float, float] = (1.0, 1.0, 0.0),
    loss: float = 1e-8,
    times: Any = None,
    rtol: float = 1e-9,
) -> ExactFlow:
    r"""Balanced flow of a 2 x 2 matrix in the logarithms of its singular values and the angles of its singular vectors.

    The sign of the determinant is a constant here, and no rounding can change it: at depth 2 the smaller singular
    value falls like the exponential of :math:`-W_{11}^2 / 2` and leaves the range of all floating-point numbers, and
    long before, in the factors, what rounding leaves of the larger one. With
    :math:`W = U(\theta) S V(\varphi)^T` and :math:`H = U^T \nabla \ell V`,

    .. math:: \dot W = -\sum_{j=1}^N (W W^T)^{(j-1)/N} \nabla \ell (W^T W)^{(N-j)/N}

    splits into :math:`\dot\sigma_r = -N \sigma_r^{2 - 2/N} H_{rr}` and a turn of either side by the off-diagonal
    entries of H. Solved by LSODA to the given loss; ends at the last of ``times`` where they are given.
    """
    z12, z21, z22 = corner
    w = np.asarray(w, float)
    u, s, vt = np.linalg.svd(w)
    v, sign = vt.T, np.sign(np.linalg.det(w / np.abs(w).max()))
    for q in (u, v):
        q[:, 1] *= np.sign(np.linalg.det(q))
    y0 = np.array([*np.log(s), np.arctan2(u[1, 0], u[0, 0]), np.arctan2(v[1, 0], v[0, 0])])

    def parts(y: Any) -> tuple[Any, ...]:
        s1, s2 = np.exp(y[0]), sign * np.exp(y[1])
        c, d, a, b = np.cos(y[2]), np.sin(y[2]), np.cos(y[3]), np.sin(y[3])
        entries = s1 * c * a + s2 * d * b, s1 * c * b - s2 * d * a, s1 * d * a - s2 * c * b, s1 * d * b + s2 * c * a
        return s1, s2, c, d, a, b, entries

    def field(_: float, y: np.ndarray) -> list[float]:
        s1, s2, c, d, a, b, (_, w12, w21, w22) = parts(y)
        g12, g21, g22 = w12 - z12, w21 - z21, w22 - z22
        top1, top2, low1, low2 = g12 * b, g12 * a, g21 * a + g22 * b, g22 * a - g21 * b  # gradient times V
        h11, h12, h21, h22 = c * top1 + d * low1, c * top2 + d * low2, c * low1 - d * top1, c * low2 - d * top2
        mixed = sum(np.exp(2 * (y[0] * j + y[1] * (depth - 1 - j)) / depth) for j in range(depth))
        m12, m21, gap = -h12 * mixed, -h21 * mixed, s1**2 - s2**2
        growth = 1 - 2 / depth
        return [
            -depth * h11 * np.exp(growth * y[0]),
            -depth * h22 * sign * np.exp(growth * y[1]),
            (s1 * m21 + s2 * m12) / gap,
            (s1 * m12 + s2 * m21) / gap,
        ]

    def loss_of(y: Any) -> Any:
        _, w12, w21, w22 = parts(y)[-1]
        return ((w12 - z12) ** 2 + (w21 - z21) ** 2 + (w22 - z22) ** 2) / 2

    def landed(_: float, y: np.ndarray) -> float:
        return float(np.log(loss_of(y) / loss))

    landed.terminal = True  # pyright: ignore[reportFunctionMemberAccess] (how scipy is told)
    given = times is not None
    found = solve_ivp(
        field,
        (0.0, float(np.max(times)) if given else 1e16),
        y0,
        method="LSODA",
        t_eval=times if given else None,
        events=None if given else landed,
        rtol=rtol,
        atol=rtol,
        first_step=None if given and np.max(times) == 0 else 1e-3,
    )
    if not found.success or not (given or found.status == 1):
        raise RuntimeError(f"exact flow: the solver did not arrive: {found.message}")
    w11, w12, w21, w22 = parts(found.y)[-1]
    return ExactFlow(found.t, np.stack([w11, w12, w21, w22], -1).reshape(-1, 2, 2), found.y[:2].T, loss_of(found.y))
