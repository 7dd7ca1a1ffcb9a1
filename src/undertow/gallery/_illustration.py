"""The picture at the top of the page: one loss, one start, several ways to write w, several ends."""

import io

import numpy as np

from undertow import plotting
from undertow.theory import single_constraint_path

# The line loss of Gissin's primer (2020): every w with w_1 + 2 w_2 = 15 fits perfectly.
_NORMAL, _OFFSET, _START = (1.0, 2.0), 15.0, 0.3
_WAYS = ((0.5, r"$w=\sqrt{u}$"), (1.0, r"$w=u$"), (2.0, r"$w=u^2$"), (6.0, r"$w=u^6$"))


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
            color = plotting.color_of(depth)
            points = single_constraint_path(depth, (_START, _START), _NORMAL, _OFFSET)
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
