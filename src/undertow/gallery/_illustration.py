"""The picture at the top of the page: one loss, one start, several ways to write w, several ends."""

import io

import numpy as np
from scipy.optimize import brentq

from undertow import plotting

# The line loss of Gissin's primer (2020): every w with w_1 + 2 w_2 = 15 fits perfectly.
_NORMAL, _OFFSET, _START = np.array([1.0, 2.0]), 15.0, 0.3
_WAYS = ((0.5, r"$w=\sqrt{u}$"), (1.0, r"$w=u$"), (2.0, r"$w=u^2$"), (6.0, r"$w=u^6$"))


def path(depth: float, points: int = 400) -> np.ndarray:
    """The path of gradient flow on the line loss for ``w = u^depth`` from ``(0.3, 0.3)``, in closed form.

    The flow is a mirror flow whose gradient is a constant multiple of the normal ``a``, so along it
    ``w_i^p = w_i(0)^p + p s a_i`` with ``p = 2 / depth - 1``, and ``w_i = w_i(0) exp(s a_i)`` where
    ``p = 0``; it ends where the line is met.

    Returns
    -------
    numpy.ndarray
        Shape ``(points + 1, 2)``; ``points`` is even.
    """
    power = 2.0 / depth - 1.0

    def at(s: float) -> np.ndarray:
        if power == 0:
            return _START * np.exp(s * _NORMAL)
        return (_START**power + power * s * _NORMAL) ** (1.0 / power)

    # Below p = 0 the faster coordinate runs to infinity at a finite s, past the line.
    bound = _START**power / (-power * _NORMAL.max()) * (1 - 1e-9) if power < 0 else 1e6 if power > 0 else 10.0
    end = brentq(lambda s: float(_NORMAL @ at(s)) - _OFFSET, 0.0, bound)
    # Many points at both ends, where a small step in s is a long way: at the start for a root, at the
    # end for a high power.
    half = np.geomspace(1e-6, 0.5, points // 2)
    shares = np.concatenate([[0.0], half, 1.0 - half[-2::-1], [1.0]])
    return np.array([at(share * end) for share in shares])


def illustration(theme: plotting.Theme) -> bytes:
    """The picture as SVG."""
    with plotting.theme(theme), plotting.figure(width=6.4, height=5.4) as (made, ax):
        ax.grid(False)
        corners = np.array([0.0, 6.2])
        ax.plot(
            corners,
            (_OFFSET - corners) / 2,
            color=plotting.color_of("ink"),
            linewidth=1.6,
            linestyle=(0, (5, 3)),
        )
        ax.annotate(
            "every point of this line\nfits perfectly",
            xy=(5.6, 4.7),
            xytext=(4.25, 2.9),
            fontsize=14,
            ha="center",
            arrowprops={"arrowstyle": "-", "color": plotting.color_of("muted"), "linewidth": 1.0},
        )
        for depth, label in _WAYS:
            points, color = path(depth), plotting.color_of(depth)
            ax.plot(*points.T, color=color)
            ax.plot(*points[-1], "o", color=color, markersize=11)
            ax.annotate(
                label,
                points[-1],
                xytext=(0 if depth > 2 else 5, 15 if depth > 2 else 8),
                textcoords="offset points",
                color=color,
                fontsize=18,
                va="bottom",
            )
        ax.plot(_START, _START, "o", color=plotting.color_of("ink"), markersize=9)
        ax.annotate("start", (_START, _START), xytext=(10, -3), textcoords="offset points", fontsize=14)
        ax.set(xlim=(0, 6.2), ylim=(0, 8.6), xlabel="$w_1$", ylabel="$w_2$")
        buffer = io.BytesIO()
        made.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
