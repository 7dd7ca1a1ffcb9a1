"""Where each parameterization ends on the primer's line, against the regularizer that it implies."""

from collections.abc import Callable

import jax
import numpy as np
import xarray as xr
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from scipy.integrate import solve_ivp

from ... import plotting
from ...dynamics import GradientFlow, Stop
from ...parameterizations import Parameterization
from ...probes import Function
from ...problems import LineTarget
from ...sweeps import sweep
from ...theory import single_constraint_path
from ...training import train
from .._base import AtMost, Between, Budget, Study
from ._shared import LINE, MODELS, SOURCE, Model, draw_optimum, negative_gradient, set_axes

ENTRYWISE = tuple(sorted((m for m in MODELS if m.depth is not None), key=lambda m: m.depth or 0.0))
POLAR = next(m for m in MODELS if m.depth is None)
POLAR_STARTS = np.array([(0.5, 0.5), (1.0, 1.0), (8.0, 2.0), (2.0, 8.0)])
ALPHAS = {
    "smoke": (1e-1, 1e-2, 1e-3),
    "quick": (1.0, 1e-1, 1e-2, 1e-3, 1e-4),
    "full": (1.0, 3e-1, 1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4),
}
SHOWN = 1e-2
"""The start, times (1, 1), of the drawn paths and of the norms."""
NORMS = {"l1": 1.0, "l4/3": 4 / 3, "l2": 2.0, "l4": 4.0, "l8": 8.0, "l10": 10.0}
RTOL, LOSS, SAMPLES = 1e-9, 1e-16, 400


def _run(budget: Budget, key: jax.Array, progress: Callable[[float, str], None]) -> xr.Dataset:
    alphas = ALPHAS[budget]
    normal, offset = np.array(LINE[:2]), -LINE[2]
    shape = (len(ENTRYWISE), len(alphas))
    ends, predicted, limits = np.zeros((*shape, 2)), np.zeros((*shape, 2)), np.zeros((len(ENTRYWISE), 2))
    paths = np.full((len(ENTRYWISE), SAMPLES, 2), np.nan)
    with jax.enable_x64(True):
        for i, model in enumerate(ENTRYWISE):
            progress(i / (len(ENTRYWISE) + 1), model.name)
            starts = np.repeat(np.array(alphas)[:, None], 2, axis=1)
            ends[i], w = _train(model.parameterization(), starts)
            shown = w[alphas.index(SHOWN)]
            paths[i, : len(shown)] = shown
            predicted[i] = [single_constraint_path(_depth(model), s, normal, offset, points=2)[-1] for s in starts]
            limits[i] = _limit(_depth(model))
        progress(len(ENTRYWISE) / (len(ENTRYWISE) + 1), "polar")
        polar, _ = _train(POLAR.parameterization(), POLAR_STARTS)
    norms = np.array([[np.linalg.norm(end, p) for p in NORMS.values()] for end in ends[:, alphas.index(SHOWN)]])
    return xr.Dataset(
        {
            "end": (("model", "alpha", "coordinate"), ends),
            "end_predicted": (("model", "alpha", "coordinate"), predicted),
            "limit": (("model", "coordinate"), limits),
            "path": (("model", "sample", "coordinate"), paths),
            "norm": (("model", "norm_name"), norms),
            "least_norm": ("norm_name", [_least_norm(p) for p in NORMS.values()]),
            "polar_end": (("polar_start", "coordinate"), polar),
            "polar_end_predicted": (("polar_start", "coordinate"), [_polar_end(start) for start in POLAR_STARTS]),
        },
        coords={"model": [m.name for m in ENTRYWISE], "alpha": list(alphas), "norm_name": list(NORMS)},
        attrs={
            "loss": "half the squared distance from the line w1 + 2 w2 = 15",
            "start": "alpha (1, 1)",
            "paths and norms at alpha": SHOWN,
            "polar starts": "; ".join(f"({a:g}, {b:g})" for a, b in POLAR_STARTS),
            "flow": f"explicit, relative tolerance {RTOL:g}",
            "stop": f"loss {LOSS:g}",
            "precision": "float64",
        },
    )


