"""Runs of a sweep in other processes and on clusters: what is refused, and faults."""

import concurrent.futures
import contextlib
import multiprocessing
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import store_runs
import xarray as xr

import undertow as ut
from undertow.sweeps import _dask, _engines, status
from undertow.sweeps._planning import CHUNK, plan_runs, share
from undertow.training._run import execute

OVER = {"scale": [0.5, 1.0], "seed": [0, 1, 2]}
TESTS, SRC = Path(__file__).parent, Path(ut.__file__).parents[1]

FAULTY = '''
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import store_runs

MARK = Path(__file__).with_name("mark")


def faulty(scale, seed):
    """The first process that comes here outside of planning gets the signal that the file names."""
    if seed == 2 and MARK.exists():
        number = MARK.stat().st_size
        MARK.rename(MARK.with_name(f"pid-{os.getpid()}"))
        os.kill(os.getpid(), number)
    return store_runs.line(scale, seed)


'''


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "results.zarr"


# Refused before any work -------------------------------------------------------------------------


def test_dask_where_it_is_not_installed(store, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ValueError, match=r"^engine: 'dask' needs dask\.distributed.*pip install 'undertow\[dask\]'"):
        ut.sweep(store_runs.line, OVER, store=store, engine="dask")
    assert not store.exists()


def test_schedulers_of_other_engines(store):
    with pytest.raises(ValueError, match=r"^scheduler: expected an address with engine='dask', found 'tcp.*'here'"):
        ut.sweep(store_runs.line, OVER, store=store, scheduler="tcp://127.0.0.1:1")
    assert not store.exists()


def test_a_scheduler_that_does_not_answer(store, monkeypatch):
    pytest.importorskip("distributed", reason="dask.distributed is not installed")
    assert _dask.ANSWER < 10
    monkeypatch.setattr(_dask, "ANSWER", 0.5)
    with socket.socket() as silent:  # takes connections, and says nothing
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        for port in (1, silent.getsockname()[1]):
            began = time.monotonic()
            with pytest.raises(ValueError, match=rf"^scheduler: 'tcp://127.0.0.1:{port}' does not answer within"):
                ut.sweep(store_runs.line, OVER, store=store, engine="dask", scheduler=f"tcp://127.0.0.1:{port}")
            assert time.monotonic() - began < 5
    assert not store.exists()


def test_a_function_that_is_another_one_in_the_worker():
    task = _engines.Task(
        "store_runs:line", "0" * 32, [{"scale": 1.0, "seed": 0}], keep_samples=False, side_by_side=None
    )
    with pytest.raises(ValueError, match="store_runs:line is something else in the process that should run it"):
        _engines.work(task)


class Elsewhere(concurrent.futures.Executor):
    """Another process, as far as a value goes that was set here after the import."""

    def __init__(self, name: str, theirs: Any):
        self.name, self.theirs = name, theirs

    def submit(self, function: Any, /, *arguments: Any, **options: Any) -> Any:
        future = concurrent.futures.Future()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(store_runs, self.name, self.theirs)
            try:
                future.set_result(function(*arguments, **options))
            except ValueError as error:
                future.set_exception(error)
        return future


def test_values_that_were_set_here_and_not_in_the_process(store, monkeypatch):
    elsewhere = Elsewhere("DESCENT", store_runs.DESCENT)
    monkeypatch.setattr(_engines, "_pool", lambda workers: contextlib.nullcontext(elsewhere))
    monkeypatch.setattr(store_runs, "DESCENT", ut.dynamics.GradientDescent(ut.optimizers.make("gd", 0.05)))
    with pytest.raises(ValueError, match=r"^run: store_runs:line is something else in the process .*set after"):
        ut.sweep(store_runs.line, OVER, store=store, engine="processes")
    assert status(store).done == 0
    # And with what is the same there, the numbers are the same.
    monkeypatch.setattr(_engines, "_pool", lambda workers: contextlib.nullcontext(Elsewhere("TWO", 2)))
    monkeypatch.setattr(store_runs, "TWO", 1, raising=False)
    kept = ut.sweep(store_runs.line, OVER, store=store, engine="processes")
    np.testing.assert_array_equal(kept["loss"], ut.sweep(store_runs.line, OVER)["loss"])


