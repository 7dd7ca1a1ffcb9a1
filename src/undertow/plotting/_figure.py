"""A figure in the house style, made without `matplotlib.pyplot`, and its files."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from ._theme import style


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
    with mpl.rc_context(style()):
        made = Figure(figsize=size)
        made.set_label(caption)
        yield made, made.subplots(rows, columns, **options)


def save(made: Figure, path: str | Path) -> None:
    """Write a figure as PNG or SVG, by the ending of ``path``, in the theme in force; never half.

    Raises
    ------
    ValueError
        If the ending is neither ``.png`` nor ``.svg``.
    """
    path = Path(path)
    if path.suffix not in (".png", ".svg"):
        raise ValueError(f"path: expected a name that ends in .png or .svg, found {path.name!r}")
    partial = path.with_name(f".{path.name}.partial")
    metadata = {"Date": None} if path.suffix == ".svg" else {"Software": None}
    try:
        with mpl.rc_context(style()):
            made.savefig(partial, format=path.suffix[1:], metadata=metadata)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
