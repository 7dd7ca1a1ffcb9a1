"""Numbers that dynamics keep as arrays, so that runs that differ in them share a program; rates that may change."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._validation import check_number, is_traced, traced_result

LOOKS = 128
"""Parts of a step at whose ends a rate that changes is looked at."""


def as_number(name: str, value: Any, *, exclusive: bool = False) -> Array:
    """A number of at least 0, or above it, as an array."""
    return jnp.asarray(check_number(name, value, 0, exclusive=exclusive), jnp.result_type(float))


def as_share(name: str, value: Any) -> Array:
    """A number from 0 to below 1, as an array."""
    check_number(name, value, 0, maximum=1)
    if not is_traced(value) and value == 1:
        raise ValueError(f"{name}: expected a number below 1, found 1")
    return jnp.asarray(value, jnp.result_type(float))


def as_rate(name: str, value: Any, first: Any) -> Any:
    """A number of at least 0 as an array; None as it is, and so a function, if it is at least 0 at ``first``."""
    if value is None:
        return None
    if not callable(value):
        return as_number(name, value)
    start: Any = rate_at(value, jnp.asarray(first))
    if not is_traced(start) and not start >= 0:  # also what is not a number
        raise ValueError(f"{name}: expected a function that is at least 0 at {first}, found {float(start):g} there")
    traced_result(name, lambda when: rate_at(value, when), jnp.asarray(first))
    return value


def missed(rate: Callable[[Array], Any], start: Float[Array, ""], length: Float[Array, ""]) -> Float[Array, ""]:
    """What a look at both ends and the middle misses of the integral of a rate, where it begins and ends in between.

    A step of a flow at rest has no bound but this: its stages look at a few times alone.
    """
    values = jax.vmap(rate)(start + length * jnp.linspace(0, 1, LOOKS + 1, dtype=length.dtype))
    simpson = jnp.ones(LOOKS + 1).at[1:-1:2].set(4).at[2:-1:2].set(2) / (3 * LOOKS)
    rough = (values[0] + 4 * values[LOOKS // 2] + values[-1]) / 6
    return jnp.abs(length * (values @ simpson.astype(values.dtype) - rough).astype(length.dtype))


def rate_at(rate: Any, when: Array) -> Float[Array, ""] | None:
    """The rate at a time, or at the step of a number."""
    if rate is None:
        return None
    given = rate(when) if callable(rate) else rate
    try:
        value = jnp.asarray(given, jnp.result_type(float))
    except (TypeError, ValueError) as error:
        raise TypeError(f"decay: expected a function that returns one number, found {given!r}") from error
    if value.ndim:
        raise ValueError(f"decay: expected a function that returns one number, found shape {value.shape}")
    return value
