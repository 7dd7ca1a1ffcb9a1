"""The command: what it prints, its exit statuses, interrupted and resumed, with workers."""

import collections
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from undertow.cli import main

CODE = """
import os, pathlib, time
import jax
import xarray
from undertow import plotting
from undertow.datasets import DataNotFound
from undertow.studies import AtLeast, AtMost, Study

HERE = pathlib.Path(__file__).parent

def run(budget, key, progress):
    progress(0.5, "half")
    return xarray.Dataset({"x": 1.0})

def wait(budget, key, progress):
    (HERE / "waiting").touch()
    while not (HERE / "go").exists():
        try:
            time.sleep(0.01)
        except KeyboardInterrupt:
            return run(budget, key, progress)  # as a trainer that keeps the result so far
    return run(budget, key, progress)

def draw(budget, key, progress):
    return xarray.Dataset({"x": float(jax.random.uniform(key))})

def crash(budget, key, progress):
    os._exit(3)

def missing(budget, key, progress):
    raise DataNotFound("no data here")

def plot(dataset):
    with plotting.figure(width=2.0, height=2.0) as (made, ax):
        ax.plot([0, 1])
    return {"line": made}

def make(id, run, check):
    return Study(
        id=id, title="T " + id, source="S", claim="C.", run=run, checks=(check,), plot=plot, chapter="fakes",
        standing="our own", example="print(1)",
    )

small = AtMost("x", lambda d: d["x"], 2.0)
studies = [make("fake-holds", run, small), make("fake-fails", run, AtLeast("x", lambda d: d["x"], 2.0)),
           make("fake-waits", wait, small), make("fake-crashes", crash, small), make("fake-missing", missing, small),
           make("fake-draws", draw, small)]
"""


@pytest.fixture
def fakes(tmp_path, monkeypatch):
    """Fake studies, installed as a third party's package; returns its folder."""
    folder = tmp_path / "site"
    information = folder / "fakes-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: fakes\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[undertow.studies]\nfakes = undertow_fakes:studies\n")
    (folder / "undertow_fakes.py").write_text(CODE)
    monkeypatch.delitem(sys.modules, "undertow_fakes", raising=False)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH")))))
    monkeypatch.chdir(tmp_path)
    return folder


def call(*arguments):
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return ended.value.code


@pytest.mark.usefixtures("fakes")
@pytest.mark.parametrize(
    ("ids", "status"),
    [
        (["fake-holds"], 0),
        (["fake-fails"], 1),
        (["fake-holds", "fake-missing"], 0),
        (["fake-holds", "fake-fails", "fake-missing"], 1),
    ],
)
def test_exit_status_and_last_line(tmp_path, capsys, ids, status):
    assert call("reproduce", *ids, "--budget", "smoke", "--out", "dir") == status
    output = capsys.readouterr()
    assert output.out == f"wrote {Path('dir') / 'index.html'}\n"
    assert [line for line in output.err.splitlines() if ": started" in line] == [f"{name}: started" for name in ids]
    assert (tmp_path / "dir" / "index.html").is_file()


@pytest.mark.usefixtures("fakes")
def test_json_is_the_summary(tmp_path, capsys):
    assert call("reproduce", "fake-fails", "fake-holds", "--out", tmp_path / "dir", "--json") == 1
    output = capsys.readouterr()
    assert json.loads(output.out) == json.loads((tmp_path / "dir" / "summary.json").read_text())
    assert [row["id"] for row in json.loads(output.out)["studies"]] == ["fake-fails", "fake-holds"]
    assert "index.html" in output.err


@pytest.mark.usefixtures("fakes")
def test_studies_are_listed(capsys):
    assert call("studies") == 0
    shown = capsys.readouterr().out
    assert re.search(r"^fakes\n  fake-holds  +T fake-holds \(our own\)\n +S\n", shown, re.MULTILINE)
    assert call("studies", "--json") == 0
    content = json.loads(capsys.readouterr().out)
    row = {"id": "fake-holds", "title": "T fake-holds", "source": "S", "claim": "C."}
    row |= {"chapter": "fakes", "standing": "our own", "published": None}
    assert row in content["studies"]
    assert {"id": "fakes", "title": "fakes", "sentence": ""} in content["chapters"]
    assert {"flow-versus-descent", "image-completion"} <= {row["id"] for row in content["studies"]}
    counts = collections.Counter(row["standing"] for row in content["studies"])
    assert content["tally"] == {standing: counts[standing] for standing in ("as published", "amended", "our own")}
    tally = ", ".join(f"{number} {standing}" for standing, number in content["tally"].items())
    assert shown.endswith(f"\n{len(content['studies'])} claims: {tally}\n")


@pytest.mark.usefixtures("fakes")
def test_a_seed_of_the_user(tmp_path, capsys):
    for seed, out in ((0, "zero"), (7, "seven"), (2**32 - 1, "last")):
        assert call("reproduce", "fake-draws", "--seed", seed, "--out", tmp_path / out) == 0
    assert call("reproduce", "fake-draws", "--out", tmp_path / "left-out") == 0
    measured = {
        folder: json.loads((tmp_path / folder / "summary.json").read_text())["studies"][0]["checks"][0]["measured"]
        for folder in ("zero", "seven", "last", "left-out")
    }
    assert measured["zero"] == measured["left-out"]
    assert len(set(measured.values())) == 3


