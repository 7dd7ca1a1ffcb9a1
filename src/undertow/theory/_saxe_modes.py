"""The modes of a deep linear network on whitened inputs, in closed form."""

import math

import jax
import numpy as np
from jaxtyping import Float
from scipy.special import expit, hyp2f1

from .._validation import Numbers, check_array, check_integer

ARRIVED = 40.0
"""log(u / (s - u)) at which a mode has its target to rounding."""


def saxe_modes(
    times: Numbers, targets: Numbers, starts: Numbers, depth: int = 2, imbalances: Numbers = 0.0
) -> Float[np.ndarray, "times modes"]:
    r"""The strengths u(t) of the modes of a deep linear network on whitened inputs.

    Gradient flow on :math:`\tfrac12 |Y - W_N \cdots W_1 X|^2` with :math:`X X^T = I`, from factors whose singular
    vectors fit each other and those of :math:`Y X^T`: every mode goes its own way, :math:`\dot u = N u^{2 - 2/N} (s -
    u)` from balanced layers. For two layers that is a logistic curve,

    .. math:: u(t) = \frac{s\, e^{2st}}{e^{2st} - 1 + s / u_0},

    and it has a closed form for unbalanced ones, u = ab, :math:`c = a^2 - b^2`, too:
    :math:`\dot u = \sqrt{c^2 + 4 u^2}\, (s - u)`. Deeper, the time is a hypergeometric function of u, and is inverted.
    The same holds for a product of N factors fitted to a matrix (``PointTarget``, loss 1/2 of the sum of squares).

    Parameters
    ----------
    times
        At least 0, in the time of gradient flow of the loss as written (``mode_time`` counts N times as much).
    targets
        s, the singular values of :math:`Y X^T`, at least 0, one for each mode.
    starts
        u_0 of each mode, or one for all; at least 0; of any sign at depth 1 and where the mode is
        unbalanced.
    depth
        N, the number of layers, at least 1.
    imbalances
        c of each mode, or one for all, in units of u; of depth 2 only.

    Returns
    -------
    One row for each time and one column for each mode, NumPy float64.

    Raises
    ------
    TypeError, ValueError
        If a number is out of its range, lengths differ, or there are imbalances at another depth than 2.

    References
    ----------
    Saxe, McClelland, Ganguli. Exact Solutions to the Nonlinear Dynamics of Learning in Deep Linear Neural Networks.
    ICLR 2014, equations (10) to (13), (16) and appendix A.

    Examples
    --------
    >>> saxe_modes([1.0, 2.0, 3.0], targets=[2.0], starts=1e-3).round(10).ravel().tolist()
    [0.0531731586, 1.1971819822, 1.9757334871]
    """
    depth = check_integer("depth", depth, 1)
    t, s = _vector("times", times), _vector("targets", targets)
    for name, value in (("times", t), ("targets", s)):
        if np.any(value < 0):
            raise ValueError(f"{name}: expected numbers of at least 0, found {value.min():g}")
    start = _vector("starts", starts, repeat=s.size)
    c = np.abs(_vector("imbalances", imbalances, repeat=s.size))
    if depth != 2 and np.any(c):
        raise ValueError(f"imbalances: expected none at depth {depth}, found {c.max():g}; they are for depth 2")
    if depth > 1 and np.any((start < 0) & (c == 0)):
        raise ValueError(f"starts: expected numbers of at least 0 for balanced modes, found {start.min():g}")
    if depth == 1:
        return s + (start - s) * np.exp(-t[:, None])
    if depth == 2:
        return _two_layers(t[:, None], s, start, c)
    return np.stack([_balanced(t, *mode, depth) for mode in zip(s, start, strict=True)], axis=1)


def _two_layers(
    t: Float[np.ndarray, "times 1"],
    s: Float[np.ndarray, " modes"],
    start: Float[np.ndarray, " modes"],
    c: Float[np.ndarray, " modes"],
) -> Float[np.ndarray, "times modes"]:
    """In z = 2 u + sqrt(c^2 + 4 u^2) the equation is of Riccati's kind, with fixed points z+ and z- for u = s."""
    rate = np.hypot(c, 2 * s)
    high = 2 * s + rate
    with np.errstate(divide="ignore", invalid="ignore"):  # 0 / 0 in modes at rest, which are seen to below
        root = np.hypot(c, 2 * start)
        z0 = np.where(start < 0, c**2 / (root - 2 * start), root + 2 * start)
        low = np.where(high > 0, -(c**2) / high, 0)
        decay = np.exp(-rate * t)
        z = (high * (z0 - low) - low * (z0 - high) * decay) / ((z0 - low) - (z0 - high) * decay)
        u = (z - c**2 / z) / 4
        u = np.where((c == 0) & (start == 0), 0.0, u)
        return np.where(rate == 0, start / (1 + 2 * start * t), u)  # a target of zero, balanced


def _balanced(t: Float[np.ndarray, " times"], s: float, start: float, depth: int) -> Float[np.ndarray, " times"]:
    """Of depth 3 and more: the time to come from one strength to another, inverted by bisection."""
    power = 2 - 2 / depth
    if start in (0, s):
        return np.full_like(t, start)
    if s == 0:
        return (start**-power + depth * power * t) ** (-1 / power)
    # x = u / s on the way up, s / u on the way down: from x0 up to 1 in both cases.
    up = start < s
    exponent = 1 - power if up else power
    logit = math.log(start / (s - start)) if up else math.log(s / (start - s))

    def clock(v: Float[np.ndarray, " times"]) -> Float[np.ndarray, " times"]:
        """s^power times a primitive of dt N, at x = expit(v)."""
        x = expit(v)
        return x**exponent / exponent * hyp2f1(1, exponent, exponent + 1, x)

    aim = depth * s**power * t + clock(np.full_like(t, logit))
    low, high = np.full_like(t, logit), np.full_like(t, max(ARRIVED, logit))
    for _ in range(80):
        middle = (low + high) / 2
        later = clock(middle) > aim
        low, high = np.where(later, low, middle), np.where(later, middle, high)
    x = expit((low + high) / 2)
    return s * x if up else s / x


def _vector(name: str, value: Numbers, *, repeat: int | None = None) -> Float[np.ndarray, " n"]:
    """Numbers in float64, whatever JAX is set to; one number ``repeat`` times where that is given."""
    with jax.enable_x64(True):
        numbers = np.asarray(check_array(name, value), np.float64)
    if numbers.ndim == 0 and repeat is not None:
        return np.full(repeat, numbers)
    if numbers.ndim != 1 or (repeat is not None and numbers.size != repeat):
        wanted = "a vector" if repeat is None else f"one number, or one for each of the {repeat} targets"
        raise ValueError(f"{name}: expected {wanted}, found shape {numbers.shape}")
    return numbers
