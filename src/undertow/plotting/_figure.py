"""A figure in the house style, made without `matplotlib.pyplot`, and its files."""

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from .._replacing import replacing
from ._theme import house_style


class _Shown(Figure):
    """A figure that shows itself as the last line of a notebook's cell, which one made without pyplot does not."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        file = io.BytesIO()
        with house_style():
            # In the theme that it was drawn in, not in the one in force.
            self.savefig(file, format="png", facecolor=self.get_facecolor(), metadata=_METADATA[".png"])
        return file.getvalue(), {"width": round(80 * self.get_figwidth())}


@contextlib.contextmanager
def figure(
    rows: int = 1,
    columns: int = 1,
    *,
    width: float | None = None,
    height: float | None = None,
    caption: str = "",
    **options: Any,
) -> Iterator[tuple[Figure, Any]]:
    """A figure in the house style, for the length of a block.

    Parameters
    ----------
    rows, columns : int
        The grid of axes.
    width, height : float, optional
        Size in inches; 8 by 5 for one pair of axes, 4.6 by 4.4 for each of several.
    caption : str
        One sentence for the page; kept as the label of the figure.
    **options
        Passed on to `matplotlib.figure.Figure.subplots` (``sharex``, ``squeeze``, ...).

    Yields
    ------
    tuple of (matplotlib.figure.Figure, Axes or array of Axes)

    Examples
    --------
    >>> from undertow.plotting import color_of
    >>> with figure(caption="A line.") as (fig, ax):
    ...     lines = ax.plot([0, 1], [0, 1], color=color_of("exponential"))
    >>> fig.get_label()
    'A line.'
    """
    single = rows * columns == 1
    size = (width or (8.0 if single else 4.6 * columns), height or (5.0 if single else 4.4 * rows))
    with house_style():
        made = _Shown(figsize=size)
        made.set_label(caption)
        yield made, made.subplots(rows, columns, **options)


# What would differ from one run to the next, or from one version of matplotlib to the next, is left out.
_METADATA: dict[str, dict[str, Any]] = {
    ".png": {"Software": None},
    ".svg": {"Date": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


def save(made: Figure, path: str | Path) -> None:
    """Write a figure as PNG, SVG or PDF, by the ending of ``path``, in the theme in force; never half.

    Raises
    ------
    ValueError
        If the ending is none of ``.png``, ``.svg`` and ``.pdf``.
    """
    path = Path(path)
    ending = path.suffix.lower()
    if ending not in _METADATA:
        raise ValueError(f"path: expected a name that ends in {', '.join(_METADATA)}, found {path.name!r}")
    with replacing(path) as partial, house_style():
        made.savefig(partial, format=ending[1:], metadata=_METADATA[ending])
