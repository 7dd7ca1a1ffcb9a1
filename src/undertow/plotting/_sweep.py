"""A variable of a sweep against one of its axes, with the spread over draws."""

from collections.abc import Hashable
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .._validation import nearest
from ._axes import axes_or_figure, style_of
from ._labels import label_lines

LOW, HIGH = 0.16, 0.84
"""Quantiles that bars go to: one standard deviation either way where draws are normal."""


def sweep(
    data: xr.Dataset,
    variable: str,
    axis: str,
    *,
    draws: str = "key",
    lines: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """A variable of a sweep against an axis: medians over draws, with bars from their 16% to their 84% quantile.

    An axis of numbers is logarithmic where they are positive and span a factor of ten at least, and so are values.

    Parameters
    ----------
    data
        What ``undertow.sweep`` gives.
    variable
        Its variable, such as "final_loss".
    axis
        The axis of the sweep that goes across.
    draws
        The axis that is summarized; without it in the data there are no bars.
    lines
        An axis with a line for each of its values.
    ax
        Where to draw; left out: a figure of its own.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    TypeError, ValueError
        If ``data`` is no dataset, a name is not in it, the variable holds no numbers, or has further axes.

    Examples
    --------
    >>> import undertow as ut
    >>> def run(depth, key):
    ...     phi = ut.parameterizations.Power(2, depth)
    ...     return ut.train(ut.problems.PointTarget([1.0, 2.0]), phi, ut.dynamics.GradientFlow(), key=key, scale=0.1)
    >>> data = ut.sweep(run, over={"depth": [2, 3], "key": range(3)})
    >>> ut.plotting.sweep(data, "gradient_evaluations", "depth").axes[0].get_xlabel()
    'depth'
    """
    values = _values(data, variable, axis, draws, lines)
    several = lines is not None
    with axes_or_figure(ax, f"{variable} against {axis}.") as (made, one):
        x, names = _across(data, axis)
        drawn = []
        for number, part in enumerate(values):
            middle, low, high = _summary(part)
            label = f"{lines} {_text(data[lines].values[number])}" if several else "_values"
            look = style_of(label, number)
            (line,) = one.plot(x, middle, marker="o", markersize=7, label=label, **look)
            if part.shape[1] > 1:
                bars = np.stack([middle - low, high - middle])
                one.errorbar(x, middle, bars, fmt="none", ecolor=look["color"], elinewidth=1.8, capsize=4)
            drawn.append(line)
        if names is not None:
            one.set_xticks(x, names)
        elif _spans(x, 10):
            one.set_xscale("log")
        if _spans(values, 10):
            one.set_yscale("log")
        one.set(xlabel=axis, ylabel=variable.replace("_", " "))
        label_lines(one, drawn)
    return made


def _values(data: Any, variable: str, axis: str, draws: str, lines: str | None) -> np.ndarray:
    """Shape (lines, points, draws), in numbers."""
    if not isinstance(data, xr.Dataset):
        raise TypeError(f"data: expected the Dataset of a sweep, found {type(data).__name__}")
    known = [str(name) for name in data.data_vars]
    if variable not in known:
        raise ValueError(f"variable: no {variable!r} in the data{nearest(str(variable), known)}")
    array = data[variable]
    if not np.issubdtype(array.dtype, np.number):
        raise ValueError(f"variable: expected numbers, found {array.dtype} in {variable!r}")
    axes = [str(name) for name in array.dims]
    asked: dict[str, Hashable | None] = {"axis": axis, "lines": lines}
    for argument, name in asked.items():
        if name is not None and name not in axes:
            raise ValueError(f"{argument}: {variable!r} has no axis {name!r}; it has {', '.join(axes) or 'none'}")
    chosen = [name for name in (lines, axis, draws) if name is not None]
    if len(set(chosen)) < len(chosen):
        raise ValueError(f"axis: expected different axes for axis, draws and lines, found {', '.join(chosen)}")
    if further := [name for name in axes if name not in chosen]:
        raise ValueError(
            f"variable: {variable!r} has further axes, {', '.join(further)}; give one as lines, or choose with isel"
        )
    for name in (lines or "lines", draws):
        if name not in axes:
            array = array.expand_dims({name: 1})
    return array.transpose(lines or "lines", axis, draws).values.astype(float)


def _summary(part: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Median and the ends of bars, of the draws that have a value; NaN where none has."""
    found = np.full((3, len(part)), np.nan)
    for i, row in enumerate(part):
        if (there := row[np.isfinite(row)]).size:
            found[:, i] = np.quantile(there, [0.5, LOW, HIGH])
    return found[0], found[1], found[2]


def _across(data: xr.Dataset, axis: str) -> tuple[np.ndarray, list[str] | None]:
    """Where points are, and what they are called where they are no numbers."""
    at = data[axis].values
    if np.issubdtype(at.dtype, np.number):
        return at.astype(float), None
    return np.arange(len(at), dtype=float), [str(x) for x in at]


def _spans(x: np.ndarray, factor: float) -> bool:
    there = x[np.isfinite(x)]
    return bool(there.size > 1 and there.min() > 0 and there.max() >= factor * there.min())


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float | np.floating) else str(value)
