"""Tell me what my parameterization regularizes: end points predicted for maps that nobody has worked out."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ... import plotting
from ...parameterizations import Function, Polar, Power, SignedPower
from ...problems import LeastSquares
from ...theory import NotAMirrorFlow, implied_potential, limit
from .._base import AtMost, Budget, Close, Study
from .._shared import generator
from ._shared import gaussian_problem, train_from

# Equations, unknowns, problems for each map, initial values of w.
SETTINGS = {
    "smoke": (3, 8, 1, (0.1,)),
    "quick": (8, 24, 2, (1e-3, 1e-1, 1.0, 10.0)),
    "full": (20, 80, 5, (1e-3, 1e-2, 1e-1, 1.0, 10.0)),
}
CURVES = ("identity", "deep 2", "sinh(u)", "u + u³", "softplus(u)")


def _root(w: np.ndarray) -> np.ndarray:
    """The real u with u + u^3 = w, by Cardano."""
    half = w / 2
    root = np.sqrt(half**2 + 1 / 27)
    return np.cbrt(half + root) - np.cbrt(root - half)


def _even(w: Any) -> np.ndarray:
    return np.arange(w.size) % 2 == 0


# Name -> map of one parameter an entry, its inverse for positive weights, and whether w can be negative.
MAPS: dict[str, tuple[Callable[[Any], Any], Callable[[np.ndarray], np.ndarray], bool]] = {
    "sinh(u)": (jnp.sinh, np.arcsinh, True),
    "u + u³": (lambda u: u + u**3, _root, True),
    "softplus(u)": (jax.nn.softplus, lambda w: w + np.log(-np.expm1(-w)), False),
    "u² + u⁴": (lambda u: u**2 + u**4, lambda w: np.sqrt((np.sqrt(1 + 4 * w) - 1) / 2), False),
    "mixture": (
        lambda u: jnp.where(_even(u), jnp.sinh(u), u + u**3),
        lambda w: np.where(_even(w), np.arcsinh(w), _root(w)),
        True,
    ),
}


def _run(budget: Budget, key: jax.Array, progress: Callable[[float, str], None]) -> xr.Dataset:
    equations, unknowns, count, scales = SETTINGS[budget]
    rng = generator(key)
    error = np.zeros((len(MAPS), count, len(scales)))
    apart = np.zeros((len(MAPS), len(scales)))
    with jax.enable_x64(True):
        for i, name in enumerate(MAPS):
            progress(i / (len(MAPS) + 1), name)
            phi = Function(MAPS[name][0], shape=unknowns)
            for j in range(count):
                problem, _ = gaussian_problem(rng, equations, unknowns, equations // 2, nonnegative=not MAPS[name][2])
                starts = [MAPS[name][1](np.full(unknowns, scale)) for scale in scales]
                ends = train_from(problem, phi, [jnp.asarray(s) for s in starts], samples=2)["end"].values
                predicted = np.array([limit(problem, phi, jnp.asarray(start)) for start in starts])
                error[i, j] = np.linalg.norm(ends - predicted, axis=-1) / np.linalg.norm(predicted, axis=-1)
                nearest = np.array([_nearest(problem, scale) for scale in scales])
                apart[i] = np.linalg.norm(predicted - nearest, axis=-1) / np.linalg.norm(predicted, axis=-1)
        progress(len(MAPS) / (len(MAPS) + 1), "potentials")
        grid, curves = _curves()
        square, hyperbolic, polar = _known()
    return xr.Dataset(
        {
            "relative_error": (("map", "problem", "scale"), error),
            "distance_from_nearest": (("map", "scale"), apart),
            "potential": (("curve", "w"), curves),
            "square_map_gap": square,
            "difference_of_squares_gap": hyperbolic,
            "polar_refused": polar,
        },
        coords={"map": list(MAPS), "scale": list(scales), "curve": list(CURVES), "w": grid},
        attrs={
            "problems": f"{equations} equations, {unknowns} unknowns, Gaussian; {count} for each map",
            "initial weights": ", ".join(f"{scale:g}" for scale in scales),
            "flow": "automatic solver, relative tolerance 1e-9",
            "stop": "loss 1e-18",
            "precision": "float64",
        },
    )


def _nearest(problem: LeastSquares, scale: float) -> np.ndarray:
    """The solution nearest to the start, where the identity would end."""
    A, b = np.asarray(problem.A), np.asarray(problem.b)
    start = np.full(A.shape[1], scale)
    return start + np.linalg.lstsq(A, b - A @ start, rcond=None)[0]


def _curves() -> tuple[np.ndarray, np.ndarray]:
    """R of one weight that starts at 1, scaled to curvature 1 there."""
    grid = np.linspace(0.02, 3.0, 150)
    curves = []
    for name in CURVES:
        if name in MAPS:
            phi, start = Function(MAPS[name][0], shape=1), jnp.asarray(MAPS[name][1](np.ones(1)))
        else:
            phi, start = Power(1, 1.0 if name == "identity" else 2.0), jnp.ones(1)
        R = implied_potential(phi, start)
        curvature = float(jax.jacfwd(R.gradient)(jnp.ones(1))[0, 0])
        curves.append(np.asarray(jax.vmap(lambda w, R=R: R(w[None]))(jnp.asarray(grid))) / curvature)
    return grid, np.array(curves)


def _known() -> tuple[float, float, float]:
    """Gaps from the gradients known in closed form; 1 if polar coordinates are refused."""
    w = jnp.linspace(0.05, 5.0, 40)
    square = implied_potential(Power(40, 2), jnp.full(40, 0.3))
    gap = square.gradient(w) - jnp.log(w / 0.09) / 4
    alpha = 0.2
    phi = SignedPower(40, 2)
    difference = implied_potential(phi, (jnp.full(40, alpha), jnp.full(40, alpha)))
    signed = jnp.linspace(-3.0, 3.0, 40)
    other = difference.gradient(signed) - jnp.arcsinh(signed / (2 * alpha**2)) / 4
    try:
        implied_potential(Polar(), jnp.asarray([1.0, 0.5]))
    except NotAMirrorFlow:
        refused = 1.0
    else:
        refused = 0.0
    return float(jnp.abs(gap).max()), float(jnp.abs(other).max()), refused


def _color(name: str) -> str:
    places = {
        "sinh(u)": "gradient flow",
        "u + u³": "polar",
        "softplus(u)": "deep 6",
        "u² + u⁴": "deep 3",
        "mixture": "ink",
    }
    return plotting.color_of(places.get(name, name))


def _plot(data: xr.Dataset) -> dict[str, Figure]:
    with plotting.figure(
        width=9.6,
        height=6.2,
        caption="What each map makes the flow keep small: the potential that it implies for one weight that starts "
        "at 1, found by quadrature. The identity implies the squared distance; the others, none of them in any paper "
        "but the square, bend it.",
    ) as (potentials, ax):
        for name in CURVES:
            ax.plot(
                data["w"], data["potential"].sel(curve=name), color=_color(name), label=name.replace("deep 2", "u²")
            )
        ax.plot(1, 0, "o", color=plotting.color_of("ink"), zorder=5)
        ax.set(xlabel="w", ylabel="implied potential R(w)", ylim=(0, 2.2))
        plotting.label_lines(ax)
    with plotting.figure(
        width=9.6,
        height=5.8,
        caption="How far trained end points are from the predicted ones (dots: every problem; lines: the largest), and "
        "how far the predicted ones are from where the identity would end (rings): the prediction is right, and it is "
        "not the trivial one.",
    ) as (errors, ax):
        for name in data["map"].values:
            color = _color(str(name))
            chosen = data.sel(map=name)
            ax.loglog(data["scale"], chosen["relative_error"].max("problem"), color=color, label=str(name))
            ax.loglog(data["scale"], chosen["relative_error"].T, "o", color=color)
            ax.loglog(data["scale"], chosen["distance_from_nearest"], "o:", color=color, fillstyle="none")
        ax.axhline(1e-4, color=plotting.color_of("optimum"), linewidth=1.4)
        ax.set(xlabel="initial weights", ylabel="relative distance", ylim=(1e-13, 5))
        plotting.label_lines(ax)
    return {"end-points": errors, "potentials": potentials}


EXAMPLE = """
import jax
import jax.numpy as jnp
import numpy as np
import undertow as ut

