"""``undertow complete``: from a file to a file."""

import csv
import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from complete_command import (
    ITEMS,
    LABELLED,
    RATINGS,
    USERS,
    Output,
    check_complete,
    delimited,
    one_line,
    rows_of,
    undertow,
)
from table_files import parquet, write

from undertow import estimators
from undertow.cli import _complete
from undertow.estimators import RatingErrors
from undertow.estimators._rating_model import fit_ratings


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


# Ratings ----------------------------------------------------------------------------------------


def test_ratings_end_to_end(folder: Path, capsys: Output) -> None:
    write(folder, delimited(RATINGS), "ratings.csv")
    assert undertow("complete", "ratings.csv", "--max-iter", 20) == 0
    check_complete(rows_of(folder / "ratings-completed.csv"))
    out, err = capsys.readouterr()
    assert err == ""  # no terminal, no progress
    assert "ratings.csv: ratings, delimiter ',', header, user / item / rating" in out
    assert "8 entries of 4 x 3 (66.67%)" in out
    assert "error on 1 held-out entries" in out
    for name in ("mean", "user + item biases", "average of factorizations"):
        assert name in out
    assert "wrote ratings-completed.csv" in out
    # What is held out, and what begins, depends on the seed alone.
    assert undertow("complete", "ratings.csv", "--max-iter", 20, "-o", "again.csv") == 0
    assert (folder / "again.csv").read_bytes() == (folder / "ratings-completed.csv").read_bytes()


@pytest.mark.parametrize("output", ["o.csv", "o.tsv", "o.csv.gz", "o.tsv.gz", "o.parquet", "O.CSV"])
@pytest.mark.parametrize("source", ["csv", "tsv", "parquet", "no-header", "gz"])
def test_formats(folder: Path, source: str, output: str) -> None:
    if source == "parquet":
        users, items, ratings = zip(*RATINGS, strict=True)
        path = parquet(folder, user=list(users), item=list(items), rating=list(ratings))
    elif source == "gz":
        path = write(folder, gzip.compress(delimited(RATINGS).encode()), "t.csv.gz")
    else:
        text = delimited(RATINGS, "\t" if source == "tsv" else ",", header=source != "no-header")
        path = write(folder, text, "t.tsv" if source == "tsv" else "t.csv")
    assert undertow("complete", path, "-o", output) == 0
    if output == "o.parquet":
        check_complete(pq.read_table(folder / output).to_pylist())
    else:
        check_complete(rows_of(folder / output, "\t" if "tsv" in output else ","))


def test_columns_by_option(folder: Path) -> None:
    rows = "".join(f'{k};{r};"{i}";{u}\n' for k, (u, i, r) in enumerate(RATINGS))
    path = write(folder, "n;how good;what;who\n" + rows)
    assert undertow("complete", path, "--user", "who", "--item", "what", "--rating", "how good", "-o", "a.csv") == 0
    check_complete(rows_of(folder / "a.csv"), ("who", "what", "how good"))
    assert undertow("complete", path, "--user", 4, "--item", 3, "--rating", 2, "-o", "b.csv") == 0
    assert (folder / "a.csv").read_bytes() == (folder / "b.csv").read_bytes()
    bare = write(folder, rows, "bare.csv")
    assert undertow("complete", bare, "--user", 4, "--item", 3, "--rating", 2, "--no-header", "-o", "c.csv") == 0
    check_complete(rows_of(folder / "c.csv"))


def test_pairs(folder: Path) -> None:
    rows = "".join(f'{r},"{i}",{u}\n' for u, i, r in RATINGS)
    table = write(folder, "stars,film,who\n" + rows)
    asked = [("u3", "007"), ("NA", "7"), ("new", "7"), ("u1", "unheard of"), ("new", "new"), ("u3", "007")]
    options = ("--user", 3, "--item", 2, "--rating", 1)
    for name, header in (("p.csv", "user,item\n"), ("q.csv", "")):
        pairs = write(folder, header + "".join(f"{u},{i}\n" for u, i in asked), name)
        assert undertow("complete", table, *options, "--pairs", pairs, "-o", f"out-{name}") == 0
    assert (folder / "out-p.csv").read_bytes() == (folder / "out-q.csv").read_bytes()
    # Columns called as in the table may stand in any order.
    write(folder, "film,n,who\n" + "".join(f"{i},0,{u}\n" for u, i in asked), "r.csv")
    assert undertow("complete", table, *options, "--pairs", "r.csv", "-o", "out-r.csv") == 0
    assert (folder / "out-p.csv").read_bytes() == (folder / "out-r.csv").read_bytes()
    found = rows_of(folder / "out-p.csv")
    assert [(row["who"], row["film"]) for row in found] == asked
    assert [row["observed"] for row in found] == ["false", "true", "false", "false", "false", "false"]
    assert found[1]["stars"] == "3.5"
    ratings = np.array([r for _, _, r in RATINGS])
    codes = np.array([(USERS.index(u), ITEMS.index(i)) for u, i, _ in RATINGS]).T
    model = fit_ratings(*codes, ratings, (4, 3), estimators.RatingPredictor().settings())
    expected = [model.at(np.array([u]), np.array([i]))[0] for u, i in [(2, 0), (-1, 1), (1, -1), (-1, -1), (2, 0)]]
    predicted = [float(row["stars"]) for k, row in enumerate(found) if k != 1]
    np.testing.assert_allclose(predicted, expected, rtol=0, atol=0.5e-4)  # four decimals


