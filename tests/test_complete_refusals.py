"""``undertow complete``: what it says where it cannot, and that it leaves nothing behind."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from complete_command import (
    LABELLED,
    RATINGS,
    Output,
    check_complete,
    delimited,
    one_line,
    rows_of,
    undertow,
)
from table_files import write

from undertow import estimators


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


# Wrong usage ------------------------------------------------------------------------------------


GOOD = delimited(RATINGS)
BAD_TABLES = {
    "truncated": ("t.csv", GOOD[:-8], [], "t.csv, line 9: expected 3 columns"),
    "truncated-gz": ("t.csv.gz", gzip.compress(GOOD.encode())[:-9], [], "expected gzip data"),
    "wrong-delimiter": ("t.csv", GOOD, ["--delimiter", ";"], "delimiter ';' gives one column only"),
    "text-rating": ("t.csv", GOOD.replace("5.0", "five"), [], "'five' on line 6"),
    "nan-rating": ("t.csv", GOOD.replace("5.0", "nan"), [], "'nan' on line 6"),
    "no-rows": ("t.csv", "user,item,rating\n", [], "found only a header (0 rows)"),
    "empty": ("t.csv", "", [], "found an empty file"),
    "one-user": ("t.csv", "user,item,rating\na,x,1\na,y,2\na,z,3\n", [], "found one user ('a')"),
    "one-item": ("t.csv", "user,item,rating\na,x,1\nb,x,2\nc,x,3\n", [], "found one item ('x')"),
    "two-ratings": ("t.csv", "user,item,rating\na,x,1\nb,y,2\n", [], "at least two entries beside"),
    "duplicates": ("t.csv", GOOD + "u1,007,3\n", [], "user 'u1' and item '007' on line 4 and line 10"),
    "unknown-column": ("t.csv", GOOD, ["--rating", "ratng"], "did you mean 'rating'?"),
    "unknown-kind": ("t.csv", GOOD, ["--kind", "rating"], "did you mean 'ratings'?"),
    "unknown-duplicates": ("t.csv", GOOD, ["--duplicates", "lsat"], "did you mean 'last'?"),
    "unknown-option": ("t.csv", GOOD, ["--foce"], "--foce"),
    "not-utf-8": ("t.csv", GOOD.encode() + b"\xff,x,1\n", [], "expected UTF-8 text"),
    "broken-parquet": ("t.parquet", b"PAR1" + bytes(50) + b"PAR1", [], "t.parquet: "),
    "text-as-parquet": ("t.parquet", GOOD, [], "t.parquet: "),
    "text-as-npy": ("t.npy", GOOD, [], "t.npy: "),
    "full-matrix": ("t.csv", "1,2,3,4,5\n6,7,8,9,1\n", [], "expected holes"),
    "too-large": ("t.csv", GOOD.replace("5.0", "1e200"), [], "at most 1e+100"),
    "pairs-of-a-matrix": ("t.csv", LABELLED, ["--pairs", "t.csv"], "--pairs: expected a table of ratings"),
    "missing-pairs": ("t.csv", GOOD, ["--pairs", "nowhere.csv"], "nowhere.csv: no such file"),
    "missing-folder": ("t.csv", GOOD, ["-o", "nowhere/o.csv"], "there is no directory nowhere"),
    "folder-as-output": ("t.csv", GOOD, ["-o", "."], "expected a"),
    "unknown-ending": ("t.csv", GOOD, ["-o", "o.xlsx"], "expected a name that ends in one of"),
    "npy-of-ratings": ("t.csv", GOOD, ["-o", "o.npy"], "expected a name that ends in one of"),
    **{
        f"{option[2:]}={value}": ("t.csv", GOOD, [option, value], option)
        for option, values in {
            "--test-fraction": ["0", "1", "-0.1", "1.5", "nan", "inf", "half", "0.9"],
            "--depth": ["0", "1", "-2", "2.5", "two"],
            "--width": ["0", "-1", "wide"],
            "--max-iter": ["0", "-5", "1000001", "many"],
            "--seed": ["-1", "1.5", "4294967296", "x"],
        }.items()
        for value in values
    },
}


@pytest.mark.parametrize(("name", "content", "options", "message"), BAD_TABLES.values(), ids=BAD_TABLES.keys())
def test_wrong_usage(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output, name: str, content, options, message: str
) -> None:
    monkeypatch.setattr(estimators, "rating_errors", never)  # all is checked before any work
    write(folder, content, name)
    assert undertow("complete", name, *options) == 2
    assert message in one_line(capsys)
    assert [path.name for path in folder.iterdir()] == [name]


def never(*_: Any, **__: Any) -> None:
    raise AssertionError("work began before all was checked")


def test_wrong_tables_that_are_no_text(folder: Path, capsys: Output) -> None:
    np.save(folder / "pickled.npy", np.array([[{}, 1.0]], dtype=object), allow_pickle=True)
    assert undertow("complete", "pickled.npy") == 2
    assert "pickled.npy" in one_line(capsys)
    assert undertow("complete", "nowhere.csv") == 2
    assert "nowhere.csv: no such file" in one_line(capsys)
    assert undertow("complete", folder) == 2
    assert "found a directory" in one_line(capsys)
    assert undertow("complete") == 2
    assert "Missing argument" in one_line(capsys)
    assert [path.name for path in folder.iterdir()] == ["pickled.npy"]


def test_failures_of_writing(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    path = write(folder, GOOD)
    monkeypatch.setattr("undertow.datasets._writing.pa.table", full)
    assert undertow("complete", path, "-o", "o.csv") == 2
    err = capsys.readouterr().err
    assert "No space left on device" in err
    assert err.count("\n") == 1
    assert [p.name for p in folder.iterdir()] == ["table.csv"]


# As a process -----------------------------------------------------------------------------------

COMMAND = [sys.executable, "-c", "from undertow.cli import main; main()", "complete"]


def environment() -> dict[str, str]:
    return {**os.environ, "NPROC": "1", "JAX_PLATFORMS": "cpu"}


def test_a_process_says_what_is_wrong(folder: Path) -> None:
    write(folder, GOOD.replace("5.0", "five"))
    done = subprocess.run(
        [*COMMAND, "table.csv"], capture_output=True, text=True, env=environment(), timeout=60, check=False
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "'five' on line 6" in done.stderr


def test_a_process_prints_json_and_nothing_else(folder: Path) -> None:
    write(folder, GOOD)
    command = [*COMMAND, "table.csv", "--json", "--max-iter", "20"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=120, check=False)
    assert done.returncode == 0
    assert done.stderr == ""
    assert json.loads(done.stdout)["output"] == "table-completed.csv"
    check_complete(rows_of(folder / "table-completed.csv"))


# Says when the fit is under way, so that the test need not guess.
ANNOUNCED = """
import sys
from undertow.estimators import _variational
updated = _variational.updated
def announced(*arguments, **options):
    print("fitting", flush=True)
    return updated(*arguments, **options)
_variational.updated = announced
from undertow.cli import main
main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is sent otherwise there")
@pytest.mark.parametrize("force", [False, True])
def test_interruption_leaves_nothing_behind(folder: Path, force: bool) -> None:
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(60, 3)), rng.normal(size=(3, 50))
    pairs = [(i, j) for i in range(60) for j in range(50) if rng.random() < 0.7]
    write(folder, delimited([(f"u{i}", f"x{j}", round(float(left[i] @ right[:, j]), 6)) for i, j in pairs]))
    if force:
        write(folder, "mine", "o.csv")
    options = ["table.csv", "-o", "o.csv", "--max-iter", "1000000", *(["--force"] if force else [])]
    command = [sys.executable, "-c", ANNOUNCED, "complete", *options]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment(), **pipes) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if "fitting" in line:
                    break
            process.send_signal(signal.SIGINT)
            began = time.monotonic()
            _, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert time.monotonic() - began < 30
    assert err == "undertow: interrupted\n"
    assert sorted(path.name for path in folder.iterdir()) == (["o.csv"] if force else []) + ["table.csv"]
    assert not force or (folder / "o.csv").read_text() == "mine"
