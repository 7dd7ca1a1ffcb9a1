"""Deep linear networks have no spurious local minimum; from three factors on some saddles are not strict."""

import itertools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import xarray as xr
from jax.flatten_util import ravel_pytree
from matplotlib.figure import Figure
from scipy.optimize import least_squares

from ... import plotting
from ...dynamics import GradientFlow, Stop
from ...objective import Objective
from ...parameterizations import DeepMatrix
from ...problems import PointTarget
from ...sweeps import sweep
from ...training import train
from .._base import AtLeast, AtMost, Budget, Close, Study
from .._shared import generator

DEPTHS = (2, 3)
SIZE = 3
SINGULAR = (3.0, 2.0, 1.0)
SEARCHES = {"smoke": 24, "quick": 100, "full": 2000}
RUNS = {"smoke": 4, "quick": 20, "full": 200}
SCALES = {"smoke": (1e-6, 1e-9, 1e-12), "quick": tuple(10.0**-k for k in range(4, 16, 2))}
STATIONARY = 1e-9
"""Largest norm of the gradient at which a search has found a stationary point."""
STRICT = 1e-3
"""A least eigenvalue of the Hessian below minus this is negative: a search ends within the square root of STATIONARY of
a degenerate point, where the eigenvalues are as far from zero."""


def _run(budget: Budget, key: jax.Array, progress: Callable[[float, str], None]) -> xr.Dataset:
    rng = generator(key)
    target = _orthogonal(rng) @ np.diag(SINGULAR) @ _orthogonal(rng)
    with jax.enable_x64(True):
        problem = PointTarget(target)
        found = []
        for i, depth in enumerate(DEPTHS):
            progress(0.3 * i, f"stationary points at depth {depth}")
            found.append(_search(problem, depth, SEARCHES[budget], rng))
        balanced = _balanced_saddles(problem)
        progress(0.6, "flows from many starts")
        ends = _flows(problem, RUNS[budget], key)
        progress(0.8, "flows past the saddle at zero")
        escape = _escape(problem, SCALES.get(budget, SCALES["quick"]), key)
    return xr.merge([xr.concat(found, "depth").assign_coords(depth=list(DEPTHS)), balanced, ends, escape]).assign_attrs(
        problem=f"1/2 |W - Y|^2, Y {SIZE} x {SIZE} with singular values {SINGULAR}: whitened inputs",
        search="least squares on the gradient, with the Hessian as its Jacobian, from Gaussian weights of random size",
        stationary=f"norm of the gradient at most {STATIONARY:g}",
        flow="automatic solver, relative tolerance 1e-6",
        precision="float64",
    )


def _orthogonal(rng: np.random.Generator) -> np.ndarray:
    return np.linalg.qr(rng.standard_normal((SIZE, SIZE)))[0]


def _functions(problem: PointTarget, depth: int) -> tuple[Callable, Callable, Callable]:
    """Loss, gradient and Hessian of a vector of all weights."""
    phi = DeepMatrix((SIZE, SIZE), depth)
    objective = Objective(problem, phi)
    unravel = ravel_pytree(phi.init(jax.random.key(0), 1.0))[1]

    def loss(vector: jax.Array) -> jax.Array:
        return objective(unravel(vector))[1]

    return jax.jit(loss), jax.jit(jax.grad(loss)), jax.jit(jax.hessian(loss))


def _search(problem: PointTarget, depth: int, searches: int, rng: np.random.Generator) -> xr.Dataset:
    """Loss and least eigenvalue of the Hessian at the end of each search; NaN where it is no stationary point."""
    loss, gradient, hessian = _functions(problem, depth)
    weights = depth * SIZE**2
    values, least = np.full((2, searches), np.nan)
    for i in range(searches):
        start = rng.standard_normal(weights) * rng.uniform(0.1, 1.5)
        options: Any = {
            "jac": lambda x: np.asarray(hessian(x)),
            "method": "lm",
            "ftol": 1e-15,
            "xtol": 1e-15,
            "gtol": 1e-15,
            "max_nfev": 2000,
        }
        end = least_squares(lambda x: np.asarray(gradient(x)), start, **options).x
        if np.linalg.norm(gradient(end)) <= STATIONARY:
            values[i], least[i] = loss(end), np.linalg.eigvalsh(hessian(end))[0]
    return xr.Dataset({"stationary_loss": ("search", values), "least_eigenvalue": ("search", least)})


