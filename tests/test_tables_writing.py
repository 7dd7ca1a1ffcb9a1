"""Completed tables: written whole or not at all."""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from table_files import parquet, triples, two_by_two, write

from undertow import datasets
from undertow.datasets import Matrix, read_table


@pytest.mark.parametrize("block_rows", [None, 1, 2, 5])
@pytest.mark.parametrize("name", ["o.csv", "o.tsv", "o.csv.gz", "o.parquet"])
def test_completed_ratings(tmp_path: Path, name: str, block_rows: int | None) -> None:
    table, predictions = two_by_two(), np.array([[7.0, 8.0], [9.0, 10.0]])
    datasets.write_completed_ratings(tmp_path / name, table, lambda users: predictions[users], block_rows=block_rows)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    back = read_table(tmp_path / name)
    assert triples(back) == [("a", "x", 1.0), ("a", "y,z", 8.0), ("b", "x", 0.1), ("b", "y,z", 2.5)]
    if name == "o.csv":
        assert (tmp_path / name).read_text().splitlines() == [
            "user,item,rating,observed",
            '"a","x",1,true',
            '"a","y,z",8,false',
            '"b","x",0.1,true',
            '"b","y,z",2.5,true',
        ]


def test_completed_ratings_without_need_of_quotes(tmp_path: Path) -> None:
    table = two_by_two(("u", "observed", "r"))
    table.item_ids[1] = "y z"
    datasets.write_completed_ratings(tmp_path / "o.tsv", table, lambda _: np.zeros((2, 2)))
    assert (tmp_path / "o.tsv").read_text().splitlines()[:3] == [
        "u\tobserved\tr\tobserved_",
        "a\tx\t1\ttrue",
        "a\ty z\t0\tfalse",
    ]


def test_pairs_are_written(tmp_path: Path) -> None:
    ids = np.array(["a", "q"], dtype=object), np.array(["x", "x"], dtype=object)
    datasets.write_pairs(tmp_path / "o.csv", *ids, np.array([1.5, 2.0]), np.array([True, False]))
    assert (tmp_path / "o.csv").read_text() == "user,item,rating,observed\na,x,1.5,true\nq,x,2,false\n"


def test_matrix_is_written_with_its_labels(tmp_path: Path) -> None:
    matrix = read_table(write(tmp_path, 'id,p,"q,1"\nr,1,\n"s ""t""",,0.1\n'), kind="matrix")
    assert isinstance(matrix, Matrix)
    datasets.write_matrix(tmp_path / "o.csv", matrix, np.full((2, 2), 9.5))
    assert (tmp_path / "o.csv").read_text() == 'id,p,"q,1"\n"r",1,9.5\n"s ""t""",9.5,0.1\n'
    bare = Matrix(np.array([[1, np.nan]]))
    datasets.write_matrix(tmp_path / "o.tsv", bare, np.array([[0.0, 2.0]]))
    assert (tmp_path / "o.tsv").read_text() == "1\t2\n"


def test_npy(tmp_path: Path) -> None:
    path = tmp_path / "m.npy"
    values = np.array([[1, np.nan], [0.1, 4]], np.float32)
    np.save(path, values)
    matrix = read_table(path)
    assert isinstance(matrix, Matrix)
    np.testing.assert_array_equal(matrix.values, values.astype(float))
    datasets.write_matrix(path, matrix, np.full((2, 2), 9.0))
    written = np.load(path)
    assert written.dtype == np.float32
    np.testing.assert_array_equal(written, np.array([[1, 9], [0.1, 4]], np.float32))


def test_parquet_matrix(tmp_path: Path) -> None:
    path = parquet(tmp_path, name=["r", "s"], p=[1.0, None], q=pa.array([3, 4], pa.int16()))
    matrix = read_table(path, kind="matrix")
    assert isinstance(matrix, Matrix)
    np.testing.assert_array_equal(matrix.values, [[1, 3], [np.nan, 4]])
    datasets.write_matrix(tmp_path / "out.parquet", matrix, np.full((2, 2), 9.0))
    assert pq.read_table(tmp_path / "out.parquet").to_pydict() == {
        "name": ["r", "s"],
        "p": [1, 9],
        "q": [3, 4],
    }


def interrupt(users: slice) -> np.ndarray:
    if users.start:
        raise KeyboardInterrupt
    return np.zeros((1, 2))


