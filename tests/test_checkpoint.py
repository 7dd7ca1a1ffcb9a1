"""Checkpoints: whose they are, what they survive, and that going on from one changes nothing."""

import os
import signal
import subprocess
import sys
import textwrap
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from contract import assert_same_bits

import undertow as ut
from undertow.training import _checkpoint, _run

PROBLEM = ut.problems.LineTarget(-1.0, -2.0, 15.0)
PHI = ut.parameterizations.Power(2, 2, "constant")
SGD = ut.optimizers.make("sgd", 1e-4)
DESCENT = ut.dynamics.GradientDescent(SGD)
FLOW = ut.dynamics.GradientFlow("explicit")


def run(dynamics: ut.dynamics.Dynamics = DESCENT, checkpoint=None, steps=400, scale: Any = 0.1, **options: Any):
    stop = ut.Stop(loss=None, steps=steps)
    return ut.train(PROBLEM, PHI, dynamics, key=0, scale=scale, stop=stop, checkpoint=checkpoint, **options)


def assert_same_run(a, b):
    assert_same_bits((a.params, a.times, a.steps, a.records), (b.params, b.times, b.steps, b.records))
    assert (a.status, a.chosen, a.gradient_evaluations) == (b.status, b.chosen, b.gradient_evaluations)


class CrashError(RuntimeError):
    """What a progress function raises to end a run in the middle."""


def crash_after(chunks):
    """A progress function that raises at its n-th call."""
    left = chunks

    def report(fraction, message):
        nonlocal left
        left -= 1
        if not left:
            raise CrashError

    return report


# Going on ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dynamics", [DESCENT, FLOW], ids=["descent", "flow"])
@pytest.mark.parametrize("chunks", [3])
def test_a_crash_in_the_middle_costs_nothing_but_the_last_chunk(dynamics, chunks, tmp_path, monkeypatch):
    monkeypatch.setattr(_run, "CHECKPOINT_SECONDS", 0.0)
    options = {"samples": 10, "probes": [ut.probes.FrobeniusNorm()], "steps": 300 if dynamics is DESCENT else 60}
    whole = run(dynamics, **options)
    path = tmp_path / "run.npz"
    monkeypatch.setattr(_run, "CHUNK_SECONDS", 1e-6)  # chunks of sixteen steps
    with pytest.raises(CrashError):
        run(dynamics, path, progress=crash_after(chunks), **options)
    assert path.exists()
    assert_same_run(run(dynamics, path, **options), whole)


@pytest.mark.parametrize("dynamics", [DESCENT, FLOW], ids=["descent", "flow"])
def test_a_run_taken_further_is_the_longer_run(dynamics, tmp_path):
    path = tmp_path / "run.npz"
    for steps in (13, 14, 30):
        assert_same_run(run(dynamics, path, steps=steps), run(dynamics, steps=steps))
    # And asked for less than it has done, it stays where it is.
    assert run(dynamics, path, steps=20).steps[-1] == 30


@pytest.mark.long
def test_early_stopping_does_not_depend_on_where_chunks_end(tmp_path, monkeypatch):
    """The distance to a point beside the path falls and rises; patience ends the run at one sample, not at a chunk."""
    options = {
        "probes": [ut.probes.DistanceTo([0.15, 1.0])],
        "early_stopping": ut.EarlyStopping("distance", patience=7),
        "samples": np.arange(1, 1_000),
        "steps": 1_000,
        "dynamics": ut.dynamics.GradientDescent(ut.optimizers.make("sgd", 1e-3)),
    }
    whole = run(**options)
    assert whole.status == "stopped"
    assert 0 < whole.chosen == len(whole.times) - 1 - 7
    assert whole.chosen == np.argmin(whole["distance"])
    distance = ut.probes.DistanceTo([0.15, 1.0])(PROBLEM, PHI, whole.params)
    assert float(distance) == pytest.approx(whole["distance"].min(), rel=1e-12)
    monkeypatch.setattr(_run, "CHUNK_SECONDS", 1e-6)
    monkeypatch.setattr(_run, "CHECKPOINT_SECONDS", 0.0)
    path = tmp_path / "run.npz"
    with pytest.raises(CrashError):
        run(checkpoint=path, progress=crash_after(4), **options)
    for found in (run(**options), run(checkpoint=path, **options), run(checkpoint=path, **options)):
        assert_same_bits((found.params, found.steps, found.records), (whole.params, whole.steps, whole.records))
        assert (found.status, found.chosen) == ("stopped", whole.chosen)


