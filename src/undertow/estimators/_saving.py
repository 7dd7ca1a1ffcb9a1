"""Fitted estimators in files: arrays and plain values alone, nothing that runs when it is read."""

import datetime as dt
import decimal
import importlib
import json
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from .._replacing import replacing

FORMAT = 2
_ROOM = __name__.rpartition(".")[0]

_TEXTS: dict[str, tuple[type, Callable[[Any], str], Callable[[str], Any]]] = {
    "float": (float, repr, float),  # JSON has no infinity and no NaN
    "complex": (complex, repr, complex),
    "uuid": (uuid.UUID, str, uuid.UUID),
    "datetime": (dt.datetime, dt.datetime.isoformat, dt.datetime.fromisoformat),
    "date": (dt.date, dt.date.isoformat, dt.date.fromisoformat),
    "decimal": (decimal.Decimal, str, decimal.Decimal),
}
"""Values that are written as text: their type, and the ways there and back."""

_SPARSE = {"csr_array": sparse.csr_array, "csc_array": sparse.csc_array}


def save(estimator: BaseEstimator, path: str | os.PathLike[str]) -> None:
    """Write a fitted estimator of this package to a file.

    The file is NumPy's ``.npz``: its arrays as they are, with a checksum each, and one text in JSON that says what
    stands where. It is written beside and renamed, so that it is there whole or not at all. Nothing is pickled: reading
    it runs no code of the file's.

    Parameters
    ----------
    estimator
        A fitted `RatingPredictor`, `LowRankImputer`, `SparseRegressor`, ...
    path
        Of the file, under exactly this name; one that is there is replaced.

    Raises
    ------
    TypeError
        If it is no estimator of this package, or holds what cannot be written: a callable, an object of a class of
        one's own as an id.
    sklearn.exceptions.NotFittedError
        If it was not fitted.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> from undertow.estimators import LowRankImputer, load, save
    >>> table = np.array([[1, 2.0], [2, 4], [3, np.nan], [4, 8]])
    >>> imputer = LowRankImputer().fit(table)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(imputer, os.path.join(folder, "imputer.npz"))
    ...     again = load(os.path.join(folder, "imputer.npz"))
    >>> bool((again.transform(table) == imputer.transform(table)).all())
    True
    """
    if _public(type(estimator).__name__) is not type(estimator):
        raise TypeError(
            f"estimator: expected one of undertow.estimators, found {type(estimator).__qualname__}; "
            "of a pipeline, save the step"
        )
    check_is_fitted(estimator)
    arrays: dict[str, np.ndarray] = {}
    header = {
        "format": FORMAT,
        "estimator": type(estimator).__name__,
        "state": {name: _node(value, name, arrays) for name, value in vars(estimator).items()},
    }
    text = np.frombuffer(json.dumps(header).encode(), np.uint8)
    with replacing(Path(path)) as beside, beside.open("wb") as file:
        np.savez(file, allow_pickle=False, header=text, **arrays)


