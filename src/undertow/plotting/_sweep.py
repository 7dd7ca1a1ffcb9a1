"""A variable of a sweep against one of its axes, with the spread over draws as error bars."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .._validation import check_choice, nearest
from ._axes import axes_for, palette, spans_decades, words
from ._colors import color_of
from ._labels import label_lines

MARKERS = "osD^vPX*"
ERROR_BARS = ("sd", "se", "quartiles", "range")


def sweep(
    data: xr.Dataset,
    variable: str,
    *,
    x: str | None = None,
    hue: str | None = None,
    draws: str | Sequence[str] | None = None,
    errorbar: str = "sd",
    ax: Any = None,
) -> Figure:
    """A variable of a sweep along one axis: its center over draws, error bars, and every draw as a faint dot.

    Runs that diverged or did not run, and values that are not finite, are no part of a center; where there are such,
    the share of those that count stands beside the point. Numbers that span decades get logarithmic axes. Several lines
    are moved a little to the sides, so that their bars are seen.

    Parameters
    ----------
    data
        What `undertow.sweep` gives.
    variable
        The name of a variable, as "final_test_error".
    x
        The axis of the sweep to draw it against. May be left out where one is left.
    hue
        The axis that tells lines apart. May be left out where one is left, or none.
    draws
        The axis, or axes, whose values are repetitions. Where left out: "key", if there is such an axis.
    errorbar
        "sd" or "se", the standard deviation or error around the mean; "quartiles" or "range", from the first to the
        third quartile or from the least to the largest around the median.
    ax
        Axes to draw into; by default those of a new figure.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    TypeError, ValueError
        If ``data`` is no dataset, has no such variable or axis, or the variable has axes that are neither ``x`` nor
        ``hue`` nor ``draws``, among them "sample"; if ``errorbar`` is unknown, or ``ax`` is not one pair of axes.

    Examples
    --------
    >>> import undertow as ut
    >>> line = ut.problems.LineTarget(-1.0, -2.0, 15.0)
    >>> def run(scale, key):
    ...     phi = ut.parameterizations.Power(2, depth=2)
    ...     return ut.train(line, phi, ut.dynamics.GradientFlow(), key=key, scale=scale, stop=ut.Stop(time=0.1))
    >>> data = ut.sweep(run, over={"scale": [0.1, 1.0], "key": range(4)})
    >>> sweep(data, "final_loss").axes[0].get_ylabel()
    'final loss'
    """
    check_choice("errorbar", errorbar, ERROR_BARS)
    values, x, hue = _table(data, variable, x, hue, draws)
    at, ticks = _positions(values[x].values)
    logarithmic = ticks is None and _geometric(at)
    levels = [None] if hue is None else list(values[hue].values)
    colors = [_color(hue, level, other) for level, other in zip(levels, _colors(len(levels)), strict=True)]
    with axes_for(ax) as (made, (panel,)):
        if spans_decades(values.values):
            panel.set_yscale("log", nonpositive="clip")
        if ticks is not None:
            panel.set_xticks(at, ticks)
        elif logarithmic:
            panel.set_xscale("log")
        for i, level in enumerate(levels):
            table = values.values[0 if hue is None else i]
            label = "" if hue is None else f"{words(hue)} {_text(level)}"
            beside = _beside(at, i - (len(levels) - 1) / 2, logarithmic)
            _line(panel, beside, table, errorbar, color=colors[i], marker=MARKERS[i % len(MARKERS)], label=label)
        panel.set(xlabel=words(x), ylabel=words(variable))
        label_lines(panel)
    return made


def _table(
    data: Any, variable: str, x: str | None, hue: str | None, draws: str | Sequence[str] | None
) -> tuple[xr.DataArray, str, str | None]:
    """The variable as lines by positions by draws, with NaN for runs that do not count; and its two axes."""
    if not isinstance(data, xr.Dataset):
        raise TypeError(f"data: expected an xarray.Dataset, as undertow.sweep gives, found {type(data).__name__}")
    if variable not in data.data_vars:
        known = [str(each) for each in data]
        raise ValueError(f"variable: no {variable!r} in data{nearest(variable, known)}; there are {', '.join(known)}")
    values = data[variable]
    if values.dtype.kind not in "fiub":
        raise TypeError(f"variable: expected numbers, found {variable!r} of dtype {values.dtype}")
    dims = [str(dim) for dim in values.dims]
    if "sample" in dims:
        other = f"final_{variable}"
        hint = f"; {other!r} is its value at the end" if other in data else ""
        raise ValueError(f"variable: expected one value a run, found {variable!r} over its samples{hint}")
    repeated = ["key"] if draws is None and "key" in dims and x != "key" and hue != "key" else draws or []
    repeated = [repeated] if isinstance(repeated, str) else list(repeated)
    named = {"draws": repeated, "x": [x] if x else [], "hue": [hue] if hue else []}
    for argument, names in named.items():
        for name in names:
            if name not in dims:
                raise ValueError(f"{argument}: {variable!r} has no axis {name!r}; it has {', '.join(dims)}")
    taken = [name for names in named.values() for name in names]
    if len(set(taken)) != len(taken):
        raise ValueError(f"x, hue, draws: expected different axes, found {', '.join(map(repr, taken))}")
    left = [dim for dim in dims if dim not in taken]
    if x is None:
        if len(left) != 1 and not (len(left) == 2 and hue is None):
            raise ValueError(f"x: expected one of the axes of {variable!r} ({', '.join(dims)}), found None")
        x, left = left[0], left[1:]
    if hue is None and len(left) == 1:
        hue, left = left[0], []
    if left:
        raise ValueError(
            f"draws: {variable!r} has further axes {', '.join(map(repr, left))}; name them, or choose a value with .sel"
        )
    values = values.astype(float)
    if "status" in data and set(data["status"].dims) <= set(values.dims):
        values = values.where(~data["status"].isin(["diverged", "not run"]))
    values = values.where(np.isfinite(values))
    if hue is None:
        values = values.expand_dims("_line")
    if values[x].dtype.kind in "fiu":
        values = values.sortby(x)
    return values.transpose(hue or "_line", x, *repeated), x, hue


def _line(ax: Axes, at: np.ndarray, table: np.ndarray, errorbar: str, *, color: str, marker: str, label: str) -> None:
    """One line of the figure: ``table`` has a row a position, the draws behind."""
    draws = table.reshape(len(at), -1)
    centers, low, high = np.array([_summary(row[np.isfinite(row)], errorbar) for row in draws]).T
    several = draws.shape[1] > 1
    container = ax.errorbar(
        at,
        centers,
        yerr=np.stack([centers - low, high - centers]) if several else None,
        color=color,
        marker=marker,
        capsize=5,
        elinewidth=1.8,
    )
    container.lines[0].set_label(label)
    if several:
        ax.plot(np.repeat(at, draws.shape[1]), draws.ravel(), ".", color=color, alpha=0.3, markersize=6, zorder=1.9)
    for position, center, row in zip(at, centers, draws, strict=True):
        count = int(np.isfinite(row).sum())
        if 0 < count < row.size:
            ax.annotate(
                f"{count} of {row.size}", (position, center), xytext=(7, 7), textcoords="offset points",
                color=color, fontsize=11,
            )  # fmt: skip


def _summary(row: np.ndarray, errorbar: str) -> tuple[float, float, float]:
    """Center, and the ends of the error bar; NaN where nothing counts."""
    if row.size == 0:
        return np.nan, np.nan, np.nan
    if errorbar in ("sd", "se"):
        # Of a single draw the spread is not known.
        spread = row.std(ddof=1) if row.size > 1 else np.nan
        spread = spread / np.sqrt(row.size) if errorbar == "se" else spread
        return row.mean(), row.mean() - spread, row.mean() + spread
    low, center, high = np.quantile(row, [0.25, 0.5, 0.75] if errorbar == "quartiles" else [0.0, 0.5, 1.0])
    return center, low, high


def _positions(coordinate: np.ndarray) -> tuple[np.ndarray, list[str] | None]:
    """Where the values of an axis stand; names and other things at 0, 1, ..., with their texts."""
    if coordinate.dtype.kind in "fiu":
        return coordinate.astype(float), None
    return np.arange(len(coordinate)), [_text(value) for value in coordinate]


def _geometric(at: np.ndarray) -> bool:
    """Whether these positions are more evenly spaced by their logarithms, and a factor of 10 apart at least."""
    if at.size < 2 or not (at > 0).all() or at.max() < 10 * at.min():
        return False
    plain, logs = np.diff(at), np.diff(np.log(at))
    return bool(at.size == 2 or logs.std() / logs.mean() < plain.std() / plain.mean())


def _beside(at: np.ndarray, shift: float, logarithmic: bool) -> np.ndarray:
    """The positions, moved a little, so that error bars of several lines do not cover each other."""
    if shift == 0 or at.size < 2:
        return at
    places = np.log(at) if logarithmic else at
    moved = places + 0.012 * shift * float(np.ptp(places))
    return np.exp(moved) if logarithmic else moved


def _colors(count: int) -> list[str]:
    return [color_of("ink")] if count == 1 else palette(count)


def _color(hue: str | None, level: Any, otherwise: str) -> str:
    """Depths have a color of their own."""
    if hue == "depth" and isinstance(level, (int, float, np.number)) and level > 0:
        return color_of(float(level))
    return otherwise


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, (int, float, np.number)) else str(value)
