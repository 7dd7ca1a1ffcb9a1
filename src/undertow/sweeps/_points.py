"""Points of a grid that a store can know again: plain values, by name."""

import functools
import hashlib
import importlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

Point = dict[str, Any]


def plain_axes(axes: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """The axes with values that a text can hold: numbers, text, True and False, None.

    Raises TypeError or ValueError where a value is none of these, is NaN, or stands twice.
    """
    found = {}
    for name, values in axes.items():
        plain = [_plain(name, value) for value in values]
        seen: dict[str, int] = {}
        for place, value in enumerate(plain):
            text = _text(value)
            if text in seen:
                raise ValueError(
                    f"over[{name!r}]: expected every value once, found {value!r} in places {seen[text]} and {place}"
                )
            seen[text] = place
        found[name] = plain
    return found


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, (np.generic, np.ndarray)) and np.ndim(value) == 0:
        value = value.item()
    if isinstance(value, float) and math.isnan(value):
        raise ValueError(f"over[{name!r}]: expected values that equal themselves, found NaN")
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(
        f"over[{name!r}]: a store knows runs again by plain values (numbers, text, True, False, None), found "
        f"{type(value).__name__}; sweep over a name or a seed, and make the rest of it in run"
    )


@functools.lru_cache(maxsize=4096, typed=True)
def _text(value: Any) -> str:
    # A number is one however it is written: 1 and 1.0 are one value, True is not 1.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value)


def kind_of(values: Sequence[Any]) -> str:
    """What a store keeps the values of an axis as: "numbers" (double precision), "text", or else as "JSON"."""
    if all(type(value) is float or (type(value) is int and abs(value) <= 2**53) for value in values):
        return "numbers"
    return "text" if all(isinstance(value, str) for value in values) else "JSON"


def key_of(point: Mapping[str, Any]) -> str:
    """What a run is known by: a hash of the names and values of its axes, in any order."""
    text = json.dumps(sorted((name, _text(value)) for name, value in point.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def import_path(run: Callable[..., Any]) -> str:
    """``package.module:function``, by which another process finds the function.

    Raises ValueError where it would not find it, or would find another.
    """
    module, name = getattr(run, "__module__", None), getattr(run, "__qualname__", None)
    path = f"{module}:{name}"
    if not module or not name or module == "__main__" or "<" in name:
        raise ValueError(
            f"run: expected a function at the top of a module that other processes can import, found {path}; put it "
            'into a file of its own, or take engine="here"'
        )
    if imported(path) is not run:
        raise ValueError(f'run: expected what {path} names, found another function; name that, or take engine="here"')
    return path


def imported(path: str) -> Any:
    """The function that ``package.module:function`` names.

    Raises ValueError if there is none.
    """
    module, _, name = path.partition(":")
    if not module or not name:
        raise ValueError(f"run: expected package.module:function, found {path!r}")
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"run: {path!r} cannot be imported ({error})") from error
    return found
