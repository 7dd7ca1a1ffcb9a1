"""Reading ratings and matrices from files of every usual make.

A file is turned into Arrow columns by its format (text, Parquet, NumPy); from there on there is one
way for all: ids become positions in the order of first appearance, ratings become finite numbers, and
whatever is wrong is said with its line or row.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from undertow._validation import check_choice
from undertow.datasets._columns import (
    KNOWN_NAMES,
    NUMBER,
    choose_columns,
    decide_kind,
    has_ratings_header,
    is_hole,
    is_mark,
    is_number,
    recognize,
)
from undertow.datasets._dialect import USUAL, Dialect
from undertow.datasets._matrices import npy_matrix, parquet_matrix, text_matrix
from undertow.datasets._table_types import NAMES, Matrix, Ratings, Source
from undertow.datasets._text import Text, check_file, read_bytes, sniff

KINDS = ("auto", "ratings", "matrix")
DUPLICATES = ("error", "mean", "last")
PARQUET = (".parquet", ".pq")


@dataclass(frozen=True)
class TableColumns:
    """The columns that were asked for, as Arrow arrays, and how to name one of their rows."""

    columns: list[pa.ChunkedArray]
    names: list[str]
    header: bool
    where: Callable[[int], str]
    source: Source


def read_table(
    path: str | os.PathLike[str],
    *,
    kind: str = "auto",
    user: str | int | None = None,
    item: str | int | None = None,
    rating: str | int | None = None,
    delimiter: str | None = None,
    header: bool | None = None,
    labels: bool | None = None,
    duplicates: str = "error",
    dialect: Dialect = USUAL,
) -> Ratings | Matrix:
    r"""Read a table of ratings, or a matrix with holes.

    Text (CSV, TSV and their kin, also ``.gz``), Parquet and ``.npy`` are told apart by the file's
    ending. Ids are always read as text: ``007`` and ``7`` are two ids, ``NA`` and ``null`` are ids
    like any other, and long integers are never rounded.

    Parameters
    ----------
    path : path
        The file.
    kind : {"auto", "ratings", "matrix"}
        What it holds. With ``"auto"``, ``.npy`` is a matrix and Parquet is ratings. Text is ratings if
        it is called so by its header, if one of `user`, `item`, `rating` is given, or if it has three
        or four columns and no empty cell; it is a matrix if all is numeric (besides labels) and there
        are holes or more than four columns.
    user, item, rating : str or int or None
        The column of each, by name, or by position counted from 1. By default the usual names are
        looked for (user, userId, uid, ...; item, movieId, isbn, ...; rating, score, stars, ...), and
        what is not found is taken from the remaining columns in order.
    delimiter : str or None
        What separates columns, where it is not to be detected among comma, tab, semicolon, bar, ``::``
        and runs of spaces; ``"tab"`` and ``"space"`` can be written so. Double quotes enclose cells,
        except with the last two, and in tab-separated text only where all that are opened are closed.
    header : bool or None
        Whether the first line names the columns; None finds out.
    labels : bool or None
        Whether the first column of a matrix labels its rows; None finds out.
    duplicates : {"error", "mean", "last"}
        What a second rating of one item by one user is: an error, one to average, or a correction.
    dialect : Dialect
        The encoding, comments, decimals and what stands for nothing, where these are not the usual ones.

    Returns
    -------
    Ratings or Matrix
        The table; its ``source`` says what was detected.

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If there is no such file.
    ValueError
        If the file cannot be understood, with its name, the line or row, what was found and what was
        expected: not UTF-8, broken or cut off, empty, text of more than 2 GiB, unequal numbers of columns, a
        quote that is not closed on its line and swallows the next, decimals with a comma, an unknown column,
        an empty id, a rating that is not a finite number, a duplicate pair, fewer than two users or items;
        for a matrix: text or infinity among the numbers, no entry, or no hole.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "ratings.csv")
    ...     _ = path.write_text("userId,movieId,rating\n007,NA,4\n7,NA,3.5\n7,12,1\n")
    ...     table = read_table(path)
    >>> table.user_ids.tolist(), table.item_ids.tolist(), table.ratings.tolist()
    (['007', '7'], ['NA', '12'], [4.0, 3.5, 1.0])
    """
    check_choice("kind", kind, KINDS)
    check_choice("duplicates", duplicates, DUPLICATES)
    path = Path(path)
    check_file(path)
    options: dict[str, str | int | None] = {"user": user, "item": item, "rating": rating}
    named = any(option is not None for option in options.values())
    if kind == "auto" and (named or dialect.skip_missing):
        kind = "ratings"
    elif kind == "matrix" and named:
        raise ValueError("user, item, rating: a matrix has no such columns; expected none with kind='matrix'")
    if kind == "matrix" and dialect.skip_missing:
        raise ValueError("skip_missing: a matrix has holes and no rows to skip; expected False with kind='matrix'")
    if path.suffix.lower() in (".npy", *PARQUET):
        dialect.check_binary(path)
    if path.suffix.lower() == ".npy":
        if kind == "ratings":
            raise ValueError(f"{path}: a .npy file is read as a matrix; expected kind='auto' or 'matrix'")
        return npy_matrix(path, dialect)
    if path.suffix.lower() in PARQUET:
        if kind == "matrix":
            return parquet_matrix(path, labels, dialect)
        return _ratings(dialect.kept(_parquet_columns(path, options, "ratings")), duplicates)
    text = sniff(str(path), read_bytes(path, dialect), delimiter, least=3, dialect=dialect)
    if kind == "auto":
        kind = decide_kind(str(path), text.meant, text.width, header, labels)
    if kind == "matrix":
        return text_matrix(text, header, labels)
    return text_ratings(text, options, header, duplicates)


def text_ratings(
    text: Text, options: dict[str, str | int | None], header: bool | None = None, duplicates: str = "error"
) -> Ratings:
    """Ratings out of a text file that has been split; see `read_table`."""
    header = has_ratings_header(text.meant, options) if header is None else header
    return _ratings(text.dialect.kept(_text_columns(text, options, header, "ratings")), duplicates)


def read_pairs(
    path: str | os.PathLike[str],
    table: Ratings,
    *,
    user: str | int | None = None,
    item: str | int | None = None,
    delimiter: str | None = None,
    header: bool | None = None,
    dialect: Dialect = USUAL,
) -> tuple[np.ndarray, np.ndarray]:
    """Read the pairs of user and item to be answered, by the rules of `read_table`.

    Parameters
    ----------
    path : path
        Text or Parquet with a column of users and one of items, called as in `table` or as usual, or
        else the first two. A pair may be asked for twice.
    table : Ratings
        The table that the ids belong to. Ids that it does not know are kept: it is for the predictor
        to fall back on what it knows.
    user, item, delimiter, header, dialect
        As for `read_table`. By default the first line is a header if it holds a usual name, or the
        name that the column has in `table`, which is not an id of `table`.

    Returns
    -------
    user_ids, item_ids : object arrays of str, shape (pairs,)
        The pairs in the order of the file.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, ValueError
        As `read_table`.
    """
    path = Path(path)
    check_file(path)
    options: dict[str, str | int | None] = {"user": user, "item": item}
    if path.suffix.lower() in PARQUET:
        found = _parquet_columns(path, options, "pairs", table.names)
    else:
        text = sniff(str(path), read_bytes(path, dialect), delimiter, least=2, dialect=dialect)
        if header is None:
            header = _has_pairs_header(text.head, options, table)
        found = _text_columns(text, options, header, "pairs", table.names)
    users, items = (
        encoded(column, role, name, found)
        for column, role, name in zip(found.columns, options, found.names, strict=True)
    )
    return users[1][users[0]], items[1][items[0]]


def _has_pairs_header(head: list[list[str]], options: dict[str, str | int | None], table: Ratings) -> bool:
    first = head[0]
    if any(option in first for option in options.values() if isinstance(option, str) and not is_number(option)):
        return True
    found = recognize(first, _with_names(table.names))
    ids = {"user": table.user_ids, "item": table.item_ids}
    known = [role for role in found if role in ids and first[found[role]] in ids[role]]
    return bool(found.keys() & ids.keys()) and not known


def _with_names(names: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """The usual names of each role, behind those that a table has for them."""
    return {role: (name.strip().lower(), *KNOWN_NAMES[role]) for role, name in zip(NAMES, names, strict=True)}


def _text_columns(
    text: Text,
    options: dict[str, str | int | None],
    header: bool,
    kind: str,
    table_names: tuple[str, ...] = NAMES,
) -> TableColumns:
    if text.complete and len(text.head) <= header:
        raise ValueError(f"{text.path}: expected {kind}, found only a header (0 rows)")
    names = text.head[0] if header else None
    if header and len(text.head[0]) != text.width:
        text.check_widths()
    chosen = choose_columns(text.path, names, text.width, options, _with_names(table_names))
    positions = list(chosen.values())
    try:
        # Ratings too: a number that does not parse can be named only as long as it is text.
        read = text.read(positions, [pa.string()] * len(positions), header=header, nulls=[])
    except pa.ArrowInvalid as error:
        raise ValueError(f"{text.path}: {error}") from error
    called = [names[k].strip() if names else f"column {k + 1}" for k in positions]
    source = Source(text.path, kind, "text", tuple(called), text.delimiter, header)
    return TableColumns(
        [read.column(str(k)) for k in positions],
        called,
        header,
        lambda row: f"line {text.line(row, header)}",
        source,
    )


def _parquet_columns(
    path: Path, options: dict[str, str | int | None], kind: str, table_names: tuple[str, ...] = NAMES
) -> TableColumns:
    with path.open("rb") as stream:
        try:
            file = pq.ParquetFile(stream)
            names = file.schema_arrow.names
            chosen = choose_columns(str(path), names, len(names), options, _with_names(table_names))
            called = [names[k] for k in chosen.values()]
            repeated = [name for name in called if names.count(name) > 1]
            if repeated:
                raise ValueError(f"two columns are called {repeated[0]!r}; expected different names")
            if file.metadata.num_rows == 0:
                raise ValueError(f"expected {kind}, found 0 rows")
            read = file.read(columns=called)
        except (pa.ArrowException, OSError, ValueError) as error:
            prefix = "" if str(path) in str(error) else f"{path}: "
            raise ValueError(f"{prefix}{error}") from error
    source = Source(str(path), kind, "parquet", tuple(called))
    return TableColumns([read.column(name) for name in called], called, True, lambda row: f"row {row + 1}", source)


def _ratings(found: TableColumns, duplicates: str) -> Ratings:
    """From three columns to ratings."""
    path = found.source.path
    (users, user_ids), (items, item_ids) = (
        encoded(column, role, name, found)
        for column, role, name in zip(found.columns, ("user", "item"), found.names, strict=False)
    )
    ratings = numbers(found.columns[2], found)
    pairs = users.astype(np.int64) * len(item_ids) + items
    order = np.sort(pairs)
    if np.any(order[1:] == order[:-1]):
        kept, ratings = _resolve(pairs, ratings, duplicates, user_ids, item_ids, found)
        users, items = users[kept], items[kept]
    for role, ids in (("user", user_ids), ("item", item_ids)):
        if len(ids) < 2:
            raise ValueError(
                f"{path}: expected at least two users and two items, found one {role} ({ids[0]!r}): "
                "there is nothing to learn across them"
            )
    first, second, third = found.names
    distinct = found.header and "" not in found.names and len(set(found.names)) == 3
    return Ratings(
        users,
        items,
        ratings,
        user_ids,
        item_ids,
        (first, second, third) if distinct else NAMES,
        found.source,
    )


def encoded(column: pa.ChunkedArray, role: str, name: str, found: TableColumns) -> tuple[np.ndarray, np.ndarray]:
    """The position of each cell among the distinct ids, and these ids, in order of first appearance."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_integer(kind) or pa.types.is_string_view(kind):
        column = column.cast(pa.string())
    elif not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise ValueError(f"{found.source.path}, column {name!r}: expected {role} ids as text or integers, found {kind}")
    if column.null_count:
        row = int(np.flatnonzero(column.is_null().to_numpy())[0])
        raise ValueError(f"{found.source.path}, {found.where(row)}: expected a {role} id in {name!r}, found none")
    encoded = column.dictionary_encode().combine_chunks()
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    ids = encoded.dictionary.to_numpy(zero_copy_only=False)
    empty = np.flatnonzero(ids == "")
    if empty.size:
        row = int(np.flatnonzero(codes == empty[0])[0])
        raise ValueError(
            f"{found.source.path}, {found.where(row)}: expected a {role} id in {name!r}, found an empty cell"
            + _matrix_hint(found)
        )
    return codes, ids


