"""One design for every figure: colors that mean the same thing everywhere, labels beside the lines.

A plot function opens `figure` and draws; it never touches `matplotlib.pyplot`, so that nothing
outside it changes and nothing needs a window. The same function gives the light and the dark
variant of a figure: `theme` says which, and `color_of` and the style follow it.

The colors are ordered as the subject is: identity (depth 1) is neutral ink; deeper
parameterizations run from amber to violet, each step further from the background than the one
before, up to the infinitely deep exponential; the anti-deep ones run through blues on the other
side. Neighbors therefore differ in lightness too, and stay apart for color-blind readers and in a
gray print. Every color has a contrast of 3:1 at least with the background of its theme (WCAG 2.2,
success criterion 1.4.11); a test measures it.
"""

import contextlib
import contextvars
import difflib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.optimize import isotonic_regression

Theme = Literal["light", "dark"]

_theme: contextvars.ContextVar[Theme] = contextvars.ContextVar("undertow_theme", default="light")

# Name -> (color on light, color on dark). Ramps are listed by depth in `_LADDER`.
_COLORS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        # parameterizations
        "identity": ("#566270", "#b4becb"),
        "exponential": ("#4a1a78", "#eee2ff"),
        "polar": ("#0b7f5c", "#4fd1a5"),
        # dynamics
        "gradient flow": ("#0064a6", "#6cb8f2"),
        "gradient descent": ("#c2500a", "#f59a52"),
        "mirror descent": ("#0b7f5c", "#4fd1a5"),
        "mirror flow": ("#a8377f", "#f29ccb"),
        # roles
        "ink": ("#1d232b", "#e9edf2"),
        "muted": ("#6a7480", "#98a3b0"),
        "truth": ("#1d232b", "#e9edf2"),
        "theory": ("#1d232b", "#e9edf2"),
        "baseline": ("#7a828c", "#8f9aa7"),
        "optimum": ("#c8102e", "#ff6b6b"),
        "train": ("#0064a6", "#6cb8f2"),
        "test": ("#c2500a", "#f59a52"),
    }
)
# Depth -> color; in between, colors are interpolated on the logarithm of the depth.
_LADDER: Mapping[float, tuple[str, str]] = MappingProxyType(
    {
        0.1: ("#0c2340", "#d6ecff"),
        0.2: ("#12386b", "#b5dcff"),
        0.25: ("#1a5296", "#8cc6fb"),
        0.5: ("#2f82c0", "#559fd6"),
        1.0: _COLORS["identity"],
        2.0: ("#c77c02", "#ba7d17"),
        3.0: ("#c9540f", "#ea843f"),
        4.0: ("#b02a37", "#ff938f"),
        6.0: ("#861a5c", "#fcb2da"),
        16.0: ("#5e1d78", "#e6c9fc"),
        math.inf: _COLORS["exponential"],
    }
)
_DEPTH = re.compile(
    r"(?:depth|deep|anti-?deep|power|signed ?power|hadamard|deep ?matrix|linear ?convolution)"
    r"[\s=:(]*(?:depth\s*=\s*)?(?P<depth>\d*\.?\d+|inf(?:inity)?|∞)\)?"
)
_SURFACES: Mapping[Theme, tuple[str, str]] = MappingProxyType(  # background, grid
    {"light": ("#ffffff", "#dfe3e8"), "dark": ("#14181d", "#343c46")}
)


def current_theme() -> Theme:
    """The theme in force: ``"light"`` unless a `theme` block says otherwise."""
    return _theme.get()


def style(name: Theme | None = None) -> dict[Any, Any]:
    """Matplotlib settings of the house style.

    Parameters
    ----------
    name : "light" or "dark", optional
        The theme; by default the one in force.

    Returns
    -------
    dict
        For `matplotlib.rc_context` or `matplotlib.rcParams.update`.

    Examples
    --------
    >>> style("light")["font.size"]
    15.0
    """
    chosen = current_theme() if name is None else name
    _check_theme(chosen)
    background, grid = _SURFACES[chosen]
    column = 0 if chosen == "light" else 1
    ink, muted = _COLORS["ink"][column], _COLORS["muted"][column]
    cycle = [_LADDER[depth][column] for depth in (0.5, 2.0, 6.0)] + [_COLORS["polar"][column]]
    return {
        "font.family": "DejaVu Sans",  # comes with matplotlib: the same figure on every machine
        "mathtext.fontset": "dejavusans",
        "font.size": 15.0,  # on 8 inches of width: legible from the back row when it fills a slide
        "axes.titlesize": 16.0,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.titlepad": 10.0,
        "axes.labelsize": 15.0,
        "xtick.labelsize": 13.0,
        "ytick.labelsize": 13.0,
        "legend.fontsize": 13.0,
        "legend.frameon": False,
        "figure.titlesize": 18.0,
        "figure.titleweight": "bold",
        "figure.facecolor": background,
        "savefig.facecolor": background,
        "savefig.edgecolor": background,
        "axes.facecolor": background,
        "text.color": ink,
        "axes.labelcolor": ink,
        "axes.titlecolor": ink,
        "axes.edgecolor": muted,
        "xtick.color": muted,
        "ytick.color": muted,
        "xtick.labelcolor": ink,
        "ytick.labelcolor": ink,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 1.1,
        "axes.axisbelow": True,
        "axes.grid": True,
        "grid.color": grid,
        "grid.linewidth": 0.9,
        "lines.linewidth": 2.8,
        "lines.markersize": 8.0,
        "lines.solid_capstyle": "round",
        "patch.edgecolor": background,
        "axes.prop_cycle": cycler(color=cycle),
        "image.cmap": "cividis",  # made for color-blind readers; monotone in lightness
        "svg.fonttype": "path",  # no font needed where the figure is opened
        "svg.hashsalt": "undertow",  # the same figure gives the same bytes
        "savefig.dpi": 160.0,
        "figure.constrained_layout.use": True,
        "figure.constrained_layout.w_pad": 0.08,
        "figure.constrained_layout.h_pad": 0.08,
    }


