"""The colors, ordered as the subject is; the same color for the same thing in every figure.

Identity (depth 1) is neutral ink; deeper parameterizations run through amber, pink, violet and plum, each step further
from the background than the one before, up to the infinitely deep exponential; the anti-deep ones run through blues on
the other side. Neighbors therefore differ in lightness too, and stay apart for color-blind readers and in a gray print;
depths 2, 3 and 4, which stand side by side most, differ in hue as well, as color-blind readers see it too.
Every color has a contrast of 3:1 at least with the background of its theme (WCAG 2.2, success criterion 1.4.11); a
test measures it.
"""

import difflib
import math
import re
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from matplotlib.colors import to_hex, to_rgb

from ._theme import current_theme

# Name -> (color on light, color on dark). Ramps are listed by depth in `_LADDER`.
_COLORS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        # parameterizations
        "identity": ("#566270", "#b4becb"),
        "exponential": ("#33104f", "#f1e6ff"),
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
        2.0: ("#c77c02", "#b07a12"),
        3.0: ("#c7247a", "#f0629c"),
        4.0: ("#5b3fd0", "#b3a0ff"),
        6.0: ("#7d1457", "#fcb2da"),
        16.0: ("#541a72", "#e6c9fc"),
        math.inf: _COLORS["exponential"],
    }
)
_DEPTH = re.compile(
    r"(?:depth|deep|anti-?deep|power|signed ?power|hadamard|deep ?matrix|linear ?convolution)"
    r"[\s=:(]*(?:depth\s*=\s*)?(?P<depth>\d*\.?\d+|inf(?:inity)?|∞)\)?"
)


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