@pytest.mark.parametrize("name", ["o.csv", "o.csv.gz", "o.parquet"])
@pytest.mark.parametrize(
    ("predict", "error"),
    [
        (interrupt, KeyboardInterrupt),
        (lambda users: np.zeros((3, 3)), ValueError),
        (lambda users: np.full((1, 2), np.nan), ValueError),
    ],
    ids=["interrupt", "shape", "nan"],
)
def test_nothing_is_left_of_a_failed_write(tmp_path: Path, name: str, predict, error) -> None:
    (tmp_path / name).write_text("before")
    with pytest.raises(error):
        datasets.write_completed_ratings(tmp_path / name, two_by_two(), predict, block_rows=1)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "before"


def test_bad_output(tmp_path: Path) -> None:
    matrix = Matrix(np.array([[1, np.nan]]), column_labels=np.array(["p", "p"], dtype=object))
    with pytest.raises(ValueError, match=r"ends in one of \.csv.*found '\.xlsx'"):
        datasets.check_output(tmp_path / "o.xlsx", "ratings")
    with pytest.raises(ValueError, match="ends in one of"):
        datasets.check_output(tmp_path / "o.npy", "ratings")
    with pytest.raises(FileNotFoundError, match="no directory"):
        datasets.check_output(tmp_path / "nowhere" / "o.csv", "matrix")
    (tmp_path / "d.csv").mkdir()
    with pytest.raises(IsADirectoryError, match=r"d\.csv"):
        datasets.check_output(tmp_path / "d.csv", "ratings")
    datasets.check_output(tmp_path / "o.npy", "matrix")
    with pytest.raises(ValueError, match="distinct column labels"):
        datasets.write_matrix(tmp_path / "o.parquet", matrix, np.zeros((1, 2)))
    with pytest.raises(ValueError, match="finite predictions, found nan"):
        datasets.write_matrix(tmp_path / "o.csv", matrix, np.full((1, 2), np.nan))
    with pytest.raises(ValueError, match=r"expected shape \(1, 2\)"):
        datasets.write_matrix(tmp_path / "o.csv", matrix, np.zeros((2, 2)))
    assert [path.name for path in tmp_path.iterdir()] == ["d.csv"]


ENDINGS = ["csv", "tsv.gz", "parquet", "npy"]


def write_to(path: Path) -> None:
    """A completed matrix for ``.npy``, answers otherwise."""
    if path.suffix == ".npy":
        datasets.write_matrix(path, Matrix(np.array([[1.0, np.nan]])), np.ones((1, 2)))
    else:
        ids = np.array(["a", "q"], dtype=object), np.array(["x", "y"], dtype=object)
        datasets.write_pairs(path, *ids, np.array([1.5, 2.0]), np.array([True, False]))


@pytest.mark.parametrize("ending", ENDINGS)
def test_names_that_are_not_utf8(tmp_path: Path, ending: str) -> None:
    plain, odd = tmp_path / f"r.{ending}", tmp_path / os.fsdecode(b"r\xe9." + ending.encode())
    try:
        odd.touch()
    except OSError:
        pytest.skip("file names here are text")
    for path in (plain, odd):
        write_to(path)
    assert odd.stat().st_size == plain.stat().st_size
    if ending != "npy":
        assert triples(read_table(odd)) == triples(read_table(plain))


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_link_stays_a_link(tmp_path: Path, ending: str) -> None:
    (tmp_path / "there").mkdir()
    link, place = tmp_path / f"link.{ending}", tmp_path / "there" / f"place.{ending}"
    link.symlink_to(place)
    for _ in range(2):  # to nothing, and to a file
        write_to(link)
        assert link.is_symlink()
        assert [path.name for path in place.parent.iterdir()] == [place.name]
    nowhere = tmp_path / f"nowhere.{ending}"
    nowhere.symlink_to(tmp_path / "missing" / place.name)
    with pytest.raises(FileNotFoundError, match=r"there is no directory .*missing"):
        datasets.check_output(nowhere, "matrix")


def test_masked_predictions_and_entries_are_refused(tmp_path: Path) -> None:
    masked = np.ma.masked_equal([[1.0, 99.0]], 99)
    with pytest.raises(TypeError, match=r"^completed: .* masked"):
        datasets.write_matrix(tmp_path / "o.npy", Matrix(np.array([[1.0, np.nan]])), masked)
    with pytest.raises(ValueError, match=r"^values: .* masked"):
        Matrix(masked)
    table = two_by_two()
    with pytest.raises(ValueError, match=r"^ratings: .* masked"):
        datasets.Ratings(
            table.users, table.items, np.ma.masked_equal([1.0, 2.0, 99.0], 99), table.user_ids, table.item_ids
        )