def _depth(model: Model) -> float:
    assert model.depth is not None
    return model.depth


def _train(phi: Parameterization, starts: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """End points, and the weights along the way."""
    found = sweep(
        lambda start: train(
            LineTarget(*LINE),
            phi,
            GradientFlow("explicit", rtol=RTOL),
            params=phi.lift(starts[start]),
            stop=Stop(loss=LOSS),
            samples=SAMPLES,
            probes=[Function("w", lambda w: w)],
        ),
        over={"start": range(len(starts))},
    )
    converged = found["status"].values == "converged"
    ends = np.where(converged[:, None], found["final_w"].values, np.nan)
    return ends, [w[:count] for w, count in zip(found["w"].values, found["samples"].values, strict=True)]


def _limit(depth: float) -> np.ndarray:
    """The end point as alpha tends to 0: least sum of w^(2/N) for N < 2, least l1 norm for N >= 2."""
    a, c = -np.array(LINE[:2]), LINE[2]
    if depth >= 2:
        return np.array([0.0, c / a[1]])  # all on the entry that counts most
    w = a ** (1 / (2 / depth - 1))
    return w * c / (a @ w)


def _least_norm(p: float) -> float:
    """The least l_p norm of a point of the line: the offset over the dual norm of the normal (Hoelder)."""
    dual = {1: np.inf, np.inf: 1}.get(p) or p / (p - 1)
    return LINE[2] / float(np.linalg.norm(LINE[:2], dual))


def _polar_end(start: np.ndarray) -> np.ndarray:
    """By integrating w' = -J J^T grad loss for the weights with SciPy; there is no potential to project with."""

    def field(_time: float, w: np.ndarray) -> np.ndarray:
        return POLAR.metric(w) @ negative_gradient("line", w)

    return solve_ivp(field, (0.0, 60.0), start, method="DOP853", rtol=1e-11, atol=1e-12).y[:, -1]


def _order(data: xr.Dataset, name: str) -> float:
    """Slope of the log distance from the limit over log alpha, at the two smallest."""
    distance = np.linalg.norm(data["end"].sel(model=name).values - data["limit"].sel(model=name).values, axis=-1)[-2:]
    alpha = data["alpha"].values[-2:]
    return float(np.log(distance[1] / distance[0]) / np.log(alpha[1] / alpha[0]))


def _excess(data: xr.Dataset) -> xr.DataArray:
    return data["norm"] / data["least_norm"] - 1


def _excess_over_least_largest(data: xr.Dataset) -> float:
    """Largest excess of an anti-deep end point over the least largest entry of a point of the line."""
    ends = data["end"].sel(model=["anti-deep 0.2", "anti-deep 0.25", "anti-deep 0.5"], alpha=SHOWN)
    return float(abs(ends).max("coordinate", skipna=False).max(skipna=False) / _least_norm(np.inf) - 1)


def _own_norm(data: xr.Dataset) -> float:
    """Largest excess of an anti-deep or identity end point over the least of its own norm, l_{2/N}."""
    own = {"anti-deep 0.2": "l10", "anti-deep 0.25": "l8", "anti-deep 0.5": "l4", "identity": "l2"}
    return max(float(_excess(data).sel(model=model, norm_name=norm)) for model, norm in own.items())


def _plot(data: xr.Dataset) -> dict[str, Figure]:
    names = [str(name) for name in data["model"].values]
    colors = {name: plotting.color_of(name) for name in names}
    with plotting.figure(
        width=9.6,
        height=7.4,
        caption=f"Trained paths from {SHOWN:g} (1, 1). Every point of the red line is a perfect fit; the "
        "parameterization picks one, from nearly equal weights (anti-deep) over the nearest point (identity) to a "
        "sparse one (deep).",
    ) as (ends, ax):
        draw_optimum(ax, "line")
        for name in names:
            points = data["path"].sel(model=name).values
            points = points[np.isfinite(points[:, 0])]
            ax.plot(*points.T, color=colors[name])
            ax.plot(*points[-1], "o", color=colors[name], markersize=11, zorder=7)
        _label_ends(ax, data, names, colors)
        ax.plot(SHOWN, SHOWN, "o", color=plotting.color_of("ink"), zorder=7)
        ax.annotate("start", (SHOWN, SHOWN), xytext=(18, -3), textcoords="offset points")
        set_axes(ax)
        ax.set(xlim=(-0.15, 7), ylim=(-0.15, 9), xticks=range(0, 8, 2), yticks=range(0, 10, 2), aspect="auto")
    return {"end-points": ends, "norms": _plot_norms(data, names, colors), "approach": _plot_approach(data, names)}


def _label_ends(ax, data: xr.Dataset, names: list[str], colors: dict[str, str]) -> None:
    """Names above the line, spread along it, each joined to its end point."""
    ends = data["path"].values
    last = np.array([points[np.isfinite(points[:, 0])][-1] for points in ends])
    places = plotting.spread(last[:, 0], 0.42, 0.0, 6.9)
    for name, end, x in zip(names, last, places, strict=True):
        ax.annotate(
            name, end, xytext=(x, (LINE[2] - x) / 2 + 0.55), color=colors[name], rotation=38, ha="left", va="bottom",
            rotation_mode="anchor", fontweight="bold", fontsize=13,
            arrowprops={"arrowstyle": "-", "color": colors[name], "linewidth": 1.0, "shrinkB": 4, "relpos": (0, 0)},
        )  # fmt: skip


def _plot_norms(data: xr.Dataset, names: list[str], colors: dict[str, str]) -> Figure:
    excess = _excess(data).values
    with plotting.figure(
        width=10.4,
        height=6.4,
        caption="How far each end point's norms are above the least that any point of the line has. Anti-deep models "
        "have the least of a high norm, the identity the least ℓ₂ norm, deep models nearly the least ℓ₁ norm.",
    ) as (made, ax):
        paper, strong = plotting.style()["axes.facecolor"], plotting.color_of("gradient flow")
        shades = LinearSegmentedColormap.from_list("excess", [to_rgb(strong), to_rgb(paper)])
        ax.imshow(excess, cmap=shades, vmin=0, vmax=0.1, aspect="auto")
        for i, row in enumerate(excess):
            for j, value in enumerate(row):
                words = (
                    "least" if value < 5e-4 else f"+{100 * value:.1f}%" if value < 0.0995 else f"+{100 * value:.0f}%"
                )
                dark = value < 0.04
                ax.text(
                    j, i, words, ha="center", va="center", fontsize=14, fontweight="bold" if value < 5e-4 else "normal",
                    color=paper if dark else plotting.color_of("ink"),
                )  # fmt: skip
        ax.set_xticks(range(len(NORMS)), [rf"$\ell_{{{name[1:]}}}$" for name in NORMS], fontsize=18)
        ax.set_yticks(range(len(names)), names, fontsize=14)
        for label, name in zip(ax.get_yticklabels(), names, strict=True):
            label.set_color(colors[name])
            label.set_fontweight("bold")
        ax.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
        ax.grid(False)
        for spine in ax.spines.values():
            spine.set_visible(False)
    return made


def _plot_approach(data: xr.Dataset, names: list[str]) -> Figure:
    with plotting.figure(
        width=9.6,
        height=5.8,
        caption="Distance of the end point from its limit for a vanishing start. Depth 2 comes near like the square "
        "root of the start only; deeper models and the exponential in proportion to it. Dotted: closed form.",
    ) as (made, ax):
        for name in names:
            if name.startswith("anti-deep"):
                continue  # there within the accuracy of the flow at every start
            color = plotting.color_of(name)
            limit = data["limit"].sel(model=name).values
            for key, look in (("end", "o-"), ("end_predicted", ":")):
                distance = np.linalg.norm(data[key].sel(model=name).values - limit, axis=-1)
                label = name if key == "end" else None
                ax.loglog(data["alpha"], distance, look, color=color, label=label)
        ax.invert_xaxis()
        ax.set(xlabel="start alpha", ylabel="distance from the limit")
        plotting.label_lines(ax)
    return made


EXAMPLE = """
import jax
import numpy as np
import undertow as ut

jax.config.update("jax_enable_x64", True)
line = ut.problems.LineTarget(-1.0, -2.0, 15.0)  # every point with w1 + 2 w2 = 15 fits perfectly
for depth in (0.25, 1, 6):
    phi = ut.parameterizations.Power(2, depth)  # w = u^depth
    start = phi.lift([0.01, 0.01])
    flow = ut.train(line, phi, ut.dynamics.GradientFlow(), params=start, stop=ut.Stop(loss=1e-12))
    print(depth, "trained:", np.round(flow.w, 3), "predicted:", ut.theory.limit(line, phi, start).round(3))
# 0.25 trained: [4.676 5.162] predicted: [4.676 5.162]
# 1 trained: [3.004 5.998] predicted: [3.004 5.998]
# 6 trained: [0.028 7.486] predicted: [0.028 7.486]
"""

study = Study(
    id="primer-end-points-on-the-line",
    chapter="primer",
    title="One line of perfect fits, eight end points",
    source=f"{SOURCE}: the line loss; S. Gunasekar, J. Lee, D. Soudry, N. Srebro, Characterizing Implicit Bias in "
    "Terms of Optimization Geometry, ICML 2018",
    claim="From the same small start, different parameterizations end at different points of the line: a fractional "
    "power w = uᴺ at least ℓ(2/N) norm, the identity at least ℓ₂ norm, deep ones near least ℓ₁ norm, a sparse point.",
    standing="amended",
    published="In substance: fractional powers find the point of the line of low ℓ∞ norm, the identity that of least "
    "ℓ₂ norm, deep models one of low ℓ₁ norm.",
    refutation=AtMost(
        "fractional powers: excess of the end point over the least ℓ∞ norm, largest, alpha 0.01",
        _excess_over_least_largest,
        bound=1e-5,
    ),
    run=_run,
    checks=(
        AtMost(
            "end points: trained against the Bregman projection of the start, largest distance",
            lambda data: float(abs(data["end"] - data["end_predicted"]).max(skipna=False)),
            bound=1e-6,
        ),
        AtMost(
            "anti-deep and identity: excess of the end point over the least ℓ(2/N) norm, alpha 0.01",
            _own_norm,
            bound=1e-5,
        ),
        AtMost(
            "deep 6 and exponential: excess over the least ℓ₁ norm, alpha 0.01",
            lambda data: float(_excess(data).sel(model=["deep 6", "exponential"], norm_name="l1").max(skipna=False)),
            bound=2e-3,
        ),
        Between(
            "deep 2: order in alpha of the distance from the limit",
            lambda data: _order(data, "deep 2"),
            low=0.47,
            high=0.53,
        ),
        Between(
            "deep 4: order in alpha of the distance from the limit",
            lambda data: _order(data, "deep 4"),
            low=0.95,
            high=1.1,
        ),
        Between(
            "deep 6: order in alpha of the distance from the limit",
            lambda data: _order(data, "deep 6"),
            low=0.95,
            high=1.1,
        ),
        Between(
            "exponential: order in alpha of the distance from the limit",
            lambda data: _order(data, "exponential"),
            low=0.95,
            high=1.1,
        ),
        AtMost(
            "ℓ₁ norm along the ladder of depths: largest ratio of one to the one before, alpha 0.01",
            lambda data: float((data["norm"].values[1:, 0] / data["norm"].values[:-1, 0]).max()),
            bound=0.99999,
        ),
        AtMost(
            "polar: trained end points against the integrated field, largest distance",
            lambda data: float(abs(data["polar_end"] - data["polar_end_predicted"]).max(skipna=False)),
            bound=1e-6,
        ),
    ),
    plot=_plot,
    example=EXAMPLE,
    note="The primer says that fractional powers find low ℓ∞ norm. Exactly: w = uᴺ with N < 2 ends at the "
    "least sum of w^(2/N), so N = 1/4 at the least ℓ₈ norm, and the ℓ∞ norm is reached only as N tends to 0. "
    "For every N ≥ 2 the limit of vanishing starts is the least ℓ₁ norm; what depth changes is how fast it is "
    "approached. Polar coordinates imply no regularizer at all: their end points are compared with the field "
    "integrated by other means.",
)
