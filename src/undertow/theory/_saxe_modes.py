"""The modes of a deep linear network on whitened inputs, in closed form."""

import math

import jax
import numpy as np
from jaxtyping import Float
from scipy.special import expit

from .._validation import Numbers, check_array, check_integer
from ._mode_clock import inverse_clock


def saxe_modes(
    times: Numbers, targets: Numbers, starts: Numbers, depth: int = 2, imbalances: Numbers = 0.0
) -> Float[np.ndarray, "times modes"]:
    r"""The strengths u(t) of the modes of a deep linear network on whitened inputs.

    Gradient flow on :math:`\tfrac12 |Y - W_N \cdots W_1 X|^2` with :math:`X X^T = I`, from factors whose singular
    vectors fit each other and those of :math:`Y X^T`: every mode goes its own way, :math:`\dot u = N u^{2 - 2/N} (s -
    u)` from balanced layers. For two layers that is a logistic curve,

    .. math:: u(t) = \frac{s\, e^{2st}}{e^{2st} - 1 + s / u_0},

    and it has a closed form for unbalanced ones, u = ab, :math:`c = a^2 - b^2`, too:
    :math:`\dot u = \sqrt{c^2 + 4 u^2}\, (s - u)`. Deeper, the time is an integral over u, and is inverted.
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
        return start * np.exp(-t[:, None]) - s * np.expm1(-t[:, None])
    columns = [_mode(t, *mode, depth) for mode in zip(s, start, c, strict=True)]
    return np.where(t[:, None] == 0, start, np.stack(columns, axis=1))


def _mode(t: Float[np.ndarray, " times"], s: float, start: float, c: float, depth: int) -> Float[np.ndarray, " times"]:
    """In units of the largest of its numbers, whose powers are soon beyond the range of numbers."""
    scale = max(s, abs(start), c)
    if scale == 0 or start == s:
        return np.full_like(t, start)
    power = 2 - 2 / depth
    with np.errstate(over="ignore", divide="ignore"):
        t = np.exp(np.log(t) + power * math.log(scale))
    if depth == 2:
        return scale * _two_layers(t, s / scale, start / scale, c / scale)
    return scale * _balanced(t, s / scale, start / scale, depth)


def _two_layers(t: Float[np.ndarray, " times"], s: float, start: float, c: float) -> Float[np.ndarray, " times"]:
    """In z = 2 u + sqrt(c^2 + 4 u^2) the equation is of Riccati's kind, with fixed points z+ and -z- for u = s.

    u = (z - c^2 / z) / 4, in which all cancels where u is small beside c, or c beside u: written out as a fraction
    whose terms are all positive, for starts that are.
    """
    if c == 0 and start == 0:
        return np.zeros_like(t)
    rate, root = math.hypot(c, 2 * s), math.hypot(c, 2 * start)
    if rate == 0:
        return start / (1 + 2 * start * t)  # a target of zero, balanced
    high = 2 * s + rate
    low = c * (c / high)
    z = root + 2 * start if start >= 0 else c * (c / (root - 2 * start))
    # z - c and high - c, without the difference.
    above = 2 * start + 4 * start * (start / (root + c)) if start >= 0 else -c * (1 - c / (root - 2 * start))
    target = 2 * s + 4 * s * (s / (rate + c))
    decay, gone = np.exp(-rate * t), -np.expm1(-rate * t)
    bottom = z * gone + low + high * decay
    top = target * (c + low) * gone + above * (target + (c + low) * decay)
    ratio = 1.0 if c == 0 else 1 + c * (bottom / (z * (high + low * decay) + c * c * gone))
    return top / bottom * ratio / 4


def _balanced(t: Float[np.ndarray, " times"], s: float, start: float, depth: int) -> Float[np.ndarray, " times"]:
    """Of depth 3 and more: the time to come from one strength to another, inverted."""
    power = 2 - 2 / depth
    if start == 0:
        return np.zeros_like(t)
    with np.errstate(over="ignore"):
        if s == 0:
            return start * np.exp(-np.log1p(depth * power * start**power * t) / power)
        # x = u / s on the way up, s / u on the way down: from below 1 up to 1 in both cases. In v = logit(x),
        # dv/dt = N s^power x^-exponent.
        up = start < s
        exponent = 1 - power if up else power
        rate = depth * (s * start ** (power - 1) if up else start**power)
        first = math.log(start) - math.log(s - start) if up else math.log(s) - math.log(start - s)
        v = inverse_clock(exponent, first, rate * t)
        return s * expit(v) if up else s * (1 + np.exp(-v))


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