def _balanced_saddles(problem: PointTarget) -> xr.Dataset:
    """The stationary point of balanced factors that fits each subset of the modes: exact, and its Hessian."""
    left, singular, right = np.linalg.svd(np.asarray(problem.target))
    subsets = [s for r in range(SIZE) for s in itertools.combinations(range(SIZE), r)]
    slope, least, predicted = np.zeros((3, len(DEPTHS), len(subsets)))
    for i, depth in enumerate(DEPTHS):
        _, gradient, hessian = _functions(problem, depth)
        for j, subset in enumerate(subsets):
            fitted = np.isin(range(SIZE), subset)
            root = np.where(fitted, singular, 0) ** (1 / depth)
            # Not lifted from the product: of a singular value of 1e-16 the third root would be none of rounding.
            factors = (root[:, None] * right, *[np.diag(root)] * (depth - 2), left * root)
            params = ravel_pytree(factors)[0]
            slope[i, j] = np.linalg.norm(gradient(params))
            least[i, j] = np.linalg.eigvalsh(hessian(params))[0]
            predicted[i, j] = _least_eigenvalue(depth, singular[fitted], singular[~fitted])
    losses = [sum(singular[k] ** 2 for k in range(SIZE) if k not in subset) / 2 for subset in subsets]
    named = ["+".join(str(k + 1) for k in subset) or "none" for subset in subsets]
    return xr.Dataset(
        {
            "balanced_slope": (("depth", "subset"), slope),
            "balanced_least_eigenvalue": (("depth", "subset"), least),
            "balanced_predicted": (("depth", "subset"), predicted),
            "balanced_loss": ("subset", losses),
        },
        coords={"depth": list(DEPTHS), "subset": named},
    )


def _least_eigenvalue(depth: int, fitted: np.ndarray, missed: np.ndarray) -> float:
    """Of the Hessian at balanced factors that fit some singular values.

    The second variation pairs a direction of the first factor with one of the last. Through an inner dimension that is
    empty a missed mode t gives -t at depth 2, and nothing from depth 3 on, where the factors between are zero there;
    through that of a fitted mode s it gives s^(1 - 2/N) (s - t).
    """
    through = [s ** (1 - 2 / depth) * (s - t) for s in fitted for t in missed]
    empty = [-t for t in missed] if depth == 2 else [0.0]
    return float(min([*through, *empty]))


def _flows(problem: PointTarget, runs: int, key: jax.Array) -> xr.Dataset:
    """The loss at the end of gradient flow from Gaussian weights."""
    found = sweep(
        lambda depth, key: train(
            problem, DeepMatrix((SIZE, SIZE), depth), GradientFlow(), key=key, scale=0.3, stop=Stop(loss=1e-10)
        ),
        over={"depth": list(DEPTHS), "key": jax.random.split(key, runs)},
    )
    return xr.Dataset({"flow_loss": (("depth", "run"), found["final_loss"].transpose("depth", "key").values)})


def _escape(problem: PointTarget, scales: tuple[float, ...], key: jax.Array) -> xr.Dataset:
    """The time in which gradient flow from one Gaussian direction, ever smaller, gets rid of half of its first mode."""
    half = (sum(s**2 for s in SINGULAR) - 0.75 * SINGULAR[0] ** 2) / 2
    found = sweep(
        lambda depth, scale: train(
            problem, DeepMatrix((SIZE, SIZE), depth), GradientFlow(), key=key, scale=scale, stop=Stop(loss=half)
        ),
        over={"depth": list(DEPTHS), "scale": list(scales)},
    )
    times = found["time"].max("sample").where(found["status"] == "converged")
    return xr.Dataset({"escape": (("depth", "scale"), times.values)}, coords={"scale": list(scales)})


