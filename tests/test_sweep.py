"""Sweeps: the same runs as one by one, in as few programs as there can be, as one dataset."""

import signal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from contract import compilations

import undertow as ut
from undertow.training._run import execute as training_execute

B, P, M = ut.problems, ut.parameterizations, ut.probes
LINE = B.LineTarget(-1.0, -2.0, 15.0)
PHI = P.Power(2, 2)
FLOW = ut.dynamics.GradientFlow("explicit")


def line_run(key=0, scale=0.1, loss_limit=1e-6, probes=(), **options):
    stop = options.pop("stop", ut.Stop(loss=loss_limit))
    return ut.train(LINE, PHI, options.pop("dynamics", FLOW), key=key, scale=scale, stop=stop, probes=probes, **options)


# The same runs -----------------------------------------------------------------------------------


@pytest.mark.long
def test_limits_and_scales_and_keys_side_by_side_are_the_runs_one_by_one():
    axes = {"key": range(2), "scale": [0.1, 1.0], "loss_limit": [1e-2, 1e-8]}
    run = lambda **point: line_run(probes=[M.Function("w", lambda w: w)], **point)
    data = ut.sweep(run, over=axes)
    assert data["w"].dims == ("key", "scale", "loss_limit", "sample", "w_0")
    assert data["final_loss"].dims == ("key", "scale", "loss_limit")
    assert data.scale.values.tolist() == [0.1, 1.0]
    assert data.key.values.tolist() == [0, 1]
    for key, scale, limit in [(0, 0.1, 1e-2), (1, 1.0, 1e-8), (1, 0.1, 1e-8)]:
        alone = run(key=key, scale=scale, loss_limit=limit)
        point = data.sel(key=key, scale=scale, loss_limit=limit)
        count = int(point.samples)
        assert str(point.status.values) == alone.status == "converged"
        assert 0.99 * limit <= point.final_loss <= limit
        np.testing.assert_allclose(point.final_w, alone.w, rtol=1e-6)
        np.testing.assert_allclose(point.time[:count], alone.times, rtol=1e-6)
        np.testing.assert_allclose(point.w[:count], alone["w"], rtol=1e-5)
        assert np.isnan(point.time[count:]).all()
        assert np.isnan(point.w[count:]).all()
        assert (point.step[count:] == -1).all()
    assert len(np.unique(data.samples)) > 1


@pytest.mark.long
def test_masks_targets_and_learning_rates_are_axes_too():
    truth = np.outer([1.0, 2.0, 3.0], [1.0, -1.0, 0.5])
    masks = [np.array([[0, 0], [1, 1], [2, 2], [0, 1]]), np.array([[0, 1], [1, 2], [2, 0], [2, 2]])]

    def run(mask, rate):
        problem = B.MatrixCompletion((3, 3), *mask.T, truth[tuple(mask.T)], truth)
        dynamics = ut.dynamics.GradientDescent(ut.optimizers.make("sgd", rate))
        phi = P.DeepMatrix((3, 3), 2)
        stop = ut.Stop(loss=None, steps=60)
        return ut.train(problem, phi, dynamics, key=1, scale=0.5, stop=stop, probes=[M.TestError()], samples=8)

    run(masks[0], 0.05)
    with compilations() as first:
        data = ut.sweep(run, over={"mask": masks, "rate": [0.05, 0.1, 0.2]})
    assert data.mask.values.tolist() == [0, 1]  # arrays are known by their positions
    assert first.programs > 0
    with compilations() as second:
        ut.sweep(run, over={"mask": masks[::-1], "rate": [0.01, 0.02, 0.03]})
    assert second.programs == 0
    for i, mask in enumerate(masks):
        for rate in (0.05, 0.2):
            alone, point = run(mask, rate), data.isel(mask=i).sel(rate=rate)
            np.testing.assert_allclose(point.final_test_error, alone["test_error"][-1], rtol=1e-9)
            np.testing.assert_allclose(point.time[: int(point.samples)], alone.times, rtol=1e-12)


@pytest.mark.long
def test_structure_and_arrays_mixed():
    """Two solvers are two programs, two scales are one; at the same loss the solvers are at the same time."""

    def run(scale, solver):
        return line_run(0, scale, 1e-4, dynamics=ut.dynamics.GradientFlow(solver), samples=4)

    data = ut.sweep(run, over={"scale": [0.1, 0.5], "solver": ["explicit", "implicit"]})
    assert dict(data.sizes) == {"scale": 2, "solver": 2, "sample": data.sizes["sample"]}
    assert data.solver.values.tolist() == ["explicit", "implicit"]
    by_solver = data.time.max("sample")
    np.testing.assert_allclose(by_solver.sel(solver="explicit"), by_solver.sel(solver="implicit"), rtol=1e-3)
    alone = run(0.1, "implicit")
    np.testing.assert_allclose(by_solver.sel(scale=0.1, solver="implicit"), alone.times[-1], rtol=1e-6)


