"""Where an everyday figure is drawn: axes of the user's, or a figure of its own."""

import contextlib
from collections.abc import Iterator
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ._colors import color_of
from ._figure import figure
from ._theme import house_style, style

_DASHES = ("-", "--", ":", "-.")


@contextlib.contextmanager
def axes_or_figure(ax: Any, caption: str, **options: Any) -> Iterator[tuple[Figure, Axes]]:
    """``ax`` and its figure, or new ones, in the house style for the length of a block."""
    if ax is None:
        with figure(caption=caption, **options) as (made, one):
            yield made, one
        return
    if not isinstance(ax, Axes):
        raise TypeError(f"ax: expected matplotlib axes, found {type(ax).__name__}")
    made = ax.get_figure(root=True)
    if made is None:
        raise ValueError("ax: expected axes of a figure, found removed ones")
    with house_style():
        yield made, ax


def style_of(name: str, number: int) -> dict[str, Any]:
    """The color that the name has in every figure (a depth, a dynamics); else that of the line of this number."""
    try:
        return {"color": color_of(name)}
    except ValueError:
        return line_styles(number)


def line_styles(number: int) -> dict[str, Any]:
    """Color and dashes of the line of this number: the colors of the style in turn, then again, dashed."""
    colors = style()["axes.prop_cycle"].by_key()["color"]
    again, place = divmod(number, len(colors))
    return {"color": f"#{colors[place].lstrip('#')}", "linestyle": _DASHES[again % len(_DASHES)]}
