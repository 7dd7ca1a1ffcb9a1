"""Whatever the file: ``undertow complete`` ends with a whole, consistent table, or with one line and none."""

import contextlib
import csv
import io
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from undertow import cli, datasets

IDS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
    st.integers().map(str),
    st.sampled_from(["NA", "null", "nan", "007", "7", "", " ", "a,b", 'a"b', "a\nb", "a\tb", "user", "-0", "1e3"]),
)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
RATINGS = st.one_of(st.integers(1, 5).map(float), st.sampled_from([0.0, 1e-300, -1e99, 1e308, 3.0, 3.0000001]), NUMBERS)
ROWS = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), RATINGS), max_size=9, unique_by=lambda r: r[:2]
)
NAMED_ROWS = st.tuples(st.lists(IDS, min_size=3, max_size=3), st.lists(IDS, min_size=3, max_size=3), ROWS).map(
    lambda t: [(t[0]["abc".index(u)], t[1]["xyz".index(i)], r) for u, i, r in t[2]]
)


def run(folder: Path, name: str, content: bytes, *options: str) -> tuple[int, str]:
    """Exit status and standard error; checks what holds whatever the file is."""
    (folder / name).write_bytes(content)
    before = {path.name for path in folder.iterdir()}
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as left:
        cli.main(["complete", str(folder / name), "-o", str(folder / "o.csv"), *options])
    after = {path.name for path in folder.iterdir()}
    assert left.value.code in (0, 2)
    if left.value.code == 0:
        assert after == before | {"o.csv"}
        assert err.getvalue() == ""
        assert "wrote" in out.getvalue()
    else:
        assert after == before
        assert err.getvalue().startswith("undertow: ")
        assert err.getvalue().count("\n") == 1
        assert out.getvalue() == ""
    return int(left.value.code), err.getvalue()