def test_statuses_of_each_kind():
    rates = [1e-12, 1e-3, 1e-2, 1e4]

    def run(rate):
        dynamics = ut.dynamics.GradientDescent(ut.optimizers.make("sgd", rate))
        return line_run(dynamics=dynamics, stop=ut.Stop(loss=1e-6, steps=1_500), samples=8)

    data = ut.sweep(run, over={"rate": rates})
    assert data.status.values.tolist() == [run(rate).status for rate in rates]
    assert {"converged", "diverged"} <= set(data.status.values)
    assert np.isfinite(data.final_loss).all()


@pytest.mark.long
def test_early_stopping_in_a_sweep_keeps_each_best_sample():
    def run(scale):
        dynamics = ut.dynamics.GradientDescent(ut.optimizers.make("sgd", 1e-3))
        early = ut.EarlyStopping("distance", patience=5)
        stop = ut.Stop(loss=None, steps=3_000)
        probes = [M.DistanceTo([0.5, 3.0])]
        return line_run(0, scale, dynamics=dynamics, stop=stop, probes=probes, early_stopping=early, samples=64)

    data = ut.sweep(run, over={"scale": [0.05, 0.2]})
    np.testing.assert_allclose(data.final_distance, data.distance.min("sample"), rtol=1e-12)
    for scale in (0.05, 0.2):
        alone = run(scale)
        np.testing.assert_allclose(data.sel(scale=scale).final_distance, alone["distance"].min(), rtol=1e-9)
        assert int(data.sel(scale=scale).samples) == len(alone.times)


# One program -------------------------------------------------------------------------------------


def test_a_group_is_one_program_whatever_its_values():
    run = lambda key, scale: line_run(key, scale, samples=8)
    ut.sweep(run, over={"key": [0, 1], "scale": [0.1, 0.2]})
    with compilations() as count:
        ut.sweep(run, over={"key": [5, 6], "scale": [0.3, 1.5]})
    assert count.programs == 0


def test_a_side_by_side_splits_a_group():
    run = lambda scale: line_run(0, scale, samples=8)
    scales = [0.1, 0.2, 0.4, 0.8]
    whole, halves = (ut.sweep(run, over={"scale": scales}, side_by_side=size) for size in (None, 2))
    np.testing.assert_allclose(whole.final_loss, halves.final_loss, rtol=1e-6)
    with compilations() as count:
        ut.sweep(run, over={"scale": [*scales, 1.0, 2.0]}, side_by_side=2)
    assert count.programs == 0


