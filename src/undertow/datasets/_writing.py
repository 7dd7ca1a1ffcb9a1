"""Writing completed tables.

Whole or not at all, and in blocks, since all pairs can be many more than fit into memory.
"""

import math
import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Bool, Integer, Num, Shaped
from pyarrow import csv as arrow_csv

from undertow._replacing import replacing
from undertow._validation import as_numpy, check_integer
from undertow.datasets._table_types import NAMES, Matrix, Ratings
from undertow.datasets._tensor_tables import Tensor

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_BLOCK_PAIRS = 1 << 18


def _check_place(path: Path) -> None:
    if path.is_dir():
        raise IsADirectoryError(f"{path}: expected a file to write, found a directory")
    if path.exists() and not path.is_file():
        raise ValueError(f"{path}: expected an ordinary file to write, found something else")
    for folder in (path.parent, Path(os.path.realpath(path)).parent):
        if not folder.is_dir():
            raise FileNotFoundError(f"{path}: there is no directory {folder}")


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A stream to write the file with; an open one, since Arrow opens no file whose name is not UTF-8."""
    _check_place(path)
    with replacing(path) as beside, beside.open("wb") as stream:
        yield stream


def _format(path: Path, others: tuple[str, ...]) -> str:
    """The ending that says how to write, ``.gz`` left out."""
    name = path.name.lower()
    packed = name.endswith(".gz")
    suffix = Path(name.removesuffix(".gz")).suffix
    if suffix in _DELIMITERS or (suffix in others and not packed):
        return suffix
    known = ", ".join((*_DELIMITERS, ".csv.gz", ".tsv.gz", *others))
    raise ValueError(f"{path}: expected a name that ends in one of {known}, found {''.join(path.suffixes)!r}")


def check_output(path: str | os.PathLike[str], kind: str) -> None:
    """Raise now what writing a result would raise later, before any work.

    Parameters
    ----------
    path : path
        Where the result is to go.
    kind : {"ratings", "matrix", "tensor"}
        What it is: completed ratings and pairs go to CSV, TSV or Parquet, matrices and tensors to ``.npy`` too.

    Raises
    ------
    ValueError, IsADirectoryError, FileNotFoundError
        If the ending is unknown, something that is no file is there, or its directory is not.
    """
    path = Path(path)
    _format(path, (".parquet",) if kind == "ratings" else (".parquet", ".npy"))
    _check_place(path)


def write_completed_ratings(
    path: str | os.PathLike[str],
    table: Ratings,
    predict_block: Callable[[slice], Num[np.ndarray, "rows items"]],
    *,
    block_rows: int | None = None,
) -> None:
    """Write a rating for every pair of user and item, in long form, users and items in their table's order.

    The columns are called as in `table`, and ``observed``: observed pairs keep their rating and are
    true. Only one block of users is in memory at a time; the file appears when it is complete.

    Parameters
    ----------
    path : path
        Ends in ``.csv``, ``.tsv`` (both also ``.gz``) or ``.parquet``.
    table : Ratings
        What was observed; each pair once.
    predict_block : callable
        Takes a slice of users, by position in ``table.user_ids``, and gives an array of shape (users in
        the slice, items) of finite predictions in the ratings' units.
    block_rows : int or None
        The number of users in a block; None takes what makes a quarter of a million pairs.

    Raises
    ------
    ValueError, TypeError
        If the ending is unknown, or predictions are of another shape or not finite; no file is left then.
    FileNotFoundError, IsADirectoryError
        If the directory does not exist, or a directory has that name.
    """
    path = Path(path)
    users, items = table.shape
    if block_rows is None:
        block_rows = max(1, _BLOCK_PAIRS // max(items, 1))
    block_rows = check_integer("block_rows", block_rows, 1)
    order = np.argsort(table.users, kind="stable")
    by_user = table.users[order]
    item_ids = pa.array(table.item_ids, pa.string())
    with _long_form(path, table.names, (table.user_ids, table.item_ids)) as write:
        for start in range(0, users, block_rows):
            stop = min(start + block_rows, users)
            block = _predictions("predict_block", predict_block(slice(start, stop)), (stop - start, items))
            low, high = np.searchsorted(by_user, [start, stop])
            rows, columns = by_user[low:high] - start, table.items[order[low:high]]
            values, observed = block.copy(), np.zeros(block.shape, bool)
            values[rows, columns] = table.ratings[order[low:high]]
            observed[rows, columns] = True
            names = pa.array(table.user_ids[start:stop], pa.string())
            write(
                names.take(pa.array(np.repeat(np.arange(stop - start), items))),
                item_ids.take(pa.array(np.tile(np.arange(items), stop - start))),
                values.ravel(),
                observed.ravel(),
            )


def write_completed_tensor(
    path: str | os.PathLike[str],
    tensor: Tensor,
    predict: Callable[[Integer[np.ndarray, "places order"]], Num[np.ndarray, " places"]],
) -> None:
    """Write a value for every index of a tensor, in long form, labels in their order, the last axis fastest.

    The columns are called as in `tensor`, and ``observed``: observed entries keep their value and are true. Only one
    block is in memory at a time; the file appears when it is complete. A ``.npy`` file has the values alone.

    Parameters
    ----------
    path : path
        Ends in ``.csv``, ``.tsv`` (both also ``.gz``), ``.parquet`` or ``.npy``.
    tensor : Tensor
        What was observed; each index once.
    predict : callable
        Takes indices (places x order), gives finite predictions.

    Raises
    ------
    ValueError, TypeError, FileNotFoundError, IsADirectoryError
        As `write_completed_ratings`.
    """
    path = Path(path)
    shape, total = tensor.shape, math.prod(tensor.shape)
    flat = np.asarray(np.ravel_multi_index(tuple(tensor.indices.T), shape))
    order = np.argsort(flat)
    flat, given = flat[order], tensor.values[order]

    def block(start: int) -> tuple[tuple[np.ndarray, ...], np.ndarray, np.ndarray]:
        stop = min(start + _BLOCK_PAIRS, total)
        places = np.unravel_index(np.arange(start, stop), shape)
        values = _predictions("predict", predict(np.stack(places, axis=1)), (stop - start,)).copy()
        low, high = np.searchsorted(flat, [start, stop])
        observed = np.zeros(stop - start, bool)
        observed[flat[low:high] - start] = True
        values[flat[low:high] - start] = given[low:high]
        return places, values, observed

    starts = range(0, total, _BLOCK_PAIRS)
    if _format(path, (".npy", ".parquet")) == ".npy":
        values = np.concatenate([block(start)[1] for start in starts]).reshape(shape)
        dtype = tensor.source.dtype if tensor.source and tensor.source.dtype.startswith("float") else "float64"
        with _replacing(path) as stream:
            np.lib.format.write_array(stream, values.astype(dtype), allow_pickle=False)
        return
    labels = [pa.array(axis, pa.string()) for axis in tensor.labels]
    with _long_form(path, tensor.names, tensor.labels) as write:
        for start in starts:
            places, values, observed = block(start)
            write(*(axis.take(pa.array(k)) for axis, k in zip(labels, places, strict=True)), values, observed)


def write_pairs(
    path: str | os.PathLike[str],
    user_ids: Shaped[np.ndarray, " pairs"],
    item_ids: Shaped[np.ndarray, " pairs"],
    predictions: Num[np.ndarray, " pairs"],
    observed: Bool[np.ndarray, " pairs"],
    *,
    names: tuple[str, str, str] = NAMES,
) -> None:
    """Write the answers to the pairs that were asked for, in their order.

    Parameters
    ----------
    path : path
        Ends in ``.csv``, ``.tsv`` (both also ``.gz``) or ``.parquet``.
    user_ids, item_ids : object arrays of str, shape (pairs,)
        The pairs, as `read_pairs` gives them.
    predictions : array, shape (pairs,)
        A finite rating of each pair.
    observed : bool array, shape (pairs,)
        Whether it is the rating that was observed.
    names : tuple of three str
        What the columns user, item and rating are called; the fourth is ``observed``.

    Raises
    ------
    ValueError, TypeError, FileNotFoundError, IsADirectoryError
        As `write_completed_ratings`.
    """
    path = Path(path)
    values = _predictions("predictions", predictions, (len(user_ids),))
    if not len(user_ids) == len(item_ids) == len(observed):
        raise ValueError(
            "user_ids, item_ids and observed: expected equal lengths, "
            f"found {len(user_ids)}, {len(item_ids)} and {len(observed)}"
        )
    texts = pa.array(user_ids, pa.string()), pa.array(item_ids, pa.string())
    with _long_form(path, names, (user_ids, item_ids)) as write:
        write(*texts, values, np.asarray(observed, bool))


def _predictions(name: str, values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    values = as_numpy(name, values).astype(np.float64)
    if values.shape != shape:
        raise ValueError(f"{name}: expected predictions of shape {shape}, found {values.shape}")
    if not np.isfinite(values).all():
        where = np.argwhere(~np.isfinite(values))[0].tolist()
        raise ValueError(f"{name}: expected finite predictions, found {values[tuple(where)]} at index {where}")
    return values


@contextmanager
def _long_form(path: Path, names: tuple[str, ...], ids: tuple[np.ndarray, ...]) -> Iterator[Callable[..., None]]:
    """A function that appends ids (users and items), values and observed flags to the table at ``path``."""
    last = "observed"
    while last in names:
        last += "_"
    types = (*(pa.string() for _ in ids), pa.float64(), pa.bool_())
    schema = pa.schema(list(zip((*names, last), types, strict=True)))
    suffix = _format(path, (".parquet",))
    with _replacing(path) as stream, ExitStack() as stack:
        if suffix == ".parquet":
            writer = stack.enter_context(pq.ParquetWriter(stream, schema))
        else:
            sink = stack.enter_context(_text_sink(path, stream))
            _write_line(sink, schema.names, suffix)
            writer = stack.enter_context(arrow_csv.CSVWriter(sink, schema, write_options=_options(suffix, ids)))
        yield lambda *columns: writer.write_table(pa.table(list(columns), schema=schema))


def _text_sink(path: Path, stream: BinaryIO) -> pa.NativeFile:
    return pa.output_stream(stream, compression="gzip" if path.name.lower().endswith(".gz") else None)


def _special(suffix: str) -> re.Pattern[str]:
    """What a cell has to be quoted for."""
    return re.compile(f'[{_DELIMITERS[suffix]}"\r\n]')


def _write_line(sink: pa.NativeFile, cells: list[str], suffix: str) -> None:
    # Not by Python's csv module, which leaves a lone carriage return unquoted.
    special = _special(suffix)
    quoted = ['"' + cell.replace('"', '""') + '"' if special.search(cell) else cell for cell in cells]
    sink.write((_DELIMITERS[suffix].join(quoted) + "\n").encode())


def _options(suffix: str, texts: tuple[np.ndarray, ...]) -> arrow_csv.WriteOptions:
    """Arrow quotes every text or none: none, unless one of them needs it."""
    special = _special(suffix)
    quoted = any(special.search(text) for column in texts for text in column)
    return arrow_csv.WriteOptions(
        include_header=False, delimiter=_DELIMITERS[suffix], quoting_style="needed" if quoted else "none"
    )


def write_matrix(path: str | os.PathLike[str], matrix: Matrix, completed: Num[np.ndarray, "rows columns"]) -> None:
    """Write a matrix with its holes filled; observed entries keep their values, labels their places.

    Parameters
    ----------
    path : path
        Ends in ``.csv``, ``.tsv`` (both also ``.gz``), ``.npy`` or ``.parquet``. A ``.npy`` file has no
        room for labels; it has the number type of the one that was read, float64 otherwise.
    matrix : Matrix
        What was observed, and the labels.
    completed : array, shape (rows, columns)
        A finite value for every hole.

    Raises
    ------
    ValueError, FileNotFoundError, IsADirectoryError
        As `write_completed_ratings`; also for Parquet where column labels are not distinct.
    """
    path = Path(path)
    suffix = _format(path, (".npy", ".parquet"))
    values = as_numpy("completed", completed).astype(np.float64)
    if values.shape != matrix.shape:
        raise ValueError(f"completed: expected shape {matrix.shape}, found {values.shape}")
    values = _predictions("completed", np.where(np.isnan(matrix.values), values, matrix.values), matrix.shape)
    if suffix == ".npy":
        dtype = matrix.source.dtype if matrix.source else "float64"
        with _replacing(path) as stream:
            np.lib.format.write_array(stream, values.astype(dtype), allow_pickle=False)
        return
    columns: list[pa.Array] = [pa.array(column) for column in np.asfortranarray(values).T]
    labels = [] if matrix.column_labels is None else [str(label) for label in matrix.column_labels]
    if matrix.row_labels is not None:
        columns.insert(0, pa.array(matrix.row_labels, pa.string()))
    if suffix == ".parquet":
        names = labels or [str(k + 1) for k in range(matrix.shape[1])]
        if matrix.row_labels is not None:
            names.insert(0, matrix.corner or "row")
        if len(set(names)) < len(names):
            raise ValueError(f"{path}: expected distinct column labels for Parquet, found some twice")
        with _replacing(path) as stream:
            pq.write_table(pa.table(columns, names=names), stream)
        return
    body = pa.table(columns, names=[str(k) for k in range(len(columns))])
    texts = () if matrix.row_labels is None else (matrix.row_labels,)
    with _replacing(path) as stream, _text_sink(path, stream) as sink:
        if labels:
            _write_line(sink, [matrix.corner, *labels] if texts else labels, suffix)
        arrow_csv.write_csv(body, sink, _options(suffix, texts))