def delimited(rows: list[tuple[str, str, float]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([("user", "item", "rating"), *rows])
    return text.getvalue().encode()


def check_output(path: Path, rows: list[tuple[str, str, float]]) -> None:
    given = {(u, i): r for u, i, r in rows}
    with path.open(newline="", encoding="utf-8") as stream:
        found = list(csv.DictReader(stream))
    pairs = [(row["user"], row["item"]) for row in found]
    assert len(pairs) == len(set(pairs))
    assert set(pairs) == {(u, i) for u, _, _ in rows for _, i, _ in rows}
    low, high = min(given.values()), max(given.values())
    margin = 1e-3 * (high - low)  # of rounding
    for pair, row in zip(pairs, found, strict=True):
        assert row["observed"] == ("true" if pair in given else "false")
        if pair in given:
            assert float(row["rating"]) == given[pair]
        assert low - margin <= float(row["rating"]) <= high + margin


def is_clean(rows: list[tuple[str, str, float]]) -> bool:
    """Whether there is nothing to object to."""
    pairs = [(u, i) for u, i, _ in rows]
    users, items = {u for u, _ in pairs}, {i for _, i in pairs}
    wild = any(character in "\0\r\n" for u, i in pairs for character in u + i)
    return (
        *(len(rows) >= 3, len(users) >= 2, len(items) >= 2, len(set(pairs)) == len(pairs)),
        *("" not in users | items, not wild, all(abs(r) <= 1e100 for _, _, r in rows)),
    ) == (True,) * 7


@pytest.mark.long
@given(NAMED_ROWS)
@example([("a", "x", 3.0), ("b", "x", 3.0), ("b", "y", 3.0)])
@example([("a", "x", 1e-300), ("b", "x", 2e-300), ("b", "y", 0.0)])
@example([("a", "x", 5e-324), ("b", "x", 0.0), ("b", "y", 0.0), ("a", "y", 0.0)])
@example([("a", "x", 1e99), ("b", "x", -1e99), ("b", "y", 0.0), ("a", "z", 1.0)])
def test_ratings_as_text(rows: list[tuple[str, str, float]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        status, _ = run(Path(folder), "t.csv", delimited(rows), "--kind", "ratings", "--delimiter", ",", "--header")
        assert status == 0 or not is_clean(rows)
        if status == 0:
            check_output(Path(folder) / "o.csv", rows)


@given(NAMED_ROWS, st.booleans())
def test_ratings_as_parquet(rows: list[tuple[str, str, float]], integers: bool) -> None:
    users, items, ratings = ([row[k] for row in rows] for k in range(3))
    names = dict.fromkeys(users)
    codes = [list(names).index(user) for user in users]
    columns = {"user": codes if integers else users, "item": items, "rating": ratings}
    types = [pa.int64() if integers else pa.string(), pa.string(), pa.float64()]
    sink = io.BytesIO()
    pq.write_table(pa.table(columns, schema=pa.schema(list(zip(columns, types, strict=True)))), sink)
    with tempfile.TemporaryDirectory() as folder:
        status, _ = run(Path(folder), "t.parquet", sink.getvalue())
        assert status == 0 or not is_clean(rows)
        if status == 0:
            expected = [(str(code), i, r) for code, (_, i, r) in zip(codes, rows, strict=True)] if integers else rows
            check_output(Path(folder) / "o.csv", expected)


@given(NAMED_ROWS, st.lists(st.tuples(IDS, IDS), max_size=4))
def test_pairs_of_every_kind(rows: list[tuple[str, str, float]], asked: list[tuple[str, str]]) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([("user", "item"), *asked])
    with tempfile.TemporaryDirectory() as folder:
        pairs = Path(folder, "pairs.csv")
        pairs.write_bytes(text.getvalue().encode())
        status, _ = run(Path(folder), "t.csv", delimited(rows), "--kind", "ratings", "--header", "--pairs", str(pairs))
        if status == 0:
            with Path(folder, "o.csv").open(newline="", encoding="utf-8") as stream:
                found = list(csv.DictReader(stream))
            assert [(row["user"], row["item"]) for row in found] == asked
            assert all(np.isfinite(float(row["rating"])) for row in found)


CELLS = st.one_of(NUMBERS, st.just(float("nan")), st.integers(-9, 9).map(float))


@given(st.lists(st.lists(CELLS, min_size=4, max_size=4), min_size=1, max_size=4), st.booleans())
def test_matrices(cells: list[list[float]], as_text: bool) -> None:
    matrix = np.array(cells)
    if as_text:
        content = "".join(",".join("" if np.isnan(x) else repr(x) for x in row) + "\n" for row in cells).encode()
    else:
        stream = io.BytesIO()
        np.save(stream, matrix)
        content = stream.getvalue()
    with tempfile.TemporaryDirectory() as folder:
        kind = ("--kind", "matrix", "--no-header", "--no-labels") if as_text else ()
        status, _ = run(Path(folder), "t.csv" if as_text else "t.npy", content, *kind)
        known = ~np.isnan(matrix)
        if status == 0:
            found = np.loadtxt(Path(folder, "o.csv"), delimiter=",", ndmin=2)
            assert found.shape == matrix.shape
            assert np.isfinite(found).all()
            np.testing.assert_array_equal(found[known], matrix[known])
        else:
            blank = as_text and not known.any(axis=1).all()
            assert known.all() or known.sum() < 3 or np.abs(matrix[known]).max() > 1e100 or blank or len(cells) == 1


GOOD = delimited([("a", "x", 1.0), ("b", "y", 2.0), ("b", "x", 3.5), ("c", "y", 2.0), ("a", "é", 2.5)])


@given(
    st.sampled_from(["t.csv", "t.tsv", "t.csv.gz", "t.parquet", "t.npy", "t"]),
    st.one_of(
        st.binary(max_size=60),
        st.text(max_size=60).map(str.encode),
        st.tuples(st.integers(0, len(GOOD)), st.integers(0, 5), st.binary(max_size=3)).map(
            lambda cut: GOOD[: cut[0]] + cut[2] + GOOD[cut[0] + cut[1] :]
        ),
    ),
)
def test_broken_files(name: str, content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        status, error = run(Path(folder), name, content)
        if status == 2:
            assert name in error
        else:
            assert isinstance(datasets.read_table(Path(folder, name)), datasets.Ratings | datasets.Matrix)


@given(st.binary(max_size=8), st.integers(0, 10**6), st.sampled_from(["t.parquet", "t.npy", "t.csv.gz"]))
def test_damaged_files(noise: bytes, place: int, name: str) -> None:
    whole = _whole()[name]
    place %= len(whole)
    damaged = whole[:place] + noise + whole[place + len(noise) + 1 :]
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder), name, damaged)


def _whole() -> dict[str, bytes]:
    import gzip

    parquet, npy = io.BytesIO(), io.BytesIO()
    pq.write_table(pa.table({"user": ["a", "b", "b"], "item": ["x", "y", "x"], "rating": [1.0, 2.0, 3.0]}), parquet)
    np.save(npy, np.array([[1.0, np.nan, 2.0], [3.0, 4.0, 5.0]]))
    return {"t.parquet": parquet.getvalue(), "t.npy": npy.getvalue(), "t.csv.gz": gzip.compress(GOOD, mtime=0)}
