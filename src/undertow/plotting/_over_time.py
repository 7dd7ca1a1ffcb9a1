"""What a run recorded, over time: loss and probes, singular values."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .._validation import nearest
from ..training import Trajectory
from ._axes import axes_or_figure, line_styles
from ._colors import color_of
from ._figure import figure
from ._labels import label_lines

_ROLES = {"loss": "train", "log_loss": "train", "test_error": "test"}


def trajectory(run: Trajectory | xr.Dataset, names: Iterable[str] | None = None, *, ax: Axes | None = None) -> Figure:
    """Loss and probes of a run over logarithmic time, each with its name at its line.

    Losses and errors are in one panel, other probes in a second one below it. An axis of values is logarithmic where
    all of them are positive. The start, at time 0, is not in the picture.

    Parameters
    ----------
    run
        A trajectory, or the dataset that it gives.
    names
        What to draw: probes with one number a sample. Left out: all of these.
    ax
        Where to draw, all in one panel. Left out: a figure of its own.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    TypeError, ValueError
        If ``run`` is no run, has fewer than two samples after the start, or a name is not among its probes of one
        number a sample.

    Examples
    --------
    >>> import undertow as ut
    >>> run = ut.train(
    ...     ut.problems.PointTarget([1.0, 2.0]), ut.parameterizations.Power(2, 2), ut.dynamics.GradientFlow(),
    ...     key=0, scale=1e-2, probes=[ut.probes.Entry(0), ut.probes.Entry(1)],
    ... )  # fmt: skip
    >>> [ax.get_ylabel() for ax in ut.plotting.trajectory(run).axes]
    ['loss', 'probes']
    """
    data = _data_of(run)
    scalars = [str(name) for name, values in data.data_vars.items() if values.dims == ("sample",)]
    chosen = _default_names(data, scalars) if names is None else _check_names(names, scalars)
    losses = [name for name in chosen if "loss" in name or "error" in name]
    panels = {"loss": losses, "probes": [name for name in chosen if name not in losses]}
    panels = {label: part for label, part in panels.items() if part}
    if ax is not None:
        with axes_or_figure(ax, "") as (made, one):
            _draw_lines(one, data, chosen)
            label_lines(one)
            return made
    rows = len(panels)
    with figure(rows, 1, width=8.0, height=5.0 if rows == 1 else 7.5, sharex=True, squeeze=False) as (made, grid):
        made.set_label(f"{', '.join(chosen)} over time.")
        for one, (label, part) in zip(grid[:, 0], panels.items(), strict=True):
            _draw_lines(one, data, part)
            one.set_ylabel(label)
        for one in grid[:-1, 0]:
            one.set_xlabel("")
        label_lines(list(grid[:, 0]))
    return made


def singular_values(
    run: Trajectory | xr.Dataset,
    *,
    name: str = "singular_values",
    truth: Any = None,
    labeled: int = 4,
    yscale: Literal["linear", "log"] = "linear",
    ax: Axes | None = None,
) -> Figure:
    """Singular values over logarithmic time: the largest in color and with their names, the others muted.

    Parameters
    ----------
    run
        A trajectory with the probe ``SingularValues``, or the dataset that it gives.
    name
        What the probe is called there; any probe with one vector a sample will do.
    truth
        Values to compare with, as dashed lines; shape (k,).
    labeled
        How many are in color.
    yscale
        The axis of values.
    ax
        Where to draw; left out: a figure of its own.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    TypeError, ValueError
        If ``run`` is no run, has no such probe, or an argument is out of range.

    Examples
    --------
    >>> import undertow as ut
    >>> run = ut.train(
    ...     ut.problems.PointTarget([[2.0, 0.0], [0.0, 1.0]]), ut.parameterizations.DeepMatrix((2, 2), 2),
    ...     ut.dynamics.GradientFlow(), key=0, scale=1e-3, probes=[ut.probes.SingularValues()],
    ... )  # fmt: skip
    >>> len(ut.plotting.singular_values(run, truth=[2.0, 1.0]).axes[0].get_lines())
    4
    """
    data = _data_of(run)
    vectors = [str(key) for key, values in data.data_vars.items() if values.ndim == 2 and values.dims[0] == "sample"]
    if name not in vectors:
        raise ValueError(
            f"name: no probe {name!r} with a vector a sample{nearest(name, vectors)}; "
            "watch undertow.probes.SingularValues()"
        )
    if yscale not in ("linear", "log"):
        raise ValueError(f"yscale: expected 'linear' or 'log', found {yscale!r}")
    if not isinstance(labeled, int) or labeled < 0:
        raise ValueError(f"labeled: expected a number of values, found {labeled!r}")
    level = np.empty(0) if truth is None else np.asarray(truth, float)
    if level.ndim != 1 or not np.isfinite(level).all():
        raise ValueError(f"truth: expected a vector of finite numbers, found shape {level.shape}")
    x, label = _time_axis(data)
    y = data[name].values[1:]
    with axes_or_figure(ax, "Singular values over time.") as (made, one):
        for i in reversed(range(y.shape[1])):  # the largest on top
            if i < labeled:
                one.plot(x, y[:, i], label=rf"$\sigma_{{{i + 1}}}$", **line_styles(i))
            else:
                one.plot(x, y[:, i], color=color_of("muted"), linewidth=1.2, label=f"_{i + 1}")
        for value in level:
            one.axhline(value, color=color_of("truth"), linestyle=(0, (2, 2)), linewidth=1.4, label="_truth", zorder=1)
        one.set_yscale(yscale)
        if yscale == "linear":
            one.set_ylim(bottom=0)
        _set_time(one, x, label)
        one.set_ylabel("singular values")
        if level.size:
            one.set_title("dashed: the truth")
        label_lines(one)
    return made


def _data_of(run: Any) -> xr.Dataset:
    data = run.to_xarray() if isinstance(run, Trajectory) else run
    if not isinstance(data, xr.Dataset):
        raise TypeError(f"run: expected a Trajectory or the Dataset that it gives, found {type(run).__name__}")
    if "time" not in data.variables or data["time"].dims != ("sample",):
        raise ValueError(
            "run: expected the dataset of one run, with a time for each sample; of a sweep, choose a point with isel"
        )
    padding = np.isnan(data["time"].values)  # after the end of a run that a longer one stood beside
    data = data.isel(sample=~padding)
    if data.sizes["sample"] < 3:
        raise ValueError(f"run: expected two samples after the start, found {max(data.sizes['sample'] - 1, 0)}")
    return data


def _default_names(data: xr.Dataset, scalars: Sequence[str]) -> list[str]:
    """All, with the loss or its logarithm: the one that stays within the numbers."""
    beyond = "log_loss" in scalars and "loss" in scalars and not (data["loss"].values > 0).all()
    names = [name for name in scalars if name not in ({"loss"} if beyond else {"log_loss"}) and name != "step"]
    if not names:
        raise ValueError("run: expected a probe with one number a sample, found none")
    return names


def _check_names(names: Any, scalars: Sequence[str]) -> list[str]:
    if isinstance(names, str):
        raise TypeError(f"names: expected several names, found the text {names!r}; write [{names!r}]")
    chosen = list(names)
    if not chosen:
        raise ValueError("names: expected at least one, found none")
    for name in chosen:
        if name not in scalars:
            raise ValueError(
                f"names: no probe {name!r} with one number a sample{nearest(str(name), scalars)}; "
                f"there are {', '.join(scalars)}"
            )
    return chosen


def _time_axis(data: xr.Dataset) -> tuple[np.ndarray, str]:
    """Times after the start; their logarithms where they are beyond the range of numbers."""
    times = data["time"].values[1:]
    if np.isfinite(times).all():
        return times, "time"
    if "log_time" not in data.variables:
        raise ValueError("run: expected finite times, or log_time beside them")
    return data["log_time"].values[1:] / np.log(10), r"$\log_{10}$ time"


def _set_time(ax: Axes, x: np.ndarray, label: str) -> None:
    if label == "time":
        ax.set_xscale("log")
    ax.set(xlabel=label, xlim=(x[0], x[-1]) if x[-1] > x[0] else None)


def _draw_lines(ax: Axes, data: xr.Dataset, names: Sequence[str]) -> None:
    x, label = _time_axis(data)
    free = 0
    for name in names:
        look: dict[str, Any] = line_styles(free) if name not in _ROLES else {"color": color_of(_ROLES[name])}
        free += name not in _ROLES
        ax.plot(x, data[name].values[1:], label=name, **look)
    drawn = np.concatenate([data[name].values[1:] for name in names])
    if (drawn[np.isfinite(drawn)] > 0).all():
        ax.set_yscale("log")
    _set_time(ax, x, label)