SCRIPT = """
import sys
import numpy as np
import undertow as ut

def report(fraction, message):
    print("going", flush=True)

found = ut.train(
    ut.problems.LineTarget(-1.0, -2.0, 15.0),
    ut.parameterizations.Power(2, 2),
    ut.dynamics.GradientDescent(ut.optimizers.make("sgd", 1e-7)),
    key=0,
    scale=0.1,
    stop=ut.Stop(loss=None, steps=int(sys.argv[2])),
    samples=8,
    progress=report,
    checkpoint=sys.argv[1] if sys.argv[1] != "none" else None,
)
params = np.asarray(found.params).tobytes().hex()
print(found.status, found.interrupted, found.steps[-1], params, found["loss"].tolist())
"""


def test_after_ctrl_c_in_another_process_the_end_is_the_same(tmp_path):
    def command(path, steps):
        return [sys.executable, "-c", textwrap.dedent(SCRIPT), str(path), str(steps)]

    path = tmp_path / "run.npz"
    with subprocess.Popen(command(path, 2_000_000_000), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(3):
            assert process.stdout.readline() == "going\n"
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    status, interrupted, done, *_ = out.splitlines()[-1].split(" ")
    assert (status, interrupted) == ("stopped", "True")
    target = int(done) + 1_000
    resumed, whole = (
        subprocess.run(command(where, target), capture_output=True, text=True, check=True, timeout=300).stdout
        for where in (path, "none")
    )
    assert resumed.splitlines()[-1] == whole.splitlines()[-1]
    assert resumed.splitlines()[-1].startswith(f"stopped False {target} ")


# Whose checkpoint it is ----------------------------------------------------------------------------


def _penalized(weight):
    return {"penalty": lambda w: weight * w @ w}


def _with(**changes):
    return lambda path: run(checkpoint=path, steps=30, **changes)


def test_the_same_run_written_anew_is_recognized(tmp_path):
    path = tmp_path / "run.npz"
    for _ in range(2):
        optimizer = optax.chain(optax.clip(1.0), optax.sgd(1e-4, momentum=0.9))
        probes = [ut.probes.Function("sum", lambda w: w.sum())]
        found = run(ut.dynamics.GradientDescent(optimizer), path, steps=20, probes=probes, **_penalized(0.1))
        assert found.steps[-1] == 20


@pytest.mark.parametrize(
    ("first", "other"),
    [
        (_with(), _with(scale=0.2)),
        (_with(), _with(probes=[ut.probes.FrobeniusNorm()])),
        (_with(), _with(samples=7)),
        (_with(), _with(**_penalized(0.1))),
        (_with(**_penalized(0.1)), _with(**_penalized(0.2))),
        (_with(penalty=lambda w: 2.0 * w.sum()), _with(penalty=lambda w: 3.0 * w.sum())),
        (_with(), _with(dynamics=ut.dynamics.GradientDescent(ut.optimizers.make("sgd", 2e-4)))),
        (
            _with(dynamics=ut.dynamics.GradientDescent(optax.sgd(1e-4))),
            _with(dynamics=ut.dynamics.GradientDescent(optax.sgd(2e-4))),
        ),
        (
            _with(probes=[ut.probes.Function("f", lambda w: w.sum())]),
            _with(probes=[ut.probes.Function("f", lambda w: w.prod())]),
        ),
        (_with(), _with(early_stopping=ut.EarlyStopping("loss"))),
        (_with(dynamics=FLOW), _with(dynamics=ut.dynamics.GradientFlow("explicit", rtol=1e-6))),
    ],
    ids=[
        "scale",
        "probes",
        "samples",
        "penalty",
        "closure",
        "constant",
        "rate",
        "optax-rate",
        "probe",
        "early",
        "rtol",
    ],
)
def test_the_checkpoint_of_another_run_is_refused_and_kept(first, other, tmp_path):
    path = tmp_path / "run.npz"
    first(path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"checkpoint: .* belongs to another run"):
        other(path)
    assert path.read_bytes() == before


def test_fingerprints_see_through_functions_and_containers():
    def bound(value):
        def helper(x):
            return x + value

        return lambda x: helper(x) * 2

    fingerprint = _checkpoint.fingerprint
    assert fingerprint(bound(1.5)) == fingerprint(bound(1.5))
    assert fingerprint(bound(1.5)) != fingerprint(bound(2.5))
    assert fingerprint(bound(np.ones(3))) != fingerprint(bound(np.zeros(3)))
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})
    assert fingerprint((1, 2)) != fingerprint((1,), 2)
    assert fingerprint(jnp.ones(2, jnp.float32)) != fingerprint(jnp.ones(2))

    def recursive(n):
        return recursive(n - 1) if n else 0

    assert fingerprint(recursive) == fingerprint(recursive)