def numbers(column: pa.ChunkedArray, found: TableColumns) -> np.ndarray:
    """The ratings, or values, as finite float64; the first three that are not are named."""
    what = "values" if found.source.kind == "tensor" else "ratings"
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        values = column.cast(pa.float64(), safe=False).to_numpy()
        bad, cell = np.flatnonzero(~np.isfinite(values)), lambda row: column[row].as_py()
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        # Ratings repeat: only the distinct ones have to be parsed.
        encoded = column.cast(pa.string()).dictionary_encode().combine_chunks()
        texts = encoded.dictionary
        try:
            distinct = texts.cast(pa.float64()).to_numpy(zero_copy_only=False)
        except pa.ArrowInvalid:
            distinct = np.array([float(t) if NUMBER.fullmatch(t) else np.nan for t in texts.to_pylist()])
        codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        values = np.append(distinct, np.nan)[codes]
        bad, cell = np.flatnonzero(~np.isfinite(values)), lambda row: column[row].as_py()
    else:
        raise ValueError(f"{found.source.path}, column {found.names[-1]!r}: expected {what} as numbers, found {kind}")
    if bad.size:
        examples = ", ".join(f"{cell(int(row))!r} on {found.where(int(row))}" for row in bad[:3])
        more = f" and {bad.size - 3} more" if bad.size > 3 else ""
        comma = any(isinstance(cell(int(row)), str) and "," in cell(int(row)) for row in bad[:3])
        hint = '; decimals are written with a point, or say decimal=","' if comma else _matrix_hint(found)
        hint += _missing_hint([cell(int(row)) for row in bad[:3]])
        raise ValueError(
            f"{found.source.path}: expected a finite number in every cell of the {what} column "
            f"{found.names[-1]!r}, found {examples}{more}{hint}"
        )
    return values


