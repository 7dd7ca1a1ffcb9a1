"""Training: descent against hand-written loops, samples, early stopping, checkpoints, interruption, sweeps."""

import signal
import subprocess
import sys
import textwrap

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import xarray as xr

import undertow as ut

PROBLEM = ut.problems.LeastSquares(jnp.array([[1.0, 2.0, 0.0], [0.0, 1.0, -1.0]]), jnp.array([1.0, 2.0]))
PHI = ut.parameterizations.Identity(3)
START = jnp.array([0.3, -0.2, 0.5])


def descend(optimizer, steps=50, **options):
    stop = options.pop("stop", ut.Stop(loss=None, steps=steps))
    dynamics = ut.dynamics.GradientDescent(optimizer)
    return ut.train(PROBLEM, PHI, dynamics, params=START, stop=stop, **options)


def by_hand(optimizer, steps):
    params, state = START, optimizer.init(START)
    for _ in range(steps):
        gradient = jax.grad(PROBLEM.loss)(params)
        updates, state = optimizer.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
    return params


@pytest.mark.long
@pytest.mark.two_types
@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_descent_is_the_loop_that_one_would_write(name):
    expected = by_hand(getattr(optax, name)(0.05), 50)
    for optimizer in (getattr(optax, name)(0.05), ut.optimizers.make(name, 0.05)):
        found = descend(optimizer)
        np.testing.assert_allclose(found.params, expected, rtol=1e-12)
        assert (found.status, found.steps[-1], found.gradient_evaluations) == ("stopped", 50, 51)
    np.testing.assert_allclose(descend(ut.optimizers.make(name, 0.05)).times[-1], 2.5)


def test_group_rmsprop_against_numpy():
    params, square = np.asarray(START), 0.0
    A, b = np.asarray(PROBLEM.A), np.asarray(PROBLEM.b)
    for step in range(1, 31):
        gradient = A.T @ (A @ params - b)
        square = 0.99 * square + 0.01 * gradient @ gradient
        params = params - 0.01 / (np.sqrt(square / (1 - 0.99**step)) + 1e-6) * gradient
    np.testing.assert_allclose(descend(ut.optimizers.make("group_rmsprop", 0.01), 30).params, params, rtol=1e-10)


def test_a_line_search_of_optax_works():
    found = descend(optax.lbfgs(), stop=ut.Stop(loss=1e-12, steps=50))
    assert found.status == "converged"


def test_too_high_a_rate_diverges_and_keeps_finite_parameters():
    found = descend(optax.sgd(10.0), 10_000)
    assert found.status == "diverged"
    assert np.isfinite(found.params).all()
    assert np.isfinite(found["loss"]).all()


def test_descent_that_no_longer_moves_stalls():
    infeasible = ut.problems.LeastSquares(jnp.array([[1.0], [1.0]]), jnp.array([0.0, 1.0]))
    found = ut.train(
        infeasible,
        ut.parameterizations.Identity(1),
        ut.dynamics.GradientDescent(optax.sgd(0.3)),
        params=jnp.array([2.0]),
    )
    assert found.status == "stalled"
    assert found.steps[-1] < 5000


def test_flow_from_zero_ends_at_the_minimum_norm():
    found = ut.train(PROBLEM, PHI, ut.dynamics.GradientFlow(rtol=1e-10), params=jnp.zeros(3), stop=ut.Stop(loss=1e-24))
    np.testing.assert_allclose(found.w, np.linalg.pinv(PROBLEM.A) @ PROBLEM.b, atol=1e-10)


def test_samples_of_descent():
    every = descend(optax.sgd(0.05), 10, samples=64)
    assert every.steps.tolist() == list(range(11))
    thinned = descend(optax.sgd(1e-3), 1000, samples=64)
    assert thinned.steps[0] == 0
    assert thinned.steps[-1] == 1000
    assert 32 <= len(thinned.steps) <= 64 + 33
    assert len(set(np.diff(thinned.steps[:-1]).tolist())) == 1
    chosen = descend(optax.sgd(0.05), 10, samples=[0, 3, 7])
    assert chosen.steps.tolist() == [0, 3, 7, 10]
    np.testing.assert_allclose(chosen["loss"], every["loss"][[0, 3, 7, 10]], rtol=1e-12)


