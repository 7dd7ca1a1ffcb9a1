"""Any potential of one variable, applied to every entry: the user's own."""

import functools
import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._description import Static
from .._validation import check_number
from ._base import Entrywise

Interval = tuple[float, float]


class Separable(Entrywise):
    r"""The sum :math:`\sum_i \varphi(w_i)` of any strictly convex function of one variable that JAX can differentiate.

    The mirror map is its derivative; the inverse, where it is not given, is found to rounding by bisection and Newton's
    method (compiled, for all entries at once), and differentiated by the implicit function theorem.

    Parameters
    ----------
    function
        :math:`\varphi`, from a scalar to a scalar, twice differentiable and strictly convex inside ``interval``.
        Functions with the same code and the same bound values share what was compiled.
    inverse_gradient
        The inverse of its derivative, from a scalar to a scalar, where it is known.
    interval
        (lower, upper): ends of the open interval that every entry is in; either may be infinite.

    Raises
    ------
    TypeError, ValueError
        If a function is not callable or does not map a scalar to a scalar, ``interval`` is not two increasing numbers,
        or the derivative is not finite and increasing at a few points of the interval.

    Notes
    -----
    A dual beyond the range of the derivative has no w; its inverse gradient is the end of the interval on that side.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> logistic = Separable(lambda x: x * jnp.log(x) + (1 - x) * jnp.log(1 - x), interval=(0, 1))
    >>> logistic.domain, logistic.inverse_gradient(jnp.array([0.0, jnp.log(3.0)])).round(6).tolist()
    ('between 0 and 1', [0.5, 0.75])
    """

    function: Static = eqx.field(static=True)
    given_inverse: Static | None = eqx.field(static=True)
    ends: Interval = eqx.field(static=True)

    def __init__(
        self,
        function: Callable[[Any], Any],
        inverse_gradient: Callable[[Any], Any] | None = None,
        *,
        interval: tuple[float, float] = (-math.inf, math.inf),
    ):
        self.ends = _check_interval(interval)
        self.function = _check_function("function", function)
        self.given_inverse = None if inverse_gradient is None else _check_function("inverse_gradient", inverse_gradient)
        # A glance at a few decades: what is not convex there has no mirror map at all.
        points = _from_line(self.ends, jnp.linspace(-3.0, 3.0, 13))
        slopes = np.asarray(self.gradient(points))
        if not np.isfinite(slopes).all() or not (np.diff(slopes) > 0).all():
            raise ValueError(
                f"function: expected a strictly convex function on the interval {self.ends}, found the derivatives "
                f"{slopes.tolist()} at {np.asarray(points).tolist()}"
            )

    @property
    def interval(self) -> Interval:
        return self.ends

    def values(self, w: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        return jnp.vectorize(self.function)(w)

    def gradient(self, w: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        return _slope(self.function.again(), w)

    def inverse_gradient(self, dual: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        if self.given_inverse is not None:
            return jnp.vectorize(self.given_inverse)(dual)
        return _solve(self.function.again(), self.ends, dual)


def _check_interval(interval: Any) -> Interval:
    expected = "interval: expected two increasing numbers, found"
    if not isinstance(interval, (tuple, list)) or len(interval) != 2:
        raise TypeError(f"{expected} {interval!r}")
    infinite = (-math.inf, math.inf)
    lower, upper = (
        float(end if i == end else check_number("interval", end)) for end, i in zip(interval, infinite, strict=True)
    )
    if not lower < upper:
        raise ValueError(f"{expected} {interval!r}")
    return lower, upper


def _check_function(name: str, function: Any) -> Static:
    if not callable(function):
        raise TypeError(f"{name}: expected a function of one number, found {function!r}")
    out = jax.eval_shape(function, jax.ShapeDtypeStruct((), jnp.result_type(float)))
    if not isinstance(out, jax.ShapeDtypeStruct) or out.shape != () or not jnp.issubdtype(out.dtype, jnp.floating):
        raise TypeError(f"{name}: expected a function from a scalar to a scalar, found one that returns {out}")
    return Static(function)


@functools.partial(jax.jit, static_argnums=0)
def _slope(function: Static, x: Array) -> Array:
    return jnp.vectorize(jax.grad(function))(x)


def _from_line(ends: Interval, y: Array) -> Array:
    """The interval as an image of the whole line, such that steps of y are relative ones near an end at 0."""
    lower, upper = ends
    if ends == (-math.inf, math.inf):
        return jnp.sinh(y)
    if upper == math.inf:
        return lower + jnp.exp(y)
    if lower == -math.inf:
        return upper - jnp.exp(-y)
    share = jnp.where(y < 0, jnp.exp(y), jnp.exp(-y)) / (1 + jnp.exp(-jnp.abs(y)))
    return jnp.where(y < 0, lower + (upper - lower) * share, upper - (upper - lower) * share)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _root(function: Static, ends: Interval, dual: Array) -> Array:
    """The x with derivative ``dual``: Newton's method on the line, bisection where it does not halve the bracket."""
    limit = -0.999 * math.log(jnp.finfo(dual.dtype).tiny)

    def excess(y: Array) -> Array:
        value = _slope(function, _from_line(ends, y)) - dual
        # What overflows is far out, on the side of its y.
        return jnp.where(jnp.isfinite(value), value, jnp.where(y < 0, -jnp.inf, jnp.inf))

    def tangent(y: Array) -> tuple[Array, Array]:
        return jax.jvp(excess, (y,), (jnp.ones_like(y),))

    def going(carry: tuple) -> Array:
        low, high, y, _, count = carry
        open_ = high - low > 2 * jnp.finfo(dual.dtype).eps * jnp.abs(y)
        return jnp.any(open_) & (count < 200)

    def step(carry: tuple) -> tuple:
        low, high, y, width, count = carry
        value, slope = tangent(y)
        low, high = jnp.where(value <= 0, y, low), jnp.where(value >= 0, y, high)
        newton = y - value / slope
        # Half a bracket in two steps, or bisection.
        slow = ~((newton > low) & (newton < high)) | (high - low > width / 2)
        middle = low + (high - low) / 2
        return low, high, jnp.where(slow, middle, newton), high - low, count + 1

    edge = jnp.full_like(dual, limit)
    start = (-edge, edge, jnp.zeros_like(dual), 2 * edge, 0)
    _, _, y, _, _ = jax.lax.while_loop(going, step, start)
    x = _from_line(ends, y)
    # What y could not resolve, x can: one step of Newton's method there.
    value, curvature = jax.jvp(lambda x: _slope(function, x), (x,), (jnp.ones_like(x),))
    better = x - (value - dual) / curvature
    x = jnp.where((better > ends[0]) & (better < ends[1]), better, x)
    x = jnp.where(excess(-edge) > 0, ends[0], x)
    return jnp.where(excess(edge) < 0, ends[1], x)


@_root.defjvp
def _(function: Static, ends: Interval, primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    x = _root(function, ends, *primals)
    inside = (x > ends[0]) & (x < ends[1])
    safe = jnp.where(inside, x, _from_line(ends, jnp.zeros_like(x)))
    curvature = jax.jvp(lambda x: _slope(function, x), (safe,), (jnp.ones_like(x),))[1]
    return x, jnp.where(inside, tangents[0] / curvature, 0)


_solve = jax.jit(_root, static_argnums=(0, 1))