def _missing_hint(cells: list[object]) -> str:
    if all(cell is None or (isinstance(cell, str) and is_hole(cell)) for cell in cells):
        return "; rows without a rating are left out with skip_missing=True"
    marks = [cell for cell in cells if isinstance(cell, str) and is_mark(cell)]
    return f"; rows where that stands for none are left out with missing={marks[0]!r}" if marks else ""


def _matrix_hint(found: TableColumns) -> str:
    matrix = found.source.format == "text" and found.source.kind == "ratings" and not found.header
    return '; if this is a matrix with holes, say kind="matrix"' if matrix else ""


def _resolve(
    pairs: np.ndarray,
    ratings: np.ndarray,
    duplicates: str,
    user_ids: np.ndarray,
    item_ids: np.ndarray,
    found: TableColumns,
) -> tuple[np.ndarray, np.ndarray]:
    """The rows that stay where a pair comes more than once (its first), and their ratings."""
    order = np.argsort(pairs, kind="stable")
    new = np.append(True, pairs[order][1:] != pairs[order][:-1])
    if duplicates == "error":
        repeats = np.flatnonzero(~new)
        second = repeats[np.argmin(order[repeats])]
        user, item = divmod(int(pairs[order[second]]), len(item_ids))
        raise ValueError(
            f"{found.source.path}: expected each pair of user and item once, found user {user_ids[user]!r} "
            f"and item {item_ids[item]!r} on {found.where(int(order[second - 1]))} and "
            f"{found.where(int(order[second]))} ({repeats.size} such rows in all); "
            'duplicates="mean" averages them, "last" keeps the last'
        )
    starts = np.flatnonzero(new)
    ends = np.append(starts[1:], len(order))
    if duplicates == "mean":
        resolved = np.add.reduceat(ratings[order], starts) / (ends - starts)
    else:
        resolved = ratings[order[ends - 1]]
    kept = order[starts]
    by_row = np.argsort(kept)
    return kept[by_row], resolved[by_row]
