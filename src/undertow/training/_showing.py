"""A trajectory in short: one line, and for a notebook a few with the curve of its loss."""

import html
from collections.abc import Callable
from typing import Any

import numpy as np

from .._repr import called

WIDTH, HEIGHT = 360.0, 120.0
"""Of the curve, in pixels."""
MARGIN = 6.0


def line(trajectory: Any) -> str:
    """How it ended, where, and what was watched; a run of a sweep that waits is not run for it."""
    if "status" not in vars(trajectory):
        return "Trajectory(not run yet)"
    told = {
        "status": trajectory.status,
        "steps": int(trajectory.steps[-1]),
        "time": float(trajectory.times[-1]),
        "loss": _final_loss(trajectory),
        "samples": len(trajectory.times),
    }
    if np.isinf(told["time"]):
        told = {"log_time" if name == "time" else name: value for name, value in told.items()}
        told["log_time"] = float(trajectory.log_times[-1])
    text = called("Trajectory", {name: value for name, value in told.items() if value is not None})
    return f"{text[:-1]}, probes=[{', '.join(map(repr, trajectory.records))}], {trajectory.parameterization!r})"


def page(trajectory: Any) -> str:
    """For a notebook: no script, no style sheet, in the colors of what is around it."""
    if "status" not in vars(trajectory):
        return f"<code>{html.escape(line(trajectory))}</code>"
    loss, last = _final_loss(trajectory), float(trajectory.times[-1])
    rows = {
        "map": repr(trajectory.parameterization),
        "steps": f"{int(trajectory.steps[-1])}, {trajectory.gradient_evaluations} gradients",
        "seconds": f"{trajectory.seconds:.3g}",
        "time": f"{last:.6g}" if np.isfinite(last) else f"exp({trajectory.log_times[-1]:.6g})",
        "final loss": "not watched" if loss is None else f"{loss:.6g}",
        "watched": f"{', '.join(trajectory.records)} at {len(trajectory.times)} samples",
    }
    table = "".join(
        f'<tr><td style="text-align:left;padding-right:1em;opacity:.7">{name}</td>'
        f'<td style="text-align:left">{html.escape(text)}</td></tr>'
        for name, text in rows.items()
    )
    return (
        f"<div><div><b>Trajectory</b>, {html.escape(trajectory.status)}</div>"
        f'<table style="border:none;color:inherit;font:inherit">{table}</table>{_curve(trajectory)}</div>'
    )


def _final_loss(trajectory: Any) -> float | None:
    loss = trajectory.records.get("loss")
    return None if loss is None or np.ndim(loss) != 1 else float(loss[trajectory.chosen])


def _curve(trajectory: Any) -> str:
    """The loss over time, both logarithmic; nothing where fewer than two samples can be drawn."""
    with np.errstate(divide="ignore", invalid="ignore"):
        if (logarithm := trajectory.records.get("log_loss")) is None:
            logarithm = np.log(np.asarray(trajectory.records.get("loss", np.nan * trajectory.times), float))
    x, y = np.asarray(trajectory.log_times, float), np.asarray(logarithm, float)
    drawn = np.isfinite(x) & np.isfinite(y)
    if drawn.sum() < 2:
        return ""
    x, y = x[drawn], y[drawn]
    across, up = _placed(x, WIDTH), _placed(y, HEIGHT)
    points = " ".join(f"{a:.1f},{HEIGHT - b:.1f}" for a, b in zip(across(x), up(y), strict=True))
    said = f"loss {_power(y[0])} to {_power(y[-1])} over time {_power(x[0])} to {_power(x[-1])}, both logarithmic"
    return (
        f'<svg role="img" aria-label="{said}" viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" width="{WIDTH:.0f}" '
        f'height="{HEIGHT:.0f}" style="max-width:100%"><path d="M1 0V{HEIGHT - 1:.0f}H{WIDTH:.0f}" fill="none" '
        'stroke="currentColor" stroke-opacity=".4"/><polyline fill="none" stroke="currentColor" stroke-width="2" '
        f'points="{points}"/></svg><div style="font-size:smaller;opacity:.7">{said}</div>'
    )


def _placed(values: np.ndarray, length: float) -> Callable[[np.ndarray], np.ndarray]:
    low, size = values.min(), np.ptp(values)
    return lambda x: MARGIN + (length - 2 * MARGIN) * ((x - low) / size if size > 0 else np.full(x.shape, 0.5))


def _power(logarithm: float) -> str:
    """The number of this natural logarithm, however far it is from one."""
    return f"{np.exp(logarithm):.2g}" if abs(logarithm) < 700 else f"exp({logarithm:.4g})"