def test_early_stopping_returns_the_best_sample():
    # The run passes this value of its first entry on the way.
    middle = descend(optax.sgd(0.02), 20).params[0]
    held_out = ut.problems.LeastSquares(jnp.array([[1.0, 0.0, 0.0]]), middle[None])
    found = descend(
        optax.sgd(0.02),
        5000,
        probes=[ut.probes.TestError(held_out)],
        early_stopping=ut.EarlyStopping("test_error", patience=10),
        samples=np.arange(5000),
    )
    assert found.status == "stopped"
    assert found.chosen == found["test_error"].argmin()
    assert 0 < found.chosen < len(found.times) - 1
    assert len(found.times) < 1000
    np.testing.assert_allclose(held_out.loss(found.w), found["test_error"].min(), rtol=1e-12)


def _same(one, other):
    assert eqx.tree_equal(one.params, other.params) is np.True_ or bool(eqx.tree_equal(one.params, other.params))
    np.testing.assert_array_equal(one.times, other.times)
    for name in one.records:
        np.testing.assert_array_equal(one[name], other[name])
    assert one.status == other.status


COMPLETION = ut.problems.MatrixCompletion((4, 4), [0, 1, 2, 3, 0], [0, 1, 2, 3, 1], [1.0, 2.0, -1.0, 0.5, 0.3])


@pytest.mark.long
@pytest.mark.parametrize(
    "dynamics",
    [ut.dynamics.GradientDescent(ut.optimizers.make("adam", 1e-2)), ut.dynamics.GradientFlow()],
    ids=["descent", "flow"],
)
def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(dynamics, tmp_path):
    def run(steps, checkpoint=None):
        return ut.train(
            COMPLETION,
            ut.parameterizations.DeepMatrix((4, 4), 2),
            dynamics,
            key=1,
            scale=1e-2,
            probes=[ut.probes.NuclearNorm()],
            stop=ut.Stop(loss=None, steps=steps),
            samples=32,
            checkpoint=checkpoint,
        )

    path = tmp_path / "run.npz"
    first = run(23, path)
    assert first.steps[-1] == 23
    _same(run(90, path), run(90))
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.npz"]
    with pytest.raises(ValueError, match="belongs to another run"):
        ut.train(COMPLETION, ut.parameterizations.DeepMatrix((4, 4), 2), dynamics, key=2, scale=1e-2, checkpoint=path)


def test_a_broken_checkpoint_is_refused_and_a_failed_write_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "run.npz"
    descend(optax.sgd(0.05), 5, checkpoint=path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="checkpoint"):
        descend(optax.sgd(0.05), 9, checkpoint=path)
    path.write_bytes(whole)

    def full(*args, **kwargs):
        raise OSError("no space left")

    monkeypatch.setattr(np, "savez", full)
    with pytest.warns(UserWarning, match="no space left"):
        descend(optax.sgd(0.05), 9, checkpoint=path)
    assert path.read_bytes() == whole
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.npz"]


def test_ctrl_c_keeps_the_result_and_the_run_goes_on_from_it(tmp_path):
    script = tmp_path / "run.py"
    script.write_text(
        textwrap.dedent(
            """
            import sys, jax.numpy as jnp, undertow as ut
            problem = ut.problems.LeastSquares(jnp.array([[1.0, 2.0]]), jnp.array([1.0]))
            report = lambda fraction, message: print("going", flush=True)
            found = ut.train(
                problem, ut.parameterizations.Identity(2),
                ut.dynamics.GradientDescent(ut.optimizers.make("sgd", 1e-9)),
                params=jnp.ones(2), stop=ut.Stop(loss=None, steps=2_000_000_000),
                checkpoint=sys.argv[1], progress=report,
            )
            print(found.status, found.interrupted, int(found.steps[-1]) > 0)
            """
        )
    )
    command = [sys.executable, str(script), str(tmp_path / "run.npz")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert out.splitlines()[-1] == "stopped True True"
    assert (tmp_path / "run.npz").exists()


def test_a_second_call_compiles_nothing():
    def run(key, scale, rate):
        return ut.train(
            COMPLETION,
            ut.parameterizations.DeepMatrix((4, 4), 2),
            ut.dynamics.GradientDescent(ut.optimizers.make("sgd", rate)),
            key=key,
            scale=scale,
            probes=[ut.probes.Function("trace", lambda w: jnp.trace(w))],
            stop=ut.Stop(loss=None, steps=20),
        )

    run(0, 1e-2, 0.1)
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, duration, **kwargs: compiled.append(event) if "backend_compile" in event else None
    )
    run(1, 1e-3, 0.2)
    assert compiled == []


