"""What the figures of runs read: a trajectory, or its dataset, as arrays over its samples."""

import dataclasses
from typing import Any

import numpy as np
import xarray as xr

from .._validation import check_choice, nearest
from ..training import Trajectory

CLOCKS = ("time", "step", "log_time")


@dataclasses.dataclass(frozen=True)
class Samples:
    """A run as figures see it: the samples that it has, without those that a sweep pads it with."""

    clocks: dict[str, np.ndarray]
    records: dict[str, np.ndarray]
    status: str
    chosen: int

    def record(self, name: str) -> np.ndarray:
        """A probe over the samples; raises where it was not watched."""
        if name not in self.records:
            raise ValueError(
                f"probes: no {name!r} was watched{nearest(name, self.records)}; there are {', '.join(self.records)}"
            )
        return self.records[name]


def samples_of(name: str, run: Any) -> Samples:
    """Read a trajectory, the dataset of one, or one point of a sweep's."""
    if isinstance(run, Trajectory):
        clocks = {"time": run.times, "step": run.steps, "log_time": run.log_times}
        return Samples(clocks, run.records, run.status, run.chosen)
    if not isinstance(run, xr.Dataset):
        raise TypeError(f"{name}: expected a Trajectory, or the dataset of one, found {type(run).__name__}")
    missing = [each for each in ("time", "step") if each not in run or "sample" not in run[each].dims]
    if missing:
        raise ValueError(f"{name}: expected what Trajectory.to_xarray gives, found no {missing[0]!r} over 'sample'")
    axes = [str(dim) for dim in run["time"].dims if dim != "sample"]
    if axes:
        raise ValueError(
            f"{name}: expected one run, found runs over {', '.join(map(repr, axes))}; choose one with .sel or .isel, "
            "or see undertow.plotting.sweep"
        )
    there = run["step"].values >= 0
    if not there.any():
        raise ValueError(f"{name}: expected a run, found one without a sample")
    watched = {
        str(key): values.transpose("sample", ...).values[there]
        for key, values in run.items()
        if "sample" in values.dims and key not in CLOCKS
    }
    clocks = {each: run[each].values[there] for each in CLOCKS if each in run}
    clocks.setdefault("log_time", _logarithm(clocks["time"]))
    status = str(run["status"].item()) if "status" in run else str(run.attrs.get("status", ""))
    return Samples(clocks, watched, status, int(run.attrs.get("chosen_sample", there.sum() - 1)))


def clock_for(runs: list[Samples], x: str | None) -> str:
    """What counts the samples: as asked for, else the time, or its logarithm where a run goes beyond all numbers."""
    if x is not None:
        return check_choice("x", x, CLOCKS)
    return "time" if all(np.isfinite(run.clocks["time"]).all() for run in runs) else "log_time"


def set_clock(axes: Any, clock: str, runs: list[Samples]) -> None:
    """A logarithmic axis of time or steps, where there is more than one sample after the start, and its name."""
    at = np.concatenate([run.clocks[clock] for run in runs])
    for ax in axes:
        if clock != "log_time" and np.unique(at[np.isfinite(at) & (at > 0)]).size > 1:
            ax.set_xscale("log")
    axes[-1].set_xlabel({"time": "time", "step": "steps", "log_time": "natural logarithm of time"}[clock])


def _logarithm(times: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(times)
