"""Reading matrices with holes: text, Parquet and NumPy's own format."""

import tokenize
import warnings
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from undertow.datasets._columns import DECIMAL_COMMA, NULLS, are_names, is_mark, matrix_layout
from undertow.datasets._dialect import USUAL, Dialect
from undertow.datasets._table_types import Matrix, Source
from undertow.datasets._text import Text


def text_matrix(text: Text, header: bool | None, labels: bool | None) -> Matrix:
    """The matrix in a text file that has been split; see `read_table`."""
    if len(text.head[0]) != text.width:
        text.check_widths()
    layout = matrix_layout(text.meant, header, labels)
    if text.complete and len(text.head) <= layout.header:
        raise ValueError(f"{text.path}: expected a matrix, found only a header (0 rows)")
    positions = list(range(text.width))
    types = [pa.string() if layout.labels and k == 0 else pa.float64() for k in positions]
    row_labels = None
    try:
        read = text.read(positions, types, header=layout.header, nulls=[*NULLS, *text.dialect.missing])
    except pa.ArrowInvalid:
        # Arrow does not say where; and it knows fewer ways to write a number.
        rows = _parse_slowly(text, layout.header, layout.labels)
        values = np.array([row for _, row in rows])
        if layout.labels:
            row_labels = np.array([label for label, _ in rows], dtype=object)
    else:
        columns = read.columns
        if layout.labels:
            row_labels = columns[0].to_numpy()
            columns = columns[1:]
        values = np.empty((read.num_rows, len(columns)))
        for k, column in enumerate(columns):
            values[:, k] = column.to_numpy()
        values = text.dialect.holes_in(values)
    column_labels = np.array(text.head[0][layout.labels :], dtype=object) if layout.header else None
    corner = text.head[0][0] if layout.header and layout.labels else ""
    source = Source(text.path, "matrix", "text", (), text.delimiter, layout.header)
    return _checked(Matrix(values, row_labels, column_labels, corner, source))


def _parse_slowly(text: Text, header: bool, labels: bool) -> list[tuple[str, list[float]]]:
    rows = []
    for number, (line, record) in enumerate(text.records()):
        if number < header:
            continue
        numbers = []
        for column, cell in enumerate(record[labels:], labels + 1):
            value = text.dialect.number(cell)
            if value is None:
                raise ValueError(
                    f"{text.path}, line {line}, column {column}: expected a finite number or a hole "
                    f"(an empty cell, NA or NaN), found {cell!r}"
                    + ('; decimals are written with a point, or say decimal=","' if _has_comma(cell) else "")
                    + (f"; if that is a hole, say missing={cell.strip()!r}" if is_mark(cell) else "")
                )
            numbers.append(value)
        rows.append((record[0], numbers))
    return rows


def _has_comma(cell: str) -> bool:
    return DECIMAL_COMMA.fullmatch(cell.strip()) is not None


def parquet_matrix(path: Path, labels: bool | None, dialect: Dialect = USUAL) -> Matrix:
    """The matrix in a Parquet file; a first column of text labels the rows."""
    with path.open("rb") as stream:
        try:
            table = pq.ParquetFile(stream).read()
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{path}: expected a Parquet file, found a broken one ({error})") from error
    columns, names = table.columns, table.column_names
    if not columns:
        raise ValueError(f"{path}: expected a matrix, found no column")
    if labels is None:
        labels = not _is_numeric(columns[0].type) and are_names([str(cell) for cell in columns[0].to_pylist()])
    for column, name in list(zip(columns, names, strict=True))[labels:]:
        if not _is_numeric(column.type):
            raise ValueError(f"{path}, column {name!r}: expected numbers, found {column.type}")
    values = np.empty((table.num_rows, len(columns) - labels))
    for k, column in enumerate(columns[labels:]):
        values[:, k] = column.cast(pa.float64(), safe=False).to_numpy()
    values = dialect.holes_in(values)
    row_labels = np.array([str(label) for label in columns[0].to_pylist()], dtype=object) if labels else None
    column_labels = np.array(names[labels:], dtype=object)
    source = Source(str(path), "matrix", "parquet")
    return _checked(Matrix(values, row_labels, column_labels, names[0] if labels else "", source))


def _is_numeric(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def npy_matrix(path: Path, dialect: Dialect = USUAL) -> Matrix:
    """The matrix in a ``.npy`` file."""
    array = npy_array(path)
    if array.ndim != 2:
        raise ValueError(f"{path}: expected an array of two dimensions, found shape {array.shape}")
    source = Source(str(path), "matrix", "npy", dtype=str(array.dtype))
    return _checked(Matrix(dialect.holes_in(array.astype(np.float64)), source=source))


def npy_array(path: Path) -> np.ndarray:
    """The array of real numbers in a ``.npy`` file; nothing is unpickled."""
    with path.open("rb") as stream, warnings.catch_warnings():
        # Headers that Python 2 wrote, or that are broken, draw advice to save the file again.
        warnings.simplefilter("ignore")
        try:
            array = np.lib.format.read_array(stream, allow_pickle=False)
        # What NumPy lets through of a broken header and a cut-off body.
        except (ValueError, TypeError, SyntaxError, EOFError, OverflowError, MemoryError, OSError) as error:
            raise ValueError(f"{path}: expected a NumPy array of numbers, found: {error}") from error
        except tokenize.TokenError as error:
            raise ValueError(f"{path}: expected a NumPy array, found a broken header ({error})") from error
    if not (np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)):
        raise ValueError(f"{path}: expected an array of real numbers, found dtype {array.dtype}")
    return array


def _checked(matrix: Matrix) -> Matrix:
    """Raise if there is an infinity, nothing to learn from, or nothing to complete."""
    path = matrix.source.path if matrix.source else "matrix"
    values = matrix.values
    if not values.size:
        raise ValueError(f"{path}: expected a matrix, found shape {values.shape}")
    infinite = np.isinf(values)
    if infinite.any():
        row, column = np.argwhere(infinite)[0]
        raise ValueError(
            f"{path}, row {row + 1}, column {column + 1}: expected a finite number or a hole, "
            f"found {values[row, column]}"
        )
    holes = int(np.isnan(values).sum())
    if holes == values.size:
        raise ValueError(f"{path}: expected observed entries, found a matrix of {values.shape} without any")
    if holes == 0:
        raise ValueError(
            f"{path}: expected holes (empty cells, NA or NaN), found none: nothing to complete in this "
            f'matrix of {values.shape}; if it holds ratings in long form, say kind="ratings"'
        )
    return matrix
