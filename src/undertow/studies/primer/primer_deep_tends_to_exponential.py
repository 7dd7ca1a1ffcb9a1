"""The exponential as the infinitely deep model: fields and end points of ever deeper powers tend to its own."""

from collections.abc import Callable

import jax
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ... import plotting
from ...dynamics import GradientFlow, Stop
from ...parameterizations import Exponential, Power
from ...probes import Function
from ...problems import LineTarget
from ...theory import single_constraint_path
from ...training import Trajectory, train
from .._base import AtMost, Between, Budget, Study
from ._shared import LINE, SIDE, SOURCE, Model, draw_optimum, negative_gradient, set_axes

DEPTHS = {
    "smoke": (2, 8, 128, 1024),
    "quick": (2, 4, 6, 16, 64, 256, 1024, 4096),
    "full": tuple(2**k for k in range(1, 13)),
}
START = np.array([1.0, 1.0])
# A weight u^4096 is as uncertain as u times 4096.
RTOL, LOSS, SAMPLES, CELLS = 1e-11, 1e-16, 240, 100


def _run(budget: Budget, key: jax.Array, progress: Callable[[float, str], None]) -> xr.Dataset:
    depths = DEPTHS[budget]
    centers = (np.arange(CELLS) + 0.5) * SIDE / CELLS
    grid = np.stack(np.meshgrid(centers, centers), axis=-1)
    paths = np.full((len(depths) + 1, SAMPLES, 2), np.nan)
    ends, predicted, field_gap = np.zeros((len(depths) + 1, 2)), np.zeros((len(depths) + 1, 2)), []
    limit_field = _field(np.inf, grid)
    with jax.enable_x64(True):
        for i, depth in enumerate((*depths, np.inf)):
            progress(i / (len(depths) + 1), f"depth {depth:g}")
            trajectory = _train(depth)
            w = trajectory["w"]
            paths[i, : len(w)] = w
            ends[i] = trajectory.w
            predicted[i] = single_constraint_path(depth, START, LINE[:2], -LINE[2], points=2)[-1]
            if depth < np.inf:
                gap = _field(depth, grid) / depth**2 - limit_field
                field_gap.append(np.linalg.norm(gap) / np.linalg.norm(limit_field))
    return xr.Dataset(
        {
            "field_gap": ("depth", field_gap),
            "end_gap": ("depth", np.linalg.norm(ends[:-1] - ends[-1], axis=-1)),
            "end": (("depth_or_limit", "coordinate"), ends),
            "end_predicted": (("depth_or_limit", "coordinate"), predicted),
            "path": (("depth_or_limit", "sample", "coordinate"), paths),
        },
        coords={"depth": np.array(depths, float)},
        attrs={
            "loss": "half the squared distance from the line w1 + 2 w2 = 15",
            "start": "(1, 1)",
            "depths": ", ".join(map(str, depths)),
            "field": f"of the point loss's axes, {CELLS} x {CELLS} cells of [0, 10] squared, divided by depth squared",
            "flow": f"explicit, relative tolerance {RTOL:g}",
            "stop": f"loss {LOSS:g}",
            "precision": "float64",
        },
    )


def _field(depth: float, grid: np.ndarray) -> np.ndarray:
    metric = Model(f"deep {depth:g}", "", float(depth)).metric(grid)
    return np.einsum("...ij,...j", metric, negative_gradient("line", grid))


def _train(depth: float) -> Trajectory:
    phi = Exponential(2) if np.isinf(depth) else Power(2, depth)
    return train(
        LineTarget(*LINE),
        phi,
        GradientFlow("explicit", rtol=RTOL),
        params=phi.lift(START),
        stop=Stop(loss=LOSS),
        samples=SAMPLES,
        probes=[Function("w", lambda w: w)],
    )


def _order(data: xr.Dataset, name: str) -> float:
    """Slope of the log gap over the log depth, at the two largest depths."""
    gap, depth = np.log(data[name].values[-2:]), np.log(data["depth"].values[-2:])
    return float((gap[1] - gap[0]) / (depth[1] - depth[0]))


