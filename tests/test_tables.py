"""Tables: what is read from files of every make."""

import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from table_files import parquet, triples, two_by_two, write

from undertow.datasets import Matrix, Ratings, read_pairs, read_table

BODY = [("007", "NA", 4.0), ("7", "null", 3.5), ("007", "ä b", 1.0)]


def lines(delimiter: str, header: str | None = None) -> str:
    rows = [] if header is None else [header.replace(",", delimiter)]
    rows += [delimiter.join(map(str, row)) for row in BODY]
    return "\n".join(rows) + "\n"


# Ratings --------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", [None, "userId,movieId,rating", "who,what,much"])
@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|", "::"])
def test_delimiter_and_header_are_found(tmp_path: Path, delimiter: str, header: str | None) -> None:
    table = read_table(write(tmp_path, lines(delimiter, header), "t.dat"))
    assert triples(table) == BODY
    assert table.source is not None
    assert (table.source.delimiter, table.source.header) == (delimiter, header is not None)
    assert isinstance(table, Ratings)
    assert table.names == (tuple(header.split(",")) if header else ("user", "item", "rating"))
    assert repr(delimiter) in str(table.source)
    assert table.user_ids.tolist() == ["007", "7"]


def test_runs_of_spaces(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, "  1  2   3.5\n4 \t 2 1 \r\n\n 1 9  2\n"))
    assert triples(table) == [("1", "2", 3.5), ("4", "2", 1.0), ("1", "9", 2.0)]


@pytest.mark.parametrize(
    "change",
    [
        lambda text: b"\xef\xbb\xbf" + text.encode(),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: text.replace("\n", "\r").encode(),
        lambda text: text.replace("\n", "\n\n").encode(),
        lambda text: b"\n\r\n" + text.encode(),
        lambda text: text.rstrip("\n").encode(),
    ],
    ids=["mark", "crlf", "cr", "blank-lines", "leading-blank-lines", "no-newline-at-end"],
)
def test_line_ends_and_byte_order_mark(tmp_path: Path, change) -> None:
    assert triples(read_table(write(tmp_path, change(lines(",", "user,item,rating"))))) == BODY


def test_gzip(tmp_path: Path) -> None:
    path = write(tmp_path, gzip.compress(lines("\t").encode()), "t.tsv.gz")
    assert triples(read_table(path)) == BODY


def test_u_data_is_ratings_without_options(tmp_path: Path) -> None:
    content = "196\t242\t3\t881250949\n186\t302\t3\t891717742\n196\t302\t1\t878887116\n"
    assert triples(read_table(write(tmp_path, content, "u.data"))) == [
        ("196", "242", 3.0),
        ("186", "302", 3.0),
        ("196", "302", 1.0),
    ]


def test_quoted_cells(tmp_path: Path) -> None:
    content = 'user,item,rating\n"a,b","say ""hi""",1\n"c\nd",x,2\n"a,b",x,3\n'
    assert triples(read_table(write(tmp_path, content))) == [
        ("a,b", 'say "hi"', 1.0),
        ("c\nd", "x", 2.0),
        ("a,b", "x", 3.0),
    ]


@pytest.mark.parametrize(
    ("header", "options", "expected"),
    [
        ("rating,user,item,x,y", {}, ("2", "3", 1.0)),
        ("timestamp,User_ID,isbn,Stars", {}, ("2", "3", 4.0)),
        ("time,userId,name,rating,z", {}, ("2", "3", 4.0)),
        (",user,item,rating", {}, ("2", "3", 4.0)),
        ("a,b,c,d,e", {"user": "c", "item": 5, "rating": "1"}, ("3", "5", 1.0)),
        ("a,b,c,d,e", {"rating": "E"}, ("1", "2", 5.0)),
        ("user,item,score,rating,b", {"rating": "score"}, ("1", "2", 3.0)),
    ],
)
def test_columns_are_chosen(tmp_path: Path, header: str, options, expected) -> None:
    width = header.count(",") + 1
    rows = ["1,2,3,4,5", "6,7,8,9,10", "11,12,13,14,15"]
    content = "\n".join([header, *(",".join(row.split(",")[:width]) for row in rows)])
    assert triples(read_table(write(tmp_path, content), **options))[0] == expected


