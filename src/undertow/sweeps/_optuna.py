"""Bridge to Optuna: the runs of a store as trials, so that its importances and figures show what an axis does."""

import json
import math
import os
from collections.abc import Sequence
from typing import Any

from .._validation import check_choice
from ._finished import finished, needed
from ._points import Point

WIDE = 100
"""Ratio of the largest to the smallest value of a positive axis from which it counts as one of orders of magnitude."""


def to_optuna(
    store: str | os.PathLike[str],
    objective: str | Sequence[str] = "final_loss",
    *,
    direction: str | Sequence[str] = "minimize",
) -> Any:
    r"""The runs of a store as a study of Optuna's, whose importances and figures then show what an axis does.

    The store may be half finished. A run is a trial in the order of the rows, with the axes as its parameters: whole
    numbers, numbers (by their logarithm where all are positive and the largest is 100 times the smallest or more), or
    else choices. Runs that failed, or of which an objective is NaN, as of one that diverged, are failed trials. Where
    samples are kept, those of a "final\_" objective are its intermediate values, by "step", or by their number where
    runs have several within a step, as flows do; not with several objectives, of which Optuna knows no such values.

    Parameters
    ----------
    store
        The folder of a sweep.
    objective
        The name of an array with a number for each run, such as "final_loss" or "seconds"; or several names, and then
        ``study.best_trials`` are the runs that no other is better than in all of them.
    direction
        "minimize" or "maximize": which end of it is good; for several, one for all or one for each.

    Returns
    -------
    optuna.Study
        In memory; ``optuna.copy_study`` puts it into a database.

    Raises
    ------
    ImportError
        If Optuna is not installed.
    ValueError, TypeError
        If there is no store, it has no such objective, or there are not as many directions as objectives.

    Examples
    --------
    >>> import undertow as ut
    >>> study = ut.sweeps.to_optuna("line.zarr", "final_gap")  # doctest: +SKIP
    >>> optuna.importance.get_param_importances(study)  # doctest: +SKIP
    """
    objectives = [objective] if isinstance(objective, str) else list(objective)
    directions = [direction] * len(objectives) if isinstance(direction, str) else list(direction)
    if not objectives or len(set(objectives)) < len(objectives):
        raise ValueError(f"objective: expected a name, or several that differ, found {objective!r}")
    if len(directions) != len(objectives):
        raise ValueError(f"direction: expected one for all, or for each of {objectives}, found {direction!r}")
    for each in directions:
        check_choice("direction", each, ("minimize", "maximize"))
    kept = finished(store)
    for name in objectives:
        if dims := kept.dimensions("objective", name):
            raise ValueError(f"objective: expected an array with a number for each run, found {name!r} over {dims}")
    optuna = needed("optuna", "to_optuna")
    kinds, probe = kept.facts["axes"], objectives[0].removeprefix("final_")

    def parameters(point: Point) -> Point:
        return {name: json.dumps(value) if kinds[name] == "JSON" else value for name, value in point.items()}

    points = [parameters(point) for _, point, _ in kept.known.values()]
    distributions = {name: _distribution(optuna.distributions, [point[name] for point in points]) for name in kinds}
    watched = kept.numbers.get(probe) == ("sample",) and len(objectives) == 1
    study = optuna.create_study(directions=directions)
    for run in kept.runs([*objectives, probe, "step", "samples", "status", "message"]):
        values = [float(run.values.get(name, math.nan)) for name in objectives]
        failed = run.failed or any(map(math.isnan, values))
        outcome = {"state": optuna.trial.TrialState.FAIL} if failed else {"values": values}
        trial = optuna.trial.create_trial(
            params=parameters(run.point),
            distributions=distributions,
            user_attrs={"key": run.key, **{name: str(run.values[name]) for name in ("status", "message")}},
            intermediate_values={place: float(v) for place, v in kept.measured(run, probe)} if watched else {},
            **outcome,
        )
        study.add_trial(trial)
    return study


def _distribution(kinds: Any, values: list[Any]) -> Any:
    if all(type(value) in (int, float) and math.isfinite(value) for value in values):
        kind = kinds.IntDistribution if all(type(value) is int for value in values) else kinds.FloatDistribution
        return kind(min(values), max(values), log=0 < WIDE * min(values) <= max(values))
    return kinds.CategoricalDistribution(tuple(dict.fromkeys(values)))