def _plot(data: xr.Dataset) -> dict[str, Figure]:
    depths = data["depth"].values
    with plotting.figure(
        1,
        2,
        width=13.8,
        height=6.2,
        caption="Left: trained paths from (1, 1) to the line, by depth; the deeper, the nearer to the exponential. "
        "Right: how far field and end point are from the exponential's; both fall like one over the depth (dotted).",
    ) as (made, (plane, gaps)):
        draw_optimum(plane, "line")
        shown = [i for i, depth in enumerate(depths) if depth in (2, 4, 6, 8, 16, 128)]
        for i in [*shown, len(depths)]:
            depth = np.inf if i == len(depths) else depths[i]
            points = data["path"].values[i]
            points = points[np.isfinite(points[:, 0])]
            color = plotting.color_of(float(depth))
            plane.plot(*points.T, color=color, linewidth=4.0 if np.isinf(depth) else 2.4)
            plane.plot(*points[-1], "o", color=color, markersize=10, zorder=6)
        end = data["end"].values
        for i, words, offset in ((len(depths), "exponential", (-14, -20)), (0, "deep 2", (14, 6))):
            color = plotting.color_of("exponential" if i else 2.0)
            plane.annotate(
                words, end[i], xytext=offset, textcoords="offset points", color=color, fontweight="bold",
                ha="right" if i else "left",
            )  # fmt: skip
        plane.plot(*START, "o", color=plotting.color_of("ink"), zorder=7)
        plane.annotate("start", START, xytext=(10, -4), textcoords="offset points")
        set_axes(plane)
        plane.set(xlim=(0, 4.5), ylim=(0, 8.5), xticks=[0, 1, 2, 3, 4], yticks=[0, 2, 4, 6, 8], aspect="auto")
        for name, words, marker in (("field_gap", "field", "o"), ("end_gap", "end point", "s")):
            color = plotting.color_of("exponential" if name == "field_gap" else "gradient flow")
            gaps.loglog(depths, data[name], marker + "-", color=color, label=words)
        first = data["field_gap"].values[-1] * depths[-1] / depths
        gaps.loglog(depths, first, ":", color=plotting.color_of("muted"), linewidth=2, zorder=1)
        gaps.set(xlabel="depth N", ylabel="distance from the exponential")
        plotting.label_lines(gaps)
    return {"convergence": made}


EXAMPLE = """
import jax
import numpy as np
import undertow as ut

jax.config.update("jax_enable_x64", True)
line, w = ut.problems.LineTarget(-1.0, -2.0, 15.0), [2.0, 3.0]
limit, path = ut.parameterizations.Exponential(2), ut.theory.single_constraint_path
field = ut.velocity(line, limit, limit.lift(w))
end = path(np.inf, [1.0, 1.0], [1.0, 2.0], 15.0)[-1]  # where the flow from (1, 1) ends
for depth in (2, 8, 128, 1024):
    phi = ut.parameterizations.Power(2, depth)
    gap = np.linalg.norm(ut.velocity(line, phi, phi.lift(w)) / depth**2 - field)
    end_gap = np.linalg.norm(path(depth, [1.0, 1.0], [1.0, 2.0], 15.0)[-1] - end)
    print(f"N = {depth}: from the exponential's field {depth * gap:.2f} / N, from its end {depth * end_gap:.2f} / N")
# N = 2: from the exponential's field 34.06 / N, from its end 1.70 / N
# N = 8: from the exponential's field 48.94 / N, from its end 1.30 / N
# N = 128: from the exponential's field 55.44 / N, from its end 1.17 / N
# N = 1024: from the exponential's field 55.85 / N, from its end 1.17 / N
"""

study = Study(
    id="primer-deep-tends-to-exponential",
    chapter="primer",
    title="Infinitely deep is exponential",
    source=f"{SOURCE}: the exponential as the limit of deep models",
    claim="As the depth N grows, the field of w = uᴺ divided by N² tends to that of w = exp(u), and so does the "
    "end point on the line.",
    standing="as published",
    run=_run,
    checks=(
        AtMost(
            "largest ratio of one gap of the fields to the one before",
            lambda data: float((data["field_gap"].values[1:] / data["field_gap"].values[:-1]).max()),
            bound=0.9999,
        ),
        Between("order of the fields' gap in depth", lambda data: _order(data, "field_gap"), low=-1.05, high=-0.95),
        AtMost(
            "largest ratio of one gap of the end points to the one before",
            lambda data: float((data["end_gap"].values[1:] / data["end_gap"].values[:-1]).max()),
            bound=0.9999,
        ),
        Between("order of the end points' gap in depth", lambda data: _order(data, "end_gap"), low=-1.05, high=-0.95),
        AtMost(
            "end points: training against closed form, largest distance",
            lambda data: float(abs(data["end"] - data["end_predicted"]).max(skipna=False)),
            bound=1e-5,
        ),
    ),
    plot=_plot,
    example=EXAMPLE,
)
