"""``undertow complete`` of a tensor: long form of every make, arrays, and what is refused."""

import itertools
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from complete_command import Output, one_line, rows_of, undertow

from undertow.datasets import read_tensor
from undertow.estimators import TensorCompleter

AXES = ["NK", "T", "B", "NA"], ["1", "2", "3"], ["4 h", "8 h", "x,y"]
DRAWS = np.random.default_rng(0)
TRUTH = np.einsum("i,j,k->ijk", *(DRAWS.uniform(1, 3, len(axis)) for axis in AXES))
HIDDEN = {(0, 1, 2), (3, 2, 0), (2, 0, 1)}
INDICES = [k for k in itertools.product(range(4), range(3), range(3)) if k not in HIDDEN]
ROWS = [(*(axis[n] for axis, n in zip(AXES, k, strict=True)), float(TRUTH[k])) for k in INDICES]
NAMES = ("cell", "dose", "time", "response")


def text(delimiter: str = ",", header: bool = True, rows=ROWS) -> str:
    lines = [NAMES] * header + [tuple(map(str, row)) for row in rows]
    return "".join(delimiter.join(f'"{x}"' if "," in x else x for x in line) + "\n" for line in lines)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check(rows, names=NAMES) -> None:
    """Every index once, observed values as they were, the rest near the truth."""
    given = {row[:3]: row[3] for row in ROWS}
    expected = list(itertools.product(*AXES))
    assert sorted(tuple(row[name] for name in names[:3]) for row in rows) == sorted(expected)
    for row in rows:
        place = tuple(row[name] for name in names[:3])
        assert str(row["observed"]).lower() == ("true" if place in given else "false")
        if place in given:
            assert float(row[names[3]]) == given[place]
        else:
            k = tuple(axis.index(name) for axis, name in zip(AXES, place, strict=True))
            assert float(row[names[3]]) == pytest.approx(TRUTH[k], rel=0.3)


def test_long_form_end_to_end(folder: Path, capsys: Output) -> None:
    (folder / "t.csv").write_text(text())
    assert undertow("complete", "t.csv", "--kind", "tensor") == 0
    out = capsys.readouterr().out
    assert "tensor, delimiter ',', header, cell / dose / time / response" in out
    assert "33 entries of 4 x 3 x 3 (91.67%)" in out
    assert "effects of the axes" in out
    check(rows_of(folder / "t-completed.csv"))


@pytest.mark.long
@pytest.mark.parametrize("name", ["t.tsv", "t.parquet"])
def test_formats(folder: Path, name: str) -> None:
    if name == "t.tsv":
        (folder / name).write_text(text("\t", header=False))
    else:
        pq.write_table(pa.table(list(map(list, zip(*ROWS, strict=True))), names=list(NAMES)), folder / name)
    assert undertow("complete", name, "--kind", "tensor", "-o", "o.csv") == 0
    check(rows_of(folder / "o.csv"), NAMES if name == "t.parquet" else ("axis 1", "axis 2", "axis 3", "value"))


