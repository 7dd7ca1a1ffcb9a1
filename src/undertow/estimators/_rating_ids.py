"""Ids of users and items: columns of any kind, each as it is, and their positions."""

import numbers
from typing import Any

import numpy as np
from scipy.sparse import issparse

from .._validation import is_hashable
from ._validation import check_no_times, check_unmasked


def extended(role: str, ids: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The known ids and the new ones after them, and the positions of ``ids``."""
    codes = codes_of(role, ids, known)
    new, places = distinct(ids[codes < 0])
    codes[codes < 0] = len(known) + places
    kind = known.dtype if new.size == 0 else object if object in (known.dtype, new.dtype) else None
    return np.concatenate([known.astype(kind), new.astype(kind)]) if kind else np.concatenate([known, new]), codes


def columns_of(X: Any) -> list[Any]:
    """The two columns of ``X``, each in a type of its own: in a common one, long integers would be rounded."""
    if issparse(X):
        raise TypeError(
            "X: expected n rows of (user, item), found a sparse matrix, which only `fit` and `partial_fit` take"
        )
    check_unmasked("X", X)
    frame = hasattr(X, "columns") and not isinstance(X, np.ndarray)
    # A list of (text, number) would otherwise become text altogether.
    table: Any = X if frame else np.asarray(X, dtype=object if isinstance(X, (list, tuple)) else None)
    if isinstance(X, (list, tuple)) and table.ndim > 2 and table.shape[1] == 2:  # ids that are tuples
        table = np.stack([as_objects(column) for column in zip(*X, strict=True)], axis=1)
    if len(table.shape) != 2 or table.shape[1] != 2:
        raise ValueError(f"X: expected n rows of (user, item), found shape {tuple(table.shape)}")
    if hasattr(table, "iloc"):  # pandas
        return [table.iloc[:, k] for k in range(2)]
    if hasattr(table, "column"):  # Arrow
        return [table.column(k).to_numpy() for k in range(2)]
    return [table[:, k] for k in range(2)]


def ids_of(role: str, column: Any) -> np.ndarray:
    """A column of ids: all of one kind, none missing."""
    check_no_times("X", column)
    plain = _plain(role, column)
    if plain is not None:
        return plain
    values = column.to_list() if hasattr(column, "to_list") else column.tolist()
    kinds = sorted({_kind(value) for value in values})
    if len(kinds) > 1:
        raise TypeError(f"X: expected {role} ids of one kind, found {' and '.join(kinds)}")
    if not values:
        return np.empty(0, dtype=object)
    if kinds != ["number"]:
        if kinds[0] in _NO_IDS or not is_hashable(values[0]):
            raise TypeError(
                f"X: expected {role} ids that are text, numbers or what else can be hashed, but dates, found {kinds[0]}"
            )
        return column if isinstance(column, np.ndarray) else as_objects(values)
    floating = [value for value in values if isinstance(value, (float, np.floating))]
    _check_digits(role, np.array(floating, float), np.finfo(float).nmant)
    array = np.asarray(values)
    # Integers and floats together, or of both signs beyond 63 bits, have no common type that holds them all.
    return array if array.dtype.kind in "iuf" and array.tolist() == values else np.array(values, dtype=object)


def _plain(role: str, column: Any) -> np.ndarray | None:
    """Numbers or text that NumPy holds as such, so that nothing is looked at one by one; None for anything else."""
    dtype = getattr(column, "dtype", None)
    if not isinstance(dtype, np.dtype) or dtype.kind not in "iufU" or not len(column):
        return None
    array = np.asarray(column)
    if dtype.kind != "f":
        return array
    _check_digits(role, array, np.finfo(dtype).nmant)
    return array.astype(np.result_type(dtype, float))


def _check_digits(role: str, values: np.ndarray, digits: int) -> None:
    if not np.isfinite(values).all():
        raise ValueError(f"X: expected {role} ids, found NaN or infinity")
    large = values[np.abs(values) > 2 ** (digits + 1)]
    if large.size:
        raise ValueError(
            f"X: expected {role} ids that keep all their digits, found {large.tolist()[0]!r} as a floating number: "
            "several integers have this value; give them as integers, or as text"
        )


_NO_IDS = (
    "NoneType",
    "NAType",
    "NaTType",
    "bool",
    "complex",
    "date",
    "datetime",
    "time",
    "timedelta",
    "Timestamp",
    "Timedelta",
)
"""Types of what is missing, or is a sign that the columns are others than meant."""


def as_objects(values: Any) -> np.ndarray:
    """A vector of these objects, tuples too."""
    array = np.empty(len(values), object)
    for place, value in enumerate(values):
        array[place] = value
    return array


def distinct(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct ids, and the position of each among them."""
    if len(ids) and ids.dtype == object and _kind(ids[0]) not in ("text", "number", "UUID"):
        # Others need not have an order, or have one in part, as sets do.
        places: dict[Any, int] = {}
        codes = np.array([places.setdefault(value, len(places)) for value in ids], int)
        return as_objects(list(places)), codes
    return np.unique(ids, return_inverse=True)


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return "text"
    return "number" if isinstance(value, numbers.Real) and not isinstance(value, bool) else type(value).__name__


def codes_of(role: str, ids: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Position of each id among the known ones, -1 where it is none of them."""
    if not len(ids):
        return np.empty(0, int)
    found, expected = _kind(ids[:1].tolist()[0]), _kind(known[:1].tolist()[0])
    if found != expected:
        raise TypeError(f"X: expected the kind of {role} ids that was fitted ({expected}), found {found}")
    if ids.dtype.kind == known.dtype.kind and ids.dtype.kind in "iufU":
        order = np.argsort(known, kind="stable")
        near = order[np.minimum(np.searchsorted(known, ids, sorter=order), len(known) - 1)]
        return np.where(known[near] == ids, near, -1)
    # Not by bisection: integers of different types would be compared as rounded numbers.
    codes = {name: code for code, name in enumerate(known.tolist())}
    return np.array([codes.get(name, -1) for name in ids.tolist()], int)


def check_distinct(i: np.ndarray, j: np.ndarray, width: int, users: np.ndarray, items: np.ndarray) -> None:
    flat = i.astype(np.int64) * width + j
    order = np.argsort(flat, kind="stable")
    again = np.flatnonzero(np.diff(flat[order]) == 0)
    if again.size:
        first, second = order[again[0]], order[again[0] + 1]
        raise ValueError(
            f"X: expected every pair once, found ({users[first]}, {items[first]}) in rows {first} and {second}"
        )
