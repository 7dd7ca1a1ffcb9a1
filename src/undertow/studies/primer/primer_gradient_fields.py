"""The primer's gradient fields, for a point and for a line, with trained trajectories on top."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ... import plotting
from ...dynamics import GradientFlow, Stop
from ...objective import velocity
from ...parameterizations import Polar
from ...probes import Function
from ...problems import PointTarget
from ...sweeps import sweep
from ...theory import single_constraint_path
from ...training import train
from .._base import AtLeast, AtMost, Budget, Study
from ._shared import LINE, MODELS, SIDE, SOURCE, TARGET, Model, draw_optimum, negative_gradient, problem, set_axes

KINDS = ("point", "line")
# Cells of the grid on each side, and density of the streamlines.
DRAWN = {"smoke": (40, 1), "quick": (100, 3), "full": (100, 3)}
STARTS = np.array([(0.4, 0.4), (0.5, 5.2), (4.6, 0.6), (9.2, 1.2), (9.4, 5.2), (8.6, 9.2)])
RTOL, LOSS, SAMPLES = 1e-8, 1e-14, 240
CORNER = np.array([1.0, 8.0])
"""Where the primer's formula for the polar field and the right one are set against each other."""


def _run(budget: Budget, key: jax.Array, progress: Callable[[float, str], None]) -> xr.Dataset:
    cells, density = DRAWN[budget]
    # Centers of cells: on the axes themselves an anti-deep field is infinite.
    centers = (np.arange(cells) + 0.5) * SIDE / cells
    grid = np.stack(np.meshgrid(centers, centers), axis=-1)
    fields = np.zeros((len(MODELS), 2, cells, cells, 2))
    gap = np.zeros((len(MODELS), 2))
    paths = np.full((len(MODELS), 2, len(STARTS), SAMPLES, 2), np.nan)
    ends = np.zeros((len(MODELS), 2, len(STARTS), 2))
    converged = np.zeros((len(MODELS), 2))
    with jax.enable_x64(True):
        for i, model in enumerate(MODELS):
            for j, kind in enumerate(KINDS):
                progress((2 * i + j) / (2 * len(MODELS)), f"{model.name}, {kind}")
                fields[i, j] = _field(model, kind, grid)
                by_formula = np.einsum("...ij,...j", model.metric(grid), negative_gradient(kind, grid))
                gap[i, j] = _relative(fields[i, j], by_formula).max()
                found = _trajectories(model, kind)
                ends[i, j] = found["final_w"]
                paths[i, j, :, : found.sizes["sample"]] = found["w"]
                converged[i, j] = np.mean(found["status"].values == "converged")
        measured = _measured_velocity(CORNER)
    predicted = np.full((len(MODELS), len(STARTS), 2), np.nan)
    for i, model in enumerate(MODELS):
        for k, start in enumerate(STARTS):
            if model.depth is not None:
                predicted[i, k] = single_constraint_path(model.depth, start, LINE[:2], -LINE[2], points=2)[-1]
    right, as_written = _polar_formulas(CORNER)
    return xr.Dataset(
        {
            "field": (("model", "kind", "row", "column", "coordinate"), fields),
            "field_gap": (("model", "kind"), gap),
            "path": (("model", "kind", "start", "sample", "coordinate"), paths),
            "end": (("model", "kind", "start", "coordinate"), ends),
            "end_on_line_predicted": (("model", "start", "coordinate"), predicted),
            "share_converged": (("model", "kind"), converged),
            "polar_velocity_measured": ("coordinate", measured),
            "polar_velocity_right": ("coordinate", right),
            "polar_velocity_as_written": ("coordinate", as_written),
        },
        coords={"model": [m.name for m in MODELS], "kind": list(KINDS), "center": ("column", centers)},
        attrs={
            "target point": list(TARGET),
            "target line": "-w1 - 2 w2 + 15 = 0, loss is half the squared distance",
            "grid": f"{cells} x {cells} cells of [0, 10] squared, field at their centers",
            "stream density": density,
            "starts": "; ".join(f"({a:g}, {b:g})" for a, b in STARTS),
            "flow": f"explicit, relative tolerance {RTOL:g}",
            "stop": f"loss {LOSS:g}",
            "precision": "float64",
        },
    )


