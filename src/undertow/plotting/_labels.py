"""Labels beside the lines, none on top of another, instead of a legend."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from scipy.optimize import isotonic_regression


def label_lines(
    axes: Axes | Iterable[Axes], lines: Sequence[Line2D] | None = None, *, size: float = 13.0, gap: float = 1.25
) -> list[Any]:
    """Write each line's label at its right end, in its color, none on top of another.

    To be called last: it needs the final limits and scales. The labels sit right of the axes, as
    near to the ends of their lines as a distance of one line of text between them allows (the
    least-squares placement, an isotonic regression); a label that had to move, or whose line ends
    inside the axes, is joined to it by a thin line.

    Parameters
    ----------
    axes : matplotlib.axes.Axes, or several of one figure
        Several in one call are faster than one by one: the layout of the figure is settled once.
    lines : sequence of Line2D, optional
        By default all lines of the axes that carry a label.
    size : float
        Font size in points.
    gap : float
        Least distance between labels, in font sizes.

    Returns
    -------
    list of matplotlib.text.Annotation
        In the order of the axes and their lines, those without a visible point left out.

    Raises
    ------
    ValueError
        If the axes are not those of one figure.
    """
    several = [axes] if isinstance(axes, Axes) else list(axes)
    figures = {ax.get_figure(root=True) for ax in several}
    made = next(iter(figures), None)
    if made is None or len(figures) != 1:
        raise ValueError(f"axes: expected axes of one figure, found those of {len(figures - {None})}")
    for ax in several:
        ax.autoscale_view()  # settles the limits, on which transData depends
    made.draw_without_rendering()  # settles the layout, on which the height of the axes depends
    return [
        label
        for ax in several
        for label in _label(ax, [x for x in ax.get_lines() if lines is None or x in lines], size, gap)
    ]


def spread(wanted: np.ndarray, gap: float, low: float, high: float) -> np.ndarray:
    """Positions at least ``gap`` apart and within ``[low, high]``, nearest to ``wanted`` in squares.

    Where they do not all fit, the gap shrinks to what does.

    Examples
    --------
    >>> spread(np.array([0.5, 0.5, 0.9]), 0.2, 0.0, 1.0).round(3).tolist()
    [0.4, 0.6, 0.9]
    """
    order = np.argsort(wanted, kind="stable")
    steps = np.arange(len(wanted)) * min(gap, (high - low) / max(len(wanted) - 1, 1))
    # In y_i - i * gap the distance becomes an order, and least squares under an order is isotonic.
    level = isotonic_regression(wanted[order] - steps).x
    placed = np.empty_like(wanted)
    placed[order] = np.clip(level, low, high - steps[-1]) + steps
    return placed


def _label(ax: Axes, lines: Sequence[Line2D], size: float, gap: float) -> list[Any]:
    to_axes = ax.transData + ax.transAxes.inverted()
    ends = [(line, end) for line in lines if not _unlabeled(line) and (end := _visible_end(line, to_axes)) is not None]
    if not ends:
        return []
    height = ax.get_window_extent().height * 72.0 / ax.figure.dpi  # points
    wanted = np.array([end[1] for _, end in ends])
    placed = spread(wanted, gap * size / height, 0.0, 1.0)
    labels = []
    for (line, end), y in zip(ends, placed, strict=True):
        moved = abs(y - end[1]) * height > 0.5 * size or end[0] < 0.97
        label = ax.annotate(
            str(line.get_label()),
            xy=(end[0], end[1]),
            xytext=(1.03, y),
            xycoords="axes fraction",
            textcoords="axes fraction",
            color=line.get_color(),
            fontsize=size,
            fontweight="bold",
            va="center",
            ha="left",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": line.get_color(),
                "linewidth": 0.9,
                "alpha": 0.6 if moved else 0.0,
                "shrinkA": 2,
                "shrinkB": 1,
                "relpos": (0.0, 0.5),
            },
        )
        labels.append(label)
    return labels


def _unlabeled(line: Line2D) -> bool:
    label = str(line.get_label())
    return not label or label.startswith("_") or not line.get_visible()


def _visible_end(line: Line2D, to_axes: Any) -> tuple[float, float] | None:
    """The last point of the line inside the axes, in axes coordinates; None where there is none."""
    data = np.asarray(line.get_xydata(), float)  # dates as numbers, NaN where a point is masked
    with np.errstate(divide="ignore", invalid="ignore"):  # a logarithmic axis turns 0 into -inf
        points = to_axes.transform(data)
    slack = 1e-6
    inside = np.all(np.isfinite(points) & (points >= -slack) & (points <= 1 + slack), axis=1)
    if not inside.any():
        return None
    x, y = points[np.flatnonzero(inside)[-1]]
    return float(x), float(y)