def _stationary(data: xr.Dataset, depth: int) -> tuple[np.ndarray, np.ndarray]:
    """Losses and least eigenvalues at the stationary points that the searches found."""
    at = data.sel(depth=depth)
    found = np.isfinite(at["stationary_loss"].values)
    return at["stationary_loss"].values[found], at["least_eigenvalue"].values[found]


def _saddles(data: xr.Dataset, depth: int) -> np.ndarray:
    """The least eigenvalues at the stationary points that are not global minima."""
    losses, least = _stationary(data, depth)
    return least[losses > 1e-6]


def _off_the_subset_sums(data: xr.Dataset) -> float:
    sums = np.append(data["balanced_loss"].values, 0.0)
    losses = np.concatenate([_stationary(data, depth)[0] for depth in DEPTHS])
    return float(np.abs(losses[:, None] - sums).min(axis=1).max())


def _slopes(data: xr.Dataset) -> tuple[float, float]:
    """Escape at depth 2 a factor of e in the scale, and the power of the scale at depth 3."""
    escape, scale = data["escape"].transpose("depth", "scale").values, np.log(data["scale"].values)
    last = slice(-3, None)
    return (
        float(-np.polyfit(scale[last], escape[0][last], 1)[0]),
        float(np.polyfit(scale[last], np.log(escape[1][last]), 1)[0]),
    )


def _share_not_strict(data: xr.Dataset) -> float:
    return float(np.mean(data["balanced_least_eigenvalue"].sel(depth=3) > -STRICT))


def _plot(data: xr.Dataset) -> dict[str, Figure]:
    with plotting.figure(
        width=11,
        height=5.4,
        columns=2,
        sharey=True,
        caption="Every stationary point that searches from random weights found (dots), by its loss and the least "
        "eigenvalue of its Hessian; rings: the points of balanced factors, exactly. Dashed: half the sums of "
        "squares of the singular values that are not fit. With two factors whatever is not the minimum has a direction "
        "down. With three some have none: the loss is flat there to second order.",
    ) as (points, axes):
        for ax, depth in zip(np.ravel(axes), DEPTHS, strict=True):
            losses, least = _stationary(data, depth)
            for value in [0.0, *data["balanced_loss"].values]:
                ax.axvline(value, color=plotting.color_of("muted"), linestyle="--", linewidth=0.9)
            ax.axhline(0, color=plotting.color_of("ink"), linewidth=0.9)
            color = plotting.color_of(depth)
            ax.plot(losses, least, "o", color=color, markersize=5, alpha=0.5)
            ax.plot(
                data["balanced_loss"], data["balanced_least_eigenvalue"].sel(depth=depth), "o", color=color,
                markersize=11, fillstyle="none", markeredgewidth=1.8,
            )  # fmt: skip
            ax.set(xlabel="loss at the stationary point", title=f"{depth} factors")
        np.ravel(axes)[0].set_ylabel("least eigenvalue of the Hessian")
    with plotting.figure(
        width=9.6,
        height=5.6,
        caption="Time until half of the largest mode is learned, from ever smaller weights. Past the strict saddle at "
        "zero of two factors it grows like the logarithm of the scale; past the flat one of three like a power. "
        "Dashed: the predicted growth, through the last point.",
    ) as (escape, ax):
        scale = data["scale"].values
        for depth in DEPTHS:
            time = data["escape"].sel(depth=depth).values
            ax.loglog(scale, time, "o-", color=plotting.color_of(depth), label=f"{depth} factors")
            predicted = (
                time[-1] + np.log(scale[-1] / scale) / (2 * SINGULAR[0])
                if depth == 2
                else time[-1] * (scale / scale[-1]) ** (-1 / 3)
            )
            ax.loglog(scale, predicted, "--", color=plotting.color_of("theory"), linewidth=1.4)
        ax.set(xlabel="scale of W at the start", ylabel="time to half of the first mode")
        ax.legend()
    return {"stationary-points": points, "escape": escape}