def test_json_is_all_of_the_output(folder: Path, capsys: Output) -> None:
    path = write(folder, delimited(RATINGS))
    assert undertow("complete", path, "--json", "-o", "o.csv", "--test-fraction", 0.25) == 0
    out, err = capsys.readouterr()
    assert err == ""
    found = json.loads(out)
    assert found["test_size"] == 2
    assert found["train_size"] == 6
    assert found["output"] == "o.csv"
    assert found.keys() == {*RatingErrors.__dataclass_fields__, "output", "seconds"}


@pytest.mark.parametrize("factor", [1e-9, 1e-120, 1e90])
def test_predictions_are_rounded_by_their_unit(folder: Path, factor: float, capsys: Output) -> None:
    """Four decimals tell ratings from 1 to 5 apart, but none of a billionth of these."""
    assert undertow("complete", write(folder, delimited(RATINGS)), "-o", "a.csv", "--json") == 0
    scaled = write(folder, delimited([(u, i, factor * r) for u, i, r in RATINGS]), "scaled.csv")
    assert undertow("complete", scaled, "-o", "b.csv", "--json") == 0
    ratings = [[float(row["rating"]) for row in rows_of(folder / name)] for name in ("a.csv", "b.csv")]
    np.testing.assert_allclose(np.array(ratings[1]) / factor, ratings[0], rtol=0, atol=1e-4)
    plain, small = map(json.loads, capsys.readouterr().out.splitlines())
    assert small["biases"] == pytest.approx(factor * plain["biases"])
    # Errors are shown with digits that say something.
    assert undertow("complete", scaled, "-o", "c.csv") == 0
    assert f"{small['biases']:.3e}" in capsys.readouterr().out


def test_clipping_is_for_ratings() -> None:
    assert _complete._model(True).clip
    assert not _complete._model(False).clip


def test_clip_can_be_chosen(folder: Path) -> None:
    # Two users and two items far from the rest: where they meet, the effects lead beyond what was seen.
    high, low = {0, 1}, {28, 29}
    rows = [
        (f"u{i}", f"x{j}", 5.0 + 4 * ((i in high) + (j in high)) - 4 * ((i in low) + (j in low)))
        for i in range(30)
        for j in range(30)
        if not ({i, j} <= high or {i, j} <= low)
    ]
    path = write(folder, delimited(rows))
    for option in ("--clip", "--no-clip"):
        assert undertow("complete", path, option, "-o", "o.csv", "--force") == 0
        holes = [float(row["rating"]) for row in rows_of(folder / "o.csv") if row["observed"] == "false"]
        assert len(holes) == 8
        assert (min(holes) < 1.0) == (max(holes) > 9.0) == (option == "--no-clip")


# Matrices ---------------------------------------------------------------------------------------


def test_matrix_with_labels(folder: Path, capsys: Output) -> None:
    path = write(folder, LABELLED)
    assert undertow("complete", path) == 0
    told = capsys.readouterr().out
    assert "in column deviations: column means" in told
    assert "of its mean" in told
    read = list(csv.reader((folder / "table-completed.csv").read_text().splitlines()))
    given = list(csv.reader(LABELLED.splitlines()))
    assert read[0] == given[0]
    assert [row[0] for row in read] == ["", "p", "q", "NA", "s"]
    for row, before in zip(read[1:], given[1:], strict=True):
        assert all(cell != "" and (was in ("", cell) or float(was) == float(cell))
                   for cell, was in zip(row[1:], before[1:], strict=True))  # fmt: skip


def test_errors_by_column_in_json(folder: Path, capsys: Output) -> None:
    path = write(folder, LABELLED)
    assert undertow("complete", path, "--json", "--rank", 2) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["columns"]) == len(found["means"]) == len(found["counts"]) == 5
    assert sum(found["counts"]) == found["test_size"]
    assert [value is None for value in found["columns"]] == [count == 0 for count in found["counts"]]


