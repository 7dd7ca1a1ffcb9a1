"""``sweep``: one experiment over named axes, as few compiled programs as there can be."""

import itertools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import xarray as xr

from .._validation import check_integer, has_masked
from ..training import Trajectory
from ..training._origin import common_origin
from ..training._pending import Pending, sweeping
from ..training._plan import Plan
from ..training._progress import Report, reporter
from ..training._run import execute
from ..training._trajectory import SAMPLED

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
    side_by_side: int | None = None,
    store: str | os.PathLike[str] | None = None,
    engine: str = "here",
    workers: int | None = None,
    scheduler: str | None = None,
    keep_samples: bool = True,
    repair: bool = False,
) -> xr.Dataset:
    r"""Run an experiment at every point of a grid of named axes.

    ``run`` is called once for each point and returns what ``undertow.train`` gave it, which inside of a sweep has not
    run yet. When all are known, points that differ only in the values of arrays (key, scale, learning rate, mask,
    target) are run side by side in one compiled program; points that differ in structure (depth, shape, solver) one
    program after the other. Where ``run`` asks a trajectory for something, as to go on from its end with a second
    ``train``, that one is run at once, alone.

    Parameters
    ----------
    run
        A function of the axes, by name, that returns ``undertow.train(...)``.
    over
        The axes: name to values, in the order of the dimensions of the result.
    progress
        As for ``train``.
    side_by_side
        Most runs side by side. Where left out: all that fit one program; but on a CPU, where steps adapt to the run (as
        in ``GradientFlow``) and it has 20,000 parameters or more, one, because that is faster.
    store
        A folder, such as ``"results.zarr"``, where runs are kept as they end: what is there is not run again, whether
        the sweep was interrupted, killed, or has grown by values of an axis since. See the notes.
    engine
        With a store, where runs are run: "here", or in other "processes", which import ``run`` by its name, or on
        workers of "dask" (``pip install 'undertow[dask]'``), which do so too.
    workers
        How many processes, or workers on this machine; by default as many as there are cores.
    scheduler
        The address of a dask scheduler that runs, such as ``"tcp://127.0.0.1:8786"``; where left out, "dask" starts a
        cluster on this machine, on loopback only, and ends it.
    keep_samples
        Whether a store keeps probes along the way, or their values at the end alone.
    repair
        Whether runs are run again that are in chunks of the store that are lost or damaged.

    Returns
    -------
    xarray.Dataset
        Dimensions are the axes and "sample". Probes, "time", "step" (and "log_time", beside "log_loss") are padded
        after the end of a run, with NaN and with -1; "final_<probe>" has the value at the end (at the chosen sample
        with early stopping), and "status", "gradient_evaluations" and "samples" tell the rest. A run that cannot start
        (its loss is not finite) is "diverged", and the others go on. After Ctrl-C: what was reached by then, with "not
        run" as the status of what had not begun, and the attribute "interrupted" 1; press it twice to end at once.
        Further attributes say where the numbers come from: versions, dynamics, solver and tolerances, precision, device
        and date (UTC); where runs differ in one, its values are listed.

    Raises
    ------
    TypeError, ValueError
        If ``run`` is not callable or does not return what ``train`` gave it, an axis is empty, not a sequence or named
        as a result is, the probes are not the same at every point, a value that functions of a run read is changed by
        a later one, or what ``train`` raises. With a store: if an axis has a value twice, NaN, or one that is not
        plain; what ``run`` can reach cannot be seen or, with other processes, it cannot be imported or is something
        else there; a scheduler does not answer within ten seconds, or has no workers of these versions; something else
        is at the store, it is of another sweep (function, versions, precision) or damaged, or another process is
        writing it.

    Notes
    -----
    A store is an xarray dataset in Zarr format 3 (``xarray.open_zarr``), a row a run, with the axes as variables beside
    "status", "message", "seconds" and the "final\_" values; with samples it has these too. A ledger beside it
    (``results.zarr.sqlite``) says which rows count. Runs are known by the names and plain values of their axes, and go
    in batches of at most 100, each there whole or not at all, whatever ends the process. A run that raises is "failed",
    with its message, and the others go on; values of axes are numbers, text, True, False or None.

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
    axes = check_axes(over)
    if side_by_side is not None:
        check_integer("side_by_side", side_by_side, 1)
    named = store is not None
    if not named:
        if engine != "here":
            raise ValueError(f"engine: {engine!r} hands runs over through a store; name one, as store='results.zarr'")
        from ._kept_in import implied_store

        store = implied_store(run, axes)
    if store is not None:
        from ._stored import stored_sweep

        with reporter(progress) as report:
            found = stored_sweep(
                run,
                axes,
                store=store,
                engine=engine,
                workers=workers,
                scheduler=scheduler,
                keep_samples=keep_samples or not named,
                repair=repair or not named,
                side_by_side=side_by_side,
                report=report,
                raising=not named,
            )
        if named:
            return found
        more = ["message", "seconds", *(f"final_{name}" for name in SAMPLED)]  # which a store has
        plain = found.drop_vars(more, errors="ignore").drop_attrs()
        return plain.assign_attrs(interrupted=found.attrs["interrupted"])
    points = points_of(axes)
    runs = {i: run_of(run, point) for i, point in enumerate(points)}
    plans = {i: t.plan for i, t in runs.items() if isinstance(t, Pending) and t.waits}
    results, groups = groups_of(runs, side_by_side)
    check_variables(axes, [_shapes(t) for t in results.values()] + [plans[g[0]].probe_shapes() for g in groups])
    seconds = sum(trajectory.seconds for trajectory in results.values())
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
                break
    interrupted = int(any(trajectory.interrupted for trajectory in results.values()))
    dataset = _dataset(axes, [results.get(i) for i in range(len(points))])
    origin = common_origin(results[i].origin for i in sorted(results))
    return dataset.assign_attrs(origin, run_seconds_total=seconds, interrupted=interrupted)


def points_of(axes: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """The points of a grid, the last axis fastest."""
    return [dict(zip(axes, point, strict=True)) for point in itertools.product(*axes.values())]


def check_axes(over: Any) -> dict[str, list[Any]]:
    if not isinstance(over, Mapping) or not over:
        raise TypeError(f"over: expected a mapping from names to sequences of values, found {over!r}")
    axes = {}
    for name, values in over.items():
        if not isinstance(name, str) or not name:
            raise ValueError(f"over: expected names of axes, found {name!r}")
        if isinstance(values, (str, bytes)) or not hasattr(values, "__iter__") or getattr(values, "shape", None) == ():
            raise TypeError(f"over[{name!r}]: expected a sequence of values, found {values!r}")
        if has_masked(values):
            raise TypeError(f"over[{name!r}]: expected values, found masked ones; leave them out")
        axes[name] = list(values)
        if not axes[name]:
            raise ValueError(f"over[{name!r}]: expected at least one value, found none")
    return axes


def run_of(run: Callable[..., Any], point: dict[str, Any]) -> Trajectory:
    """What ``run`` gives at a point: a trajectory that has not run, unless it was asked for something."""
    with sweeping():
        trajectory = run(**point)
    if not isinstance(trajectory, Trajectory):
        raise TypeError(f"run: expected a function that returns what undertow.train gave it, found {trajectory!r}")
    return trajectory


def _shapes(trajectory: Trajectory) -> dict[str, tuple[int, ...]]:
    return {name: values.shape[1:] for name, values in trajectory.records.items()}


def check_variables(axes: Mapping[str, Any], shapes: Sequence[dict[str, tuple[int, ...]]]) -> None:
    """Raise where probes of these shapes would not fit into one dataset over the axes."""
    for found in shapes[1:]:
        if found != shapes[0]:
            raise ValueError(
                f"probes: expected the same at every point of a sweep, found {shapes[0]} and {found} (names and shapes)"
            )
    taken = {"sample", *SAMPLED, *(f"final_{name}" for name in SAMPLED), "samples", "status", "gradient_evaluations"}
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


def groups_of(
    runs: Mapping[int, Trajectory], side_by_side: int | None
) -> tuple[dict[int, Trajectory], list[list[int]]]:
    """The trajectories that have run already, and the places of the others by the programs that they share."""
    plans = {i: t.plan for i, t in runs.items() if isinstance(t, Pending) and t.waits}
    return {i: t for i, t in runs.items() if i not in plans}, group(plans.items(), side_by_side, len(plans))


def group(plans: Iterable[tuple[int, Plan]], side_by_side: int | None, most: int) -> list[list[int]]:
    """The places of plans by the programs that they share, ``most`` together where not told otherwise."""
    groups: list[list[int]] = []
    filling: dict[Any, list[int]] = {}  # the group of each kind that has room
    for i, plan in plans:
        some = filling.get(plan.kind)
        if some is None or len(some) >= (side_by_side or _side_by_side(plan, most)):
            some = filling[plan.kind] = []
            groups.append(some)
        some.append(i)
    return groups


def _dataset(axes: dict[str, list[Any]], trajectories: Sequence[Trajectory | None]) -> xr.Dataset:
    """The trajectories over the axes; None where a run had not begun when the sweep was interrupted."""
    shape = tuple(len(values) for values in axes.values())
    known = [t for t in trajectories if t is not None]
    length = max(len(t.times) for t in known)

    def gather(dims: Sequence[str], values: Callable[[Trajectory], Any], missing: Any) -> tuple[list[str], np.ndarray]:
        stacked = np.stack([np.asarray(missing if t is None else values(t)) for t in trajectories])
        return [*axes, *dims], stacked.reshape(*shape, *stacked.shape[1:])

    def padded(values: np.ndarray) -> np.ndarray:
        out = np.full((length, *values.shape[1:]), _fill(values), values.dtype)
        out[: len(values)] = values
        return out

    variables: dict[str, Any] = {}
    for name, example in known[0].records.items():
        nothing, extra = padded(example[:0]), [f"{name}_{axis}" for axis in range(example.ndim - 1)]
        variables[name] = gather(["sample", *extra], lambda t, name=name: padded(t[name]), nothing)
        variables[f"final_{name}"] = gather(extra, lambda t, name=name: t[name][t.chosen], nothing[0])
    for name, values in known[0].sampled().items():
        variables[name] = gather(["sample"], lambda t, name=name: padded(t.sampled()[name]), padded(values[:0]))
    variables["samples"] = gather([], lambda t: len(t.times), 0)
    variables["status"] = gather([], lambda t: t.status, "not run")
    variables["gradient_evaluations"] = gather([], lambda t: t.gradient_evaluations, 0)
    return xr.Dataset(variables, coords={name: coordinate(values) for name, values in axes.items()})


def _fill(values: np.ndarray) -> Any:
    """What stands where a run has no sample."""
    return -1 if np.issubdtype(values.dtype, np.integer) else np.nan


def coordinate(values: list[Any]) -> np.ndarray:
    """The values of an axis where they are numbers or names, else their positions."""
    if all(isinstance(v, (int, float, str, np.number)) and not isinstance(v, bool) for v in values):
        return np.asarray(values)
    if all(isinstance(v, jax.Array | np.ndarray) and v.ndim == 0 for v in values) and not any(
        jax.dtypes.issubdtype(v.dtype, jax.dtypes.prng_key) for v in values
    ):
        return np.stack([np.asarray(v) for v in values])
    return np.arange(len(values))
