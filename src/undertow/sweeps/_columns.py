"""Runs as columns: values of many rows as the arrays of a store, and back."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np


def parts_of(array: Any) -> list[int]:
    """How many files an array has in each direction."""
    return [-(-size // part) for size, part in zip(array.shape, array.shards, strict=True)]


def place_of(array: Any, index: tuple[int, ...]) -> tuple[slice, ...]:
    """What stands in the file of this index."""
    return tuple(slice(i * part, (i + 1) * part) for i, part in zip(index, array.shards, strict=True))


def file_of(folder: Path, index: tuple[int, ...]) -> Path:
    """Where it is, in the folder of its array."""
    return folder.joinpath("c", *map(str, index))


def read(group: Any, names: Sequence[str] | None, rows: np.ndarray) -> dict[str, tuple[list[str], np.ndarray]]:
    """Dimensions and values of arrays of a store in these rows."""
    found = {}
    for name in names if names is not None else sorted(key for key, _ in group.arrays()):
        array = group[name]
        length = max(array.shape[0], int(rows.max(initial=-1)) + 1)
        values = values_of(group, name, slice(None))
        if len(values) < length:  # runs that failed, behind the last that has this
            fill = np.full((length - len(values), *values.shape[1:]), array.fill_value, values.dtype)
            values = np.concatenate([values, fill])
        found[name] = (list(array.metadata.dimension_names), values[rows])
    return found


def values_of(group: Any, name: str, rows: slice) -> np.ndarray:
    """The values of an array of a store in these rows, as far as there are any.

    Raises ValueError where a chunk's checksum does not fit.
    """
    try:
        return np.asarray(group[name][rows])
    except Exception as error:
        raise ValueError(
            f"store: {name!r} of {group.store_path} is damaged ({error}); repair=True runs what is lost again"
        ) from error


def of_axis(values: list[Any], kind: str) -> np.ndarray:
    if kind == "numbers":
        return np.array(values, float)
    return np.array(values if kind == "text" else [json.dumps(value) for value in values], object)


def column(values: list[Any]) -> np.ndarray:
    """Values of runs, with NaN, -1 or nothing where a run failed."""
    example = next(np.asarray(value) for value in values if value is not None)
    nothing = "" if example.dtype.kind in "OU" else np.full(example.shape, fill_of(example), example.dtype)
    return np.stack([np.asarray(nothing if value is None else value) for value in values])


def padded(values: list[np.ndarray | None]) -> np.ndarray:
    """Samples of runs side by side, padded behind the end of each."""
    known = [value for value in values if value is not None]
    length = max(map(len, known))
    out = np.full((len(values), length, *known[0].shape[1:]), fill_of(known[0]), known[0].dtype)
    for row, value in enumerate(values):
        if value is not None:
            out[row, : len(value)] = value
    return out


def fill_of(values: np.ndarray) -> Any:
    """What stands where a run has no number."""
    return -1 if np.issubdtype(values.dtype, np.integer) else np.nan
