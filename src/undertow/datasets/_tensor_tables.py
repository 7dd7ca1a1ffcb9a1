"""Tensors in long form: any number of columns of indices, and the value after them; or as a NumPy array."""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float64, Integer, Shaped

from undertow._repr import shown
from undertow._validation import check_choice
from undertow.datasets._columns import choose_columns, is_hole, is_number, recognize
from undertow.datasets._dialect import USUAL, Dialect
from undertow.datasets._matrices import npy_array
from undertow.datasets._table_types import Source
from undertow.datasets._tables import DUPLICATES, PARQUET, TableColumns, encoded, numbers
from undertow.datasets._text import check_file, read_bytes, sniff


@dataclass(frozen=True, eq=False)
class Tensor:
    """Observed entries of a tensor: labels of the indices are text, exactly as they stand in the file.

    Parameters
    ----------
    indices : integer array, shape (entries, order)
        For each entry the position of its label on every axis.
    values : float64 array, shape (entries,)
        Finite numbers, in the file's own units.
    labels : tuple of object arrays of str
        The distinct labels of each axis, in order of first appearance.
    names : tuple of str
        What the columns of the axes, and the one of the values, are called when the tensor is written.
    source : Source or None
        How it was read; None for one that was not read from a file.
    """

    indices: Integer[np.ndarray, "entries order"]
    values: Float64[np.ndarray, " entries"]
    labels: tuple[Shaped[np.ndarray, " _"], ...]
    names: tuple[str, ...]
    source: Source | None = None

    def __repr__(self) -> str:
        return shown(self)

    @property
    def shape(self) -> tuple[int, ...]:
        """The numbers of labels."""
        return tuple(map(len, self.labels))


def read_tensor(
    path: str | os.PathLike[str],
    *,
    value: str | int | None = None,
    delimiter: str | None = None,
    header: bool | None = None,
    duplicates: str = "error",
    dialect: Dialect = USUAL,
) -> Tensor:
    r"""Read a tensor in long form: a row for each observed entry, its indices (text or integers) and then its value.

    Parameters
    ----------
    path : path
        Text (CSV, TSV and their kin, also ``.gz``) or Parquet with three columns or more, or ``.npy`` with an array of
        numbers, NaN in its holes, whose labels are positions from 0.
    value : str or int or None
        The column of the values, by name, or by position from 1; all columns before it are axes, those after it are
        passed over. None: the one that is called value, rating or the like, else the last.
    delimiter, header, duplicates, dialect
        As for `read_table`; a header is where the first line has no number in the column of values.

    Returns
    -------
    Tensor
        The entries; its ``source`` says what was detected.

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If there is no such file.
    ValueError
        If the file cannot be understood, as for `read_table`; if fewer than two columns are before the values, or an
        axis has one label only.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "doses.csv")
    ...     _ = path.write_text("cell,dose,hour,value\nNK,1,4,0.5\nT,2,4,0.1\nT,1,8,0.2\n")
    ...     tensor = read_tensor(path)
    >>> tensor.shape, tensor.names, tensor.indices[1].tolist()
    ((2, 2, 2), ('cell', 'dose', 'hour', 'value'), [1, 1, 0])
    """
    check_choice("duplicates", duplicates, DUPLICATES)
    path = Path(path)
    check_file(path)
    if path.suffix.lower() in (".npy", *PARQUET):
        dialect.check_binary(path)
    if path.suffix.lower() == ".npy":
        return _checked(_from_array(path, dialect))
    parquet = path.suffix.lower() in PARQUET
    found = dialect.kept(_parquet(path, value) if parquet else _text(path, value, delimiter, header, dialect))
    axes = [encoded(column, "axis", name, found) for column, name in zip(found.columns, found.names[:-1], strict=False)]
    values = numbers(found.columns[-1], found)
    indices = np.stack([codes for codes, _ in axes], axis=1).astype(np.int64)
    labels = tuple(ids for _, ids in axes)
    distinct = found.header and "" not in found.names and len(set(found.names)) == len(found.names)
    names = tuple(found.names) if distinct else (*(f"axis {k + 1}" for k in range(len(axes))), "value")
    tensor = Tensor(indices, values, labels, names, found.source)
    return _checked(_resolved(tensor, duplicates, found.where))


