"""Properties of reading and writing tables: ids survive, and broken files are refused by name."""

import gzip
import io
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from undertow.datasets import Matrix, Ratings, read_table, write_completed_ratings, write_matrix

# Everything that has been mistaken for something else: missing values, numbers, names of columns,
# delimiters, quotes, ends of lines, and characters that str.splitlines takes for such.
AWKWARD = st.sampled_from(
    [
        *(
            "NA",
            "null",
            "NaN",
            "None",
            "007",
            "7",
            "7.0",
            "1e5",
            "true",
            "-",
            " ",
            " a",
            "a ",
            "\t",
            "user",
            "u",
            "i",
        ),
        *(
            "rating",
            '"',
            '""',
            '"a',
            "'",
            ",",
            ";",
            "|",
            "::",
            "a,b",
            "a;b;c",
            "x\ny",
            "\r\n",
            "\r",
            "#",
            "\\",
            "=1",
        ),
        *(
            "\ufeff",
            "\x1f",
            "\x85",
            "\u2028",
            "é",
            "e\u0301",
            "日本",
            "🙂",
            "9" * 40,
            "-0",
            "18446744073709551616",
        ),
    ]
)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8)
IDS = st.lists(AWKWARD | TEXT | st.integers().map(str), min_size=2, max_size=6, unique=True)


def table_of(user_ids: list[str], item_ids: list[str], values: np.ndarray) -> Ratings:
    """The observed entries of ``values``, users in order."""
    users, items = np.nonzero(np.isfinite(values))
    return Ratings(
        users, items, values[users, items], np.array(user_ids, dtype=object), np.array(item_ids, dtype=object)
    )


@given(
    user_ids=IDS,
    item_ids=IDS,
    name=st.sampled_from(["o.csv", "o.tsv", "o.parquet", "o.csv.gz"]),
    data=st.data(),
)
def test_ids_and_ratings_survive(user_ids: list[str], item_ids: list[str], name: str, data: st.DataObject) -> None:
    shape = len(user_ids), len(item_ids)
    numbers = st.floats(allow_nan=False, allow_infinity=False)
    flat = data.draw(st.lists(numbers, min_size=shape[0] * shape[1], max_size=shape[0] * shape[1]))
    values = np.array(flat).reshape(shape)
    seen = values.copy()
    seen[data.draw(st.integers(0, shape[0] - 1))] = np.nan
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        write_completed_ratings(path, table_of(user_ids, item_ids, seen), lambda users: values[users])
        back = read_table(path)
        assert list(Path(folder).iterdir()) == [path]
    assert isinstance(back, Ratings)
    assert (back.user_ids.tolist(), back.item_ids.tolist()) == (user_ids, item_ids)
    np.testing.assert_array_equal(back.users, np.repeat(np.arange(shape[0]), shape[1]))
    np.testing.assert_array_equal(back.items, np.tile(np.arange(shape[1]), shape[0]))
    np.testing.assert_array_equal(back.ratings, values.ravel())


@given(ids=st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), min_size=2, max_size=6, unique=True))
def test_nullable_integers_of_parquet_are_exact(ids: list[int | None]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "t.parquet")
        columns = {
            "user": pa.array(ids, pa.int64()),
            "item": pa.array(ids, pa.int64()),
            "rating": [1.0] * len(ids),
        }
        pq.write_table(pa.table(columns), path)
        if None in ids:
            with pytest.raises(ValueError, match=rf"t\.parquet, row {ids.index(None) + 1}: .*user id"):
                read_table(path)
            return
        back = read_table(path)
    assert isinstance(back, Ratings)
    assert back.user_ids.tolist() == back.item_ids.tolist() == [str(k) for k in ids]


@given(row_ids=IDS, column_ids=IDS, name=st.sampled_from(["o.csv", "o.tsv", "o.csv.gz"]), data=st.data())
def test_matrices_survive(row_ids: list[str], column_ids: list[str], name: str, data: st.DataObject) -> None:
    shape = len(row_ids), len(column_ids)
    numbers = st.floats(allow_nan=False, allow_infinity=False)
    flat = data.draw(st.lists(numbers, min_size=shape[0] * shape[1], max_size=shape[0] * shape[1]))
    values = np.array(flat).reshape(shape)
    labels = np.array(row_ids, dtype=object), np.array(column_ids, dtype=object)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        write_matrix(path, Matrix(np.full(shape, np.nan), *labels), values)
        # A completed matrix has nothing to complete: break one entry to have it read.
        opened = (gzip.open if name.endswith("gz") else open)(path, "rt", newline="", encoding="utf-8")
        with opened as stream:
            text = stream.read()
        path.unlink()
        cut = max(text.rfind(","), text.rfind("\t"))
        path = Path(folder, "again.csv")
        path.write_text(text[: cut + 1] + "\n", encoding="utf-8", newline="")
        back = read_table(path, kind="matrix", header=True, labels=True, delimiter="\t" if "tsv" in name else ",")
    assert isinstance(back, Matrix)
    assert back.row_labels is not None
    assert back.column_labels is not None
    assert (back.row_labels.tolist(), back.column_labels.tolist()) == (row_ids, column_ids)
    expected = values.copy()
    expected[-1, -1] = np.nan
    np.testing.assert_array_equal(back.values, expected)