def test_header_can_be_said(tmp_path: Path) -> None:
    path = write(tmp_path, "1,2,3\n4,5,6\n7,8,9\n")
    assert len(triples(read_table(path))) == 3
    assert len(triples(read_table(path, header=True))) == 2
    assert triples(read_table(write(tmp_path, "u,i,5\nu,j,4\nv,i,3\n")))[0] == ("u", "i", 5.0)


def test_numbers_of_every_look(tmp_path: Path) -> None:
    content = "user,item,rating\n1,a,+4\n2,b, 3.5\n3,c,1e-2\n4,d,-.5\n5,e,2.\n"
    table = read_table(write(tmp_path, content))
    assert isinstance(table, Ratings)
    assert table.ratings.tolist() == [4.0, 3.5, 0.01, -0.5, 2.0]


@pytest.mark.parametrize("duplicates", ["mean", "last"])
def test_duplicates_are_resolved(tmp_path: Path, duplicates: str) -> None:
    path = write(tmp_path, "user,item,rating\nb,x,1\na,x,5\nb,x,2\nb,y,3\nb,x,6\n")
    value = {"mean": 3.0, "last": 6.0}[duplicates]
    assert triples(read_table(path, duplicates=duplicates)) == [
        ("b", "x", value),
        ("a", "x", 5.0),
        ("b", "y", 3.0),
    ]


def test_many_rows_keep_order_across_blocks(tmp_path: Path) -> None:
    rows = 120_000  # more than one block of Arrow's reader
    generator = np.random.default_rng(0)
    order = generator.permutation(rows)
    content = "user,item,rating\n" + "".join(f"user-{k % 9973},item-{k // 9973},{k % 10 / 2}\n" for k in order)
    table = read_table(write(tmp_path, content))
    assert isinstance(table, Ratings)
    assert table.user_ids[table.users].tolist() == [f"user-{k % 9973}" for k in order]
    assert table.user_ids.tolist() == list(dict.fromkeys(f"user-{k % 9973}" for k in order))
    np.testing.assert_array_equal(table.ratings, order % 10 / 2)


def test_parquet_ids_are_exact_text(tmp_path: Path) -> None:
    large = 2**63 + 7
    path = parquet(
        tmp_path,
        userId=pa.array([large, 7, large], pa.uint64()),
        movieId=pa.array(["a", "b", "null"]).dictionary_encode(),
        rating=pa.array([1, 2, 3], pa.int8()),
    )
    assert triples(read_table(path)) == [(str(large), "a", 1.0), ("7", "b", 2.0), (str(large), "null", 3.0)]


# Matrices -------------------------------------------------------------------------------------

NAN = np.nan
MATRICES = [
    ("plain", "1,,3,4,5\n6,7,NA,9,nan\n", {}, [[1, NAN, 3, 4, 5], [6, 7, NAN, 9, NAN]], None, None),
    ("small", "1.5,,3\n4,5.5,\n", {}, [[1.5, NAN, 3], [4, 5.5, NAN]], None, None),
    ("two-columns", "1,2\n,4\n", {}, [[1, 2], [NAN, 4]], None, None),
    ("header", "a,b,c,d,e\n1,,3,4,5\n", {}, [[1, NAN, 3, 4, 5]], None, "abcde"),
    ("labels", "r,1,,3,4\ns,5,6,7,8\n", {}, [[1, NAN, 3, 4], [5, 6, 7, 8]], "rs", None),
    ("both", ",p,q\nr,1,\ns,,4\n", {}, [[1, NAN], [NAN, 4]], "rs", "pq"),
    ("pandas", ",0,1,2\n0,1,,3\n1,4,5,6\n", {}, [[1, NAN, 3], [4, 5, 6]], "01", "012"),
    (
        "pivot",
        "userId,10,20,31,47\n3,1,,3,4\n5,5,6,7,8\n",
        {},
        [[1, NAN, 3, 4], [5, 6, 7, 8]],
        "35",
        ["10", "20", "31", "47"],
    ),
    ("hole-first", ",2,3,4,5\n6,7,8,9,9\n", {}, [[NAN, 2, 3, 4, 5], [6, 7, 8, 9, 9]], None, None),
    ("said-header", "1,2,3,4,5\n6,,8,9,9\n", {"header": True}, [[6, NAN, 8, 9, 9]], None, "12345"),
    ("said-labels", "1,2,,4,5\n6,,8,9,9\n", {"labels": True}, [[2, NAN, 4, 5], [NAN, 8, 9, 9]], "16", None),
    ("odd-numbers", "+1,,3,4,5\n6,7,  ,.5,1e2\n", {}, [[1, NAN, 3, 4, 5], [6, 7, NAN, 0.5, 100]], None, None),
    ("tabs", "1\t\t3\t4\t5\n", {}, [[1, NAN, 3, 4, 5]], None, None),
]