jax.config.update("jax_enable_x64", True)
phi = ut.parameterizations.Function(lambda u: jnp.sinh(u) + u**3, shape=2)  # any map of yours
line, start = ut.problems.LineTarget(-1.0, -2.0, 15.0), jnp.array([0.1, 0.1])
print("predicted without training:", ut.theory.limit(line, phi, start).round(4))
# predicted without training: [0.5902 7.2049]
flow = ut.train(line, phi, ut.dynamics.GradientFlow(), params=start, stop=ut.Stop(loss=1e-14))
print("trained:", np.round(flow.w, 4))  # trained: [0.5902 7.2049]
R = ut.theory.implied_potential(phi, start)  # what it keeps small: smallest there on the line
for shift in (-0.1, 0.0, 0.1):
    print(f"R, {shift:+.1f} along the line: {R(flow.w + shift * jnp.array([2.0, -1.0])):.4f}")
# R, -0.1 along the line: 3.5344
# R, +0.0 along the line: 3.5269
# R, +0.1 along the line: 3.5325
try:
    ut.theory.implied_potential(ut.parameterizations.Polar(), start)
except ut.theory.NotAMirrorFlow:
    print("polar coordinates imply no potential")  # polar coordinates imply no potential
"""

study = Study(
    id="what-my-parameterization-regularizes",
    chapter="lecture",
    title="Tell me what my parameterization regularizes",
    source="Z. Li, T. Wang, J. Lee, S. Arora, Implicit Bias of Gradient Descent on Reparametrized Models: On "
    "Equivalence to Mirror Descent, NeurIPS 2022; E. Amid, M. Warmuth, Reparameterizing Mirror Descent as Gradient "
    "Descent, NeurIPS 2020",
    claim="Any entrywise map implies a potential; minimizing it over the perfect fits, without any training, gives "
    "the point where gradient flow ends, for maps nobody has worked out too.",
    standing="as published",
    run=_run,
    checks=(
        AtMost(
            "trained end points against predicted ones, largest relative error over maps, problems and starts",
            lambda data: float(data["relative_error"].max(skipna=False)),
            bound=1e-4,
        ),
        AtMost("square map: gradient against that of entropy / 4", lambda data: data["square_map_gap"], bound=1e-8),
        AtMost(
            "u² - v²: gradient against that of the hyperbolic entropy",
            lambda data: data["difference_of_squares_gap"],
            bound=1e-8,
        ),
        Close(
            "polar coordinates: no potential (1: refused)",
            lambda data: data["polar_refused"],
            expected=1.0,
            tolerance=0,
        ),
    ),
    plot=_plot,
    example=EXAMPLE,
)