@contextlib.contextmanager
def theme(name: Theme) -> Iterator[None]:
    """Draw and save in this theme inside the block.

    Parameters
    ----------
    name : "light" or "dark"

    Raises
    ------
    ValueError
        If there is no such theme.
    """
    _check_theme(name)
    token = _theme.set(name)
    try:
        with mpl.rc_context(style(name)):
            yield
    finally:
        _theme.reset(token)


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


def color_of(name: str | float) -> str:
    """The color of a parameterization, a dynamics, a depth or a role; the same in every figure.

    Parameters
    ----------
    name : str or float
        A depth (``3``, ``"depth 3"``, ``"anti-deep 0.5"``, ``"deep inf"``), a parameterization
        (``"identity"``, ``"exponential"``, ``"polar"``), a dynamics (``"gradient flow"``, ...) or a
        role (``"truth"``, ``"theory"``, ``"baseline"``, ``"optimum"``, ``"train"``, ``"test"``,
        ``"ink"``, ``"muted"``). Case, underscores and hyphens do not matter.

    Returns
    -------
    str
        A color such as ``"#c77c02"``, for the theme in force.

    Raises
    ------
    ValueError
        If the name is unknown (the nearest known ones are named) or the depth is not positive.

    Examples
    --------
    >>> color_of("Power(depth=2)") == color_of("deep 2") == color_of(2)
    True
    """
    column = 0 if current_theme() == "light" else 1
    if not isinstance(name, str):
        return _color_of_depth(float(name), column)
    words = re.sub(r"[_\s]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)).strip().lower()
    plain = words.replace("-", " ")
    if plain in _COLORS:
        return _COLORS[plain][column]
    if match := _DEPTH.fullmatch(words):
        depth = match["depth"]
        return _color_of_depth(math.inf if depth[0] in "i∞" else float(depth), column)
    close = difflib.get_close_matches(plain, _COLORS, n=3)
    hint = f"did you mean {' or '.join(map(repr, close))}?" if close else f"known: {', '.join(_COLORS)}"
    raise ValueError(f"name: no color for {name!r}; {hint}, or a depth such as 'depth 3'")


def label_lines(ax: Axes, lines: Sequence[Line2D] | None = None, *, size: float = 13.0, gap: float = 1.25) -> list[Any]:
    """Write each line's label at its right end, in its color, none on top of another.

    To be called last: it needs the final limits and scales. The labels sit right of the axes, as
    near to the ends of their lines as a distance of one line of text between them allows (the
    least-squares placement, an isotonic regression); a label that had to move, or whose line ends
    inside the axes, is joined to it by a thin line.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    lines : sequence of Line2D, optional
        By default all lines of the axes that carry a label.
    size : float
        Font size in points.
    gap : float
        Least distance between labels, in font sizes.

    Returns
    -------
    list of matplotlib.text.Annotation
        In the order of the lines, those without a visible point left out.
    """
    chosen = [line for line in (ax.get_lines() if lines is None else lines) if not _unlabeled(line)]
    made = ax.get_figure(root=True)
    if made is None:
        raise ValueError("ax: expected axes of a figure, found axes that were removed from theirs")
    ax.autoscale_view()  # settles the limits, on which transData depends
    made.draw_without_rendering()  # settles the layout, on which the height of the axes depends
    to_axes = ax.transData + ax.transAxes.inverted()
    ends = [(line, end) for line in chosen if (end := _visible_end(line, to_axes)) is not None]
    if not ends:
        return []
    height = ax.get_window_extent().height * 72.0 / made.dpi  # points
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


def _check_theme(name: str) -> None:
    if name not in _SURFACES:
        raise ValueError(f"name: unknown theme {name!r}; expected 'light' or 'dark'")


def _color_of_depth(depth: float, column: int) -> str:
    if not depth > 0:
        raise ValueError(f"name: a depth has to be positive, found {depth}")
    depths = list(_LADDER)
    if depth in _LADDER:
        return _LADDER[depth][column]
    if depth < depths[0]:
        return _LADDER[depths[0]][column]
    above = next(i for i, known in enumerate(depths) if known > depth)
    low, high = depths[above - 1], depths[above]
    # 1 / depth where the upper end is infinite: the logarithm has no midpoint there.
    share = 1 - low / depth if math.isinf(high) else (math.log(depth) - math.log(low)) / math.log(high / low)
    start, end = (np.array(to_rgb(_LADDER[known][column])) for known in (low, high))
    red, green, blue = (1 - share) * start + share * end
    return to_hex((float(red), float(green), float(blue)))


def _unlabeled(line: Line2D) -> bool:
    label = str(line.get_label())
    return not label or label.startswith("_") or not line.get_visible()


def _visible_end(line: Line2D, to_axes: Any) -> tuple[float, float] | None:
    """The last point of the line inside the axes, in axes coordinates; None where there is none."""
    data = np.column_stack([np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)])
    with np.errstate(divide="ignore", invalid="ignore"):  # a logarithmic axis turns 0 into -inf
        points = to_axes.transform(data)
    slack = 1e-6
    inside = np.all(np.isfinite(points) & (points >= -slack) & (points <= 1 + slack), axis=1)
    if not inside.any():
        return None
    x, y = points[np.flatnonzero(inside)[-1]]
    return float(x), float(y)