@pytest.mark.parametrize(
    ("content", "options", "values", "rows", "columns"),
    [c[1:] for c in MATRICES],
    ids=[c[0] for c in MATRICES],
)
def test_matrices(tmp_path: Path, content: str, options, values, rows, columns) -> None:
    matrix = read_table(write(tmp_path, content), **options)
    assert isinstance(matrix, Matrix)
    np.testing.assert_array_equal(matrix.values, values)
    assert (None if matrix.row_labels is None else matrix.row_labels.tolist()) == (None if rows is None else list(rows))
    found = None if matrix.column_labels is None else matrix.column_labels.tolist()
    assert found == (None if columns is None else list(columns))


@pytest.mark.long
def test_wide_matrix(tmp_path: Path) -> None:
    # Lines longer than Arrow's block of one MiB, and longer than a cell may be for Python's reader.
    values = np.round(np.random.default_rng(0).normal(size=(3, 20_000)), 3)
    values[0, 7] = np.nan
    cells = [["" if np.isnan(v) else f"{v!s:0<60}" for v in row] for row in values]
    path = write(tmp_path, "\n".join(",".join(row) for row in cells))
    matrix = read_table(path)
    assert isinstance(matrix, Matrix)
    np.testing.assert_array_equal(matrix.values, values)


# Pairs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "options"),
    [
        ("a,x\nnew,y\n", {}),
        ("user,item\na,x\nnew,y\n", {}),
        ("who,what\na,x\nnew,y\n", {}),
        ("item,user\nx,a\ny,new\n", {}),
        ("1;x;a\n2;y;new\n", {"user": 3, "item": 2}),
        ("p,q,r\n1,x,a\n2,y,new\n", {"user": "r", "item": "q"}),
        ("p q\na x\nnew y\n", {"header": True}),
    ],
)
def test_pairs(tmp_path: Path, content: str, options) -> None:
    users, items = read_pairs(write(tmp_path, content), two_by_two(("who", "what", "much")), **options)
    assert (users.tolist(), items.tolist()) == (["a", "new"], ["x", "y"])


def test_pairs_from_parquet_and_bad_pairs(tmp_path: Path) -> None:
    users, items = read_pairs(parquet(tmp_path, item=["x", "x"], user=[1, 1]), two_by_two())
    assert (users.tolist(), items.tolist()) == (["1", "1"], ["x", "x"])
    for content, message in [
        ("user,item\n", "only a header"),
        ("a\nb\n", "one column"),
        ("a,x\nb,\n", "line 2.*item"),
    ]:
        with pytest.raises(ValueError, match=rf"table\.csv.*{message}"):
            read_pairs(write(tmp_path, content), two_by_two())
    # An id that is called like a column is an id.
    table = two_by_two()
    table.user_ids[0] = "user"
    users, _ = read_pairs(write(tmp_path, "user,x\nb,x\n"), table)
    assert users.tolist() == ["user", "b"]
