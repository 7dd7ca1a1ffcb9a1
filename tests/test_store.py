"""Sweeps that are kept: every run once, whatever ends the process, and never mixed with what is not the same."""

import contextlib
import io
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import store_runs
import xarray as xr
from complete_command import undertow
from rich.console import Console

import undertow as ut
from undertow.cli._live_status import watch
from undertow.sweeps import _engines, _store, status

OVER = {"scale": [0.5, 1.0], "seed": [0, 1, 2]}
TESTS = Path(__file__).parent


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "results.zarr"


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many runs each batch had that was computed."""
    sizes: list[int] = []
    whole = _engines.computed

    def counting(run, points, *rest):
        sizes.append(len(points))
        return whole(run, points, *rest)

    monkeypatch.setattr(_engines, "computed", counting)
    return sizes


def without_times(data: xr.Dataset) -> xr.Dataset:
    return data.drop_vars("seconds").drop_attrs()


def test_the_same_as_without_a_store(store):
    kept = ut.sweep(store_runs.line, OVER, store=store)
    expected = ut.sweep(store_runs.line, OVER)
    for name in expected.data_vars:
        assert kept[name].dims == expected[name].dims
        np.testing.assert_array_equal(kept[name], expected[name])
    assert kept.attrs["interrupted"] == 0
    assert kept.attrs["run"] == "store_runs:line"
    assert (kept["message"] == "").all()


def test_opens_without_this_package_with_every_run_in_a_row(store):
    kept = ut.sweep(store_runs.line, OVER, store=store)
    with xr.open_zarr(store) as data:  # no warning either
        table = data[["scale", "seed", "status", "final_loss"]].to_dataframe()
    assert len(table) == 6
    found = table.set_index(["scale", "seed"])["final_loss"]
    for scale in OVER["scale"]:
        for seed in OVER["seed"]:
            assert found[scale, seed] == float(kept["final_loss"].sel(scale=scale, seed=seed))


def test_what_is_there_is_not_run_again(store, counted):
    first = ut.sweep(store_runs.line, OVER, store=store)
    xr.testing.assert_identical(ut.sweep(store_runs.line, OVER, store=str(store)), first)
    assert sum(counted) == 6
    # An axis that grows, axes in another order, a grid that shrinks, a number that is written otherwise.
    more = ut.sweep(store_runs.line, {"seed": [3, 2, 1, 0], "scale": [1.0, 0.5]}, store=store)
    assert sum(counted) == 8
    xr.testing.assert_identical(
        without_times(more.sel(seed=[0, 1, 2], scale=[0.5, 1.0]).transpose("scale", "seed", "sample")),
        without_times(first),
    )
    less = ut.sweep(store_runs.line, {"scale": [np.float32(0.5), 1], "seed": np.array([2])}, store=store)
    assert sum(counted) == 8
    np.testing.assert_array_equal(less["loss"], first["loss"].sel(seed=[2]))
    assert status(store) == ut.sweeps.Status("store_runs:line", 8, 0, 0)


def test_without_samples(store):
    kept = ut.sweep(store_runs.line, OVER, store=store, keep_samples=False)
    assert "loss" not in kept
    assert "sample" not in kept.dims
    expected = ut.sweep(store_runs.line, OVER)
    np.testing.assert_array_equal(kept["final_loss"], expected["final_loss"])
    np.testing.assert_array_equal(kept["final_step"], np.full((2, 3), 4))


def test_longer_runs_later_widen_the_samples(store):
    ut.sweep(store_runs.line, {"steps": [1]}, store=store)
    both = ut.sweep(store_runs.line, {"steps": [1, 3]}, store=store)
    expected = ut.sweep(store_runs.line, {"steps": [1, 3]})
    np.testing.assert_array_equal(both["loss"], expected["loss"])
    np.testing.assert_array_equal(both["step"], expected["step"])


@pytest.mark.parametrize("run", [store_runs.raising, store_runs.twice])
def test_runs_that_raise_or_train_twice(run, store):
    kept = ut.sweep(run, OVER, store=store)
    if run is store_runs.raising:
        assert kept["status"].sel(seed=1).values.tolist() == ["failed"] * 2
        assert kept["message"].sel(seed=1).values.tolist() == ["RuntimeError: seed 1 is bad"] * 2
        assert kept["samples"].sel(seed=1).values.tolist() == [-1, -1]
        assert status(store).failed == 2
    else:
        np.testing.assert_array_equal(kept["loss"], ut.sweep(run, OVER)["loss"])
    assert kept["final_loss"].sel(seed=[0, 2]).notnull().all()


def test_every_run_raises(store):
    kept = ut.sweep(store_runs.raising, {"scale": [1.0], "seed": [1]}, store=store)
    assert kept["status"].values.tolist() == [["failed"]]
    # The variables come when a run has them; what failed before has none.
    kept = ut.sweep(store_runs.raising, {"scale": [1.0], "seed": [1, 0]}, store=store)
    assert np.isnan(kept["final_loss"].values[0, 0])
    assert np.isfinite(kept["final_loss"].values[0, 1])


# Whatever ends it --------------------------------------------------------------------------------


class Killed(BaseException):
    pass


@pytest.mark.parametrize("place", ["before the first array", "between two arrays", "before the ledger"])
def test_a_process_that_dies_between(place, store, monkeypatch, counted):
    """Batches of two; the third commit does not come to its end."""
    monkeypatch.setattr("undertow.sweeps._planning.CHUNK", 2)
    count = 0

    def dying(owner, name, before, until):
        whole = getattr(owner, name)

        def once(*arguments):
            nonlocal count
            count += before(*arguments)
            if count == until:
                raise Killed
            return whole(*arguments)

        return monkeypatch.context(), owner, name, once

    places = {
        "before the first array": (_store.Store, "commit", lambda *a: 1, 3),
        "between two arrays": (_store.Store, "_write", lambda self, name, *a: name == "final_loss", 3),
        "before the ledger": (_store.Ledger, "commit", lambda *a: 1, 3),
    }
    context, owner, name, once = dying(*places[place])
    with context as patch:
        patch.setattr(owner, name, once)
        with pytest.raises(Killed):
            ut.sweep(store_runs.line, OVER, store=store)
    assert status(store) == ut.sweeps.Status("store_runs:line", 4, 0, 2)
    kept = ut.sweep(store_runs.line, OVER, store=store)
    assert counted == [2, 2, 2, 2]
    monkeypatch.undo()
    other = ut.sweep(store_runs.line, OVER, store=store.with_name("other.zarr"))
    xr.testing.assert_identical(without_times(kept), without_times(other))


def test_ctrl_c_keeps_what_is_done(store, monkeypatch):
    monkeypatch.setattr("undertow.sweeps._planning.CHUNK", 2)
    whole, count = _engines.computed, 0

    def interrupted(*arguments):
        nonlocal count
        count += 1
        if count == 2:
            raise KeyboardInterrupt
        return whole(*arguments)

    monkeypatch.setattr(_engines, "computed", interrupted)
    kept = ut.sweep(store_runs.line, OVER, store=store)
    assert kept.attrs["interrupted"] == 1
    assert kept["status"].values.tolist() == [["stopped", "stopped", "not run"], ["not run"] * 3]
    assert ut.sweep(store_runs.line, OVER, store=store).attrs["interrupted"] == 0
    assert status(store).left == 0


def test_rate_and_time_left_are_of_the_last_commits(store, monkeypatch, capsys):
    """By a clock that cannot be set back: the other one goes backwards here."""
    monkeypatch.setattr("undertow.sweeps._planning.CHUNK", 2)
    backwards = iter(range(10**9, 0, -3600))
    monkeypatch.setattr(time, "time", lambda: float(next(backwards)))
    whole, count = _engines.computed, 0

    def interrupted(*arguments):
        nonlocal count
        count += 1
        if count == 3:
            raise KeyboardInterrupt
        return whole(*arguments)

    monkeypatch.setattr(_engines, "computed", interrupted)
    began = time.monotonic()
    ut.sweep(store_runs.line, OVER, store=store)
    seconds = time.monotonic() - began
    now = status(store)
    assert (now.done, now.left) == (4, 2)
    assert now.rate is not None
    assert now.rate > 4 / seconds  # the commits lie within the call
    assert now.seconds_left == 2 / now.rate
    assert undertow("status", store) == 0
    assert " runs/s, about 0:00:0" in capsys.readouterr().out
    ut.sweep(store_runs.line, OVER, store=store)
    assert status(store).seconds_left == 0


def test_short_runs_share_a_commit(store, monkeypatch):
    """Runs of two trainings and one at a time: what is committed together is in rows one after the other."""
    commits, whole = [], _store.Ledger.commit

    def counting(self, batch, states, seconds):
        commits.append(len(states))
        whole(self, batch, states, seconds)

    monkeypatch.setattr(_store.Ledger, "commit", counting)
    kept = ut.sweep(store_runs.line, OVER, store=store, side_by_side=1)
    assert commits == [6]
    np.testing.assert_array_equal(kept["loss"], ut.sweep(store_runs.line, OVER)["loss"])


def test_more_plans_than_there_is_memory_for(store, monkeypatch, counted):
    monkeypatch.setattr("undertow.sweeps._planning.BYTES", 3 * 2**14)
    called = []

    def run(scale, seed):
        return store_runs.line(scale, seed)

    whole = _engines.run_of
    monkeypatch.setattr(_engines, "run_of", lambda run, point: called.append(point) or whole(run, point))
    kept = ut.sweep(run, OVER, store=store)
    assert 0 < len(called) < 6
    assert counted == [6]
    np.testing.assert_array_equal(kept["loss"], ut.sweep(run, OVER)["loss"])


@pytest.mark.parametrize("what", ["arrays", "ledger"])
def test_a_disk_that_gets_full_on_the_way(what, store, monkeypatch):
    """The second batch is written in part; the first is kept, and what is left is run once there is room."""
    monkeypatch.setattr("undertow.sweeps._planning.CHUNK", 2)
    if what == "arrays":
        whole = _store.Store._write

        def write(self, name, place, values, dims):
            if place.start == 2 and name == "final_loss":
                raise OSError(28, "No space left on device")
            whole(self, name, place, values, dims)

        with monkeypatch.context() as patch:
            patch.setattr(_store.Store, "_write", write)
            with pytest.raises(OSError, match="No space"):
                ut.sweep(store_runs.line, OVER, store=store)
    else:

        def fill(self, batch, states, seconds):
            with self._whole():
                raise sqlite3.OperationalError("database or disk is full")

        with monkeypatch.context() as patch:
            patch.setattr(_store.Ledger, "commit", fill)
            with pytest.raises(OSError, match=r"^store: .*sqlite cannot be written \(.*full"):
                ut.sweep(store_runs.line, OVER, store=store)
    assert status(store).done == (2 if what == "arrays" else 0)
    kept = ut.sweep(store_runs.line, OVER, store=store)
    np.testing.assert_array_equal(kept["loss"], ut.sweep(store_runs.line, OVER)["loss"])
    assert status(store) == ut.sweeps.Status("store_runs:line", 6, 0, 0)


def test_a_full_disk(store, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(_store.Store, "_write", full)
        with pytest.raises(OSError, match="No space"):
            ut.sweep(store_runs.line, OVER, store=store)
    assert status(store).left == 6
    assert ut.sweep(store_runs.line, OVER, store=store)["final_loss"].notnull().all()


@pytest.mark.parametrize("fault", ["flipped", "missing", "cut off", "no array"])
def test_damaged_chunks_are_found_and_run_again(fault, store, counted):
    first = ut.sweep(store_runs.line, OVER, store=store)
    file = store / "final_loss" / "c" / "0"
    content = bytearray(file.read_bytes())
    if fault == "no array":
        shutil.rmtree(store / "final_loss")
    if fault == "flipped":
        content[3] ^= 1
    if fault == "missing":
        file.unlink()
    elif fault != "no array":
        file.write_bytes(content[:20] if fault == "cut off" else content)
    with pytest.raises(ValueError, match=r"store: .*final_loss.*repair=True"):
        ut.sweep(store_runs.line, OVER, store=store)
    again = ut.sweep(store_runs.line, OVER, store=store, repair=True)
    xr.testing.assert_identical(without_times(again), without_times(first))
    assert sum(counted) == 12
    ut.sweep(store_runs.line, OVER, store=store, repair=True)
    assert sum(counted) == 12


# Never mixed -------------------------------------------------------------------------------------


def test_two_writers(store):
    ut.sweep(store_runs.line, OVER, store=store)
    lock = sqlite3.connect(f"{store}.lock", isolation_level=None)
    lock.execute("begin exclusive")
    with contextlib.closing(lock), pytest.raises(ValueError, match="being written by another process"):
        ut.sweep(store_runs.line, OVER, store=store)
    with contextlib.closing(sqlite3.connect(f"{store}.lock")) as lock:
        lock.execute("begin exclusive")
        assert status(store).running
    assert not status(store).running
    ut.sweep(store_runs.line, OVER, store=store)


@pytest.mark.long
def test_other_sweeps_are_refused(store, monkeypatch):
    step = 0.1

    def run(scale):
        descent = ut.dynamics.GradientDescent(ut.optimizers.make("gd", step))
        return ut.train(store_runs.LINE, store_runs.PHI, descent, key=0, scale=scale, stop=ut.Stop(steps=2))

    ut.sweep(run, {"scale": [1.0]}, store=store)
    step = 0.2
    with pytest.raises(ValueError, match=r"was written by another state of .*run, whose code or values have changed"):
        ut.sweep(run, {"scale": [1.0]}, store=store)
    step = 0.1
    with pytest.raises(ValueError, match=r"of another sweep: axes is"):
        ut.sweep(run, {"scale": ["a"]}, store=store)
    with pytest.raises(ValueError, match=r"of another sweep: keeps_samples is True there and False here"):
        ut.sweep(run, {"scale": [1.0]}, store=store, keep_samples=False)
    monkeypatch.setattr("undertow.sweeps._stored.version", lambda name: "9.9")
    with pytest.raises(ValueError, match=r"of another sweep: undertow is .* there and '9.9' here"):
        ut.sweep(run, {"scale": [1.0]}, store=store)


@pytest.mark.long
def test_folders_that_are_no_store(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").touch()
    (tmp_path / "file").touch()
    for name in ("notes", "file"):
        with pytest.raises(ValueError, match="is there, and no store of a sweep"):
            ut.sweep(store_runs.line, OVER, store=tmp_path / name)
        with pytest.raises(ValueError, match="expected a store of a sweep, found none"):
            status(tmp_path / name)
    ut.sweep(store_runs.line, OVER, store=tmp_path / "a.zarr")
    (tmp_path / "a.zarr.sqlite").unlink()
    with pytest.raises(ValueError, match="has no ledger"):
        ut.sweep(store_runs.line, OVER, store=tmp_path / "a.zarr")
    ut.sweep(store_runs.line, OVER, store=tmp_path / "b.zarr")
    shutil.rmtree(tmp_path / "b.zarr")
    with pytest.raises(ValueError, match=r"b\.zarr is gone, and its ledger"):
        ut.sweep(store_runs.line, OVER, store=tmp_path / "b.zarr")


@pytest.mark.parametrize(
    ("over", "kind", "message"),
    [
        ({"scale": [1.0, np.nan]}, ValueError, r"over\['scale'\]: .* found NaN"),
        ({"scale": [1, 1.0]}, ValueError, r"over\['scale'\]: expected every value once, found 1.0 in places 0 and 1"),
        ({"scale": [10**22, 1e22]}, ValueError, r"expected every value once, found 1e.22 in places 0 and 1"),
        ({"seed": ["a", "b", "a"]}, ValueError, r"expected every value once, found 'a' in places 0 and 2"),
        ({"seed": [np.ones(2)]}, TypeError, r"over\['seed'\]: a store knows runs again by plain values"),
        ({"status": [1]}, ValueError, r"'status' is what a store calls a result"),
    ],
)
def test_axes_that_are_refused(over, kind, message, store):
    with pytest.raises(kind, match=message):
        ut.sweep(store_runs.line, over, store=store)
    assert not store.exists()


@pytest.mark.parametrize("name", ["loss", "step", "v", "final_v", "final_time", "v_0", "a/b", ".hidden"])
def test_names_of_results_and_files_are_no_axes(name, store):
    with pytest.raises(ValueError, match=r"^over: "):
        ut.sweep(store_runs.watched, {name: [1, 2]}, store=store)


def test_probes_are_the_same_everywhere(store):
    with pytest.raises(ValueError, match="probes: expected the same at every point"):
        ut.sweep(store_runs.watched, {"n": [1, 2]}, store=store)
    kept = ut.sweep(store_runs.watched, {"n": [1]}, store=store)
    expected = ut.sweep(store_runs.watched, {"n": [1]})
    for name in ("v", "final_v"):
        assert kept[name].dims == expected[name].dims
        np.testing.assert_array_equal(kept[name], expected[name])
    with pytest.raises(ValueError, match="probes: expected the same at every point"):
        ut.sweep(store_runs.watched, {"n": [1, 2]}, store=store)
    assert status(store).planned == 1


def test_a_path_that_is_none():
    with pytest.raises(TypeError, match=r"^store: expected the path of a folder"):
        ut.sweep(store_runs.line, OVER, store="")


def test_true_is_not_one(store):
    def run(flag):
        return store_runs.line(scale=2.0 if flag is True else 1.0)

    kept = ut.sweep(run, {"flag": [True, 1, None]}, store=store)
    losses = kept["final_loss"].values
    assert losses[0] != losses[1] == losses[2]


def test_engines_that_are_refused(store):
    with pytest.raises(ValueError, match="engine: 'processes' hands runs over through a store"):
        ut.sweep(store_runs.line, OVER, engine="processes")
    with pytest.raises(ValueError, match=r"engine: .*'procesess'.*did you mean 'processes'"):
        ut.sweep(store_runs.line, OVER, store=store, engine="procesess")
    with pytest.raises(ValueError, match="run: expected a function at the top of a module"):
        ut.sweep(lambda scale, seed: store_runs.line(scale, seed), OVER, store=store, engine="processes")
    assert not store.exists()


# Other processes, and the command ---------------------------------------------------------------


def test_processes_that_die_lose_nothing(store, tmp_path, monkeypatch):
    monkeypatch.setattr("undertow.sweeps._planning.CHUNK", 2)
    monkeypatch.setenv("UNDERTOW_TEST_MARK", str(tmp_path / "mark"))
    (tmp_path / "mark").touch()  # not while it is planned here
    over = {"scale": [1.0], "seed": [0, 1, 2, 3]}
    kept_plan = ut.sweep(store_runs.dying, {"scale": [1.0], "seed": [0]}, store=store)
    assert kept_plan["final_loss"].notnull().all()
    whole = _store.Ledger.plan

    def planned(self, groups):
        whole(self, groups)
        (tmp_path / "mark").unlink()

    monkeypatch.setattr(_store.Ledger, "plan", planned)
    kept = ut.sweep(store_runs.dying, over, store=store, engine="processes", workers=1)
    assert (tmp_path / "mark").exists()
    expected = ut.sweep(store_runs.dying, over)
    np.testing.assert_array_equal(kept["loss"], expected["loss"])


SPEC = """
run = "store_runs:line"
store = "results.zarr"
keep_samples = false
[over]
scale = [0.5, 1.0]
seed = { stop = 3 }
"""


def test_the_command(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.setattr(sys, "path", list(sys.path))
    spec = tmp_path / "spec.toml"
    spec.write_text(SPEC)
    assert undertow("sweep", spec, "--dry-run") == 0
    told = capsys.readouterr().out
    assert told.startswith("6 runs, 0 of them in")
    assert "programs\nand about 0:00:" in told
    assert told.endswith(" (in one process, by a trial)\n")
    assert [path.name for path in tmp_path.iterdir()] == ["spec.toml"]
    assert undertow("sweep", spec) == 0
    assert "6 done, 0 failed, 0 left" in capsys.readouterr().out
    assert undertow("sweep", spec, "--dry-run") == 0
    assert capsys.readouterr().out.endswith("results.zarr\nthe others need 0 programs\n")
    assert undertow("status", tmp_path / "results.zarr") == 0
    assert capsys.readouterr().out == "store_runs:line: 6 done, 0 failed, 0 left (100% of the plan)\n"
    assert undertow("status", tmp_path / "results.zarr", "--json") == 0
    assert '"done": 6' in capsys.readouterr().out
    spec.write_text(SPEC.replace(":line", ":raising"))
    for words in ((), ("--dry-run",)):
        assert undertow("sweep", spec, *words) == 2
        assert "another sweep: run is" in capsys.readouterr().err
    spec.write_text(SPEC.replace(":line", ":raising").replace("results", "others"))
    assert undertow("sweep", spec) == 1
    assert "a run failed: RuntimeError: seed 1 is bad" in capsys.readouterr().err


def test_a_table_that_changes_while_it_runs(monkeypatch):
    monkeypatch.setattr("undertow.cli._live_status.PAUSE", 0.0)
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=80)
    seen = iter([(1, 0, 3, True), (1, 1, 2, True), (2, 1, 1, False)])

    def look():
        *counts, running = next(seen)
        return ut.sweeps.Status("store_runs:line", *counts, rate=0.01, running=running)

    watch(look, console)
    text = screen.getvalue()
    for words in ("store_runs:line", "25%", "50%", "75%", "0:05:00", "0:01:40", "no process is writing it"):
        assert words in text

    def interrupted():
        raise KeyboardInterrupt

    seen = iter([(1, 0, 3, True)])
    monkeypatch.setattr("undertow.cli._live_status.time.sleep", lambda seconds: interrupted())
    watch(look, console)


def test_it_is_watched_on_a_terminal_only(store, monkeypatch, capsys):
    ut.sweep(store_runs.line, OVER, store=store)
    running = ut.sweeps.Status("store_runs:line", 5, 0, 1, running=True)
    monkeypatch.setattr("undertow.sweeps.status", lambda store: running)
    watched = []
    monkeypatch.setattr("undertow.cli._live_status.watch", lambda look, console: watched.append(look()))
    assert undertow("status", store) == 0
    assert "1 left" in capsys.readouterr().out
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert undertow("status", store, "--once") == 0
    assert not watched
    assert "1 left" in capsys.readouterr().out
    assert undertow("status", store) == 0
    assert watched == [running]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("run = ", "expected TOML, found an error"),
        (SPEC.replace("run =", "rum ="), "no setting 'rum' (did you mean 'run'?)"),
        (SPEC.replace('"results.zarr"', "3"), "expected store as a text, found 3"),
        (SPEC.replace("stop = 3", "end = 3"), "expected over.seed as a list of values, or as"),
        (SPEC.replace("store_runs:line", "nowhere:line"), "'nowhere:line' cannot be imported"),
        (SPEC.replace(":line", ""), "expected package.module:function, found 'store_runs'"),
    ],
)
def test_files_that_are_refused(text, words, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PYTHONPATH", "")
    (tmp_path / "spec.toml").write_text(text)
    assert undertow("sweep", tmp_path / "spec.toml") == 2
    assert words in " ".join(capsys.readouterr().err.split())
    assert [path.name for path in tmp_path.iterdir()] == ["spec.toml"]


@pytest.mark.slow
def test_killed_twenty_times(tmp_path):
    """kill -9 at random times until the grid is complete: every run once, with the numbers of a sweep of one go."""
    (tmp_path / "store_runs.py").write_text((TESTS / "store_runs.py").read_text())
    spec = tmp_path / "spec.toml"
    spec.write_text(SPEC.replace("stop = 3", "stop = 1500").replace("keep_samples = false", ""))
    command = [sys.executable, "-c", "from undertow.cli import main; main()", "sweep", str(spec)]
    rng = np.random.default_rng(0)
    kills = 0
    while kills < 20:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        began, before = time.monotonic(), status(tmp_path / "results.zarr") if kills else None
        while process.poll() is None and time.monotonic() - began < 60:
            now = status(tmp_path / "results.zarr") if (tmp_path / "results.zarr.sqlite").exists() else None
            if now and before and now.done > before.done:
                break
            before = before or now
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.2))
        process.kill()
        process.wait()
        kills += 1
    assert subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode == 0
    assert status(tmp_path / "results.zarr") == ut.sweeps.Status("store_runs:line", 3000, 0, 0)
    (tmp_path / "whole").mkdir()
    (tmp_path / "whole" / "store_runs.py").write_text((TESTS / "store_runs.py").read_text())
    (tmp_path / "whole" / "spec.toml").write_text(spec.read_text())
    subprocess.run([*command[:-1], str(tmp_path / "whole" / "spec.toml")], check=True, stdout=subprocess.DEVNULL)
    with (
        xr.open_zarr(tmp_path / "results.zarr") as found,
        xr.open_zarr(tmp_path / "whole" / "results.zarr") as expected,
    ):
        assert len(found["run"]) == 3000
        xr.testing.assert_identical(
            found.drop_vars("seconds").drop_attrs().load(), expected.drop_vars("seconds").drop_attrs().load()
        )
