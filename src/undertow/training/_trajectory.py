"""What a run leaves behind."""

import dataclasses
import math
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Array

from .._description import describe
from ..parameterizations import Parameterization
from ..parameterizations._base import Params
from . import _showing
from ._origin import Origin

KEPT = 10_000_000
"""Most entries of a w that is kept."""

SAMPLED = ("time", "step", "log_time")
"""What a dataset calls the coordinates of samples; no probe may be called so."""


@dataclasses.dataclass(frozen=True)
class Trajectory:
    """A run: where it ended, and what was watched on the way.

    ``trajectory["loss"]`` and the other probes by their names give one value a sample, the start first.

    Attributes
    ----------
    params
        The parameters at the end (with early stopping: at the chosen sample).
    parameterization
        The map that they belong to.
    times, steps
        Flow time and number of steps at the samples; the first is the start, the last the end.
    log_times
        The natural logarithms of the times, exact where these are infinite (a run in log time).
    records
        The probes by name, numpy arrays with the samples first.
    status
        "converged": the loss or the gradient asked for was reached. "stopped": a limit of steps or time, early stopping
        or Ctrl-C ended the run. "stalled": the parameters no longer moved. "diverged": the run left the finite numbers,
        and what is kept is what it had before.
    gradient_evaluations
        How many gradients it took.
    seconds
        Wall time, compilation included.
    chosen
        The sample whose parameters ``params`` are; the last but for early stopping.
    interrupted
        Whether Ctrl-C ended the run.
    made_by
        The digest of the map, where it is code of the user's own; what it reads may change after the run.
    origin
        Versions, dynamics, tolerances, precision, device and date (UTC), as they go to the attributes of datasets.
    """

    params: Params
    parameterization: Parameterization
    times: np.ndarray
    log_times: np.ndarray
    steps: np.ndarray
    records: dict[str, np.ndarray]
    status: str
    gradient_evaluations: int
    seconds: float
    chosen: int
    interrupted: bool
    made_by: bytes | None = None
    origin: Origin = dataclasses.field(default_factory=dict)

    def __repr__(self) -> str:
        return _showing.line(self)

    def _repr_html_(self) -> str:
        return _showing.page(self)

    def keep_w(self) -> None:
        """Form w now where its map may be another one when it is asked for later."""
        digest, _, fixed = describe(self.parameterization)
        if not fixed:
            vars(self)["made_by"] = digest
            if math.prod(self.parameterization.shape) <= KEPT:
                vars(self)["_w"] = self.parameterization(self.params)

    @property
    def w(self) -> Array:
        """The fitted object at the end, computed when asked for (a large matrix is best asked for its entries).

        Raises
        ------
        ValueError
            If it is too large to have been kept, and its map is a function that has changed since the run.
        """
        if "_w" in vars(self):
            return vars(self)["_w"]
        if self.made_by is not None and describe(self.parameterization).digest != self.made_by:
            raise ValueError(
                "parameterization: a value that its function reads was changed after the run, and w with it; ask for w "
                "before, or give the map a function that binds the value"
            )
        return self.parameterization(self.params)

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.records:
            raise KeyError(f"no probe {name!r} was watched; there are {', '.join(self.records)}")
        return self.records[name]

    def sampled(self) -> dict[str, np.ndarray]:
        """Where the samples are, as datasets call it."""
        where = {"time": self.times, "step": self.steps}
        return where | {"log_time": self.log_times} if "log_loss" in self.records else where

    def to_xarray(self) -> xr.Dataset:
        """The records as a dataset over the dimension "sample", with coordinates "time" and "step".

        With "log_time" too where "log_loss" is watched, as it always is in log time.

        Further dimensions of a probe are called after it: "singular_values_0", ... The attributes say how
        the run ended, and where it comes from: versions, dynamics, solver and tolerances, precision, device and date.
        """
        variables: dict[str, Any] = {}
        for name, values in self.records.items():
            dims = ["sample", *(f"{name}_{axis}" for axis in range(values.ndim - 1))]
            variables[name] = (dims, values)
        return xr.Dataset(
            variables,
            coords={name: ("sample", values) for name, values in self.sampled().items()},
            attrs={
                **self.origin,
                "status": self.status,
                "gradient_evaluations": self.gradient_evaluations,
                "seconds": self.seconds,
                "chosen_sample": self.chosen,
                "interrupted": int(self.interrupted),
            },
        )