@pytest.mark.long
def test_sweep_is_the_runs_one_by_one():
    def run(depth, scale, rate):
        return ut.train(
            COMPLETION,
            ut.parameterizations.DeepMatrix((4, 4), depth),
            ut.dynamics.GradientDescent(ut.optimizers.make("sgd", rate)),
            key=3,
            scale=scale,
            probes=[ut.probes.SingularValues()],
            stop=ut.Stop(loss=1e-3, steps=300),
        )

    axes = {"depth": [1, 2], "scale": [1e-1, 1.0], "rate": [0.2, 0.5]}
    found = ut.sweep(run, over=axes)
    assert dict(found.sizes) == {
        "depth": 2,
        "scale": 2,
        "rate": 2,
        "sample": found.sizes["sample"],
        "singular_values_0": 4,
    }
    for point in ({"depth": 1, "scale": 0.1, "rate": 0.5}, {"depth": 2, "scale": 1.0, "rate": 0.2}):
        single, part = run(**point), found.sel(point)
        count = int(part["samples"])
        assert str(part["status"].values) == single.status
        np.testing.assert_allclose(part["loss"][:count], single["loss"], rtol=1e-9)
        assert np.isnan(part["loss"][count:]).all()
        assert (part["step"][count:] == -1).all()
        np.testing.assert_allclose(part["final_singular_values"], single["singular_values"][-1], rtol=1e-7)


@pytest.mark.long
def test_sweep_over_masks_and_its_errors():
    def run(key):
        rows, columns = np.divmod(np.sort(np.random.default_rng(key).choice(16, 6, replace=False)), 4)
        problem = ut.problems.MatrixCompletion((4, 4), rows, columns, np.ones(6))
        flow = ut.dynamics.GradientFlow()
        return ut.train(problem, ut.parameterizations.DeepMatrix((4, 4), 2), flow, key=key, scale=1e-1)

    found = ut.sweep(run, over={"key": range(3)})
    assert (found["status"] == "converged").all()
    with pytest.raises(TypeError, match=r"returns what undertow\.train"):
        ut.sweep(lambda a: None, over={"a": [1]})
    with pytest.raises(ValueError, match=r"over\['a'\]: expected at least one value"):
        ut.sweep(run, over={"a": []})
    with pytest.raises(TypeError, match="over"):
        ut.sweep(run, over={})


def test_trajectory_goes_to_disk_and_back(tmp_path):
    dataset = descend(optax.sgd(0.05), 10, probes=[ut.probes.Entry(1)]).to_xarray()
    dataset.to_netcdf(tmp_path / "run.nc", engine="scipy")
    with xr.open_dataset(tmp_path / "run.nc", engine="scipy") as back:
        np.testing.assert_array_equal(back["entry_1"], dataset["entry_1"])
        assert back.attrs["status"] == "stopped"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "params: expected initial parameters"),
        ({"params": jnp.zeros(3), "scale": 1.0}, "params: expected either"),
        ({"params": jnp.zeros(4)}, "params"),
        ({"params": jnp.array([0.0, jnp.nan, 0.0])}, "params: expected finite"),
        ({"key": 0, "scale": -1.0}, "scale"),
        ({"params": jnp.zeros(3), "samples": 1}, "samples"),
        ({"params": jnp.zeros(3), "samples": [3.0, 1.0]}, "samples"),
        ({"params": jnp.zeros(3), "probes": [ut.probes.SingularValues()]}, "singular_values"),
        ({"params": jnp.zeros(3), "probes": [ut.probes.Entry(5)]}, "index"),
        ({"params": jnp.zeros(3), "early_stopping": ut.EarlyStopping("los")}, "monitor.*did you mean 'loss'"),
        ({"params": jnp.zeros(3), "checkpoint": "no/such/folder/run.npz"}, "checkpoint"),
    ],
)
def test_wrong_arguments_are_named_before_any_work(options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        ut.train(PROBLEM, PHI, ut.dynamics.GradientFlow(), **options)


def test_wrong_limits_and_optimizers_are_named():
    with pytest.raises(ValueError, match="loss"):
        ut.Stop(loss=-1.0)
    with pytest.raises((TypeError, ValueError), match="steps"):
        ut.Stop(steps=0)
    with pytest.raises(ValueError, match=r"name: unknown optimizer 'adm'.*adam"):
        ut.optimizers.make("adm", 0.1)
    with pytest.raises(TypeError, match=r"momentun: sgd has no such option.*momentum"):
        ut.optimizers.make("sgd", 0.1, momentun=0.9)
    with pytest.raises(ValueError, match="learning_rate"):
        ut.optimizers.make("sgd", -0.1)
