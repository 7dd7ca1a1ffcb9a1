"""Tables that cannot be understood: refused before any work, with the file, the line and the reason."""

import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from table_files import parquet, write

from undertow.datasets import Ratings, read_table

R = "user,item,rating\n"
BAD_TEXT = [
    ("empty", "", {}, "empty file"),
    ("blank", "\n \n\n", {}, "empty file"),
    ("header-only", R, {}, "only a header"),
    ("unknown-header-only", "a,b,c\n", {}, "only a header"),
    ("cut-line", R + "a,x,1\nb,y,2\nc,z", {}, "line 4: expected 3 columns.*found 2"),
    ("cut-line-without-header", "1,2,3\n2,3,4\n5,6", {}, "line 3: expected 3 columns.*found 2"),
    ("cut-rating-without-header", "1,2,3\n2,3,4\n5,6,", {}, "cannot tell ratings from a matrix"),
    ("extra-cell", R + '"a\nb",x,1\n\nb,y,2,9\n', {}, "line 5: expected 3 columns.*found 4"),
    ("title-line", "My ratings\n" + R + "a,x,1\nb,y,2\n", {}, "line 1: expected 3 columns.*found 1"),
    ("open-quote", R + 'a,"x,1\nb,y,2\nc,z,3\n', {}, "line 2: .* quote that is not closed on its line"),
    ("wrong-delimiter", R + "a,x,1\nb,y,2\n", {"delimiter": ";"}, "';' gives one column only.*',' \\(3\\)"),
    ("no-delimiter", "abc\ndef\n", {}, "expected columns separated by.*'abc'"),
    (
        "text-rating",
        R + "a,x,1\nb,y,bad\nc,z,2\nd,x,worse\na,y,\na,z,?\n",
        {},
        "'bad' on line 3, 'worse' on line 5, '' on line 6 and 1 more$",
    ),
    ("comma-rating", "a;x;3,5\na;y;4,5\nb;y;1,5\n", {}, "'3,5' on line 1.*written with a point"),
    ("nan-rating", R + "a,x,1\nb,y,nan\n", {}, "'nan' on line 3"),
    ("inf-rating", R + "a,x,1\nb,y,-inf\n", {}, "'-inf' on line 3"),
    ("overflowing-rating", R + "a,x,1\nb,y,1e999\n", {}, "'1e999' on line 3"),
    ("empty-id", R + "a,x,1\n,y,2\n", {}, "line 3: expected a user id in 'user', found an empty cell"),
    ("duplicate", R + "a,x,1\nb,y,2\nb,x,3\na,x,4\n", {}, "user 'a' and item 'x' on line 2 and line 5"),
    ("one-user", R + "a,x,1\na,y,2\n", {}, "found one user \\('a'\\)"),
    ("one-item", R + "a,x,1\nb,x,2\n", {}, "found one item \\('x'\\)"),
    ("one-row", "1,2,3\n", {}, "found one user \\('1'\\)"),
    ("two-columns", "a,b\nc,d\n", {"kind": "ratings"}, "no column is left for the rating"),
    (
        "unknown-column",
        R + "a,x,1\nb,y,2\n",
        {"rating": "ratng"},
        "no column 'ratng'.*did you mean 'rating'.*user, item, rating",
    ),
    ("column-beyond", R + "a,x,1\nb,y,2\n", {"rating": 4}, "rating: expected a column from 1 to 3, found 4"),
    ("column-zero", R + "a,x,1\nb,y,2\n", {"user": 0}, "user: expected a column from 1 to 3, found 0"),
    ("name-without-header", "a,x,1\nb,y,2\n", {"user": "who"}, "user: no column 'who', since .* no header"),
    ("column-twice", R + "a,x,1\nb,y,2\n", {"user": 1, "item": "user"}, "item.*column 1 is already the user"),
    ("name-twice", "id,id,rating\na,x,1\nb,y,2\n", {"user": "id"}, "2 columns called 'id'.*1, 2"),
    ("text-in-many-columns", "a,b,c,d,e\nf,g,h,i,j\n", {}, "cannot tell ratings from a matrix.*kind="),
    (
        "options-of-ratings",
        "1,,3\n4,5,6\n",
        {"kind": "matrix", "user": 1},
        "expected none with kind='matrix'",
    ),
    ("latin-1", b"user,item,rating\na,x,1\n\xe4,y,2\n", {}, "byte 0xe4 at position 23 \\(line 3\\)"),
    ("utf-16", (R + "a,x,1\n").encode("utf-16"), {}, "UTF-16"),
    ("zip", b"PK\x03\x04abc", {}, "a zip archive or a spreadsheet"),
    ("parquet-inside", b"PAR1abc", {}, "found Parquet"),
    ("binary", b"a,b,c\n1,2,\x003\n", {}, "zero byte at position 10"),
    ("kind", R, {"kind": "rating"}, "kind: unknown choice 'rating'.*did you mean 'ratings'"),
    ("duplicates", R, {"duplicates": "first"}, "duplicates: unknown choice"),
    ("empty-delimiter", R + "a,x,1\n", {"delimiter": ""}, "delimiter: expected"),
    ("matrix-text", "1,,3,4,5\n1,2,3,4,5\n1,2,x,4,5\n", {"kind": "matrix"}, "line 3, column 3.*found 'x'"),
    ("matrix-text-labels", ",p,q\na,,3\nb,2,x\n", {"kind": "matrix"}, "line 3, column 3.*found 'x'"),
    ("matrix-inf", "1,,3,4,5\n1,2,3,4,inf\n", {"kind": "matrix"}, "line 2, column 5.*'inf'|column 5.*inf"),
    ("matrix-full", "1,2,3,4,5\n1,2,3,4,5\n", {}, 'expected holes.*found none.*kind="ratings"'),
    ("matrix-empty", ",,,,\n,,,,\n", {}, "expected observed entries"),
    ("matrix-cut", "1,,3,4,5\n1,2,3,4,5\n1,2,3", {}, "line 3: expected 5 columns.*found 3"),
    ("matrix-header-only", "a,b,c,d,e\n", {"kind": "matrix"}, "only a header"),
]


