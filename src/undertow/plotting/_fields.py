"""Stream plots of a field in the plane, and paths drawn so that they stand out from it."""

import functools
from typing import Any

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ._theme import style


def stream(ax: Axes, x: Any, y: Any, velocity: Any, *, color: str, density: float = 3.0) -> LineCollection:
    """Streamlines of a field in the plane, each with an arrow in its middle.

    The lines are those of `Axes.streamplot`. They are computed once for a field, however often it is drawn: in the
    light and in the dark theme.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    x, y : array
        Evenly spaced coordinates, of lengths n and m.
    velocity : array
        Shape (m, n, 2): the field at ``(x[j], y[i])``.
    color : str
    density : float
        Of the streamlines; 1 is about 30 across.

    Returns
    -------
    matplotlib.collections.LineCollection
        One line a streamline.

    Raises
    ------
    ValueError
        If the shapes do not fit, or the field is not finite.
    """
    x, y, field = (np.ascontiguousarray(a, float) for a in (x, y, velocity))
    if field.shape != (y.size, x.size, 2):
        raise ValueError(f"velocity: expected shape {(y.size, x.size, 2)}, found {field.shape}")
    if not np.isfinite(field).all():
        raise ValueError("velocity: expected finite numbers, found NaN or infinity")
    return draw_stream(ax, x, y, field, color, density)


def draw_stream(
    ax: Axes, x: np.ndarray, y: np.ndarray, field: np.ndarray, color: str, density: float
) -> LineCollection:
    """Streamlines with their arrows; none where the field is NaN."""
    lines = _streamlines(x.tobytes(), y.tobytes(), field.tobytes(), float(density))
    size = 0.011 * float(np.ptp(x))
    arrows = [arrow for line in lines if (arrow := _arrow(line, size)) is not None]
    ax.add_collection(PolyCollection(arrows, facecolor=color, edgecolor="none", zorder=1.5))
    drawn = LineCollection(lines, colors=color, linewidths=0.9, zorder=1.4, capstyle="butt")
    ax.add_collection(drawn)
    return drawn


def path(ax: Axes, points: Any, *, color: str, **options: Any) -> Line2D:
    """A path through the plane with a rim in the color of the background, so that it reads on top of a field.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    points : array
        Shape (n, 2).
    color : str
    **options
        For `Axes.plot`.

    Returns
    -------
    matplotlib.lines.Line2D
    """
    x, y = np.asarray(points, float).T
    (line,) = ax.plot(x, y, color=color, **options)
    rim = patheffects.withStroke(linewidth=line.get_linewidth() + 2.4, foreground=style()["axes.facecolor"])
    line.set_path_effects([rim])
    return line


@functools.lru_cache(maxsize=64)
def _streamlines(x: bytes, y: bytes, field: bytes, density: float) -> list[np.ndarray]:
    """The curves of streamplot; keyed by bytes, because arrays are not hashable."""
    across, up = np.frombuffer(x), np.frombuffer(y)
    u, v = np.moveaxis(np.frombuffer(field).reshape(up.size, across.size, 2), -1, 0)
    lines = Figure().subplots().streamplot(across, up, u, v, density=density).lines.get_segments()
    return [np.asarray(line) for line in lines]


def _arrow(line: np.ndarray, size: float) -> np.ndarray | None:
    """A triangle at half the length of the line; None where the line is shorter than three of them."""
    lengths = np.cumsum(np.hypot(*np.diff(line, axis=0).T))
    if lengths[-1] < 3 * size:
        return None
    middle = int(np.searchsorted(lengths, lengths[-1] / 2))
    ahead = line[middle + 1] - line[middle]
    ahead = ahead * (size / np.hypot(*ahead))
    aside = 0.6 * np.array([-ahead[1], ahead[0]])
    return line[middle] + np.array([ahead, aside - ahead / 2, -aside - ahead / 2])
