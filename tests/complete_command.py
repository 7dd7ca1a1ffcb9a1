"""The command in this process, for its tests: a table, how to call it, and what it may have written."""

import csv
import gzip
from pathlib import Path
from typing import Any

import pytest

from undertow import cli

Output = pytest.CaptureFixture[str]

# u3 has not rated "007", nor "u1" the item "7"; ids look like numbers, holes, and text with a comma.
RATINGS = [
    *[("NA", "007", 4.0), ("NA", "7", 3.5), ("u1", "007", 1.0), ("u1", "x,y", 2.0), ("u3", "7", 5.0)],
    *[("u3", "x,y", 4.5), ("null", "007", 2.0), ("null", "7", 1.5)],
]
LABELLED = ",a,b,c,d,e\np,1,,3,4,5\nq,2,3,,5,6\nNA,,4,5,6,7\ns,4,5,6,7,\n"
USERS, ITEMS = ["NA", "u1", "u3", "null"], ["007", "7", "x,y"]


def undertow(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        cli.main([str(argument) for argument in arguments])
    assert isinstance(left.value.code, int)
    return left.value.code


def delimited(rows: list[tuple[str, str, float]], delimiter: str = ",", header: bool = True) -> str:
    lines = [("user", "item", "rating")] * header + [tuple(map(str, row)) for row in rows]
    return "".join(delimiter.join(f'"{cell}"' if "," in cell else cell for cell in line) + "\n" for line in lines)


def rows_of(path: Path, delimiter: str = ",") -> list[dict[str, str]]:
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
    return list(csv.DictReader(text.splitlines(), delimiter=delimiter))


def check_complete(rows: list[dict[str, Any]], names: tuple[str, str, str] = ("user", "item", "rating")) -> None:
    """Every pair exactly once, observed ones as they were, the others within the range of the ratings."""
    user, item, rating = names
    assert [(row[user], row[item]) for row in rows] == [(u, i) for u in USERS for i in ITEMS]
    given = {(u, i): r for u, i, r in RATINGS}
    for row in rows:
        pair = row[user], row[item]
        assert str(row["observed"]).lower() == ("true" if pair in given else "false")
        if pair in given:
            assert float(row[rating]) == given[pair]
        assert 1.0 <= float(row[rating]) <= 5.0


def one_line(capsys: Output) -> str:
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("undertow: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    assert "Traceback" not in err
    return err
