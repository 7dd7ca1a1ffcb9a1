"""How parts are shown: the call that makes them, on one line, with kinds and shapes in place of arrays."""

import contextlib
import dataclasses
import functools
import inspect
from typing import Any

import equinox as eqx
import jax
import numpy as np

from ._validation import is_traced

_MOST = 4
"""Items of a sequence that are shown."""
_LONGEST = 60
"""Characters of a value that is no part."""
MISSING = object()


def shown(part: Any) -> str:
    """A module, data class or named tuple as the call that makes it: ``Power(shape=(2,), depth=3)``.

    Arguments that have their defaults are left out; so are those that are kept in another form, unless all are: then
    it is the fields that stand there. Nothing is computed, and of arrays only single numbers are read.
    """
    fields = _fields(part)
    arguments = {name: default for name, default in _arguments(type(part)).items() if name in fields}
    kept = {name: fields[name] for name, default in arguments.items() if not _same(fields[name], default)}
    if "shape" in fields and "shape" not in arguments and _lacks_some(type(part), fields):
        kept = {"shape": fields["shape"], **kept}  # what else its size is made from
    if not arguments:
        kept = {name: value for name, value in fields.items() if value is not None}
    return called(type(part).__name__, kept)


def called(name: str, arguments: dict[str, Any]) -> str:
    """``name(argument=value, ...)``."""
    return f"{name}({', '.join(f'{key}={value_text(value)}' for key, value in arguments.items())})"


def value_text(x: Any) -> str:
    """A value, short: a number as it is, an array by its kind and shape, a function by its name."""
    known = number(x)
    if known is not MISSING:
        return f"{known:.6g}" if isinstance(known, float) else repr(known)
    if isinstance(x, jax.Array | np.ndarray | np.generic):
        return eqx.tree_pformat(x)
    if isinstance(x, tuple | list) and type(x).__repr__ in (tuple.__repr__, list.__repr__):
        inside = [value_text(item) for item in x[:_MOST]] + ["..."] * (len(x) > _MOST)
        comma = "," if isinstance(x, tuple) and len(x) == 1 else ""
        return f"({', '.join(inside)}{comma})" if isinstance(x, tuple) else f"[{', '.join(inside)}]"
    if isinstance(x, eqx.Module):
        own = type(x).__repr__ is not eqx.Module.__repr__
        return repr(x) if own else shown(x)
    if isinstance(x, functools.partial):
        return f"partial({value_text(x.func)}, ...)"
    if callable(x) and (name := getattr(x, "__name__", None)):
        return str(name)
    text = " ".join(repr(x).split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _fields(part: Any) -> dict[str, Any]:
    """What is there already: an error of a constructor may show a part that is half made."""
    if isinstance(part, tuple):
        return dict(zip(part._fields, part, strict=True))  # pyright: ignore[reportAttributeAccessIssue] (named)
    found = {field.name: getattr(part, field.name, MISSING) for field in dataclasses.fields(part) if field.repr}
    # An argument that a method has the name of, as ``loss``, is kept as ``loss_name``.
    return {name.removesuffix("_name"): value for name, value in found.items() if value is not MISSING}


@functools.cache
def _arguments(cls: type) -> dict[str, Any]:
    """The arguments of a constructor and their defaults."""
    with contextlib.suppress(TypeError, ValueError):  # a class of a library that does not tell
        return {name: parameter.default for name, parameter in inspect.signature(cls).parameters.items()}
    return {}


def number(x: Any) -> Any:
    """A number, true or false, as Python has it; ``MISSING`` where there is none, or none to be read."""
    if isinstance(x, bool | int | float):
        return x
    if not isinstance(x, jax.Array | np.ndarray | np.generic) or x.shape != () or is_traced(x):
        return MISSING
    if isinstance(x, jax.Array) and (x.is_deleted() or not x.is_fully_addressable):
        return MISSING
    if x.dtype == bool or np.issubdtype(x.dtype, np.number) or jax.numpy.issubdtype(x.dtype, np.floating):
        value = np.asarray(x).item()
        return value if isinstance(value, bool | int | float) else MISSING
    return MISSING


def _lacks_some(cls: type, fields: dict[str, Any]) -> bool:
    """Whether an argument that has to be given is kept in another form."""
    return any(default is inspect.Parameter.empty and name not in fields for name, default in _arguments(cls).items())


def _same(value: Any, default: Any) -> bool:
    known = number(value)
    value = value if known is MISSING else known
    plain = isinstance(value, str | bool | int | float | tuple | None)
    return plain and isinstance(default, str | bool | int | float | tuple | None) and value == default
