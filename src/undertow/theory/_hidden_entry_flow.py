"""Balanced flow of a 2 x 2 matrix with one entry hidden, in coordinates that keep the sign of its determinant."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.integrate import solve_ivp

from .._validation import Numbers, as_numpy, check_integer, check_number
from ._errors import Unsolved

LATEST = 1e16
"""The time at which a flow that has not come to its loss is given up."""


class HiddenEntryFlow(NamedTuple):
    """The end-to-end flow at the solver's own steps, or at the times asked for.

    ``w`` are the matrices, ``log_singular_values`` the logarithms of their singular values, the larger one first, and
    ``loss`` is half the sum of squares over the three seen entries.
    """

    times: Float[np.ndarray, " times"]
    w: Float[np.ndarray, "times 2 2"]
    log_singular_values: Float[np.ndarray, "times 2"]
    loss: Float[np.ndarray, " times"]


def hidden_entry_flow(
    start: Numbers,
    depth: int,
    *,
    corner: Sequence[float] = (1.0, 1.0, 0.0),
    loss: float = 1e-8,
    times: Numbers | None = None,
    rtol: float = 1e-9,
) -> HiddenEntryFlow:
    r"""The flow of a product of balanced 2 x 2 factors whose leading entry is not seen.

    In the logarithms of the singular values and the angles of the singular vectors. The sign of the determinant is a
    constant here, and no rounding can change it: at depth 2 the smaller singular value falls like the exponential of
    :math:`-W_{11}^2 / 2` and leaves the range of all floating-point numbers, and long before, in the factors, what
    rounding leaves of the larger one. With :math:`W = U(\theta) S V(\varphi)^T` and :math:`H = U^T \nabla \ell V`,

    .. math:: \dot W = -\sum_{j=1}^N (W W^T)^{(j-1)/N} \nabla \ell (W^T W)^{(N-j)/N}

    splits into :math:`\dot\sigma_r = -N \sigma_r^{2 - 2/N} H_{rr}` and a turn of either side by the off-diagonal
    entries of H.

    Parameters
    ----------
    start
        W(0), 2 x 2, of rank two, its singular values different.
    depth
        N, the number of factors, at least 2: with one the sign is not kept.
    corner
        The values of W_12, W_21 and W_22.
    loss
        Where to end, above 0; not looked at where ``times`` are given.
    times
        At least 0 and rising: flow times to look at, the last of which is the end.
    rtol
        Relative and absolute tolerance of the solver, LSODA.

    Returns
    -------
    HiddenEntryFlow
        NumPy float64.

    Raises
    ------
    TypeError, ValueError
        If an argument is outside its range.
    Unsolved
        If the flow does not come to the loss by time 1e16, or the solver stops before its end.

    References
    ----------
    Flow of the product: Arora, Cohen, Hu, Luo. Implicit Regularization in Deep Matrix Factorization. NeurIPS 2019
    (Theorem 3, Lemma 2). The problem: Razin, Cohen. Implicit Regularization in Deep Learning May Not Be Explainable by
    Norms. NeurIPS 2020, Section 3.

    Examples
    --------
    >>> found = hidden_entry_flow([[0.1, 0.0], [0.0, 0.01]], depth=3, loss=0.5e-4)
    >>> bool(found.w[-1, 0, 0] > 98.01)  # what `hidden_entry_bound` asks for
    True
    """
    w = _check_start(start)
    depth = check_integer("depth", depth, 2)
    if not isinstance(corner, Sequence) or len(corner) != 3:
        raise ValueError(f"corner: expected 3 numbers, found {corner!r}")
    z12, z21, z22 = (float(check_number(f"corner[{i}]", value)) for i, value in enumerate(corner))
    loss = float(check_number("loss", loss, 0, exclusive=True))
    rtol = float(check_number("rtol", rtol, 0, exclusive=True))
    at = None if times is None else _check_times(times)

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
    end = LATEST if at is None else float(at[-1])
    found = solve_ivp(
        field,
        (0.0, end),
        y0,
        method="LSODA",
        t_eval=at,
        events=landed if at is None else None,
        rtol=rtol,
        atol=rtol,
        first_step=None if end == 0 else min(end, 1e-3),
    )
    if not found.success or (at is None and found.status != 1):
        raise Unsolved(f"loss: the flow did not come to {loss:g}: {found.message}" if at is None else found.message)
    w11, w12, w21, w22 = parts(found.y)[-1]
    ways = np.stack([w11, w12, w21, w22], -1).reshape(-1, 2, 2)
    return HiddenEntryFlow(found.t, ways, found.y[:2].T, loss_of(found.y))


def _check_start(start: Numbers) -> Float[np.ndarray, "2 2"]:
    w = _floats("start", start)
    if w.shape != (2, 2):
        raise ValueError(f"start: expected a 2 x 2 matrix, found shape {w.shape}")
    s = np.linalg.svd(w, compute_uv=False)
    # The angles of the singular vectors are none where the values are equal, and the logarithm of 0 is none; below its
    # rounding a value is 0.
    rounding = np.finfo(np.float64).eps * s[0]
    if not (s[1] > rounding and s[0] - s[1] > rounding):
        raise ValueError(f"start: expected two different singular values above 0, found {s[0]:g} and {s[1]:g}")
    return w


def _check_times(times: Numbers) -> Float[np.ndarray, " times"]:
    at = _floats("times", times)
    if at.ndim != 1 or not at.size or at[0] < 0 or np.any(np.diff(at) <= 0):
        raise ValueError(f"times: expected a vector of rising numbers of at least 0, found {at}")
    return at


def _floats(name: str, value: Numbers) -> Float[np.ndarray, "..."]:
    numbers = as_numpy(name, value)
    if numbers.dtype.kind not in "iuf":
        raise TypeError(f"{name}: expected real numbers, found dtype {numbers.dtype}")
    if not np.all(np.isfinite(numbers)):
        raise ValueError(f"{name}: expected finite numbers, found {numbers}")
    return numbers.astype(np.float64)