@pytest.mark.parametrize(
    ("dynamics", "at_once"), [(FLOW, 1), (ut.dynamics.GradientDescent(ut.optimizers.make("sgd", 1e-3)), 3)]
)
def test_large_flows_go_in_turn_on_a_cpu_unless_told_otherwise(monkeypatch, dynamics, at_once):
    if jax.default_backend() != "cpu":
        pytest.skip("one after the other on a CPU only")
    groups = []

    def execute(plans, report):
        groups.append(len(plans))
        return training_execute(plans, report)

    monkeypatch.setattr("undertow.sweeps._sweep.LARGE", 2)  # parameters, as many as there are here
    monkeypatch.setattr("undertow.sweeps._sweep.execute", execute)
    run = lambda scale: line_run(0, scale, samples=4, dynamics=dynamics, stop=ut.Stop(loss=1e-2, steps=50))
    data = ut.sweep(run, over={"scale": [0.1, 0.2, 0.4]})
    assert groups == [at_once] * (3 // at_once)
    groups.clear()
    together = ut.sweep(run, over={"scale": [0.1, 0.2, 0.4]}, side_by_side=2)
    assert groups == [2, 1]
    np.testing.assert_allclose(data.final_loss, together.final_loss, rtol=1e-6)


# Axes and results --------------------------------------------------------------------------------


@pytest.mark.parametrize("keys", [jax.random.split(jax.random.key(3), 2), jax.random.split(jax.random.PRNGKey(3), 2)])
def test_random_keys_as_an_axis(keys):
    data = ut.sweep(lambda key: line_run(key, samples=4), over={"key": keys})
    assert data.key.values.tolist() == [0, 1]
    np.testing.assert_allclose(data.final_loss[1], line_run(keys[1], samples=4)["loss"][-1], rtol=1e-6)


@pytest.mark.parametrize("scales", [np.array([0.1, 0.2]), jnp.array([0.1, 0.2]), (0.1, 0.2)])
def test_arrays_as_an_axis(scales):
    data = ut.sweep(lambda scale: line_run(0, scale, samples=4), over={"scale": scales})
    np.testing.assert_allclose(data.scale, [0.1, 0.2])


def test_one_point():
    data = ut.sweep(lambda scale: line_run(0, scale, samples=4), over={"scale": [0.1]})
    assert data.final_loss.shape == (1,)


def test_a_dataset_goes_to_disk_and_back(tmp_path):
    data = ut.sweep(lambda scale: line_run(0, scale, samples=4), over={"scale": [0.1, 0.2]})
    data.to_netcdf(tmp_path / "sweep.nc", engine="scipy")
    with xr.open_dataset(tmp_path / "sweep.nc", engine="scipy") as back:
        xr.testing.assert_allclose(back.drop_vars("status"), data.drop_vars("status"))
        assert back.status.values.astype(str).tolist() == ["converged", "converged"]
        assert back.attrs["run_seconds_total"] > 0


def test_progress_rises_to_one():
    seen = []
    ut.sweep(
        lambda scale: line_run(0, scale, samples=4),
        over={"scale": [0.1, 0.2]},
        side_by_side=1,
        progress=lambda fraction, message: seen.append(fraction),
    )
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


# Wrong input -------------------------------------------------------------------------------------


def never(**point):
    raise AssertionError("nothing should run")


@pytest.mark.parametrize(
    ("over", "error", "message"),
    [
        ({}, TypeError, "over"),
        ([("a", [1])], TypeError, "over"),
        ({"a": []}, ValueError, r"over\['a'\]: expected at least one value"),
        ({"a": "abc"}, TypeError, r"over\['a'\]: expected a sequence of values, found 'abc'"),
        ({"a": 3}, TypeError, r"over"),
        ({"a": np.array(3.0)}, TypeError, "over"),
        ({"": [1]}, ValueError, "over: expected names of axes"),
    ],
)
def test_bad_axes_are_named(over, error, message):
    with pytest.raises(error, match=message):
        ut.sweep(never, over=over)


@pytest.mark.parametrize("name", ["sample", "time", "step", "status", "samples", "loss", "final_loss"])
def test_an_axis_must_not_be_called_as_a_result(name):
    with pytest.raises(ValueError, match=f"over: '{name}' is what the dataset calls a result"):
        ut.sweep(lambda **point: line_run(scale=point[name]), over={name: [0.1]})


def test_a_run_that_does_not_train_is_refused():
    with pytest.raises(TypeError, match=r"run: expected a function that returns what undertow\.train gave it"):
        ut.sweep(lambda a: a, over={"a": [1]})
    with pytest.raises(TypeError, match="run"):
        ut.sweep("train", over={"a": [1]})  # pyright: ignore[reportArgumentType]


def test_what_train_raises_comes_through_before_any_run():
    with pytest.raises(ValueError, match="scale: expected a finite number above 0"), compilations() as count:
        ut.sweep(lambda scale: line_run(0, scale, samples=16), over={"scale": [0.1, -1.0]})
    assert count.programs == 0


def test_probes_must_be_the_same_at_every_point():
    def run(probe):
        return line_run(probes=[probe])

    with pytest.raises(ValueError, match="probes: expected the same at every point"):
        ut.sweep(run, over={"probe": [M.FrobeniusNorm(), M.Entry(0)]})

    def sized(size):
        problem, phi = B.PointTarget(np.ones((2, size))), P.Identity((2, size))
        return ut.train(problem, phi, FLOW, key=0, scale=0.1, probes=[M.Function("w", lambda w: w)])

    with pytest.raises(ValueError, match="probes: expected the same at every point"):
        ut.sweep(sized, over={"size": [2, 3]})


@pytest.mark.parametrize(("size", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError)])
def test_bad_side_by_sides_are_named(size, error):
    with pytest.raises(error, match="side_by_side"):
        ut.sweep(never, over={"a": [1]}, side_by_side=size)


# Runs that go on from one another, end early or cannot start -------------------------------------------


