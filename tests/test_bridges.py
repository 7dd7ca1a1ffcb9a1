"""Runs of a store in MLflow and Optuna: the numbers of the store, each run once, half finished or not."""

import sys
from pathlib import Path

import numpy as np
import pytest
import store_runs

import undertow as ut
from undertow.sweeps import _engines, to_mlflow, to_optuna

OVER = {"scale": [0.01, 1.0], "seed": [0, 1, 2]}


def raising(scale, seed):
    """Of which that at scale 1 and seed 1 fails."""
    if (scale, seed) == (1.0, 1):
        raise RuntimeError("is bad")
    return store_runs.line(scale, seed)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bridges") / "results.zarr"
    ut.sweep(raising, OVER, store=path)
    return path


@pytest.fixture(scope="module")
def data(store: Path):
    return ut.sweep(raising, OVER, store=store)


@pytest.mark.parametrize(("bridge", "package"), [(to_mlflow, "mlflow"), (to_optuna, "optuna")])
def test_packages_that_are_not_installed(bridge, package, store, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"is not installed: pip install 'undertow\[{package}\]'"):
        bridge(store, *["line"] * (package == "mlflow"))


def test_names_that_are_refused(store, tmp_path):
    with pytest.raises(ValueError, match="expected a store of a sweep, found none"):
        to_optuna(tmp_path / "none.zarr")
    with pytest.raises(ValueError, match=r"^objective: .* no numbers called 'final_los' \(did you mean 'final_loss'"):
        to_optuna(store, "final_los")
    with pytest.raises(ValueError, match=r"^objective: expected an array with a number for each run, found 'loss'"):
        to_optuna(store, "loss")
    with pytest.raises(ValueError, match=r"^direction: unknown choice 'up'"):
        to_optuna(store, direction="up")
    both = ["final_loss", "seconds"]
    for several, directions, words in (
        ([], "minimize", "objective: expected a name, or several that differ"),
        (["seconds", "seconds"], "minimize", "objective: expected a name, or several that differ"),
        (both, ["minimize"], "direction: expected one for all, or for each of"),
        (both, ["minimize", "up"], "direction: unknown choice 'up'"),
        (["seconds", "loss"], "minimize", "expected an array with a number for each run, found 'loss'"),
    ):
        with pytest.raises(ValueError, match=words):
            to_optuna(store, several, direction=directions)
    with pytest.raises(ValueError, match=r"^metrics: .* no numbers called 'status'"):
        to_mlflow(store, "line", metrics=["final_loss", "status"])


# Optuna ------------------------------------------------------------------------------------------


def test_trials_are_the_runs(store, data):
    optuna = pytest.importorskip("optuna", reason="Optuna is not installed")
    study = to_optuna(store)
    assert [trial.state.name for trial in study.trials].count("FAIL") == 1
    assert len(study.trials) == 6
    for trial in study.trials:
        row = data.sel(trial.params)
        assert trial.user_attrs["status"] == row["status"]
        if trial.state.name == "FAIL":
            assert trial.params == {"scale": 1.0, "seed": 1}
            assert trial.user_attrs["message"] == "RuntimeError: is bad"
        else:
            assert trial.value == float(row["final_loss"])
            count = int(row["samples"])
            steps, losses = row["step"].values[:count].tolist(), row["loss"].values[:count].tolist()
            assert trial.intermediate_values == dict(zip(steps, losses, strict=True))
    assert study.trials[0].distributions == {
        "scale": optuna.distributions.FloatDistribution(0.01, 1.0, log=True),
        "seed": optuna.distributions.IntDistribution(0, 2),
    }
    assert study.best_value == float(data["final_loss"].min())


def test_importance_is_that_of_the_axis_that_matters(tmp_path):
    """The distance from the start falls with the number of steps, and hangs on nothing else by construction."""
    optuna = pytest.importorskip("optuna", reason="Optuna is not installed")
    over = {"steps": [1, 2, 3, 4], "seed": range(4), "flag": [True, None, "1", 1]}
    ut.sweep(store_runs.steps, over, store=tmp_path / "a.zarr")
    study = to_optuna(tmp_path / "a.zarr", "final_step", direction="maximize")
    assert study.trials[0].distributions["flag"].choices == ("true", "null", '"1"', "1")
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    assert found["steps"] > 0.99
    assert study.best_value == 4


def test_samples_within_a_step_are_counted(tmp_path):
    pytest.importorskip("optuna", reason="Optuna is not installed")
    kept = ut.sweep(store_runs.flow, {"scale": [0.1, 1.0]}, store=tmp_path / "a.zarr")
    assert (np.diff(kept["step"].values[0, :3]) < 1).any()
    trial = to_optuna(tmp_path / "a.zarr").trials[0]
    losses = kept["loss"].values[0, : int(kept["samples"][0])]
    assert trial.intermediate_values == dict(enumerate(losses.tolist()))