def test_npy_end_to_end(folder: Path) -> None:
    matrix = np.add.outer(np.arange(8.0), np.arange(6.0)).astype(np.float32)
    matrix[1, 2] = matrix[5, 0] = np.nan
    np.save(folder / "m.npy", matrix)
    assert undertow("complete", "m.npy", "--max-iter", 20) == 0
    found = np.load(folder / "m-completed.npy")
    known = ~np.isnan(matrix)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[known], matrix[known])
    np.testing.assert_allclose(found[~known], [3, 5], atol=0.5)  # additive: rows and columns differ by one factor each
    assert undertow("complete", "m.npy", "--max-iter", 20, "-o", "m.csv") == 0
    np.testing.assert_allclose(np.loadtxt(folder / "m.csv", delimiter=","), found, rtol=1e-6)


# Where it goes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "output"),
    [
        ("t.csv", "t-completed.csv"),
        ("t.csv.gz", "t-completed.csv"),
        ("T.CSV", "T-completed.csv"),
        ("t.tsv", "t-completed.tsv"),
        ("u.data", "u.data-completed.csv"),
        ("t.pq", "t-completed.parquet"),
        ("ratings", "ratings-completed.csv"),
    ],
)
def test_default_output_is_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, output: str
) -> None:
    source, here = tmp_path / "source", tmp_path / "here"
    source.mkdir()
    here.mkdir()
    monkeypatch.chdir(here)
    if name == "t.pq":
        users, items, ratings = zip(*RATINGS, strict=True)
        parquet(source, user=list(users), item=list(items), rating=list(ratings)).rename(source / name)
    else:
        text = delimited(RATINGS, "\t" if ".tsv" in name else ",").encode()
        write(source, gzip.compress(text) if name.endswith(".gz") else text, name)
    assert undertow("complete", source / name) == 0
    assert [path.name for path in here.iterdir()] == [output]
    assert [path.name for path in source.iterdir()] == [name]


def test_files_are_not_overwritten_unasked(folder: Path, capsys: Output) -> None:
    path = write(folder, delimited(RATINGS))
    pairs = write(folder, "u1,7\n", "pairs.csv")
    taken = write(folder, "mine", "taken.csv")
    assert undertow("complete", path, "-o", taken) == 2
    assert "--force to replace it" in one_line(capsys)
    assert taken.read_text() == "mine"
    assert undertow("complete", path, "-o", taken, "--force") == 0
    check_complete(rows_of(taken))
    capsys.readouterr()
    (folder / "link.csv").symlink_to(path)
    for output in (path, folder / "link.csv", pairs):
        before = output.read_bytes()
        assert undertow("complete", path, "--pairs", pairs, "-o", output, "--force") == 2
        assert "is being read" in one_line(capsys)
        assert output.read_bytes() == before
    assert undertow("complete", path, "-o", folder / "table-completed.csv") == 0
    capsys.readouterr()
    assert undertow("complete", path) == 2  # the default name is taken too
    assert "table-completed.csv exists" in one_line(capsys)


def test_long_tables_on_request(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    monkeypatch.setattr(_complete, "MOST_ROWS", 11)
    path = write(folder, delimited(RATINGS))
    assert undertow("complete", path) == 0  # the errors are worth having
    out, err = capsys.readouterr()
    assert "average of factorizations" in out
    assert "wrote" not in out
    assert "not written: the completed table would have 12 rows; ask for it with --all" in err
    assert undertow("complete", path, "--json") == 0
    assert json.loads(capsys.readouterr().out)["output"] is None
    assert undertow("complete", path, "-o", "o.csv") == 2  # a file was asked for by name
    assert "--all" in one_line(capsys)
    assert [p.name for p in folder.iterdir()] == ["table.csv"]
    write(folder, "u1,7\n", "pairs.csv")
    assert undertow("complete", path, "--pairs", "pairs.csv", "-o", "p.csv") == 0
    assert undertow("complete", path, "--all", "-o", "o.csv") == 0
    check_complete(rows_of(folder / "o.csv"))


def test_pairs_that_the_table_does_not_know_are_counted(folder: Path, capsys: Output) -> None:
    write(folder, delimited(RATINGS), "r.csv")
    write(folder, "user,item\nu1,7\nu1,8\nnobody,7\nnobody,8\n", "pairs.csv")
    assert undertow("complete", "r.csv", "--pairs", "pairs.csv", "--max-iter", 1) == 0
    assert "3 of 4 pairs have a user or an item that is not in the table" in capsys.readouterr().err
    write(folder, "user,item\n1.0,7.0\nnobody,8\n", "pairs.csv")
    assert undertow("complete", "r.csv", "--pairs", "pairs.csv", "-o", "never.csv") == 2
    found = capsys.readouterr().err
    assert "expected users and items of the table, such as 'NA' and '007'" in found
    assert "such as '1.0' and '7.0'" in found
    assert not (folder / "never.csv").exists()
