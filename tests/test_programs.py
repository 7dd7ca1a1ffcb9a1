"""How many programs are compiled, and how they are kept on disk."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from contract import compilations

import undertow as ut
from undertow import _programs

SCRIPT = """
import collections, sys
import jax
import undertow as ut

if len(sys.argv) > 2:  # it may come late
    jax.jit(lambda x: x + 1)(1.0)
ut.keep_programs(sys.argv[1])
counts = collections.Counter()
jax.monitoring.register_event_listener(lambda event, **_: counts.update([event.rsplit("/", 1)[1]]))
problem, phi = ut.problems.PointTarget([3.0, 6.0]), ut.parameterizations.Identity(2)
run = ut.train(problem, phi, ut.dynamics.GradientFlow("explicit"), params=jax.numpy.ones(2), stop=ut.Stop(steps=3))
print(counts["cache_hits"], counts["cache_misses"], run.w.tolist())
"""


def start(*arguments):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    hits, misses, w = done.stdout.split(maxsplit=2)
    return int(hits), int(misses), w


def test_a_second_start_compiles_nothing(tmp_path):
    folder = tmp_path / "new" / "programs"
    hits, compiled, w = start(folder)
    assert hits == 0 < compiled
    assert start(folder, "late") == (compiled, 0, w)


def test_the_folder_is_checked(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"folder: expected a folder, found the file"):
        ut.keep_programs(tmp_path / "file")
    with pytest.raises(TypeError, match="folder"):
        ut.keep_programs(3)  # pyright: ignore[reportArgumentType]


def test_programs_are_let_go_before_their_memory_maps_run_out(tmp_path, monkeypatch):
    """Of which Linux grants a process so many, and every shape takes some."""
    maps, limit = tmp_path / "maps", tmp_path / "limit"
    limit.write_text("200")
    monkeypatch.setattr(_programs, "MAPS", maps)
    monkeypatch.setattr(_programs, "LIMIT", limit)
    monkeypatch.setattr(_programs, "_seen", set())
    calls = []
    monkeypatch.setattr(_programs.jax, "clear_caches", lambda: calls.append(None))

    def start(numbers):
        for number in numbers:
            _programs.make_room(_programs.Key(bytes([number]), list))

    for count, cleared in ((100, 0), (101, 1)):
        maps.write_text("a map\n" * count)
        start(range(15))
        assert len(calls) == 0  # it looks once in a while
        start([3, 3, 3])  # nothing new
        assert len(calls) == 0
        start([15])
        assert len(calls) == cleared
        start(range(100, 116))
        assert len(calls) == 2 * cleared
        _programs._seen.clear()
        calls.clear()


def test_outcomes_are_kept_by_what_programs_are_and_by_the_precision(monkeypatch):
    monkeypatch.setattr(_programs, "_outcomes", {})
    traced = []

    def shape(tree):
        traced.append(None)
        return tree[0](tree[1])

    def found(shift, size=2):
        tree = (lambda x: jnp.asarray(x + shift, float), jnp.ones(size, jnp.float32))
        return _programs.outcome(shape, _programs.Program(tree))

    for double, dtype in ((False, "float32"), (True, "float64")):
        with jax.enable_x64(double):
            assert (found(1).shape, found(1).dtype) == ((2,), dtype)
    assert len(traced) == 2
    found(2)
    found(1, size=3)
    assert len(traced) == 4  # another value of a closure, and another shape
    for _ in range(2):
        with pytest.raises(TypeError):
            found("no number")
    assert len(traced) == 6  # nothing is kept of what was refused
    monkeypatch.setattr(_programs, "MOST_OUTCOMES", 4)
    for shift in range(10, 20):
        found(shift)
    assert len(_programs._outcomes) <= 4


def test_other_probes_share_the_program_of_the_path():
    """What is compiled for them is what measures: by one program the start, the samples and the end."""
    problem, phi = ut.problems.PointTarget([3.0, 6.0]), ut.parameterizations.Identity(2)
    descent, start = ut.dynamics.GradientDescent(optax.sgd(0.1)), jnp.ones(2)
    norms = [ut.probes.Function(f"l{p}", lambda w, p=p: jnp.sum(jnp.abs(w) ** p)) for p in (1, 2)]
    compiled = []
    for probes in ([], norms[:1], norms):
        with compilations() as count:
            run = ut.train(problem, phi, descent, params=start, probes=probes, stop=ut.Stop(loss=None, steps=8))
        compiled.append(count.programs)
        assert set(run.records) == {"loss", *(probe.name for probe in probes)}
        for p, probe in enumerate(probes, 1):
            assert run[probe.name][-1] == pytest.approx(jnp.sum(jnp.abs(run.w) ** p))
    assert compiled[1:] == [1, 1]


def test_other_dynamics_share_what_measures():
    """It hangs on the objective alone: beside the path, its start and its steps, nothing is compiled again."""
    problem, phi, start = ut.problems.PointTarget([3.0, 5.0, 7.0]), ut.parameterizations.Identity(3), jnp.ones(3)
    probe, compiled = ut.probes.Function("sum", jnp.sum), []
    for norm in ("linf", "l2"):
        with compilations() as count:
            descent = ut.dynamics.SteepestDescent(norm, 0.1)
            run = ut.train(problem, phi, descent, params=start, probes=[probe], stop=ut.Stop(loss=None, steps=8))
        compiled.append(count.programs)
        assert run["sum"][-1] == pytest.approx(float(run.w.sum()))
    assert compiled[1] == 2


@pytest.mark.long
def test_many_arrays_move_as_one_array_does():
    """A 1 x 1 matrix of six factors, seen by the solver as one array, is the entrywise product of six numbers."""
    flow, stop = ut.dynamics.GradientFlow("explicit", rtol=1e-8), ut.Stop(loss=1e-8)
    many, one = (
        ut.train(ut.problems.PointTarget(target), phi, flow, params=phi.lift(0.3 * target), stop=stop, samples=times)
        for times in [[0.05, 0.1, 0.2]]
        for target, phi in (
            (jnp.full((1, 1), 2.0), ut.parameterizations.DeepMatrix((1, 1), 6)),
            (jnp.full(1, 2.0), ut.parameterizations.Hadamard(1, 6)),
        )
    )
    assert many.status == one.status == "converged"
    assert [factor.shape for factor in many.params] == [(1, 1)] * 6
    assert len(many.times) >= 4
    np.testing.assert_allclose(many["loss"][:4], one["loss"][:4], rtol=1e-6)


known = _programs._known


def test_small_programs_take_less_time_to_compile_unless_options_are_said(monkeypatch):
    monkeypatch.setattr(_programs, "QUICK", _programs.QUICK | {"xla_no_such_option": 1})
    few, many = jnp.ones(_programs.SMALL), jnp.ones(_programs.SMALL + 1)
    taken = []
    monkeypatch.setattr(_programs, "_known", lambda options: taken.append(list(options)) or known(options))
    _programs._quick_options.cache_clear()
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    twice = _programs.compiled_by_size(lambda x, *, by=2.0: by * x)
    assert twice(many)[0] == 2
    assert twice(many, by=3.0)[-1] == 3
    assert not taken
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=3")
    assert twice(few)[0] == 2
    assert not taken
    monkeypatch.delenv("XLA_FLAGS")
    assert twice(few)[0] == 2
    assert taken == [list(_programs.QUICK), *([name] for name in _programs.QUICK)]
    assert known({"xla_backend_optimization_level": 1})
    assert not known({"xla_no_such_option": 1})
    _programs._quick_options.cache_clear()