@pytest.mark.long
def test_a_run_of_two_trainings_is_what_it_is_alone():
    target = ut.problems.PointTarget([1.0, 2.0])

    def run(scale):
        first = ut.train(LINE, PHI, FLOW, params=jnp.full(2, scale), stop=ut.Stop(loss=1.0))
        return ut.train(target, PHI, FLOW, params=first.params, stop=ut.Stop(loss=1e-10))

    swept = ut.sweep(run, over={"scale": [0.5, 0.6]})
    for i, scale in enumerate((0.5, 0.6)):
        alone = run(scale)
        assert swept["samples"][i] == len(alone.times)
        np.testing.assert_allclose(swept["final_loss"][i], alone["loss"][-1], rtol=1e-6)


def test_the_better_of_two_runs():
    def run(scale):
        runs = [ut.train(LINE, PHI, FLOW, params=jnp.full(2, s), stop=ut.Stop(loss=None, steps=9)) for s in (scale, 1)]
        return min(runs, key=lambda trajectory: trajectory["loss"][-1])

    alone = [run(scale) for scale in (0.5, 2.0)]
    swept = ut.sweep(run, over={"scale": [0.5, 2.0]})
    np.testing.assert_allclose(swept["final_loss"], [t["loss"][-1] for t in alone], rtol=1e-9)


def test_one_member_that_cannot_start_is_only_its_own_diverged():
    def run(scale):
        return ut.train(LINE, PHI, FLOW, params=scale * jnp.ones(2), probes=[ut.probes.FrobeniusNorm()])

    swept = ut.sweep(run, over={"scale": [0.5, 1e200, np.inf, 0.6]})
    assert swept["status"].values.tolist() == ["converged", "diverged", "diverged", "converged"]
    alone = ut.sweep(run, over={"scale": [0.5, 0.6]})
    np.testing.assert_allclose(swept["final_loss"][[0, 3]], alone["final_loss"], rtol=1e-12)


def test_an_interrupted_sweep_keeps_what_it_had():
    """Ctrl-C while the second of three programs runs."""

    def run(depth):
        descent = ut.dynamics.GradientDescent(ut.optimizers.make("sgd", 1e-9 if depth == 2 else 1e-3))
        stop = ut.Stop(loss=None, steps=50 if depth != 2 else 2_000_000_000)
        phi = ut.parameterizations.Power(2, depth, "constant")
        return ut.train(LINE, phi, descent, key=0, scale=0.1, stop=stop, probes=[ut.probes.Entry(0)])

    def interrupt(fraction, message):
        if fraction > 1 / 3 and message.startswith("loss"):
            signal.raise_signal(signal.SIGINT)

    swept = ut.sweep(run, over={"depth": [1, 2, 3]}, progress=interrupt)
    assert swept.attrs["interrupted"] == 1
    assert swept["status"].values.tolist() == ["stopped", "stopped", "not run"]
    assert np.isfinite(swept["final_entry_0"].values).tolist() == [True, True, False]
    assert swept["final_loss"][0] == run(1)["loss"][-1]
    assert swept["step"][2].max() == -1


@pytest.mark.long
def test_a_part_that_holds_a_random_key():
    class Noisy(ut.problems.Problem):
        shape: tuple[int, ...] = eqx.field(static=True)
        key: jax.Array

        def loss(self, w):
            return ((w - jax.random.normal(self.key, self.shape)) ** 2).sum()

    def run(seed):
        problem = Noisy((2,), jax.random.key(seed))
        return ut.train(problem, ut.parameterizations.Identity(2), FLOW, params=jnp.zeros(2))

    swept = ut.sweep(run, over={"seed": [0, 1]})
    np.testing.assert_allclose(swept["final_loss"], [run(seed)["loss"][-1] for seed in (0, 1)], rtol=1e-9)
    assert swept["loss"][0, 0] != swept["loss"][1, 0]


def test_a_key_among_the_parameters_is_refused():
    with pytest.raises(TypeError, match="params: expected a PyTree of real arrays, found a leaf"):
        ut.train(LINE, PHI, FLOW, params={"u": jnp.ones(2), "key": jax.random.key(0)})


def test_a_list_of_typed_keys_is_an_axis_as_their_array_is():
    keys = jax.random.split(jax.random.key(0))
    listed = ut.sweep(line_run, {"key": list(keys)})
    np.testing.assert_array_equal(listed["final_loss"], ut.sweep(line_run, {"key": keys})["final_loss"])
