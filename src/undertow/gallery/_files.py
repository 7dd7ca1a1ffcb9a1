"""Files of the gallery: written beside, then renamed, so that none is ever half there."""

import json
import numbers
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from undertow._replacing import ENDING, replacing

_INT32 = np.iinfo(np.int32)


def write_text(path: Path, text: str) -> None:
    """Write a text file in one step."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON in one step; NaN and infinity, which JSON has not, are an error."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_dataset(path: Path, dataset: xr.Dataset) -> None:
    """Write a dataset as NetCDF in one step.

    Raises
    ------
    TypeError, ValueError
        If an attribute or a variable cannot be kept in NetCDF 3; the message names the attribute.
    """
    with replacing(path) as partial:
        kept = dataset.assign_attrs({name: _attribute(name, value) for name, value in dataset.attrs.items()})
        kept.to_netcdf(partial, engine="scipy")


def read_dataset(path: Path) -> xr.Dataset:
    """Read a dataset whole; the file is closed afterwards."""
    return xr.load_dataset(path, engine="scipy")


def settings_of(dataset: xr.Dataset) -> dict[str, str | int | float | list[float]]:
    """The attributes of a dataset as plain Python, ready for JSON."""
    return {str(name): _plain(value) for name, value in dataset.attrs.items()}


def remove_partial(folder: Path) -> None:
    """Remove what a process that was killed left half-written in this folder."""
    for path in folder.glob(f".*{ENDING}"):
        path.unlink(missing_ok=True)


def _attribute(name: Any, value: Any) -> Any:
    """The attribute as NetCDF 3 can hold it: text, 32-bit integers, floats, and sequences of numbers."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | np.bool_):
        return int(value)
    if isinstance(value, numbers.Integral):
        whole = int(value)
        if _INT32.min <= whole <= _INT32.max:
            return whole
        if int(float(whole)) == whole:
            return float(whole)
        raise ValueError(f"attribute {name!r}: the integer {whole} does not fit; keep it as text")
    if isinstance(value, numbers.Real):
        return float(value)
    if isinstance(value, list | tuple | np.ndarray):
        array = np.asarray(value)
        if array.ndim == 1 and array.dtype.kind in "biuf" and array.size:
            return array.astype(float)
    raise TypeError(
        f"attribute {name!r}: expected text, a number or a sequence of numbers, found {type(value).__name__}"
    )


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [_plain(item) for item in value.tolist()]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    return value