@pytest.mark.parametrize(("run", "side_by_side"), [(store_runs.twice, None), (store_runs.line, 1)])
def test_runs_that_go_alone_are_shared_one_by_one(run, side_by_side, monkeypatch):
    points = [{"scale": 1.0, "seed": seed} for seed in range(3)]
    assert plan_runs(run, points, side_by_side).batches == [[point] for point in points]
    monkeypatch.setattr("undertow.sweeps._planning.SHARES", 1)  # many of them are handed over together
    assert plan_runs(run, points, side_by_side).batches == [points]


def test_runs_that_are_handed_over_together_go_side_by_side_as_was_asked(store, monkeypatch):
    monkeypatch.setattr("undertow.sweeps._planning.SHARES", 1)
    together = []

    def executed(plans, report):
        together.append(len(plans))
        return execute(plans, report)

    monkeypatch.setattr(_engines, "execute", executed)
    kept = ut.sweep(store_runs.line, OVER, store=store, side_by_side=2)
    assert together == [2, 2, 2]
    np.testing.assert_array_equal(kept["loss"], ut.sweep(store_runs.line, OVER)["loss"])


@pytest.mark.parametrize(
    ("count", "workers", "sizes"), [(48, 1, [48]), (48, 2, [24, 24]), (150, 1, [75, 75]), (3, 2, [2, 1]), (1, 4, [1])]
)
def test_runs_of_one_program_are_shared_by_the_workers(count, workers, sizes):
    points = [{"scale": 1.0, "seed": seed} for seed in range(count)]
    assert [len(batch) for batch in plan_runs(store_runs.line, points, None, workers).batches] == sizes