EXAMPLE = """
import jax
import numpy as np
import undertow as ut

jax.config.update("jax_enable_x64", True)
target = np.diag([3.0, 2.0, 1.0])
problem = ut.problems.PointTarget(target)
least = ut.probes.HessianEigenvalues(which="least")
for depth in (2, 3):
    phi = ut.parameterizations.DeepMatrix((3, 3), depth)
    for fitted in ([0, 0, 0], [1, 0, 0], [0, 1, 0]):  # saddles: balanced factors that fit some modes
        saddle = phi.lift(target * fitted)
        print(f"depth {depth}, fitted {fitted}: least eigenvalue {least(problem, phi, saddle)[0]:.2f}")
# depth 2, fitted [0, 0, 0]: least eigenvalue -3.00
# depth 2, fitted [1, 0, 0]: least eigenvalue -2.00
# depth 2, fitted [0, 1, 0]: least eigenvalue -3.00
# depth 3, fitted [0, 0, 0]: least eigenvalue 0.00
# depth 3, fitted [1, 0, 0]: least eigenvalue 0.00
# depth 3, fitted [0, 1, 0]: least eigenvalue -1.26
"""

study = Study(
    id="deep-linear-landscape",
    chapter="margins",
    title="No spurious minima, and saddles that are flat from three factors on",
    source="K. Kawaguchi, Deep Learning without Poor Local Minima, NeurIPS 2016 (Theorem 2.3)",
    claim="In deep linear networks every stationary point is a global minimum or a saddle. With two factors every "
    "saddle has a direction of negative curvature; with three some have none, those that fit the largest modes alone "
    "among them, and some still have one.",
    standing="amended",
    published="As lectures sum it up: from three factors on there are only bad saddle points (without a negative "
    "eigenvalue of the Hessian).",
    refutation=AtLeast(
        "3 factors: share of the saddles of balanced factors that are bad", _share_not_strict, bound=1.0
    ),
    run=_run,
    checks=(
        AtLeast(
            "stationary points found by searches, fewer of the two depths",
            lambda data: min(len(_stationary(data, depth)[0]) for depth in DEPTHS),
            bound=12,
        ),
        AtMost(
            "losses at stationary points, largest distance from a sum over a subset of modes",
            _off_the_subset_sums,
            bound=1e-6,
        ),
        AtMost(
            "2 factors: largest of the least eigenvalues at saddles",
            lambda data: float(_saddles(data, 2).max()),
            bound=-STRICT,
        ),
        AtLeast(
            "3 factors: largest of the least eigenvalues at saddles (some have no negative one)",
            lambda data: float(_saddles(data, 3).max()),
            bound=-STRICT,
        ),
        AtMost(
            "saddles of balanced factors: norm of the gradient, and distance of the least eigenvalue from theory",
            lambda data: max(
                float(data["balanced_slope"].max(skipna=False)),
                float(abs(data["balanced_least_eigenvalue"] - data["balanced_predicted"]).max(skipna=False)),
            ),
            bound=1e-10,
        ),
        AtMost(
            "gradient flow from Gaussian weights: largest loss at the end (no spurious minimum is met)",
            lambda data: float(data["flow_loss"].max(skipna=False)),
            bound=1e-10,
        ),
        Close(
            "2 factors: time past the saddle at zero, by a factor of e in the scale, times 2 sigma_1",
            lambda data: 2 * SINGULAR[0] * _slopes(data)[0],
            expected=1.0,
            tolerance=0.05,
        ),
        Close(
            "3 factors: power of the scale by which the time past the saddle at zero grows",
            lambda data: _slopes(data)[1],
            expected=-1 / 3,
            tolerance=1 / 60,
        ),
    ),
    plot=_plot,
    example=EXAMPLE,
    note="A flat saddle needs the factors between the first and the last to have lost rank. Of the seven saddles of "
    "balanced factors with three modes, three are flat: those that fit none, the first, or the first two. They are "
    "those that gradient flow from small weights passes one after another, and stays at for times that grow like a "
    "power.",
)