def test_several_objectives(store, data):
    optuna = pytest.importorskip("optuna", reason="Optuna is not installed")
    study = to_optuna(store, ["final_loss", "gradient_evaluations"], direction=["minimize", "maximize"])
    assert [each.name for each in study.directions] == ["MINIMIZE", "MAXIMIZE"]
    done = study.get_trials(states=[optuna.trial.TrialState.COMPLETE])
    assert len(done) == 5
    for trial in done:
        row = data.sel(trial.params)
        assert trial.values == [float(row["final_loss"]), float(row["gradient_evaluations"])]
    # By hand: those that no other is at least as good as in both, and better in one.
    pairs = [(trial.values[0], -trial.values[1]) for trial in done]
    best = {p for p in pairs if not any(q != p and q[0] <= p[0] and q[1] <= p[1] for q in pairs)}
    assert {(trial.values[0], -trial.values[1]) for trial in study.best_trials} == best


def test_runs_that_failed_are_no_best_ones(store, data):
    """A count that is not there is -1 in a store."""
    pytest.importorskip("optuna", reason="Optuna is not installed")
    assert (data["gradient_evaluations"] == -1).sum() == 1
    study = to_optuna(store, "gradient_evaluations")
    assert [trial.state.name for trial in study.trials].count("FAIL") == 1
    assert study.best_value > 0


# MLflow ------------------------------------------------------------------------------------------


theirs = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's own, of SQLAlchemy


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory):
    mlflow = pytest.importorskip("mlflow", reason="MLflow is not installed")
    pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed")
    return mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db")


def runs_of(client, experiment: str) -> list:
    return list(client.search_runs([client.get_experiment_by_name(experiment).experiment_id]))


@theirs
def test_runs_are_the_runs(store, data, client):
    assert to_mlflow(store, "all", tracking_uri=client.tracking_uri) == 6
    found = runs_of(client, "all")
    assert len(found) == 6
    for run in found:
        row = data.sel(scale=float(run.data.params["scale"]), seed=int(run.data.params["seed"]))
        assert run.data.tags["undertow.status"] == row["status"]
        if run.info.status == "FAILED":
            assert run.data.tags["undertow.message"] == "RuntimeError: is bad"
            assert not run.data.metrics
        else:
            assert run.info.status == "FINISHED"
            assert run.data.metrics["final_loss"] == float(row["final_loss"])
            count = int(row["samples"])
            history = {m.step: m.value for m in client.get_metric_history(run.info.run_id, "loss")}
            steps, losses = row["step"].values[:count].tolist(), row["loss"].values[:count].tolist()
            assert history == dict(zip(steps, losses, strict=True))
    assert [run.info.status for run in found].count("FAILED") == 1


@theirs
def test_twice_does_not_double_and_what_is_there_in_part_is_written_anew(store, client):
    uri = client.tracking_uri
    assert to_mlflow(store, "twice", metrics=["final_loss"], tracking_uri=uri) == 6
    assert to_mlflow(store, "twice", metrics=["final_loss"], tracking_uri=uri) == 0
    first = runs_of(client, "twice")[0]
    client.update_run(first.info.run_id, status="RUNNING")  # as one whose writer was killed
    assert to_mlflow(store, "twice", metrics=["final_loss"], tracking_uri=uri) == 1
    found = runs_of(client, "twice")
    assert len(found) == len({run.data.tags["undertow.key"] for run in found}) == 6
    assert first.info.run_id not in {run.info.run_id for run in found}
    assert all(run.data.metrics.keys() <= {"final_loss"} for run in found)


@theirs
def test_a_store_that_is_half_finished_and_arrays(client, tmp_path, monkeypatch):
    monkeypatch.setattr("undertow.sweeps._planning.CHUNK", 2)
    path, whole, count = tmp_path / "a.zarr", _engines.computed, 0

    def interrupted(*arguments):
        nonlocal count
        count += 1
        if count == 2:
            raise KeyboardInterrupt
        return whole(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(_engines, "computed", interrupted)
        ut.sweep(store_runs.watched, {"m": [1, 2, 3, 4]}, store=path)
    wanted = {"metrics": ["final_v", "v"], "tracking_uri": client.tracking_uri}
    assert to_mlflow(path, "parts", **wanted) == 1
    kept = ut.sweep(store_runs.watched, {"m": [1, 2, 3, 4]}, store=path)
    assert to_mlflow(path, "parts", **wanted) == 3
    assert to_mlflow(path, "parts", **wanted) == 0
    for run in runs_of(client, "parts"):
        value = float(kept["final_v"].sel(m=int(run.data.params["m"]))[0])
        assert run.data.metrics == {"final_v/0": value, "v/0": value}
