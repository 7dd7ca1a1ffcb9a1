"""What train takes: recompilation, samples, keys, names; and what it says of the rest before any work."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from contract import DYNAMICS, PARAMETERIZATIONS, assert_same_bits, compilations, rows

import undertow as ut

B, P, M = ut.problems, ut.parameterizations, ut.probes
LINE, PHI = B.LineTarget(-1.0, -2.0, 15.0), P.Power(2, 2)
FLOW = ut.dynamics.GradientFlow("explicit")
SGD = ut.dynamics.GradientDescent(ut.optimizers.make("sgd", 1e-3))


def train(dynamics: ut.dynamics.Dynamics = FLOW, problem=LINE, phi=PHI, **options):
    if "params" not in options:
        options = {"key": 0, "scale": 0.1, **options}
    return ut.train(problem, phi, dynamics, **options)


# Programs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["flow", "descent"])
def test_nothing_is_compiled_for_other_values(kind):
    """Another key, scale, limit, learning rate and target, and a fresh lambda of the same code."""

    def run(key, scale, limit, rate, c):
        dynamics = FLOW if kind == "flow" else ut.dynamics.GradientDescent(ut.optimizers.make("sgd", rate))
        return train(
            dynamics,
            B.LineTarget(-1.0, -2.0, c),
            P.Function(lambda u: u**2, lambda key, scale: jnp.sqrt(scale * jnp.abs(jax.random.normal(key, (2,))))),
            key=key,
            scale=scale,
            stop=ut.Stop(loss=limit, steps=200),
            probes=[M.Function("sum", lambda w: w.sum())],
            penalty=None,
            samples=8,
        )

    run(0, 0.1, 1e-3, 1e-3, 15.0)
    with compilations() as count:
        run(1, 0.3, 1e-4, 2e-3, 12.0)
    assert count.programs == 0


@pytest.mark.long
def test_closures_over_other_values_are_other_programs():
    """Functions count as the same by what they bind too: a stale program would give a stale answer."""

    def run(power):
        phi = P.Function(lambda u: u**power, shape=2)
        return train(phi=phi, params=jnp.ones(2), stop=ut.Stop(loss=None, steps=1), samples=2)

    first, second = run(2), run(3)
    np.testing.assert_allclose(first.w, np.asarray(first.params) ** 2, rtol=1e-12)
    np.testing.assert_allclose(second.w, np.asarray(second.params) ** 3, rtol=1e-12)
    assert second.gradient_evaluations
    assert not np.allclose(first.w, second.w)


# Keys, parameters, samples -------------------------------------------------------------------------


def test_a_seed_is_its_key():
    runs = [train(key=key, stop=ut.Stop(steps=5)) for key in (7, np.int64(7), jax.random.key(7), jax.random.PRNGKey(7))]
    for run in runs[1:]:
        assert_same_bits(run.params, runs[0].params)


def test_parameters_by_hand_are_those_of_init():
    drawn = train(key=3, scale=0.2, stop=ut.Stop(steps=5))
    given = train(params=PHI.init(jax.random.key(3), 0.2), stop=ut.Stop(steps=5))
    listed = train(params=np.asarray(PHI.init(jax.random.key(3), 0.2)), stop=ut.Stop(steps=5))
    assert_same_bits(drawn.params, given.params)
    assert_same_bits(drawn.params, listed.params)


@pytest.mark.parametrize("samples", [[], [0], [0, 3, 7], (1, 2, 3), np.array([5.0, 10.0]), range(1, 4), [100]])
def test_samples_at_given_steps(samples):
    run = train(SGD, samples=samples, stop=ut.Stop(loss=None, steps=12), probes=[M.Function("w", lambda w: w)])
    assert run.steps.tolist() == sorted({0, 12, *(int(s) for s in samples if s <= 12)})
    np.testing.assert_array_equal(run["w"][-1], run.w)


@rows(
    [case for case in PARAMETERIZATIONS if case.id in ("Exponential", "DeepMatrix-3-bottleneck", "Polar", "Function")]
)
@pytest.mark.parametrize("dynamics", [DYNAMICS[2]], ids=lambda case: case.id)
def test_every_kind_of_parameters_trains(case, dynamics):
    """Arrays, tuples of factors, coordinates."""
    phi = case.instance
    target = np.abs(np.random.default_rng(0).normal(size=phi.shape)) / 2
    run = train(dynamics.instance, B.PointTarget(target), phi, scale=1.0, stop=ut.Stop(loss=None, steps=20), samples=3)
    assert run["loss"][-1] < run["loss"][0]
    assert jax.tree.structure(run.params) == jax.tree.structure(phi.init(jax.random.key(0), 1.0))


def test_a_penalty_is_minimized_and_not_recorded():
    target, weight = np.array([3.0, 6.0]), 0.5
    run = train(
        problem=B.PointTarget(target),
        phi=P.Identity(2),
        penalty=lambda w: weight / 2 * w @ w,
        stop=ut.Stop(loss=None, gradient=1e-7),
    )
    np.testing.assert_allclose(run.w, target / (1 + weight), rtol=1e-5)
    assert run["loss"][-1] == pytest.approx(np.sum((target - np.asarray(run.w)) ** 2) / 2, rel=1e-12)


def test_progress_is_told_and_rises():
    seen = []
    train(
        SGD, stop=ut.Stop(loss=None, steps=3_000), progress=lambda fraction, message: seen.append((fraction, message))
    )
    fractions = [fraction for fraction, _ in seen]
    assert fractions == sorted(fractions)
    assert 0 <= fractions[0] <= fractions[-1] == 1.0
    assert all(re.search(r"loss .*, \d+ steps", message) for _, message in seen)


def test_progress_is_silent_without_a_terminal(capfd):
    train(stop=ut.Stop(steps=5), progress=True)
    assert capfd.readouterr() == ("", "")


# Trajectory --------------------------------------------------------------------------------------


def test_a_trajectory_as_a_dataset(tmp_path):
    phi = P.DeepMatrix((3, 2), 2)
    run = train(SGD, B.PointTarget(np.ones((3, 2))), phi, probes=[M.SingularValues()], stop=ut.Stop(steps=9), samples=4)
    data = run.to_xarray()
    assert data["singular_values"].dims == ("sample", "singular_values_0")
    np.testing.assert_array_equal(data.time, run.times)
    np.testing.assert_array_equal(data.step, run.steps)
    data.to_netcdf(tmp_path / "run.nc", engine="scipy")
    with xr.open_dataset(tmp_path / "run.nc", engine="scipy") as back:
        xr.testing.assert_equal(back, data)
        assert back.attrs["status"] == run.status
        assert back.attrs["chosen_sample"] == run.chosen
    with pytest.raises(KeyError, match="no probe 'los' was watched; there are loss, singular_values"):
        run["los"]


# Wrong input -------------------------------------------------------------------------------------

NAN = float("nan")
BAD = [
    (
        {"params": np.ma.masked_array([1.0, 2.0], [True, False])},
        TypeError,
        "params: expected numbers, found masked ones",
    ),
    ({"params": jnp.ones(2), "scale": 1.0}, ValueError, "params: expected either params, or key and scale; found both"),
    ({"scale": None}, ValueError, "params: expected initial parameters, or key and scale"),
    ({"key": None}, ValueError, "params: expected initial parameters, or key and scale"),
    ({"scale": 0.0}, ValueError, "scale: expected a finite number above 0, found 0"),
    ({"key": "a"}, TypeError, "key: expected a jax.random.key or an integer seed, found 'a'"),
    ({"key": True}, TypeError, "key: expected a jax.random.key or an integer seed"),
    ({"key": 2**70}, ValueError, "key: expected a seed of at most 63 bits"),
    (
        {"key": jax.random.split(jax.random.key(0), 3)},
        ValueError,
        "key: expected one key, found an array of shape (3,)",
    ),
    ({"key": np.arange(3, dtype=np.uint32)}, ValueError, "key: expected one key, found an array of shape (3,)"),
    ({"params": jnp.ones(3)}, ValueError, "params: expected parameters that give shape (2,), found (3,)"),
    ({"params": jnp.array([1.0, NAN])}, ValueError, "params: expected finite initial parameters"),
    ({"params": "ab"}, TypeError, "params: expected a PyTree of real arrays"),
    ({"params": None, "key": None, "scale": None}, ValueError, "params: expected initial parameters"),
    ({"phi": P.Identity(3)}, ValueError, "parameterization: expected shape (2,), as LineTarget has, found (3,)"),
    ({"samples": 1}, ValueError, "samples: expected an integer of at least 2"),
    ({"samples": [1.0, 1.0]}, ValueError, "samples: expected a number of samples, or increasing"),
    ({"samples": [-1.0, 1.0]}, ValueError, "samples: expected a number of samples, or increasing"),
    ({"samples": [0.0, NAN]}, ValueError, "samples: expected a number of samples, or increasing"),
    ({"samples": np.ones((1, 2))}, ValueError, "samples: expected a number of samples, or increasing"),
    ({"samples": [0.5, 1.5], "dynamics": SGD}, ValueError, "steps from 0 on"),
    ({"samples": [1, 2**31], "dynamics": SGD}, ValueError, "below 2147483648"),
    ({"probes": [M.Loss(), M.Entry(0), M.Entry(0)]}, ValueError, "expected different names, found entry_0 more than"),
    ({"probes": [M.Function("time", jnp.sum)]}, ValueError, "probes: 'time' is what a trajectory calls its samples"),
    ({"probes": [M.Function("loss", jnp.sum)]}, ValueError, "expected different names, found loss more than once"),
    ({"probes": [M.EffectiveRank()]}, ValueError, "effective_rank: expected w to be a matrix"),
    ({"early_stopping": ut.EarlyStopping("losss")}, ValueError, "no probe 'losss' (did you mean 'loss'?)"),
    (
        {"early_stopping": ut.EarlyStopping("w"), "probes": [M.Function("w", lambda w: w)]},
        ValueError,
        "monitor: expected one number a sample, found 'w' of shape (2,)",
    ),
]


@pytest.mark.parametrize(("options", "error", "message"), BAD, ids=[f"{i}-{b[2]}" for i, b in enumerate(BAD)])
def test_bad_arguments_are_named_before_anything_is_compiled(options, error, message):
    with pytest.raises(error, match=re.escape(message)):
        train(**options)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"problem": None}, "problem"),
        ({"phi": jnp.square}, "parameterization"),
        ({"dynamics": "flow"}, "dynamics"),
        ({"stop": 1e-6}, "stop"),
        ({"penalty": 3}, "penalty"),
        ({"probes": M.Loss()}, "probes"),
        ({"probes": ["loss"]}, "probes"),
        ({"probes": "loss"}, "probes"),
        ({"early_stopping": "loss"}, "early_stopping"),
        ({"samples": "many"}, "samples"),
        ({"samples": ["a", "b"]}, "samples"),
        ({"samples": 2.5}, "samples"),
        ({"samples": True}, "samples"),
        ({"scale": [0.1, 0.2]}, "scale"),
        ({"scale": "small"}, "scale"),
    ],
)
def test_arguments_of_another_kind_are_type_errors(options, name):
    with pytest.raises((TypeError, ValueError), match=name):
        train(**options)


def test_a_start_without_a_finite_loss_is_refused():
    with pytest.raises(ValueError, match="params: expected a finite loss and gradient at the start"):
        train(params=jnp.full(2, 1e200))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"patience": 0}, "patience"), ({"loss_share": 0.0}, "loss_share"), ({"loss_share": 1.5}, "loss_share")],
)
def test_bad_early_stopping_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        ut.EarlyStopping("loss", **options)