def _from_array(path: Path, dialect: Dialect) -> Tensor:
    array = npy_array(path)
    if array.ndim < 2 or 0 in array.shape:
        raise ValueError(
            f"{path}: expected a tensor of order 2 or higher without empty axes, found shape {array.shape}"
        )
    values = dialect.holes_in(array.astype(np.float64))
    infinite = np.flatnonzero(np.isinf(values))
    if infinite.size:
        where = [int(k) for k in np.unravel_index(int(infinite[0]), array.shape)]
        raise ValueError(f"{path}: expected finite numbers, and NaN in the holes, found infinity at index {where}")
    seen = ~np.isnan(values)
    if seen.all():
        raise ValueError(f"{path}: expected holes (NaN), found none: nothing to complete in shape {array.shape}")
    labels = tuple(np.array([str(k) for k in range(length)], dtype=object) for length in array.shape)
    names = (*(f"axis {k + 1}" for k in range(array.ndim)), "value")
    source = Source(str(path), "tensor", "npy", dtype=str(array.dtype))
    return Tensor(np.argwhere(seen), values[seen], labels, names, source)


def _checked(tensor: Tensor) -> Tensor:
    for name, labels in zip(tensor.names, tensor.labels, strict=False):
        if len(labels) < 2:
            path = tensor.source.path if tensor.source else "tensor"
            raise ValueError(
                f"{path}: expected at least two labels on every axis, found one in {name!r} ({labels[0]!r})"
            )
    return tensor


def _chosen(path: str, names: list[str] | None, width: int, value: str | int | None) -> list[int]:
    """The positions of the axes and then of the value."""
    if value is None:
        place = recognize(names or ()).get("rating", width - 1)
        place = place if place >= 2 else width - 1
    else:
        place = choose_columns(path, names, width, {"value": value}, {"value": ()})["value"]
    if place < 2:
        raise ValueError(f"{path}: expected two columns of indices or more before the value, found {place}")
    return list(range(place + 1))


def _text(
    path: Path, value: str | int | None, delimiter: str | None, header: bool | None, dialect: Dialect
) -> TableColumns:
    text = sniff(str(path), read_bytes(path, dialect), delimiter, least=3, dialect=dialect)
    if header is None:
        named = isinstance(value, str) and not value.isdecimal()
        places = None if named else _chosen(text.path, text.head[0], text.width, value)
        first = None if places is None else text.meant[0][places[-1]]
        header = first is None or not (is_number(first) or (dialect != USUAL and is_hole(first)))
    if text.complete and len(text.head) <= header:
        raise ValueError(f"{path}: expected entries, found only a header (0 rows)")
    names = text.head[0] if header else None
    if header and len(text.head[0]) != text.width:
        text.check_widths()
    places = _chosen(text.path, names, text.width, value)
    try:
        read = text.read(places, [pa.string()] * len(places), header=header, nulls=[])
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path}: {error}") from error
    called = [names[k].strip() if names else f"column {k + 1}" for k in places]
    source = Source(text.path, "tensor", "text", tuple(called), text.delimiter, header)
    columns = [read.column(str(k)) for k in places]
    return TableColumns(columns, called, header, lambda row: f"line {text.line(row, header)}", source)


def _parquet(path: Path, value: str | int | None) -> TableColumns:
    try:
        read = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path}: {error}") from error
    names = read.column_names
    places = _chosen(str(path), names, len(names), value)
    if read.num_rows == 0:
        raise ValueError(f"{path}: expected entries, found 0 rows")
    called = [names[k] for k in places]
    source = Source(str(path), "tensor", "parquet", tuple(called))
    return TableColumns([read.column(k) for k in places], called, True, lambda row: f"row {row + 1}", source)


def _resolved(tensor: Tensor, duplicates: str, where: Callable[[int], str]) -> Tensor:
    """With every index once."""
    path = tensor.source.path if tensor.source else "tensor"
    if math.prod(tensor.shape) >= 2**63:
        raise ValueError(f"{path}: expected fewer than 2^63 entries in all, found shape {tensor.shape}")
    flat = np.asarray(np.ravel_multi_index(tuple(tensor.indices.T), tensor.shape))
    _, first, codes, counts = np.unique(flat, return_index=True, return_inverse=True, return_counts=True)
    if (counts == 1).all():
        return tensor
    if duplicates == "error":
        again = np.setdiff1d(np.arange(len(flat)), first)
        second = int(again[0])
        labels = [axis[k] for axis, k in zip(tensor.labels, tensor.indices[second], strict=True)]
        raise ValueError(
            f"{path}: expected each index once, found {', '.join(map(repr, labels))} on "
            f"{where(int(first[codes[second]]))} and {where(second)} ({len(again)} such rows in all); "
            'duplicates="mean" averages them, "last" keeps the last'
        )
    if duplicates == "mean":
        values = np.bincount(codes, tensor.values) / counts
    else:
        values = np.empty(len(first))
        values[codes] = tensor.values  # of several at one place the last one stays
    order = np.argsort(first)
    return replace(tensor, indices=tensor.indices[first[order]], values=values[order])
