"""Checks of arguments, shared by every room: what was found, what was expected, before any work.

Values that are being traced by JAX cannot be looked at; checks of values pass them over, checks of
shapes and kinds never do.
"""

import difflib
import math
import numbers
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, ArrayLike, Float

Numbers = ArrayLike | Sequence[Any]
"""What users pass as numbers: a scalar, an array of any library, or lists (of lists) of numbers."""

_NO_NUMBERS = (bool, np.bool_, str, bytes, np.timedelta64)
"""What ``float`` takes all the same."""


def is_traced(value: Any) -> bool:
    """Whether JAX is tracing ``value``, so that its entries are unknown."""
    return isinstance(value, Tracer)


def check_choice(name: str, value: object, choices: Sequence[str]) -> str:
    """Return ``value`` if it is one of ``choices``; else raise, naming the nearest known ones."""
    if isinstance(value, str) and value in choices:
        return value
    raise ValueError(f"{name}: unknown choice {value!r}{nearest(value, choices)}; expected one of {', '.join(choices)}")


def nearest(value: object, choices: Iterable[str]) -> str:
    """``" (did you mean 'x'?)"`` for the known names close to ``value``, or nothing."""
    close = difflib.get_close_matches(str(value), list(choices), n=3)
    return f" (did you mean {' or '.join(repr(c) for c in close)}?)" if close else ""


def check_integer(name: str, value: object, minimum: int) -> int:
    """Return ``value`` as an int of at least ``minimum``."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name}: expected an integer of at least {minimum}, found {value!r}")
    if value < minimum:
        raise ValueError(f"{name}: expected an integer of at least {minimum}, found {value}")
    return int(value)


def check_number(
    name: str, value: Any, minimum: float = -math.inf, *, exclusive: bool = False, maximum: float = math.inf
) -> Any:
    """Return ``value`` if it is one finite real number within the bounds; a traced value passes."""
    bound = (
        f"a finite number {'above' if exclusive else 'of at least'} {minimum:g}"
        if minimum > -math.inf
        else "a finite number"
    )
    if maximum < math.inf:
        bound += f" and at most {maximum:g}"
    if is_traced(value):
        return value
    try:
        if (
            isinstance(value, (bool, np.bool_, str, bytes, np.timedelta64))
            or np.ndim(value) != 0
            or not np.isrealobj(value)
        ):
            raise TypeError(f"{name}: expected {bound}, found {value!r}")
        _check_unmasked(name, value)
        number = float(value)
    except OverflowError:
        raise ValueError(f"{name}: expected {bound}, found one that no float can hold") from None
    except (TypeError, ValueError):  # as of ragged lists, and of objects that are no numbers
        raise TypeError(f"{name}: expected {bound}, found {value!r}") from None
    outside = number < minimum or (exclusive and number == minimum) or number > maximum
    if not math.isfinite(number) or outside:
        raise ValueError(f"{name}: expected {bound}, found {number!r}")
    if isinstance(value, np.ndarray):
        return value.astype(value.dtype.newbyteorder("="))
    # Decimals, fractions and other libraries' numbers are none to JAX.
    return value if isinstance(value, (int, float, np.number, jax.Array)) else number


def check_shape(
    name: str, shape: object, *, dimensions: int | None = None, least_dimensions: int = 0
) -> tuple[int, ...]:
    """Return ``shape`` as a tuple of positive ints; one integer n means (n,)."""
    if isinstance(shape, numbers.Integral) and not isinstance(shape, bool):
        shape = (shape,)
    if not isinstance(shape, (tuple, list)) or not all(
        isinstance(n, numbers.Integral) and not isinstance(n, bool) for n in shape
    ):
        raise TypeError(f"{name}: expected a tuple of positive integers, found {shape!r}")
    if any(n < 1 for n in shape) or (dimensions is not None and len(shape) != dimensions):
        wanted = "positive integers" if dimensions is None else f"{dimensions} positive integers"
        raise ValueError(f"{name}: expected {wanted}, found {tuple(shape)!r}")
    if len(shape) < least_dimensions:
        raise ValueError(f"{name}: expected at least {least_dimensions} axes, found {tuple(shape)!r}")
    return tuple(int(n) for n in shape)


MOST_ENTRIES = 2**48
"""Of an array that there may be: more are a petabyte, and from 2^61 on XLA ends the process."""


def check_holdable(name: str, shape: Sequence[int]) -> None:
    """Raise ValueError where no machine holds an array of this shape; of tensors of many axes entries are to be had."""
    if math.prod(shape) >= MOST_ENTRIES:
        entries = f"2^{math.log2(math.prod(shape)):.0f} entries"
        raise ValueError(
            f"{name}: expected an array that memory can hold, found {len(shape)} axes and {entries}; ask "
            "for some of the entries, and fit those, as TensorCompletion does"
        )


def check_array(name: str, value: Numbers, *, dimensions: int | None = None) -> Float[Array, "..."]:
    """Return ``value`` as a floating array without NaN or infinity, of the given number of dimensions."""
    array: Any = value if is_traced(value) else as_numpy(name, value)
    real = jnp.issubdtype(array.dtype, jnp.number) and not jnp.issubdtype(array.dtype, jnp.complexfloating)
    if not real or array.dtype.kind == "m":
        raise TypeError(f"{name}: expected an array of real numbers, found dtype {array.dtype}")
    if dimensions is not None and array.ndim != dimensions:
        raise ValueError(f"{name}: expected {dimensions} dimension(s), found shape {array.shape}")
    if array.dtype == np.longdouble or not jnp.issubdtype(array.dtype, jnp.floating):
        dtype = jnp.result_type(float)
    else:
        dtype = jax.dtypes.canonicalize_dtype(array.dtype)
    if is_traced(array):
        return jnp.asarray(array, dtype=dtype)
    # Looked at after the conversion: what float64 can hold may be infinite or zero in float32.
    with np.errstate(all="ignore"):
        converted = array.astype(dtype)
    finite = np.isfinite(converted)
    if not np.all(finite):
        where = tuple(np.argwhere(~finite)[0].tolist())
        raise ValueError(
            f"{name}: expected finite numbers, found {array[where]} at index {list(where)}"
            + (f", which {dtype} cannot hold" if np.isfinite(array[where]) else "")
        )
    _check_not_lost(name, array, converted)
    return jax.device_put(converted)  # which is a copy; jnp.asarray would compile a program for each shape


def _check_not_lost(name: str, array: np.ndarray, converted: np.ndarray) -> None:
    """Raise if a row, a column or the like has become zero, its numbers too small; beside others that is rounding."""
    lost = (array != 0) & (np.abs(converted) < jnp.finfo(converted.dtype).tiny)
    if not lost.any():
        return
    kept = (converted != 0) & ~lost
    for axis in range(max(array.ndim, 1)):
        across = None if array.ndim < 2 else tuple(k for k in range(array.ndim) if k != axis)
        gone = lost.any(across, keepdims=True) & ~kept.any(across, keepdims=True)
        if gone.any():
            where = tuple(np.argwhere(lost & gone)[0].tolist())
            raise ValueError(
                f"{name}: expected numbers that {converted.dtype} can hold, found {array[where]} at index "
                f"{list(where)} and none larger beside it; choose another unit, or 64-bit numbers"
            )


def as_numpy(name: str, value: Any) -> np.ndarray:
    """Return ``value`` as an array in this machine's byte order; refuse what would lose its meaning on the way."""
    _check_unmasked(name, value)
    if hasattr(value, "toarray"):
        raise TypeError(f"{name}: expected a dense array, found a sparse {type(value).__name__}; see its toarray()")
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name}: expected an array of numbers, found {type(value).__name__} ({error})") from None
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _check_unmasked(name: str, value: Any) -> None:
    if has_masked(value):
        raise TypeError(
            f"{name}: expected numbers, found masked ones, of which only NumPy knows that they are none; "
            "leave them out, or fill them"
        )