@hypothesis.given(st.integers(1, 20_000), st.integers(1, 64))
def test_a_share_fits_a_chunk_and_leaves_no_worker_without(count, workers):
    size = share(count, workers)
    batches = -(-count // size)
    assert size <= CHUNK
    assert batches >= min(workers, count) / 2
    assert batches <= workers * -(-count // (CHUNK * workers))


# Processes ---------------------------------------------------------------------------------------


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module whose first run with seed 2 gets a signal, once it is armed; here and in processes to come."""
    (tmp_path / "faulty_runs.py").write_text(FAULTY)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "faulty_runs", raising=False)
    import faulty_runs  # pyright: ignore[reportMissingImports]

    return faulty_runs


@pytest.fixture
def armed(faulty: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make it so when the plan is made: the signal is for the process that runs, not for the one that plans."""

    def arm(number: int) -> None:
        whole = _engines_ledger().plan

        def planned(self, groups):
            whole(self, groups)
            faulty.MARK.write_bytes(bytes(number))

        monkeypatch.setattr(_engines_ledger(), "plan", planned)
        monkeypatch.setattr("undertow.sweeps._planning.CHUNK", 2)

    return arm


def _engines_ledger() -> Any:
    from undertow.sweeps._ledger import Ledger

    return Ledger


def wakes_up_late(folder: Path, after: float) -> threading.Thread:
    """Wakes the process that was stopped, so many seconds after it was."""

    def wake() -> None:
        while not (found := list(folder.glob("pid-*"))):
            time.sleep(0.05)
        time.sleep(after)
        os.kill(int(found[0].name.removeprefix("pid-")), signal.SIGCONT)

    thread = threading.Thread(target=wake, daemon=True)
    thread.start()
    return thread


def check_whole(kept: Any, store: Path) -> None:
    """Every run once, with the numbers of a sweep in this process."""
    assert set(kept["message"].values.ravel()) == {""}
    expected = ut.sweep(store_runs.line, OVER)
    np.testing.assert_array_equal(kept["loss"], expected["loss"])
    np.testing.assert_array_equal(kept["step"], expected["step"])
    now = status(store)
    assert (now.done, now.failed, now.left) == (6, 0, 0)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_processes_that_die_or_wake_up_late(number, store, faulty, armed):
    armed(number)
    if number == signal.SIGSTOP:
        wakes_up_late(store.parent, 3.0)
    kept = ut.sweep(faulty.faulty, OVER, store=store, engine="processes", workers=2)
    assert list(store.parent.glob("pid-*"))
    check_whole(kept, store)


# Dask --------------------------------------------------------------------------------------------


def listening(pids: set[int]) -> set[str]:
    """The addresses, in hexadecimal, at which these processes take connections from others."""
    inodes = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            for file in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    inodes.add(str(file.readlink()).removeprefix("socket:[").removesuffix("]"))
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                found.add(fields[1].split(":")[0])
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="looks up ports in Linux's /proc")
def test_a_cluster_on_this_machine(store):
    pytest.importorskip("distributed", reason="dask.distributed is not installed")
    addresses, me = set(), os.getpid()

    def look(fraction, message):
        children = {int(pid) for pid in Path(f"/proc/{me}/task/{me}/children").read_text().split()}
        children |= {int(p.name) for p in Path("/proc").glob("[0-9]*") if _parent(p) in children | {me}}
        addresses.update(listening({me} | children))

    kept = ut.sweep(store_runs.line, OVER, store=store, engine="dask", workers=2, progress=look)
    check_whole(kept, store)
    assert addresses == {"0100007F"}  # 127.0.0.1


def _parent(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return 0


class Cluster:
    """A scheduler and its workers, processes of their own."""

    def __init__(self, folder: Path):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        path = os.pathsep.join(map(str, (folder, TESTS, SRC)))
        self.environment = os.environ | {"PYTHONPATH": path, "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "8s"}
        self.processes: list[subprocess.Popen[bytes]] = []
        self.scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", self.address.rpartition(":")[2])

    def _start(self, what: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.dask_{what}", *arguments, "--no-dashboard"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.processes.append(subprocess.Popen(command, env=self.environment, **quiet))
        return self.processes[-1]

    def worker(self) -> subprocess.Popen[bytes]:
        """Start one."""
        # What is imported before it registers does not keep it from saying that it lives.
        options = ("--host", "127.0.0.1", "--nthreads", "1", "--no-nanny", "--preload", "undertow.sweeps")
        return self._start("worker", self.address, *options)

    def workers(self, count: int) -> None:
        """Start so many, and wait until they are there."""
        import distributed  # pyright: ignore[reportMissingImports]

        for _ in range(count):
            self.worker()
        with distributed.Client(self.address, timeout=60, set_as_default=False) as client:
            client.wait_for_workers(count, timeout=120)

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture
def cluster(tmp_path: Path) -> Any:
    pytest.importorskip("distributed", reason="dask.distributed is not installed")
    found = Cluster(tmp_path)
    yield found
    found.end()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_workers_that_die_or_wake_up_late(number, store, faulty, armed, cluster):
    cluster.workers(2)
    armed(number)
    thread = wakes_up_late(store.parent, 25.0) if number == signal.SIGSTOP else None
    kept = ut.sweep(faulty.faulty, OVER, store=store, engine="dask", scheduler=cluster.address)
    assert list(store.parent.glob("pid-*"))
    check_whole(kept, store)
    if thread is not None:  # what it brings then changes nothing
        thread.join()
        time.sleep(2)
        check_whole(ut.sweep(faulty.faulty, OVER, store=store), store)


@pytest.mark.slow
def test_a_scheduler_that_dies(store, faulty, cluster, monkeypatch):
    cluster.workers(1)
    monkeypatch.setattr("undertow.sweeps._planning.CHUNK", 2)
    seen = []

    def kill(fraction, message):
        seen.append(message)
        cluster.scheduler.kill()

    with pytest.raises(RuntimeError, match="scheduler: it was lost on the way; what was done is kept"):
        ut.sweep(faulty.faulty, OVER, store=store, engine="dask", scheduler=cluster.address, progress=kill)
    assert status(store).done > 0
    check_whole(ut.sweep(faulty.faulty, OVER, store=store), store)


class Killer(threading.Thread):
    """Kills one of the processes that it is shown, at random times, until it has killed enough."""

    def __init__(self, rng: np.random.Generator, victims: Callable[[], list[Any]], most: int):
        super().__init__(daemon=True)
        self.rng, self.victims, self.most = rng, victims, most
        self.kills, self.stopped = 0, threading.Event()

    def run(self) -> None:
        while not self.stopped.wait(self.rng.uniform(0.3, 2.0)):
            there = self.victims()  # which also sees to it that there are some
            if there and self.kills < self.most:
                there[self.rng.integers(len(there))].kill()
                self.kills += 1

    def stop(self) -> int:
        self.stopped.set()
        self.join()
        return self.kills


@pytest.mark.slow
def test_all_workers_gone_are_told_and_waited_for(store, cluster, monkeypatch):
    cluster.workers(1)
    monkeypatch.setattr(_dask, "LOOK", 1.0)
    monkeypatch.setattr("undertow.sweeps._planning.CHUNK", 1)
    seen = []

    def one_there() -> list[Any]:
        if all(worker.poll() is not None for worker in cluster.processes[1:]):
            cluster.worker()
        return []

    successors = Killer(np.random.default_rng(0), one_there, 0)
    later = threading.Timer(12.0, successors.start)

    def kill(fraction, message):
        seen.append(message)
        if len(seen) == 1:
            cluster.processes[-1].kill()
            later.start()

    with pytest.warns(UserWarning, match="scheduler: its workers are gone; the sweep waits for new ones"):
        kept = ut.sweep(store_runs.line, OVER, store=store, engine="dask", scheduler=cluster.address, progress=kill)
    later.join()
    successors.stop()
    check_whole(kept, store)


def check_every_run_once(over: dict[str, Any], store: Path) -> None:
    expected = ut.sweep(store_runs.twice, over)
    found = ut.sweep(store_runs.twice, over, store=store)  # all are there
    for name in ("loss", "step", "status"):
        np.testing.assert_array_equal(found[name], expected[name])
    count = expected["status"].size
    assert status(store) == ut.sweeps.Status("store_runs:twice", count, 0, 0)
    with xr.open_zarr(store) as rows:
        assert len(set(zip(rows["scale"].values, rows["seed"].values, strict=True))) == len(rows["run"]) == count


@pytest.mark.slow
def test_processes_killed_twenty_times(store):
    rng, kills, over = np.random.default_rng(0), 0, {"scale": [0.5, 1.0], "seed": range(0)}
    while kills < 20:
        over["seed"] = range(len(over["seed"]) + 200)
        killer = Killer(rng, multiprocessing.active_children, 20 - kills)
        killer.start()
        ut.sweep(store_runs.twice, over, store=store, engine="processes", workers=2)
        kills += killer.stop()
    check_every_run_once(over, store)


@pytest.mark.slow
def test_workers_and_schedulers_killed_twenty_times(store, tmp_path):
    """A worker that is killed has a successor; without its scheduler the sweep ends, and goes on with another one."""
    pytest.importorskip("distributed", reason="dask.distributed is not installed")
    rng, kills, lost, complete = np.random.default_rng(1), 0, 0, True
    over = {"scale": [0.5, 1.0], "seed": range(0)}
    while kills < 20 or not complete:
        if complete:
            over["seed"] = range(len(over["seed"]) + 200)
        found = Cluster(tmp_path)
        found.workers(2)

        def victims(cluster: Cluster = found) -> list[Any]:
            living = [process for process in cluster.processes if process.poll() is None]
            while len(living) < 3 and cluster.scheduler in living:
                living.append(cluster.worker())
            return living

        killer = Killer(rng, victims, 20 - kills)
        killer.start()
        try:
            ut.sweep(store_runs.twice, over, store=store, engine="dask", scheduler=found.address)
            complete = True
        except (RuntimeError, ValueError) as error:  # on the way, or before it began
            if not any(words in str(error) for words in ("it was lost", "does not answer", "has no workers")):
                raise
            complete = False
            lost += 1
        finally:
            kills += killer.stop()
            found.end()
    assert lost > 0
    check_every_run_once(over, store)


@pytest.mark.slow
def test_workers_that_are_not_there_or_of_another_version(store, cluster, monkeypatch):
    with pytest.raises(ValueError, match=r"^scheduler: .* has no workers; start one"):
        ut.sweep(store_runs.line, OVER, store=store, engine="dask", scheduler=cluster.address)
    cluster.workers(1)
    known = _dask.version
    monkeypatch.setattr(_dask, "version", lambda name: "9.9" if name == "undertow" else known(name))
    with pytest.raises(
        ValueError, match=r"^scheduler: expected workers with the versions .* has undertow .* \(here 9.9\)"
    ):
        ut.sweep(store_runs.line, OVER, store=store, engine="dask", scheduler=cluster.address)
    assert not store.exists()
    with pytest.raises(_dask.OtherVersionError, match="has undertow"):  # one that comes later
        _dask.on_worker((), {}, {"undertow": "9.8", "jax": known("jax")})


# The command -------------------------------------------------------------------------------------

LONG = """
import undertow as ut
import store_runs


def long(seed):
    \"""Two trainings, so that each run goes alone.\"""
    first = ut.train(store_runs.LINE, store_runs.PHI, store_runs.DESCENT, key=seed, scale=1.0, stop=STOP, samples=4)
    return ut.train(store_runs.LINE, store_runs.PHI, store_runs.DESCENT, params=first.params, stop=STOP, samples=4)


STOP = ut.Stop(loss=0, steps=40_000)
"""
SPEC = """
run = "long_runs:long"
store = "results.zarr"
[over]
seed = { stop = 80 }
"""


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    (tmp_path / "long_runs.py").write_text(LONG)
    (tmp_path / "spec.toml").write_text(SPEC)
    return tmp_path / "spec.toml"


def command(*words: object) -> subprocess.Popen[str]:
    """The command in a session of its own, as on a terminal of its own."""
    path = os.pathsep.join(map(str, (TESTS, SRC)))
    return subprocess.Popen(
        [sys.executable, "-m", "undertow", *map(str, words)],
        env=os.environ | {"PYTHONPATH": path},
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def check_long(store: Path, tmp_path: Path) -> None:
    """Every run once, with the numbers of a sweep in one process that nothing interrupts."""
    whole = tmp_path / "whole"
    whole.mkdir()
    (whole / "long_runs.py").write_text(LONG)
    (whole / "spec.toml").write_text(SPEC)
    _, errors = (process := command("sweep", whole / "spec.toml")).communicate(timeout=300)
    assert process.returncode == 0, errors
    assert status(store) == ut.sweeps.Status("long_runs:long", 80, 0, 0)
    found, expected = (xr.open_zarr(path).sortby("seed").load() for path in (store, whole / "results.zarr"))
    xr.testing.assert_identical(*(data.drop_vars("seconds").drop_attrs() for data in (found, expected)))


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["processes", "dask"])
def test_ctrl_c_keeps_what_is_done_and_says_how_to_go_on(engine, store, spec, tmp_path):
    """Of all processes at once, as a terminal sends it: first while workers import, then once something is done."""
    if engine == "dask":
        pytest.importorskip("distributed", reason="dask.distributed is not installed")
    words = ["sweep", str(spec), f"--engine={engine}", "--workers=2"]
    for least in (0, 1):
        process = command(*words)
        while process.poll() is None:
            if Path(f"{store}.sqlite").exists() and (now := status(store)).planned and now.done >= least:
                break
            time.sleep(0.05)
        time.sleep(1.0)
        os.killpg(process.pid, signal.SIGINT)
        out, errors = process.communicate(timeout=60)
        assert process.returncode == 130
        now = status(store)
        assert (now.done >= least, now.failed, now.done + now.left) == (True, 0, 80)
        assert out == f"{store}: {now.done:,} done, 0 failed, {now.left:,} left\n"
        told = "undertow: interrupted; what was done is kept, go on with: "
        assert errors == f"{told}undertow {shlex.join(words)}\n"  # and nothing of the workers
    (process := command(*shlex.split(errors.removeprefix(told))[1:])).communicate(timeout=300)
    assert process.returncode == 0
    check_long(store, tmp_path)


@pytest.mark.slow
def test_a_scheduler_by_the_command(store, spec, tmp_path, cluster):
    cluster.workers(2)
    _, errors = (process := command("sweep", spec, "--scheduler", cluster.address)).communicate(timeout=300)
    assert process.returncode == 0, errors
    check_long(store, tmp_path)
    cluster.scheduler.kill()
    cluster.scheduler.wait()
    began = time.monotonic()
    _, errors = (process := command("sweep", spec, "--scheduler", cluster.address)).communicate(timeout=300)
    assert process.returncode == 2
    assert "does not answer within" in " ".join(errors.split())
    assert time.monotonic() - began < 60  # most of it imports
