"""``sweep``: one experiment over named axes, as few compiled programs as there can be."""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import xarray as xr

from ._validation import check_integer
from .training import Trajectory
from .training._plan import Captured, Plan, capturing
from .training._progress import Report, reporter
from .training._run import execute
from .training._trajectory import SAMPLED

LARGE = 20_000
"""Parameters from which runs with steps of their own go one after the other on a CPU.

Side by side, a step lasts as long as that of the run with the most stages, and one large run fills the cores alone:
eight flows of 100 x 100 at depth 3 took 1.35 s side by side and 0.66 s in turn, of 10 x 10 0.10 s and 0.18 s.
"""


def sweep(
    run: Callable[..., Trajectory],
    over: Mapping[str, Iterable[Any]],
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
        Most runs side by side. Where left out: all that fit one program; but on a CPU, where steps adapt to the run (as
        in ``GradientFlow``) and it has 20,000 parameters or more, one, because that is faster.

    Returns
    -------
    xarray.Dataset
        Dimensions are the axes and "sample". Probes, "time" and "step" are padded after the end of a run, with NaN and
        with -1; "final_<probe>" has the value at the end (at the chosen sample with early stopping), and "status",
        "gradient_evaluations" and "samples" tell the rest.

    Raises
    ------
    TypeError, ValueError
        If ``run`` is not callable or does not end in ``train``, an axis is empty, not a sequence or named as a
        result is, the probes are not the same at every point, or what ``train`` raises.

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
    if batch_size is not None:
        check_integer("batch_size", batch_size, 1)
    points = list(itertools.product(*axes.values()))
    plans = [_plan_of(run, dict(zip(axes, point, strict=True))) for point in points]
    groups = _group(plans, batch_size)
    _check_variables(axes, [plans[group[0]] for group in groups])
    results: dict[int, Trajectory] = {}
    seconds = 0.0
    with reporter(progress) as report:
        for number, group in enumerate(groups):

            def part(fraction: float, message: str, number: int = number) -> None:
                report((number + fraction) / len(groups), message)

            for i in group:
                plans[i].check_unchanged()
            found = execute([plans[i] for i in group], part)
            results |= dict(zip(group, found, strict=True))
            seconds += max(trajectory.seconds for trajectory in found)  # of runs side by side
            if any(trajectory.interrupted for trajectory in found):
                raise KeyboardInterrupt
    return _dataset(axes, [results[i] for i in range(len(plans))]).assign_attrs(run_seconds_total=seconds)


def _check_axes(over: Any) -> dict[str, list[Any]]:
    if not isinstance(over, Mapping) or not over:
        raise TypeError(f"over: expected a mapping from names to sequences of values, found {over!r}")
    axes = {}
    for name, values in over.items():
        if not isinstance(name, str) or not name:
            raise ValueError(f"over: expected names of axes, found {name!r}")
        if isinstance(values, (str, bytes)) or not hasattr(values, "__iter__") or np.shape(values) == ():
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
    raise TypeError("run: expected a function that ends in undertow.train(...); it returned without calling it")


def _check_variables(axes: Mapping[str, Any], plans: Sequence[Plan]) -> None:
    """Raise where the results of plans, one of each group, would not fit into one dataset over the axes."""
    shapes = [plan.probe_shapes() for plan in plans]
    for found in shapes[1:]:
        if found != shapes[0]:
            raise ValueError(
                f"probes: expected the same at every point of a sweep, found {shapes[0]} and {found} (names and shapes)"
            )
    taken = {"sample", *SAMPLED, "samples", "status", "gradient_evaluations"}
    for name, shape in shapes[0].items():
        taken |= {name, f"final_{name}", *(f"{name}_{axis}" for axis in range(len(shape)))}
    for name in axes:
        if name in taken:
            raise ValueError(f"over: {name!r} is what the dataset calls a result; give the axis another name")


def _side_by_side(plan: Plan, most: int) -> int:
    """How many runs like this one to take at once."""
    setup = plan.setup
    in_turn = setup.dynamics.samples_by == "time" and sum(x.size for x in jax.tree.leaves(setup.params)) >= LARGE
    return 1 if in_turn and jax.default_backend() == "cpu" else most


def _group(plans: Sequence[Plan], batch_size: int | None) -> list[list[int]]:
    groups: list[list[int]] = []
    filling: dict[Any, list[int]] = {}  # the group of each kind that has room
    for i, plan in enumerate(plans):
        group = filling.get(plan.kind)
        if group is None or len(group) >= (batch_size or _side_by_side(plan, len(plans))):
            group = filling[plan.kind] = []
            groups.append(group)
        group.append(i)
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
        extra = [f"{name}_{axis}" for axis in range(records[0].ndim - 1)]
        variables[name] = gather([padded(r) for r in records], ["sample", *extra])
        variables[f"final_{name}"] = gather(
            [np.asarray(r[t.chosen]) for r, t in zip(records, trajectories, strict=True)], extra
        )
    variables["time"] = gather([padded(t.times) for t in trajectories], ["sample"])
    variables["step"] = gather([padded(t.steps) for t in trajectories], ["sample"])
    variables["samples"] = gather([np.array(len(t.times)) for t in trajectories], [])
    variables["status"] = gather([np.array(t.status) for t in trajectories], [])
    variables["gradient_evaluations"] = gather([np.array(t.gradient_evaluations) for t in trajectories], [])
    coordinates = {name: _coordinate(values) for name, values in axes.items()}
    return xr.Dataset(variables, coords=coordinates)


def _coordinate(values: list[Any]) -> np.ndarray:
    """The values of an axis where they are numbers or names, else their positions."""
    if all(isinstance(v, (int, float, str, np.number)) and not isinstance(v, bool) for v in values):
        return np.asarray(values)
    if all(isinstance(v, jax.Array | np.ndarray) and v.ndim == 0 for v in values) and not any(
        jax.dtypes.issubdtype(v.dtype, jax.dtypes.prng_key) for v in values
    ):
        return np.stack([np.asarray(v) for v in values])
    return np.arange(len(values))