def good_files() -> dict[str, bytes]:
    """A good file of every format."""
    ids = [f"id-{k}" for k in range(9)]
    text = "user,item,rating\n" + "".join(f'"{k}",{k[::-1]},{n}.5\n' for n, k in enumerate(ids))
    stream, array = io.BytesIO(), io.BytesIO()
    pq.write_table(pa.table({"user": ids, "item": ids, "rating": [float(n) for n in range(9)]}), stream)
    np.save(array, np.where(np.eye(5) > 0, np.nan, 1.0))
    return {
        "t.csv": text.encode(),
        "t.tsv": text.replace(",", "\t").encode(),
        "t.csv.gz": gzip.compress(text.encode()),
        "t.parquet": stream.getvalue(),
        "t.npy": array.getvalue(),
    }


GOOD = good_files()


def read_or_refuse(name: str, content: bytes, **options: str) -> None:
    """Whatever is in it: a whole table, or a ValueError that names the file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(content)
        table, refusal = None, ""
        try:
            table = read_table(path, **options)  # pyright: ignore[reportArgumentType]
        except ValueError as error:
            refusal = str(error)
        if table is None:
            assert name in refusal
        elif isinstance(table, Ratings):
            assert np.isfinite(table.ratings).all()
            assert "" not in table.user_ids
            assert min(table.shape) >= 2
        else:
            assert 0 < np.isnan(table.values).sum() < table.values.size
        assert list(Path(folder).iterdir()) == [path]


@given(
    name=st.sampled_from(sorted(GOOD)),
    start=st.integers(0, 2000),
    length=st.integers(0, 40),
    put=st.binary(max_size=8) | st.sampled_from([b",", b"\n", b'"', b"\n\n", b",,", b"\xff", b"nan", b"\r"]),
    cut=st.booleans(),
)
@example(name="t.csv", start=0, length=2000, put=b"", cut=False)
def test_broken_files_are_refused_by_name(name: str, start: int, length: int, put: bytes, cut: bool) -> None:
    content = GOOD[name]
    start %= len(content)
    read_or_refuse(name, content[:start] + put + (b"" if cut else content[start + length :]))


@given(
    name=st.sampled_from(sorted(GOOD)),
    content=st.binary(max_size=60) | st.text(st.sampled_from('a17.,;\t| :\n\r"-eN'), max_size=60).map(str.encode),
    kind=st.sampled_from(["auto", "ratings", "matrix"]),
)
def test_garbage_is_refused_by_name(name: str, content: bytes, kind: str) -> None:
    read_or_refuse(name, content, kind=kind)


# Ids that need no quotes: what would end a cell or a line is taken out.
UNQUOTED = (AWKWARD | TEXT).map(lambda text: "".join(c for c in text if c not in "\r\n :\t\ufeff") or "id")


@given(
    rows=st.lists(
        st.tuples(UNQUOTED, UNQUOTED, st.integers(-9, 9)), min_size=2, max_size=6, unique_by=lambda row: row[:2]
    ),
    delimiter=st.sampled_from(["::", " "]),
)
def test_delimiters_without_quotes(rows: list[tuple[str, str, int]], delimiter: str) -> None:
    assume(all(len({row[column] for row in rows}) > 1 for column in (0, 1)))
    content = "\n".join(delimiter.join(map(str, row)) for row in rows)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "t.dat")
        path.write_text(content, encoding="utf-8", newline="")
        table = read_table(path, delimiter=delimiter, header=False, kind="ratings")
    assert isinstance(table, Ratings)
    users, items = table.user_ids[table.users].tolist(), table.item_ids[table.items].tolist()
    assert list(zip(users, items, table.ratings.tolist(), strict=True)) == rows
