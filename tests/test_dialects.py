"""Files that are not written as usual: the same table comes out as of the usual file, or the reason why not."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from complete_command import undertow
from hypothesis import given
from hypothesis import strategies as st

from undertow.cli._options import in_options
from undertow.datasets import Dialect, Matrix, Ratings, read_pairs, read_table, read_tensor

USUAL = "user,item,rating\nRené,a,4.5\nZoë,b,3\nZoë,a,1e1\n"


def table_of(folder: Path, text: str, dialect: Dialect, name: str = "t.csv", encoding: str = "utf-8", **options):
    (folder / name).write_text(text, encoding=encoding)
    return read_table(folder / name, dialect=dialect, **options)


def parts(table: Ratings | Matrix) -> tuple:
    if isinstance(table, Matrix):
        return (table.values.tolist(), table.row_labels, table.column_labels)
    return (table.users.tolist(), table.items.tolist(), table.ratings.tolist(), table.user_ids.tolist())


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-16-le", "utf-8", "UTF-8", "utf-8-sig"])
def test_encodings(encoding, tmp_path):
    expected = table_of(tmp_path, USUAL, Dialect())
    assert parts(table_of(tmp_path, USUAL, Dialect(encoding=encoding), encoding=encoding)) == parts(expected)


@pytest.mark.parametrize("delimiter", ["\t", ";", "|"])
def test_decimal_commas(delimiter, tmp_path):
    expected = table_of(tmp_path, USUAL, Dialect())
    text = USUAL.replace(",", delimiter).replace(".", ",").replace("1e1", "1,0e1")
    assert parts(table_of(tmp_path, text, Dialect(decimal=","))) == parts(expected)
    # Without a header too: what is in the first line is a number.
    headless = text.partition("\n")[2]
    assert parts(table_of(tmp_path, headless, Dialect(decimal=","), kind="ratings")) == parts(expected)


def test_ids_keep_their_commas(tmp_path):
    text = "1,5;a;2,5\n1.5;b;3,5\n1,50;a;4\n"
    table = table_of(tmp_path, text, Dialect(decimal=",", missing=("1.5", "99")), kind="ratings")
    assert table.user_ids.tolist() == ["1,5", "1.5", "1,50"]
    assert table.ratings.tolist() == [2.5, 3.5, 4]


def test_a_point_is_no_decimal_then(tmp_path):
    with pytest.raises(ValueError, match=r"found '1\.234 \(decimals are behind a comma\)' on line 2"):
        table_of(tmp_path, "a;x;2,5\nb;y;1.234\n", Dialect(decimal=","), kind="ratings")
    with pytest.raises(ValueError, match=r"line 2, column 2: .*found '1\.234'"):
        table_of(tmp_path, "2,5;;3;1;1\n4;1.234;1;1;1\n", Dialect(decimal=","), kind="matrix")


MATRIX = "1.5,2,?,4,5\n2.5,99,3,-,6\n3,4,5,99.0,.\n"


def test_holes_of_a_matrix_in_every_writing(tmp_path):
    expected = [[1.5, 2, np.nan, 4, 5], [2.5, np.nan, 3, np.nan, 6], [3, 4, 5, np.nan, np.nan]]
    dialect = Dialect(missing=("?", "-", ".", "99"))
    np.testing.assert_array_equal(table_of(tmp_path, MATRIX, dialect).values, expected)
    quick = MATRIX.replace("?", "").replace("-", "").replace(",.", ",")  # by Arrow alone
    np.testing.assert_array_equal(table_of(tmp_path, quick, Dialect(missing=("99",))).values, expected)
    commas = MATRIX.replace(",", ";").replace(".5", ",5").replace("99.0", "99,0")
    np.testing.assert_array_equal(
        table_of(tmp_path, commas, Dialect(decimal=",", missing=("?", "-", ".", "99,00"))).values, expected
    )
    labelled = "".join(f"row{k},{line}\n" for k, line in enumerate(MATRIX.splitlines()))
    np.testing.assert_array_equal(table_of(tmp_path, labelled, dialect).values, expected)


@pytest.mark.parametrize("mark", ["?", "-", ".", "NA"])
@pytest.mark.parametrize("labels", [True, False])
@pytest.mark.parametrize("width", [3, 5])
def test_a_matrix_is_told_by_its_marks(mark, labels, width, tmp_path):
    """Even three columns wide; that the mark is a hole has to be said, where it is not an everyday one."""
    rng = np.random.default_rng(0)
    lines = [[f"{x:.2f}" for x in row] for row in rng.standard_normal((6, width))]
    lines[1][2], lines[4][2] = mark, mark
    text = "".join(",".join(([f"r{k}"] if labels else []) + line) + "\n" for k, line in enumerate(lines))
    table = table_of(tmp_path, text, Dialect(missing=(mark,)))
    assert isinstance(table, Matrix)
    assert np.argwhere(np.isnan(table.values)).tolist() == [[1, 2], [4, 2]]
    if mark != "NA":
        with pytest.raises(ValueError, match=f"line 2, column {3 + labels}: .*if that is a hole, say missing="):
            table_of(tmp_path, text, Dialect())


RATED = "user,item,rating\na,x,1\na,y,-1\nb,x,-1.0\nb,y,5\n-1,x,4\nc,y,\nc,x,NA\n"


def test_rows_without_a_rating(tmp_path):
    table = table_of(tmp_path, RATED, Dialect(missing=("-1",), skip_missing=True))
    assert table.user_ids.tolist() == ["a", "b", "-1"]  # ids are never meant
    assert table.ratings.tolist() == [1, 5, 4]
    assert table.source.left_out == 4
    assert "4 rows without a rating left out" in str(table.source)
    with pytest.raises(ValueError, match=r"found '' on line 7, 'NA' on line 8; rows .*skip_missing=True"):
        table_of(tmp_path, RATED, Dialect(missing=("-1",)))
    with pytest.raises(ValueError, match=r"found '\?' on line 3; .*missing='\?'"):
        table_of(tmp_path, "user,item,rating\na,x,1\nb,y,?\n", Dialect())
    with pytest.raises(ValueError, match="expected ratings, found none: all 2 rows"):
        table_of(tmp_path, "user,item,rating\na,x,9\nb,y,9\n", Dialect(missing=("9",)))


def test_lines_are_counted_with_those_left_out(tmp_path):
    text = "# by hand\nuser,item,rating\na,x,9\n# more\nb,y,2\nb,x,bad\n"
    with pytest.raises(ValueError, match="'bad' on line 6"):
        table_of(tmp_path, text, Dialect(missing=("9",), comment="#"))


def test_comments(tmp_path):
    text = "# a, b\n" + USUAL.replace("Zoë,b", "#, 1\n#\nZoë,b") + "# end"
    assert parts(table_of(tmp_path, text, Dialect(comment="#"))) == parts(table_of(tmp_path, USUAL, Dialect()))
    inside = "user,item,rating\na#1,x,1\nb,#y,2\n"  # of a line, not of a cell
    assert table_of(tmp_path, inside, Dialect(comment="#")).item_ids.tolist() == ["x", "#y"]
    with pytest.raises(ValueError, match="empty file"):
        table_of(tmp_path, "# nothing\n", Dialect(comment="#"))


def test_pairs_and_tensors(tmp_path):
    table = table_of(tmp_path, USUAL, Dialect())
    (tmp_path / "pairs.csv").write_text("% asked\nRené,b\n", encoding="latin-1")
    users, items = read_pairs(tmp_path / "pairs.csv", table, dialect=Dialect(encoding="latin-1", comment="%"))
    assert (users.tolist(), items.tolist()) == (["René"], ["b"])
    (tmp_path / "doses.csv").write_text("cell;dose;hour;value\nNK;1;4;0,5\nT;2;4;\nT;2;8;0,25\nT;1;8;99\n")
    tensor = read_tensor(tmp_path / "doses.csv", dialect=Dialect(decimal=",", missing=("99",), skip_missing=True))
    assert tensor.values.tolist() == [0.5, 0.25]
    assert tensor.source.left_out == 2
    array = np.array([[[1.0, 2], [3, 99]], [[4, 5], [6, 7]]])
    np.save(tmp_path / "t.npy", array)
    assert len(read_tensor(tmp_path / "t.npy", dialect=Dialect(missing=("99",))).values) == 7


def test_parquet_and_arrays(tmp_path):
    columns = {"user": ["a", "a", "b", "b"], "item": ["x", "y", "x", "y"], "rating": [1.0, 99, None, 3]}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    table = read_table(tmp_path / "t.parquet", dialect=Dialect(missing=("99",), skip_missing=True))
    assert table.ratings.tolist() == [1, 3]
    np.save(tmp_path / "m.npy", np.array([[1, 2, 99], [3, 4, 5]]))
    assert np.isnan(read_table(tmp_path / "m.npy", dialect=Dialect(missing=("99",))).values).sum() == 1
    for option in ({"encoding": "latin-1"}, {"comment": "#"}, {"decimal": ","}):
        with pytest.raises(ValueError, match=f"^{next(iter(option))}: .* is no text file"):
            read_table(tmp_path / "m.npy", dialect=Dialect(**option))


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"encoding": "latin-99"}, ValueError, "^encoding: expected one such as"),
        ({"comment": ""}, ValueError, "^comment: expected one or more characters"),
        ({"decimal": ";"}, ValueError, "^decimal: expected '.' or ','"),
        ({"missing": "99"}, TypeError, "^missing: expected a tuple of texts, found '99'"),
        ({"missing": (99,)}, TypeError, "^missing: expected a tuple of texts"),
    ],
)
def test_bad_dialects(options, kind, message):
    with pytest.raises(kind, match=message):
        Dialect(**options)


def test_what_does_not_fit_together(tmp_path):
    with pytest.raises(ValueError, match="delimiter: expected another character than before decimals"):
        table_of(tmp_path, USUAL, Dialect(decimal=","), delimiter=",")
    with pytest.raises(ValueError, match="expected text in utf-16, found other bytes"):
        table_of(tmp_path, USUAL, Dialect(encoding="utf-16"))
    with pytest.raises(ValueError, match="skip_missing: a matrix has holes"):
        table_of(tmp_path, MATRIX, Dialect(skip_missing=True), kind="matrix")
    with pytest.raises(ValueError, match="of a list by blocks"):
        table_of(tmp_path, "1:\n5,3,2005-09-06\n7,4,2005-10-01\n2:\n5,1,2006-01-01\n", Dialect())


numbers = st.floats(-1e6, 1e6).map(lambda x: round(x, 3))


@given(st.lists(numbers, min_size=4, max_size=8, unique=True))
def test_decimal_commas_change_nothing(tmp_path_factory, values):
    folder = tmp_path_factory.mktemp("t")
    rows = [(f"u{k % 2}", f"i{k // 2}", f"{value!r}") for k, value in enumerate(values)]
    points = "user;item;rating\n" + "".join(";".join(row) + "\n" for row in rows)
    assert parts(table_of(folder, points.replace(".", ","), Dialect(decimal=","))) == parts(
        table_of(folder, points, Dialect())
    )


# The command ------------------------------------------------------------------------------------


def test_the_command_has_them_all(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    lines = (
        "% von Hand\nKäufer;Ware;rating\n"
        + "".join(f"ü{k % 4};{k // 4};{k % 5},5\n" for k in range(16))
        + "ü1;9;99\nü2;9;\n"
    )
    Path("t.csv").write_text(lines, encoding="cp1252")
    options = ["--encoding", "cp1252", "--comment", "%", "--decimal", ",", "--missing", "99", "--missing", "x"]
    code = undertow("complete", "t.csv", *options, "--skip-missing", "--rank", 1, "--max-iter", 1)
    out, _ = capsys.readouterr()
    assert code == 0
    assert "2 rows without a rating left out" in out
    assert "Käufer,Ware,rating" in Path("t-completed.csv").read_text(encoding="utf-8").splitlines()[0]


def test_the_command_speaks_of_its_options(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for text, words in (
        ("user,item,rating\na,x,1\na,x,2\nb,y,3\n", "--duplicates mean averages them"),
        ("a,b,c,d,e\nf,g,h,i,j\n", "say --kind ratings (three columns: user, item, rating; name them with --user,"),
        ("user,item,rating\na,x,1\nb,y,\n", "left out with --skip-missing"),
        ("user,item,rating\na,x,1\nb,y,?\n", "left out with --missing '?'"),
        ("a;x;3,5\na;y;4,5\nb;y;1,5\n", "--decimal ,"),
    ):
        Path("t.csv").write_text(text)
        assert undertow("complete", "t.csv") == 2
        _, err = capsys.readouterr()
        assert words in err
        assert '="' not in err


def test_words_of_options():
    assert in_options("max_iter: expected 1") == "--max-iter: expected 1"
    assert in_options("say kind=\"matrix\" or missing='?'") == "say --kind matrix or --missing '?'"
    assert in_options("file rating: 3") == "file rating: 3"