@pytest.mark.usefixtures("fakes")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["reproduce", "fake-hold"], "unknown study 'fake-hold'; did you mean fake-holds"),
        (["reproduce", "fake-holds", "--budget", "huge"], "'huge' is not one of 'smoke', 'quick', 'full'"),
        (["reproduce", "fake-holds", "--jobs", "0"], "jobs: expected at least 1, found 0"),
        (["reproduce", "fake-holds", "--jobs", "many"], "'--jobs'"),
        (["reproduce", "fake-holds", "--seed", "-1"], "seed: expected a whole number from 0 to 4294967295, found -1"),
        (["reproduce", "fake-holds", "--seed", "4294967296"], "seed: expected a whole number from 0 to 4294967295"),
        (["reproduce", "fake-holds", "--seed", "1.5"], "'--seed'"),
        (["reproduce", "fake-holds", "--out", "file"], "out: expected a folder, found a file: file"),
        (["reproduce", "fake-holds", "--out", "file/below"], "file"),
        (["reproduce", "--frehs"], "No such option"),
        (["nothing"], "No such command 'nothing'"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(tmp_path, capsys, arguments, message):
    (tmp_path / "file").write_text("precious")
    assert call(*arguments) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert message in output.err
    assert output.err.count("\n") == 1
    assert (tmp_path / "file").read_text() == "precious"
    assert not (tmp_path / "gallery-out").exists()


def test_version_and_help(capsys):
    assert call("--version") == 0
    assert capsys.readouterr().out.startswith("undertow 0.")
    for arguments in ([], ["--help"]):
        assert call(*arguments) == 0
        assert "reproduce" in capsys.readouterr().out


def test_the_command_itself_imports_nothing_heavy():
    """What `undertow --help` needs; a second is gone at once with any of these."""
    heavy = ["jax", "numpy", "scipy", "matplotlib", "xarray", "sklearn", "pyarrow", "diffrax", "jinja2"]
    code = f"import sys, undertow.cli; print([name for name in {heavy} if name in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"


def start(*arguments):
    code = f"from undertow.cli import main; main({[str(argument) for argument in arguments]!r})"
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a process group of its own, as a shell gives
    )


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_ctrl_c_keeps_and_the_next_call_resumes(fakes, tmp_path, jobs):
    arguments = [
        "reproduce",
        "fake-holds",
        "fake-waits",
        "--budget",
        "smoke",
        "--out",
        tmp_path / "dir",
        "--jobs",
        jobs,
    ]
    process = start(*arguments)
    deadline = time.monotonic() + 90
    finished = tmp_path / "dir" / "fake-holds" / "verdicts.json"
    while not ((fakes / "waiting").exists() and finished.exists()) and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    time.sleep(0.5)  # with workers: the parent hears of the end of the first
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the command and its workers
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert out == f"wrote {tmp_path / 'dir' / 'index.html'}\n"
    assert "Traceback" not in err
    rows = json.loads((tmp_path / "dir" / "summary.json").read_text())["studies"]
    assert [(row["checks"][0]["verdict"], row["checks"][0]["measured"]) for row in rows] == [
        ("holds", 1.0),
        ("not run", None),
    ]
    assert rows[1]["checks"][0]["reason"] == "interrupted"
    assert not list(tmp_path.rglob("*.partial"))

    (fakes / "go").touch()
    assert call(*arguments) == 0
    rows = json.loads((tmp_path / "dir" / "summary.json").read_text())["studies"]
    assert [row["checks"][0]["verdict"] for row in rows] == ["holds", "holds"]


@pytest.mark.usefixtures("fakes")
def test_workers_give_the_same_and_a_crash_is_one_failure(tmp_path, capsys):
    ids = ["fake-holds", "fake-crashes"]
    assert call("reproduce", *ids, "--budget", "smoke", "--out", tmp_path / "dir", "--jobs", 2) == 1
    rows = json.loads((tmp_path / "dir" / "summary.json").read_text())["studies"]
    assert [row["id"] for row in rows] == ids
    holds, crashes = (row["checks"][0] for row in rows)
    assert (holds["verdict"], holds["measured"]) == ("holds", 1.0)
    assert (crashes["verdict"], crashes["reason"]) == ("fails", "its process ended with exit status 3")
    assert "fake-holds: holds (1 of 1 checks)" in capsys.readouterr().err


def test_a_backend_that_a_notebook_hands_on_is_not_used(monkeypatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "module://not_installed_here.backend")
    with pytest.raises(SystemExit):
        main(["--version"])
    assert os.environ["MPLBACKEND"] == "agg"


@pytest.mark.parametrize(
    ("text", "encoding", "expected"),
    [("r\udce9 \xe4", "utf-8", b"r\xe9 \xc3\xa4"), ("r\udce9 \xe4\ud800", "ascii", b"r\xe9 \\xe4\\ud800")],
)
def test_names_are_printed_as_they_are(text: str, encoding: str, expected: bytes) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert text.encode(encoding, "undertow-names") == expected
