"""What the studies of the primer share: its models, losses and axes, and the panel that shows one of them.

Gissin's primer draws two weights fitted in two ways: to a point, where only the path is open, and to a line, where
every point of the line fits perfectly and the path decides which one is reached.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from ... import plotting
from ...parameterizations import Exponential, Identity, Parameterization, Polar, Power
from ...problems import LineTarget, PointTarget, Problem

SOURCE = "D. Gissin, A Primer on Implicit Regularization, 2020 (blog post and its notebook)"
SIDE = 10.0
"""The axes are [0, 10] squared."""
TARGET = (3.0, 6.0)
LINE = (-1.0, -2.0, 15.0)


@dataclass(frozen=True)
class Model:
    """A way to write two weights: ``name`` as `undertow.plotting.color_of` knows it, ``formula`` for titles."""

    name: str
    formula: str
    depth: float | None
    """Of the power; infinite for the exponential, None where the weights are mixed."""

    def parameterization(self) -> Parameterization:
        if self.depth is None:
            return Polar()
        if np.isinf(self.depth):
            return Exponential(2)
        return Identity(2) if self.depth == 1 else Power(2, self.depth)

    def metric(self, w: np.ndarray) -> np.ndarray:
        r"""J J^T at ``w`` of shape (..., 2), by its formula: shape (..., 2, 2)."""
        if self.depth is None:
            r2 = np.sum(w**2, axis=-1)[..., None, None]
            radial = w[..., :, None] * w[..., None, :] / r2
            # Rotated by 90 degrees, the field of the angle moves r d(theta): r^2 times the tangential projection.
            return radial + r2 * (np.eye(2) - radial)
        diagonal = w**2 if np.isinf(self.depth) else self.depth**2 * w ** (2 - 2 / self.depth)
        return diagonal[..., None] * np.eye(2)


MODELS = (
    Model("identity", "$w = u$", 1.0),
    Model("deep 2", "$w = u^2$", 2.0),
    Model("deep 4", "$w = u^4$", 4.0),
    Model("deep 6", "$w = u^6$", 6.0),
    Model("exponential", "$w = e^u$", np.inf),
    Model("anti-deep 0.5", "$w = u^{1/2}$", 0.5),
    Model("anti-deep 0.25", "$w = u^{1/4}$", 0.25),
    Model("anti-deep 0.2", "$w = u^{1/5}$", 0.2),
    Model("polar", r"$w = (r\,\cos\theta,\ r\,\sin\theta)$", None),
)


def problem(kind: str) -> Problem:
    """The primer's "point" or "line"."""
    return PointTarget(TARGET) if kind == "point" else LineTarget(*LINE)


def negative_gradient(kind: str, w: np.ndarray) -> np.ndarray:
    """By the formulas: S - w for the point, -n (n . w + c) / |n|^2 for the line; ``w`` of shape (..., 2)."""
    if kind == "point":
        return np.asarray(TARGET) - w
    normal, c = np.asarray(LINE[:2]), LINE[2]
    return -normal * ((w @ normal + c) / (normal @ normal))[..., None]


def set_axes(ax: Axes, *, labels: bool = True) -> None:
    """The primer's axes."""
    ax.set(xlim=(0, SIDE), ylim=(0, SIDE), aspect="equal", xticks=[0, 5, 10], yticks=[0, 5, 10])
    if labels:
        ax.set(xlabel="$w_1$", ylabel="$w_2$")
    ax.grid(False)


def draw_optimum(ax: Axes, kind: str, **options: Any) -> None:
    """The zero-error set, in the color of optima: a point with a rim, or a line."""
    color = plotting.color_of("optimum")
    if kind == "point":
        rim = plotting.style()["axes.facecolor"]
        ax.plot(*TARGET, "o", color=color, markersize=13, markeredgecolor=rim, markeredgewidth=2, zorder=6, **options)
    else:
        w1 = np.array([0.0, SIDE])
        w2 = -(LINE[0] * w1 + LINE[2]) / LINE[1]
        plotting.path(ax, np.stack([w1, w2], axis=1), color=color, linewidth=3.2, zorder=5, **options)
