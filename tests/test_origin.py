"""Datasets say where their numbers come from, in attributes that go to disk."""

import datetime as dt
import importlib.metadata
import json

import jax
import numpy as np
import pytest
import xarray as xr

import undertow as ut
from undertow.training import _origin

CHANGING = ("date", "seconds", "run_seconds_total")


def run(rtol: float = 1e-4, scale: float = 0.1) -> ut.Trajectory:
    problem, phi = ut.problems.PointTarget([1.0, 2.0]), ut.parameterizations.Power(2, 2)
    return ut.train(problem, phi, ut.dynamics.GradientFlow("explicit", rtol=rtol), key=0, scale=scale, samples=8)


def test_a_trajectory_knows_its_origin():
    attrs = run().to_xarray().attrs
    assert attrs["undertow"] == ut.__version__
    assert attrs["jax"] == importlib.metadata.version("jax")
    assert attrs["dynamics"] == "GradientFlow(solver='explicit', rtol=0.0001)"
    assert (attrs["solver"], attrs["rtol"], attrs["precision"]) == ("explicit", 1e-4, "float64")
    start = ut.parameterizations.Power(2, 2).init(jax.random.key(0), 0.1)
    assert attrs["atol"] == pytest.approx(1e-4 / 1000 * np.sqrt(np.mean(start**2)), rel=1e-12)
    assert attrs["device"] == jax.devices()[0].device_kind
    age = dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(attrs["date"])
    assert dt.timedelta(0) <= age < dt.timedelta(minutes=5)


@pytest.mark.long
def test_a_sweep_lists_what_its_runs_differ_in():
    data = ut.sweep(run, over={"rtol": [1e-4, 1e-3], "scale": [0.1, 0.2]})
    assert data.attrs["rtol"] == "0.0001; 0.001"
    assert data.attrs["solver"] == "explicit"
    assert data.attrs["dynamics"].count("GradientFlow") == 2
    assert data.attrs["atol"].count("; ") == 3  # it follows the scale
    alone = ut.sweep(run, over={"scale": [0.1, 0.2]})
    assert alone.attrs["rtol"] == 1e-4


def test_long_lists_end_and_the_last_date_counts():
    origins = [{"date": f"2026-01-0{9 - i}", "rtol": float(i)} for i in range(7)]
    assert _origin.common_origin(origins) == {"date": "2026-01-09", "rtol": "0; 1; 2; 3; 4; and 2 more"}
    assert _origin.common_origin([]) == {}


@pytest.mark.parametrize("make", [lambda: run().to_xarray(), lambda: ut.sweep(run, over={"scale": [0.1, 0.2]})])
def test_equal_runs_differ_in_date_and_seconds_alone(make):
    one, other = (data.drop_attrs(deep=False).assign_attrs(
        {name: value for name, value in data.attrs.items() if name not in CHANGING}
    ) for data in (make(), make()))  # fmt: skip
    xr.testing.assert_identical(one, other)
    assert len(one.attrs) >= 8


def test_the_origin_goes_to_disk_and_back(tmp_path):
    data = run().to_xarray()
    data.to_netcdf(tmp_path / "run.nc", engine="scipy")
    with xr.open_dataset(tmp_path / "run.nc", engine="scipy") as back:
        assert {name: back.attrs[name] for name in data.attrs} == data.attrs
    assert json.loads(json.dumps(data.attrs)) == data.attrs  # as Zarr keeps them


@pytest.mark.two_types
def test_the_precision_is_that_of_the_run():
    problem, phi = ut.problems.PointTarget([1.0, 2.0]), ut.parameterizations.Identity(2)
    low = ut.train(problem, phi, ut.dynamics.GradientDescent(ut.optimizers.make("sgd", 0.1)),
                   params=np.zeros(2, np.float32), samples=4)  # fmt: skip
    assert low.origin["precision"] == "float32"
    assert low.origin["dynamics"] == "GradientDescent(optimizer=Optimizer(name='sgd', learning_rate=0.1))"
    assert "solver" not in low.origin


@pytest.mark.two_types
def test_tolerances_are_those_that_were_asked_for():
    problem, phi = ut.problems.PointTarget([1.0, 2.0]), ut.parameterizations.Identity(2)
    flow = ut.dynamics.GradientFlow(rtol=1e-3, atol=1e-7)
    origin = ut.train(problem, phi, flow, params=np.ones(2, np.float32), samples=4).origin
    assert (origin["rtol"], origin["atol"], origin["precision"]) == (
        1e-3,
        1e-7,
        "float32",
    )  # not as float32 rounds them