def load(path: str | os.PathLike[str]) -> Any:
    """The fitted estimator that `save` wrote to a file.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If it is damaged, is no estimator of this package, or was written by a version that kept other things.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"path: {path} is no file")
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        header = json.loads(arrays.pop("header").tobytes())
        found, name, state = header["format"], header["estimator"], header["state"]
    except Exception as error:  # zipfile.BadZipFile, zlib.error and what numpy raises have no common base
        raise ValueError(f"path: {path} is damaged, or no estimator of undertow") from error
    if found != FORMAT:
        raise ValueError(f"path: {path} has format {found}, expected {FORMAT}; it was written by another version")
    try:
        estimator = _new(_public(name), {key: _value(node, arrays) for key, node in state.items()})
    except (AttributeError, KeyError, ImportError, TypeError, ValueError) as error:
        raise ValueError(
            f"path: {path} holds what this version does not know ({error}); fit anew, or read it with the version that "
            "wrote it"
        ) from error
    return estimator


def _public(name: str) -> type | None:
    """The estimator of this name, or None."""
    room = importlib.import_module(_ROOM)
    found = getattr(room, name, None) if name in room.__all__ else None
    return found if isinstance(found, type) and issubclass(found, BaseEstimator) else None


def _node(value: Any, place: str, arrays: dict[str, np.ndarray]) -> Any:
    """A value as JSON; arrays go to ``arrays``, and leave their key."""
    if value is None or isinstance(value, (bool, str)) or type(value) is int:
        return value
    for kind, (of, to_text, _) in _TEXTS.items():
        if type(value) is of:
            return {kind: to_text(value)}

    def inner(part: Any, name: Any) -> Any:
        return _node(part, f"{place}{name}", arrays)

    if isinstance(value, jax.Array):
        return {"jax": _kept(np.asarray(value), arrays)}
    if isinstance(value, np.generic):
        return {"scalar": _kept(np.asarray(value), arrays)}
    if type(value) in (np.ndarray, np.memmap):
        if value.dtype == object:
            return {"objects": [inner(x, f"[{k}]") for k, x in enumerate(value.ravel())], "shape": value.shape}
        return {"array": _kept(value, arrays)}
    if type(value).__name__ in _SPARSE and type(value) is _SPARSE[type(value).__name__]:
        parts = [_kept(x, arrays) for x in (value.data, value.indices, value.indptr)]
        return {type(value).__name__: parts, "shape": [int(size) for size in value.shape]}
    if type(value) in (list, tuple):
        return {type(value).__name__: [inner(x, f"[{k}]") for k, x in enumerate(value)]}
    if isinstance(value, dict):
        return {"dict": [[inner(k, "key"), inner(x, f"[{k!r}]")] for k, x in value.items()]}
    if isinstance(value, np.random.RandomState):
        return {"random_state": inner(value.get_state(legacy=False), ".state")}
    if _known(type(value)):
        fields = {name: inner(x, f".{name}") for name, x in _fields(value).items()}
        return {"object": f"{type(value).__module__}:{type(value).__qualname__}", "fields": fields}
    raise TypeError(
        f"estimator: {place} is of {type(value).__module__}.{type(value).__qualname__}, which cannot be written "
        "without pickle; ids may be text, numbers, UUIDs, decimals and tuples of these"
    )


def _value(node: Any, arrays: dict[str, np.ndarray]) -> Any:
    """What ``_node`` was made from."""
    if not isinstance(node, dict):
        return node
    kind, content = next(iter(node.items()))

    def inner(part: Any) -> Any:
        return _value(part, arrays)

    if kind in _TEXTS:
        return _TEXTS[kind][2](content)
    if kind in _SPARSE:
        return _SPARSE[kind](tuple(arrays[key] for key in content), shape=tuple(node["shape"]))
    match kind:
        case "jax":
            return jnp.asarray(arrays[content])
        case "scalar":
            return arrays[content][()]
        case "array":
            return arrays[content]
        case "objects":
            values = np.empty(len(content), object)
            values[:] = [inner(part) for part in content]
            return values.reshape(node["shape"])
        case "list":
            return [inner(part) for part in content]
        case "tuple":
            return tuple(inner(part) for part in content)
        case "dict":
            return {inner(key): inner(part) for key, part in content}
        case "random_state":
            state = np.random.RandomState()
            state.set_state(inner(content))
            return state
        case "object":
            module, _, name = content.partition(":")
            if not module.startswith(("undertow.", "sklearn.")):
                raise ValueError(f"a class of {module}")
            cls = getattr(importlib.import_module(module), name)
            if not _known(cls):
                raise ValueError(f"{content} is no class that holds values")
            return _new(cls, {key: inner(part) for key, part in node["fields"].items()})
        case _:
            raise ValueError(f"a value of kind {kind!r}")


def _kept(array: np.ndarray, arrays: dict[str, np.ndarray]) -> str:
    """Keep an array, and say under which key."""
    key = f"a{len(arrays)}"
    arrays[key] = array
    return key


def _known(cls: Any) -> bool:
    """Whether a class is one of this package, or an estimator of scikit-learn, and its objects are what they hold."""
    if not isinstance(cls, type) or "<locals>" in cls.__qualname__ or issubclass(cls, BaseException):
        return False
    ours = cls.__module__.startswith("undertow.")
    # Splitters, as for cross-validation, are plain settings too.
    plain = issubclass(cls, BaseEstimator) or (hasattr(cls, "split") and hasattr(cls, "get_n_splits"))
    return ours or (cls.__module__.startswith("sklearn.") and plain)


def _fields(value: Any) -> dict[str, Any]:
    return dict(value._asdict() if isinstance(value, tuple) else vars(value))  # pyright: ignore[reportAttributeAccessIssue] - a named one


def _new(cls: Any, fields: dict[str, Any]) -> Any:
    """An object of ``cls`` that holds these, made without running its ``__init__``."""
    if issubclass(cls, tuple):
        return cls(**fields)
    value = object.__new__(cls)
    for name, field in fields.items():
        object.__setattr__(value, name, field)
    return value