@pytest.mark.parametrize(
    ("content", "options", "message"), [case[1:] for case in BAD_TEXT], ids=[c[0] for c in BAD_TEXT]
)
def test_bad_text(tmp_path: Path, content, options, message: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(ValueError, match=f"(?s){message}") as caught:
        read_table(path, **options)
    about_argument = str(caught.value).split(":")[0] in (
        "kind",
        "duplicates",
        "delimiter",
        "user, item, rating",
    )
    assert about_argument or "table.csv" in str(caught.value)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"user": pa.array([1, None, 3]), "item": ["a", "b", "c"], "rating": [1, 2, 3]},
            "row 2.*user id.*none",
        ),
        (
            {"user": [1.0, 2.0], "item": ["a", "b"], "rating": [1, 2]},
            "column 'user'.*text or integers.*double",
        ),
        ({"user": [1, 2], "item": ["a", "b"], "rating": [1.0, None]}, "finite number.*None on row 2"),
        ({"user": [1, 2], "item": ["a", "b"], "rating": ["1", "x"]}, "finite number.*'x' on row 2"),
        ({"user": [1, 2], "item": ["a", "b"], "rating": [True, False]}, "as numbers, found bool"),
        ({"user": [1, 2], "item": ["a", "b"]}, "no column is left for the rating"),
        ({"user": pa.array([], pa.int64()), "item": pa.array([], pa.int64()), "rating": [1.0][:0]}, "0 rows"),
    ],
)
def test_bad_parquet(tmp_path: Path, columns, message: str) -> None:
    with pytest.raises(ValueError, match=rf"t\.parquet.*{message}"):
        read_table(parquet(tmp_path, **columns))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(3), "two dimensions, found shape"),
        (np.zeros((2, 0)), "found shape"),
        (np.array([["a", "b"]]), "real numbers, found dtype"),
        (np.array([[1j, 2]]), "real numbers, found dtype complex"),
        (np.array([[True, False]]), "real numbers, found dtype bool"),
        (np.array([[{}, 1.0]], dtype=object), "Object arrays cannot be loaded"),
        (np.array([[1.0, np.inf]]), "row 1, column 2.*found inf"),
        (np.array([[np.nan, np.nan]]), "expected observed entries"),
        (np.array([[1, 2]]), "expected holes"),
    ],
)
def test_bad_npy(tmp_path: Path, array: np.ndarray, message: str) -> None:
    np.save(tmp_path / "m.npy", array)
    with pytest.raises(ValueError, match=rf"m\.npy.*{message}"):
        read_table(tmp_path / "m.npy")


def test_missing_files_and_directories(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.csv"):
        read_table(tmp_path / "nowhere.csv")
    with pytest.raises(IsADirectoryError, match="found a directory"):
        read_table(tmp_path)


@pytest.mark.parametrize("name", ["t.csv.gz", "t.parquet", "t.npy"])
def test_cut_off_files(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "t.csv.gz":
        path.write_bytes(gzip.compress(b"a,x,1\n" * 999))
    elif name == "t.parquet":
        path = parquet(tmp_path, user=["a", "b"], item=["x", "y"], rating=[1.0, 2.0])
    else:
        np.save(path, np.full((30, 30), np.nan))
    whole = path.read_bytes()
    for size in (0, 3, len(whole) // 3, len(whole) - 9):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=name):
            read_table(path)


def test_ratings_are_checked() -> None:
    ids = np.array(["a", "b"], dtype=object)
    with pytest.raises(ValueError, match="positions from 0 to 1, found 0 to 2"):
        Ratings(np.array([0, 2]), np.array([0, 1]), np.array([1.0, 2.0]), ids, ids)
    with pytest.raises(ValueError, match="finite numbers"):
        Ratings(np.array([0, 1]), np.array([0, 1]), np.array([1.0, np.nan]), ids, ids)