# Damage ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_file_is_refused(share, tmp_path):
    path = tmp_path / "run.npz"
    run(checkpoint=path, steps=20)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match="checkpoint: "):
        run(checkpoint=path, steps=30)


@pytest.mark.parametrize("content", [b"hello", b"PK\x03\x04" + bytes(100), b"\x93NUMPY" + bytes(100)])
def test_something_else_is_refused(content, tmp_path):
    path = tmp_path / "run.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="checkpoint: "):
        run(checkpoint=path, steps=20)
    assert path.read_bytes() == content


def test_archives_of_other_makes_are_refused(tmp_path):
    path = tmp_path / "run.npz"
    header = lambda text: np.frombuffer(text.encode(), np.uint8)
    for arrays in (
        {"x": np.ones(3)},
        {"header": header("no json")},
        {"header": header("[1]")},
        {"header": header('{"format": 99}')},
        {"header": np.array([None], dtype=object)},  # pickled: never loaded
    ):
        np.savez(path, **arrays)  # pyright: ignore[reportArgumentType]
        with pytest.raises(ValueError, match="checkpoint: "):
            run(checkpoint=path, steps=20)


def test_a_write_that_fails_leaves_what_was_there_and_loses_no_result(tmp_path, monkeypatch):
    path = tmp_path / "run.npz"
    run(checkpoint=path, steps=20)
    before = path.read_bytes()

    def refuse(self, target):
        raise OSError("no")

    monkeypatch.setattr("pathlib.Path.replace", refuse)
    with pytest.warns(UserWarning, match=r"checkpoint: .*run.npz could not be written \(no\)"):
        found = run(checkpoint=path, steps=30)
    assert_same_run(found, run(steps=30))
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.npz"]


def test_what_killed_processes_left_behind_is_removed(tmp_path):
    path = tmp_path / "run.npz"
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for process in (dead.pid, os.getpid()):
        (tmp_path / f".run.npz.{process}.0123.partial").touch()
    run(checkpoint=path, steps=20)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [f".run.npz.{os.getpid()}.0123.partial", "run.npz"]


def test_a_link_stays_one(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    path = tmp_path / "run.npz"
    path.symlink_to(tmp_path / "elsewhere" / "real.npz")
    run(checkpoint=path, steps=20)
    assert path.is_symlink()
    assert run(checkpoint=path, steps=30).steps[-1] == 30


def test_a_checkpoint_of_other_arrays_is_refused(tmp_path):
    """As one is whose version keeps something else under the same name."""
    path = tmp_path / "run.npz"
    run(checkpoint=path, steps=20)
    header, arrays = _checkpoint.load(path)
    for change in (
        {"state.params": arrays["state.params"][:1]},
        {"state.params": arrays["state.params"].astype(np.float32)},
        {"state.more": np.zeros(2)},
    ):
        _checkpoint.save(path, {k: v for k, v in header.items() if k != "format"}, arrays | change)
        with pytest.raises(ValueError, match=r"checkpoint: expected .* as \.(params|more), found"):
            run(checkpoint=path, steps=30)


def test_a_function_that_keeps_count_of_its_calls_can_be_resumed(tmp_path):
    """In another process, as it were: the fingerprint is taken before anything is called."""

    class Counting:
        def __init__(self):
            self.calls = 0

        def __call__(self, w):
            self.calls += 1
            return 0.1 * w @ w

    path = tmp_path / "run.npz"
    for steps in (20, 40):
        assert run(checkpoint=path, steps=steps, penalty=Counting()).steps[-1] == steps


def test_a_schedule_can_be_resumed(tmp_path):
    """optax's fill a cell of theirs at the first call."""
    path = tmp_path / "run.npz"
    for steps in (20, 40):
        dynamics = ut.dynamics.GradientDescent(optax.sgd(optax.exponential_decay(1e-4, 10, 0.9)))
        assert run(dynamics, path, steps=steps).steps[-1] == steps


def test_bad_paths_are_named(tmp_path):
    with pytest.raises(ValueError, match="checkpoint: expected a file in a folder that exists"):
        run(checkpoint=tmp_path / "nowhere" / "run.npz")
    with pytest.raises(ValueError, match="checkpoint: expected a file in a folder that exists"):
        run(checkpoint=tmp_path)
    with pytest.raises(TypeError, match="checkpoint"):
        run(checkpoint=3)
    with pytest.raises(ValueError, match="checkpoint: expected none in a sweep"):
        ut.sweep(lambda scale: run(scale=scale, checkpoint=tmp_path / "run.npz"), over={"scale": [0.1]})
