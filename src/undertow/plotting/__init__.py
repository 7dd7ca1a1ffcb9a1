"""One design for every figure: colors that mean the same thing everywhere, labels beside the lines.

A plot function opens `figure` and draws; it never touches `matplotlib.pyplot`, so that nothing outside it changes and
nothing needs a window. The same function gives the light and the dark variant of a figure: `theme` says which, and
`color_of` and the style follow it.

The everyday figures are one call each: `trajectory`, `singular_values`, `field` and `sweep`.
"""

from undertow.plotting._colors import color_of
from undertow.plotting._fields import path, stream
from undertow.plotting._figure import figure, save
from undertow.plotting._labels import label_lines, spread
from undertow.plotting._plane import field
from undertow.plotting._singular_values import singular_values
from undertow.plotting._sweep import sweep
from undertow.plotting._theme import Theme, current_theme, style, theme
from undertow.plotting._trajectory import trajectory

from .._public import public_names as _public_names

__all__ = [
    "Theme",
    "color_of",
    "current_theme",
    "field",
    "figure",
    "label_lines",
    "path",
    "save",
    "singular_values",
    "spread",
    "stream",
    "style",
    "sweep",
    "theme",
    "trajectory",
]

__dir__ = _public_names(__name__)