def _field(model: Model, kind: str, grid: np.ndarray) -> np.ndarray:
    phi, fit = model.parameterization(), problem(kind)
    at = jax.jit(jax.vmap(jax.vmap(lambda w: velocity(fit, phi, phi.lift(w)))))
    return np.asarray(at(jnp.asarray(grid)))


def _trajectories(model: Model, kind: str) -> xr.Dataset:
    phi, fit = model.parameterization(), problem(kind)
    return sweep(
        lambda start: train(
            fit,
            phi,
            GradientFlow("explicit", rtol=RTOL),
            params=phi.lift(STARTS[start]),
            stop=Stop(loss=LOSS),
            samples=SAMPLES,
            probes=[Function("w", lambda w: w)],
        ),
        over={"start": range(len(STARTS))},
    )


def _measured_velocity(w: np.ndarray, time: float = 1e-7) -> np.ndarray:
    """How fast trained polar coordinates in fact move the weights."""
    phi = Polar()
    end = train(PointTarget(TARGET), phi, GradientFlow("explicit"), params=phi.lift(w), stop=Stop(time=time)).w
    return (np.asarray(end) - w) / time


def _polar_formulas(w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """J Jᵀ times the negative gradient, and Jᵀ J times it, for the point loss."""
    r, t = np.hypot(*w), np.arctan2(w[1], w[0])
    jacobian = np.array([[np.cos(t), -r * np.sin(t)], [np.sin(t), r * np.cos(t)]])
    descent = np.asarray(TARGET) - w
    return jacobian @ jacobian.T @ descent, jacobian.T @ jacobian @ descent


def _relative(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """|a - b| / |b| of vectors along the last axis."""
    return np.asarray(np.linalg.norm(a - b, axis=-1) / np.linalg.norm(b, axis=-1))


def _polar_gap(data: xr.Dataset, name: str) -> float:
    return float(_relative(data["polar_velocity_measured"].values, data[name].values))


def _gap_from_prediction(data: xr.Dataset) -> float:
    entrywise = [model.name for model in MODELS if model.depth is not None]
    gap = data["end"].sel(kind="line") - data["end_on_line_predicted"]
    return float(abs(gap.sel(model=entrywise)).max(skipna=False))


def _residual(data: xr.Dataset) -> float:
    w = data["end"].sel(kind="line")
    residual = LINE[0] * w.isel(coordinate=0) + LINE[1] * w.isel(coordinate=1) + LINE[2]
    return float(abs(residual).max(skipna=False) / np.hypot(*LINE[:2]))


MEMBERS = {
    "deep": ("deep 2", "deep 4", "deep 6"),
    "anti-deep": ("anti-deep 0.5", "anti-deep 0.25", "anti-deep 0.2"),
    "identity-exponential-polar": ("identity", "exponential", "polar"),
}
CAPTIONS = {
    "deep": (
        "Deep: the larger a weight, the faster it moves. Paths bend toward the axes before they turn to the target; "
        "on the line they end near a corner, a sparse fit."
    ),
    "anti-deep": (
        "Anti-deep: the smaller a weight, the faster it moves. Paths run to the diagonal first; on the line they end "
        "where the weights are nearly equal."
    ),
    "identity-exponential-polar": (
        "Identity: straight to the nearest perfect fit. Exponential: the infinitely deep limit. Polar: the pull is "
        "not along the axes, and far from the origin the angle moves much faster than the radius."
    ),
}


def _plot(data: xr.Dataset) -> dict[str, Figure]:
    figures = {}
    for group, caption in CAPTIONS.items():
        names = MEMBERS[group]
        words = f"{caption} Red: every perfect fit. Dark: trained paths from six starts (dots)."
        with plotting.figure(2, 3, width=13.8, height=9.6, caption=words) as (made, axes):
            for column, name in enumerate(names):
                model = next(m for m in MODELS if m.name == name)
                for row, kind in enumerate(KINDS):
                    _panel(axes[row, column], data.sel(model=name, kind=kind), model, kind)
                axes[0, column].set_title(f"{name}:  {model.formula}", color=plotting.color_of(name))
            for row, words in enumerate(("fit to a point", "fit to a line")):
                axes[row, 0].set_ylabel(f"{words}\n$w_2$", fontweight="bold")
        figures[group] = made
    return figures


def _panel(ax, data: xr.Dataset, model: Model, kind: str) -> None:
    centers = data["center"].values
    color = plotting.color_of(model.name)
    density = float(data.attrs["stream density"])  # read back from a file it is an integer of NumPy's
    plotting.stream(ax, centers, centers, data["field"].values, color=color, density=density)
    draw_optimum(ax, kind)
    ink = plotting.color_of("ink")
    for padded in data["path"].values:
        points = padded[np.isfinite(padded[:, 0])]
        plotting.path(ax, points, color=ink, linewidth=2.6, zorder=4)
        ax.plot(*points[0], "o", color=ink, markersize=7, zorder=7, clip_on=False)
    set_axes(ax)


EXAMPLE = """
import jax
import jax.numpy as jnp
import numpy as np
import undertow as ut

jax.config.update("jax_enable_x64", True)
w, target = jnp.array([1.0, 8.0]), jnp.array([3.0, 6.0])
point, maps = ut.problems.PointTarget(target), ut.parameterizations  # half the squared distance from the target
models = {"u": maps.Identity(2), "u^4": maps.Power(2, 4), "e^u": maps.Exponential(2), "polar": maps.Polar()}
for name, phi in models.items():
    params = phi.lift(w)  # all at the same point
    J = jax.jacobian(phi)(params)
    moves, by_hand = ut.velocity(point, phi, params), J @ J.T @ (target - w)
    print(name, "moves w along", np.round(moves, 1), "by hand:", np.round(by_hand, 1))
# u moves w along [ 2. -2.] by hand: [ 2. -2.]
# u^4 moves w along [  32.  -724.1] by hand: [  32.  -724.1]
# e^u moves w along [   2. -128.] by hand: [   2. -128.]
# polar moves w along [143.8 -19.7] by hand: [143.8 -19.7]
"""

study = Study(
    id="primer-gradient-fields",
    chapter="primer",
    title="The same loss, nine ways to write two weights: nine fields",
    source=f"{SOURCE}: the gradient fields of all its parameterizations",
    claim="Writing the weights as w = w(u) and training u moves w along J Jᵀ times the negative gradient, J = "
    "dw/du: the parameterization alone decides which way to the target is taken and, where many fit perfectly, which "
    "one is reached.",
    standing="amended",
    published="In substance: training u moves w along Jᵀ J times the negative gradient, J = dw/du.",
    refutation=AtMost(
        "polar at (1, 8): trained velocity against Jᵀ J, relative gap",
        lambda data: _polar_gap(data, "polar_velocity_as_written"),
        bound=1e-3,
    ),
    run=_run,
    checks=(
        AtMost(
            "field: automatic differentiation against J Jᵀ by hand, largest relative gap",
            lambda data: float(data["field_gap"].max(skipna=False)),
            bound=1e-10,
        ),
        AtLeast(
            "share of trained paths that reached their target",
            lambda data: float(data["share_converged"].min(skipna=False)),
            bound=1.0,
        ),
        AtMost(
            "point: largest distance of an end from (3, 6)",
            lambda data: float(abs(data["end"].sel(kind="point") - np.asarray(TARGET)).max(skipna=False)),
            bound=1e-6,
        ),
        AtMost("line: largest distance of an end from the line", _residual, bound=1e-6),
        AtMost(
            "line: largest gap between an end and the one that the implied bias predicts (entrywise models)",
            _gap_from_prediction,
            bound=1e-5,
        ),
        AtMost(
            "polar at (1, 8): trained velocity against J Jᵀ, relative gap",
            lambda data: _polar_gap(data, "polar_velocity_right"),
            bound=1e-3,
        ),
    ),
    plot=_plot,
    example=EXAMPLE,
    note="The primer's text writes the matrix as the transpose of J times J; it has to be J times its transpose (its "
    "notebook has it right). For entrywise models both are the same; for polar coordinates the first is wrong, as the "
    "last check and the refuted one show. Fields are drawn at the centers of the cells, because on the axes an "
    "anti-deep field is infinite.",
)