def has_masked(value: Any) -> bool:
    """Whether ``value`` is an array of NumPy's with masked entries, or lists that have one; such masks get lost."""
    if isinstance(value, np.ma.MaskedArray):
        return bool(np.ma.is_masked(value))
    return isinstance(value, (list, tuple)) and any(map(has_masked, value))


def check_indices(name: str, value: Numbers, size: int) -> np.ndarray:
    """Return ``value``, which JAX must not be tracing, as a vector of integers from 0 to ``size - 1``."""
    if is_traced(value):
        raise TypeError(f"{name}: expected known integers, found an array that JAX is tracing")
    array = as_numpy(name, value)
    if array.ndim != 1:
        raise ValueError(f"{name}: expected a vector of integers, found shape {array.shape}")
    if array.size and array.dtype.kind not in "iu":
        raise TypeError(f"{name}: expected integers, found dtype {array.dtype}")
    bad = np.flatnonzero((array < 0) | (array >= size))
    if bad.size:
        raise ValueError(f"{name}: expected indices from 0 to {size - 1}, found {array[bad[0]]} at position {bad[0]}")
    return array.astype(np.int32 if size <= 2**31 - 1 else np.int64)


def as_key(key: Any) -> Array:
    """Return a JAX random key: a key as it is, or the one that an integer seed makes."""
    if isinstance(key, numbers.Integral) and not isinstance(key, bool):
        seed = int(key)
        if not -(2**63) <= seed < 2**63:
            raise ValueError(f"key: expected a seed of at most 63 bits, found {seed}")
        return jax.random.key(seed)
    if isinstance(key, (jax.Array, np.ndarray)):
        typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
        if typed and key.ndim == 0:
            return jnp.asarray(key)
        if key.dtype == np.uint32 and key.shape == jax.random.key_data(jax.random.key(0)).shape:
            return jax.random.wrap_key_data(jnp.asarray(key))
        if typed or (key.dtype == np.uint32 and key.ndim):
            raise ValueError(f"key: expected one key, found an array of shape {key.shape}")
    raise TypeError(f"key: expected a jax.random.key or an integer seed, found {key!r}")


def is_hashable(value: Any) -> bool:
    """Whether the value has a hash, all that is in it too."""
    try:
        hash(value)
    except TypeError:
        return False
    return True


def traced_result(name: str, function: Callable[[Any], Any], at: Any) -> Any:
    """The shape and type of what a function of a number or step gives; TypeError where JAX cannot trace it."""
    try:
        return jax.eval_shape(function, at)
    except (
        jax.errors.ConcretizationTypeError,
        jax.errors.TracerArrayConversionError,
        jax.errors.TracerIntegerConversionError,
    ) as error:
        raise TypeError(
            f"{name}: expected a function that JAX can trace, found one that takes its argument for a Python or NumPy "
            "number; write jnp.where(t < 1, a, b) for `a if t < 1 else b`, jnp for np, and jnp.array(rates)[t] for "
            "rates[t]"
        ) from error