@pytest.mark.long
def test_an_array_of_three_axes_is_a_tensor(folder: Path, capsys: Output) -> None:
    array = TRUTH.copy()
    for k in HIDDEN:
        array[k] = np.nan
    np.save(folder / "t.npy", array)
    assert undertow("complete", "t.npy", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["completer"] < result["mean"]
    assert (result["test_size"], result["train_size"]) == (3, 30)
    found = np.load(folder / "t-completed.npy")
    np.testing.assert_array_equal(found[~np.isnan(array)], array[~np.isnan(array)])
    np.testing.assert_allclose(found, TensorCompleter(empty_slices="fill").fit_transform(array))


def test_columns_after_the_value_are_passed_over(folder: Path) -> None:
    rows = [(*row, "x") for row in ROWS]
    (folder / "t.csv").write_text(
        "cell,dose,time,response,note\n" + "".join(",".join(f'"{x}"' for x in row) + "\n" for row in rows)
    )
    tensor = read_tensor(folder / "t.csv", value="response")
    assert tensor.shape == (4, 3, 3)
    assert tensor.names == NAMES
    assert read_tensor(folder / "t.csv", value=4).values.tolist() == tensor.values.tolist()
    assert undertow("complete", "t.csv", "--kind", "tensor", "--value", "response", "-o", "o.csv") == 0
    check(rows_of(folder / "o.csv"))


def test_values_by_their_usual_name(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b,value,when\n1,1,2.5,9\n2,1,3,9\n1,2,4,9\n")
    tensor = read_tensor(tmp_path / "t.csv")
    assert (tensor.names, tensor.values.tolist()) == (("a", "b", "value"), [2.5, 3, 4])


def test_duplicates(folder: Path, capsys: Output) -> None:
    (folder / "t.csv").write_text(text(rows=[*ROWS, (*ROWS[0][:3], 9.0)]))
    assert undertow("complete", "t.csv", "--kind", "tensor") == 2
    assert "'NK', '1', '4 h' on line 2 and line 35 (1 such rows in all)" in one_line(capsys)
    assert read_tensor("t.csv", duplicates="last").values[0] == 9
    assert read_tensor("t.csv", duplicates="mean").values[0] == (9 + ROWS[0][3]) / 2


def test_units_and_range_can_be_said(folder: Path) -> None:
    rows = [(*row[:3], row[3] * 10.0 ** (4 * AXES[1].index(row[1]))) for row in ROWS]
    (folder / "t.csv").write_text(text(rows=rows))
    assert undertow("complete", "t.csv", "--kind", "tensor", "--variables", "dose", "--clip") == 0
    found = {tuple(row[n] for n in NAMES[:3]): float(row["response"]) for row in rows_of(folder / "t-completed.csv")}
    values = [row[3] for row in rows]
    assert min(values) <= min(found.values()) <= max(found.values()) <= max(values)
    for k in HIDDEN:
        place = tuple(axis[n] for axis, n in zip(AXES, k, strict=True))
        assert found[place] == pytest.approx(TRUTH[k] * 10.0 ** (4 * k[1]), rel=0.5)


def test_ratings_stay_ratings(folder: Path, capsys: Output) -> None:
    (folder / "t.csv").write_text(
        "user,item,rating,timestamp\n" + "".join(f"{u},{i},{u + i},7\n" for u in range(5) for i in range(4))
    )
    assert undertow("complete", "t.csv") == 0
    assert "ratings, delimiter" in capsys.readouterr().out


BAD = {
    "value-column": (text(), ["--value", "respons"], "did you mean 'response'?"),
    "too-few-columns": (text(), ["--value", "dose"], "two columns of indices or more before the value, found 1"),
    "text-value": (text().replace(str(ROWS[4][3]), "high"), [], "in every cell of the values column 'response'"),
    "one-label": ("a,b,value\nx,1,2\nx,2,3\nx,3,4\n", [], "at least two labels on every axis, found one in 'a'"),
    "no-rows": ("a,b,value\n", [], "found only a header (0 rows)"),
    "user": (text(), ["--user", "cell"], "--user: a tensor has none"),
    "pairs": (text(), ["--pairs", "t.csv"], "--pairs: a tensor has none"),
    "variables": (text(), ["--variables", "hour"], "--variables: expected one of cell, dose, time"),
    "components": (text(), ["--rank", "50"], "--rank: expected at most as many as entries, 33, found 50"),
}


@pytest.mark.parametrize("name", BAD)
def test_wrong_usage(folder: Path, capsys: Output, name: str) -> None:
    content, options, message = BAD[name]
    (folder / "t.csv").write_text(content)
    assert undertow("complete", "t.csv", "--kind", "tensor", *options) == 2
    assert message in one_line(capsys)
    assert [path.name for path in folder.iterdir()] == ["t.csv"]


def test_options_of_a_tensor_are_none_of_others(folder: Path, capsys: Output) -> None:
    (folder / "t.csv").write_text("user,item,rating\na,x,1\nb,y,2\n")
    assert undertow("complete", "t.csv", "--value", "rating") == 2
    assert "say --kind tensor" in one_line(capsys)
