"""``sweep``: one experiment over named axes, as few compiled programs as there can be."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from .training import Trajectory
from .training._plan import Captured, Plan, capturing
from .training._progress import Report, reporter
from .training._run import execute


def sweep(
    run: Callable[..., Trajectory],
    over: Mapping[str, Sequence[Any]],
    *,
    progress: bool | Report = False,
    batch_size: int | None = None,
) -> xr.Dataset:
    r"""Run an experiment at every point of a grid of named axes.

    ``run`` is called once for each point and must end in ``undertow.train``, whose arguments are taken and not yet run.
    Points that differ only in the values of arrays (key, scale, learning rate, mask, target) are then run side by side
    in one compiled program; points that differ in structure (depth, shape, solver) one program after the other.

    Parameters
    ----------
    run
        A function of the axes, by name, that returns ``undertow.train(...)``.
    over
        The axes: name to values, in the order of the dimensions of the result.
    progress
        As for ``train``.
    batch_size
        Most runs side by side, where memory is short; all that fit one program where left out.

    Returns
    -------
    xarray.Dataset
        Dimensions are the axes and "sample". Probes, "time" and "step" are padded after the end of a run, with NaN and
        with -1; "final_<probe>" has the value at the end (at the chosen sample with early stopping), and "status",
        "gradient_evaluations" and "samples" tell the rest.

    Raises
    ------
    TypeError, ValueError
        If ``run`` is not callable or does not end in ``train``, an axis is empty or not a sequence, or what ``train``
        raises.

    Examples
    --------
    >>> import undertow as ut
    >>> line = ut.problems.LineTarget(-1.0, -2.0, 15.0)
    >>> def run(depth, scale):
    ...     phi = ut.parameterizations.Power(2, depth, initialization="constant")
    ...     return ut.train(line, phi, ut.dynamics.GradientFlow(), key=0, scale=scale)
    >>> dict(ut.sweep(run, over={"depth": [1, 2], "scale": [1e-2, 1e-1, 1.0]}).sizes)["scale"]
    3
    """
    if not callable(run):
        raise TypeError(f"run: expected a function that ends in undertow.train, found {run!r}")
    axes = _check_axes(over)
    if batch_size is not None and (not isinstance(batch_size, int) or batch_size < 1):
        raise ValueError(f"batch_size: expected a positive integer, found {batch_size!r}")
    points = list(itertools.product(*axes.values()))
    plans = [_plan_of(run, dict(zip(axes, point, strict=True))) for point in points]
    groups = _group(plans, batch_size or len(plans))
    results: dict[int, Trajectory] = {}
    with reporter(progress) as report:
        for number, group in enumerate(groups):

            def part(fraction: float, message: str, number: int = number) -> None:
                report((number + fraction) / len(groups), message)

            found = execute([plans[i] for i in group], part)
            results |= dict(zip(group, found, strict=True))
            if any(trajectory.interrupted for trajectory in found):
                raise KeyboardInterrupt
    return _dataset(axes, [results[i] for i in range(len(plans))])


def _check_axes(over: Any) -> dict[str, list[Any]]:
    if not isinstance(over, Mapping) or not over:
        raise TypeError(f"over: expected a mapping from names to sequences of values, found {over!r}")
    axes = {}
    for name, values in over.items():
        if not isinstance(name, str) or name in ("sample",):
            raise ValueError(f"over: expected names of axes other than 'sample', found {name!r}")
        if isinstance(values, (str, bytes)) or not hasattr(values, "__iter__"):
            raise TypeError(f"over[{name!r}]: expected a sequence of values, found {values!r}")
        axes[name] = list(values)
        if not axes[name]:
            raise ValueError(f"over[{name!r}]: expected at least one value, found none")
    return axes


def _plan_of(run: Callable[..., Any], point: dict[str, Any]) -> Plan:
    try:
        with capturing():
            run(**point)
    except Captured as captured:
        return captured.plan
    raise TypeError(
        "run: expected a function that ends in undertow.train(...); it returned without calling it"
    )


def _group(plans: Sequence[Plan], batch_size: int) -> list[list[int]]:
    groups: list[list[int]] = []
    for i, plan in enumerate(plans):
        for group in groups:
            if len(group) < batch_size and plans[group[0]].same_program(plan):
                group.append(i)
                break
        else:
            groups.append([i])
    return groups


def _dataset(axes: dict[str, list[Any]], trajectories: Sequence[Trajectory]) -> xr.Dataset:
    shape = tuple(len(values) for values in axes.values())
    length = max(len(t.times) for t in trajectories)

    def gather(values: list[np.ndarray], dims: Sequence[str]) -> tuple[list[str], np.ndarray]:
        stacked = np.stack(values)
        return [*axes, *dims], stacked.reshape(*shape, *stacked.shape[1:])

    def padded(values: np.ndarray) -> np.ndarray:
        fill = -1 if np.issubdtype(values.dtype, np.integer) else np.nan
        out = np.full((length, *values.shape[1:]), fill, values.dtype)
        out[: len(values)] = values
        return out

    variables: dict[str, Any] = {}
    for name in trajectories[0].records:
        records = [t[name] for t in trajectories]
        if len({r.shape[1:] for r in records}) > 1:
            raise ValueError(f"probes: {name} has another shape at other points of the sweep")
        extra = [f"{name}_{axis}" for axis in range(records[0].ndim - 1)]
        variables[name] = gather([padded(r) for r in records], ["sample", *extra])
        variables[f"final_{name}"] = gather(
            [r[t.chosen] for r, t in zip(records, trajectories, strict=True)], extra
        )
    variables["time"] = gather([padded(t.times) for t in trajectories], ["sample"])
    variables["step"] = gather([padded(t.steps) for t in trajectories], ["sample"])
    variables["samples"] = gather([np.array(len(t.times)) for t in trajectories], [])
    variables["status"] = gather([np.array(t.status) for t in trajectories], [])
    variables["gradient_evaluations"] = gather([np.array(t.gradient_evaluations) for t in trajectories], [])
    coordinates = {name: _coordinate(values) for name, values in axes.items()}
    seconds = sum({id(t): t.seconds for t in trajectories}.values())
    return xr.Dataset(variables, coords=coordinates, attrs={"run_seconds_total": seconds})


def _coordinate(values: list[Any]) -> np.ndarray:
    """The values of an axis where they are numbers or names, else their positions."""
    if all(isinstance(v, (int, float, str, np.number)) and not isinstance(v, bool) for v in values):
        return np.asarray(values)
    scalar = [
        np.asarray(v) for v in values if hasattr(v, "dtype") and np.issubdtype(np.asarray(v).dtype, np.number)
    ]
    if len(scalar) == len(values) and all(v.ndim == 0 for v in scalar):
        return np.stack(scalar)
    return np.arange(len(values))
