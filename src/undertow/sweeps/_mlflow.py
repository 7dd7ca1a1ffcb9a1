"""Bridge to MLflow: the runs of a store as runs of an experiment there, each once however often it is called."""

import os
import re
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from ._finished import finished, needed

KEY = "undertow.key"  # the tag by which a run is known again


def to_mlflow(
    store: str | os.PathLike[str],
    experiment: str,
    *,
    metrics: Sequence[str] | None = None,
    tracking_uri: str | None = None,
) -> int:
    """Write the runs of a store to an experiment of MLflow's: axes as parameters, final values and samples as metrics.

    The store may be half finished: a later call writes what has come since, and anew what it finds half written. A run
    that failed is one there too, with its message as a tag. Samples are at their "step", or at their number where runs
    have several within a step, as flows do. A run begins when it is written, and lasts as long as it did.

    Parameters
    ----------
    store
        The folder of a sweep.
    experiment
        Its name; made where there is none.
    metrics
        Names of arrays of the store, such as "final_loss"; by default all that have one number a run or a sample. The
        entries of one that has more are metrics each, as "final_w/0".
    tracking_uri
        A database, as "sqlite:///mlflow.db", or the address of a server; by default as MLflow is set.

    Returns
    -------
    int
        How many runs were written.

    Raises
    ------
    ImportError, TypeError, ValueError
        If MLflow is not installed, there is no store, or it has no numbers of such a name.

    Examples
    --------
    >>> import undertow as ut
    >>> ut.sweeps.to_mlflow("line.zarr", "line", tracking_uri="sqlite:///mlflow.db")  # doctest: +SKIP
    """
    kept = finished(store)
    plain = [name for name, dims in kept.numbers.items() if dims in ((), ("sample",))]
    for name in (chosen := plain if metrics is None else list(metrics)):
        kept.dimensions("metrics", name)
    mlflow = needed("mlflow", "to_mlflow")
    client, kinds = mlflow.MlflowClient(tracking_uri=tracking_uri), mlflow.entities
    found = client.get_experiment_by_name(experiment)
    place = client.create_experiment(experiment) if found is None else found.experiment_id
    sweep = "-".join(kept.facts[name] for name in ("function", "undertow", "jax", "precision"))
    new = {run.key for run in kept.runs([])} - _whole(client, place, sweep)
    for run in kept.runs([*chosen, "step", "samples", "seconds", "status", "message"]):
        if run.key not in new:
            continue
        began = time.time_ns() // 10**6
        tags = {f"undertow.{name}": str(run.values[name]) for name in ("status", "message")}
        tags |= {KEY: f"{sweep}-{run.key}", "undertow.run": kept.facts["run"]}
        title = ", ".join(f"{axis}={value}" for axis, value in run.point.items())
        made = client.create_run(place, began, tags, title).info.run_id
        params = [kinds.Param(_name(axis), str(value)) for axis, value in run.point.items()]
        numbers = [
            kinds.Metric(_name("/".join(map(str, (name, *index)))), float(entry), began, step)
            for name in chosen
            for step, value in kept.measured(run, name)
            for index, entry in np.ndenumerate(value)
        ]
        for k in range(0, max(len(numbers), 1), 900):  # of all together it takes 1,000 in one call
            client.log_batch(made, numbers[k : k + 900], () if k else params)
        lasted = 0 if run.failed else round(1000 * float(run.values["seconds"]))
        client.set_terminated(made, "FAILED" if run.failed else "FINISHED", began + lasted)
    return len(new)


def _whole(client: Any, place: str, sweep: str) -> set[str]:
    """The keys of runs of this sweep that are there; those that are there in part go."""
    found = some = client.search_runs([place], query := f"tags.`{KEY}` LIKE '{sweep}-%'")
    while some.token:
        found = [*found, *(some := client.search_runs([place], query, page_token=some.token))]
    for run in found:
        if run.info.status == "RUNNING":
            client.delete_run(run.info.run_id)
    return {run.data.tags[KEY].removeprefix(f"{sweep}-") for run in found if run.info.status != "RUNNING"}


def _name(name: str) -> str:
    return re.sub(r"[^\w\-. :/]", "_", name)
