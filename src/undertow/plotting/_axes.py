"""What the everyday figures share: axes of their own or the caller's, scales, colors and words."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from ._figure import figure
from ._theme import current_theme, house_style, style

DECADES = 1.5
"""Numbers above 0 that span more powers of ten than this are drawn on a logarithmic axis."""


@contextlib.contextmanager
def axes_for(ax: Any, count: int = 1, **options: Any) -> Iterator[tuple[Figure, list[Axes]]]:
    """The caller's axes, checked, or a new figure with ``count`` of them, one above the other; in the house style.

    ``options`` are those of `figure`, for a new one.
    """
    if ax is None:
        with figure(count, 1, **options) as (made, axes):
            yield made, list(np.ravel(axes))
        return
    given = list(np.ravel(np.asarray(ax, dtype=object))) if isinstance(ax, Iterable) else [ax]
    if not all(isinstance(each, Axes) for each in given):
        raise TypeError(f"ax: expected matplotlib axes, found {ax!r}")
    roots = {each.get_figure(root=True) for each in given}
    made = next(iter(roots), None)
    if len(given) != count or len(roots) != 1 or made is None:
        raise ValueError(f"ax: expected {count} of one figure, one a panel, found {len(given)} of {len(roots)}")
    with house_style():
        yield made, given


def spans_decades(values: Any) -> bool:
    """Whether these numbers are better told apart on a logarithmic axis: none below 0, and far apart."""
    values = np.asarray(values, float)
    values = values[np.isfinite(values)]
    positive = values[values > 0]
    return bool(
        positive.size > 1 and (values >= 0).all() and np.log10(positive.max()) - np.log10(positive.min()) > DECADES
    )


def palette(count: int) -> list[str]:
    """So many colors that stand out from the background: those of the style, or a ramp where they do not suffice."""
    cycle = [entry["color"] for entry in style()["axes.prop_cycle"]]
    if count <= len(cycle):
        return cycle[:count]
    # The bright end of the ramp is lost on white, the dark end on black.
    low, high = (0.0, 0.7) if current_theme() == "light" else (0.35, 1.0)
    return [to_hex(color) for color in mpl.colormaps["cividis"](np.linspace(low, high, count))]


def words(name: str) -> str:
    """The name of a variable, to be read."""
    return name.replace("_", " ")
