"""Runs of a sweep in other processes and on clusters: what is refused, and faults."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import store_runs

import undertow as ut
from undertow.sweeps import _dask, _engines, status

OVER = {"scale": [0.5, 1.0], "seed": [0, 1, 2]}
TESTS, SRC = Path(__file__).parent, Path(ut.__file__).parents[1]

FAULTY = '''
import os
import signal
import time
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
    task = _engines.Task("store_runs:line", "0" * 32, [{"scale": 1.0, "seed": 0}], keep_samples=False)
    with pytest.raises(ValueError, match="store_runs:line is something else in the process that should run it"):
        _engines.work(task)


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

    def workers(self, count: int) -> None:
        """Start so many, and wait until they are there."""
        import distributed  # pyright: ignore[reportMissingImports]

        # What is imported before it registers does not keep it from saying that it lives.
        options = ("--host", "127.0.0.1", "--nthreads", "1", "--no-nanny", "--preload", "undertow.sweeps")
        for _ in range(count):
            self._start("worker", self.address, *options)
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
