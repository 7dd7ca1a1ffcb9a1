"""How the norms of components move along gradient flow: the theorem, evaluated beside what is measured."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ... import plotting
from ...dynamics import GradientFlow, Stop
from ...parameterizations import CPTensor
from ...probes import Function, Loss
from ...problems import TensorCompletion
from ...theory import component_velocity
from ...training import Trajectory, train
from .._base import AtLeast, AtMost, Budget, Close, Study
from .._shared import generator
from ._shared import RAZIN_2021, completion, low_rank_tensor

SETTINGS: dict[str, dict[int, tuple[int, int, int, int]]] = {
    "smoke": {3: (5, 2, 100, 6), 4: (4, 2, 200, 6)},
    "quick": {3: (8, 3, 300, 12), 4: (6, 3, 900, 12)},
    "full": {3: (10, 5, 700, 40), 4: (10, 5, 6000, 40)},
}
"""By order: the length of every axis, the rank of the truth, observed entries, components."""
STARTS = {"balanced": 0.05, "gaussian": 0.2}
"""The initializations, and the deviation of the factors. What is unbalanced by less is soon as good as balanced."""
LOSS, RTOL, SAMPLES = 1e-7, 1e-9, 100
APART = 2e-5
"""Half the distance of two samples whose difference is the measured velocity, over their time."""
LEAST = 1e-3
"""Share of the largest velocity from which one counts towards the exponent: smaller ones are rounding over rounding."""
FACTORS = Function("factors", jnp.stack, of="params")


def _run(budget: Budget, key: jax.Array, progress: Callable[[float, str], None]) -> xr.Dataset:
    rng, parts = generator(key), []
    with jax.enable_x64(True):
        for i, (order, (size, rank, count, components)) in enumerate(SETTINGS[budget].items()):
            shape = (size,) * order
            truth = low_rank_tensor(rng, shape, rank)
            problem = completion(truth, rng.permutation(truth.size)[:count])
            start = jax.random.key(int(rng.integers(2**31)))
            for j, (initialization, deviation) in enumerate(STARTS.items()):
                progress((i + j / 2) / len(SETTINGS[budget]), f"order {order}, {initialization} start")
                phi = CPTensor(shape, components, initialization)
                params = phi.init(start, phi.scale_of(deviation))
                end = _follow(problem, phi, params, None, loss=LOSS)
                found = _record(problem, phi, params, end)
                found["converged"] = float(end.status == "converged")
                names = {name: f"{name}_{order}_{initialization}" for name in found.data_vars}
                names |= {"component": f"component_{order}", "sample": f"sample_{order}_{initialization}"}
                parts.append(found.rename(names))
    return xr.merge(parts).assign_attrs(
        {
            "tensors": "; ".join(
                f"order {o}: all axes of {n}, rank {r}, {m} entries seen, {c} components"
                for o, (n, r, m, c) in SETTINGS[budget].items()
            ),
            "truth": "Gaussian factors, Frobenius norm 1",
            "start": f"Gaussian factors of deviation {STARTS['gaussian']:g}; or of {STARTS['balanced']:g}, with the "
            "vectors of every component brought to equal norms",
            "flow": f"explicit, relative tolerance {RTOL:g}, to a mean square of {LOSS:g}",
            "measured velocity": f"difference of samples {APART:g} of their time before and after",
            "precision": "float64",
        }
    )


def _follow(problem: TensorCompletion, phi: CPTensor, params: Any, times: Any, **stop: float) -> Trajectory:
    return train(
        problem,
        phi,
        GradientFlow("explicit", rtol=RTOL),
        params=params,
        samples=SAMPLES if times is None else times,
        stop=Stop(**({"loss": None} | stop), steps=1_000_000),
        probes=[FACTORS, Loss()],
    )


def _record(problem: TensorCompletion, phi: CPTensor, params: Any, course: Trajectory) -> xr.Dataset:
    """Both sides of the theorem at times that follow the way of the norms, and not the clock."""
    middle = _times(course)
    times = (middle[:, None] * (1 + APART * np.array([-1, 0, 1]))).ravel()
    found = _follow(problem, phi, params, times, time=float(times[-1]))
    # Without the start, which is sampled always.
    factors = np.asarray(found["factors"])[1:].reshape(len(middle), 3, len(phi.shape), phi.shape[0], -1)
    norms = np.linalg.norm(factors, axis=3)
    c, squares = norms.prod(axis=2), norms[:, 1] ** 2
    first = component_velocity(problem, params)
    said = [component_velocity(problem, list(f), first.unbalancedness) for f in factors[:, 1]]
    differences = squares - squares[:, :1]
    dims = ("sample", "component")
    return xr.Dataset(
        {
            "time": ("sample", middle),
            "norms": (dims, c[:, 1]),
            "velocity": (dims, (c[:, 2] - c[:, 0]) / (2 * APART * middle)[:, None]),
            "balanced": (dims, np.stack([s.balanced for s in said])),
            "alignment": (dims, np.stack([s.alignment for s in said])),
            "lower": (dims, np.stack([s.lower for s in said])),
            "upper": (dims, np.stack([s.upper for s in said])),
            "unbalancedness": first.unbalancedness,
            "drift": float(np.abs(differences - differences[:1]).max() / squares.max()),
        }
    )


def _times(course: Trajectory) -> np.ndarray:
    """``SAMPLES`` of them, evenly spaced in how far the norms of components have gone."""
    c = np.linalg.norm(np.asarray(course["factors"]), axis=2).prod(axis=1)
    way = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(c, axis=0)).sum(axis=1))])
    way += np.linspace(0, 1e-3 * way[-1], len(way))  # where nothing moves, samples are few, but some
    times = np.interp(np.linspace(0, way[-1], SAMPLES + 2)[1:-1], way, course.times)
    return times[np.diff(times, prepend=0.0) > 4 * APART * times]


def _cases(data: xr.Dataset, initialization: str) -> list[tuple[int, Callable[[str], np.ndarray]]]:
    """Of each order: how to get a variable of the run from this start."""
    orders = sorted(int(str(name).split("_")[1]) for name in data.data_vars if str(name).endswith("_balanced"))
    return [(order, lambda name, o=order: data[f"{name}_{o}_{initialization}"].values) for order in sorted(set(orders))]


def _gap(data: xr.Dataset) -> float:
    """Balanced starts: the largest distance of measured and expected velocity, over the largest velocity."""
    return max(
        float(np.abs(of("velocity") - of("balanced")).max() / np.abs(of("velocity")).max())
        for _, of in _cases(data, "balanced")
    )


def _off(data: xr.Dataset) -> float:
    """Gaussian starts: by what share of it some velocity misses the formula for balanced ones, the least of orders."""
    found = []
    for _, of in _cases(data, "gaussian"):
        velocity, expected = of("velocity"), of("balanced")
        counts = np.abs(velocity) > LEAST * np.abs(velocity).max()
        found.append(float(np.abs(1 - expected[counts] / velocity[counts]).max()))
    return min(found)


def _violation(data: xr.Dataset, initialization: str) -> float:
    """By how much a velocity leaves its bounds, the most, over the largest velocity."""
    return max(
        float(
            np.maximum(of("lower") - of("velocity"), of("velocity") - of("upper")).max() / np.abs(of("velocity")).max()
        )
        for _, of in _cases(data, initialization)
    )


def _exponent(data: xr.Dataset, order: int) -> float:
    """The slope of log(velocity / alignment) over log(norm), by least squares."""
    of = dict(_cases(data, "balanced"))[order]
    velocity, alignment, norms = of("velocity"), of("alignment"), of("norms")
    counts = (np.abs(velocity) > LEAST * np.abs(velocity).max()) & (velocity * alignment > 0)
    return float(np.polyfit(np.log(norms[counts]), np.log((velocity / alignment)[counts]), 1)[0])


def _over_all(name: str, reduce: Callable[[list[float]], float]) -> Callable[[xr.Dataset], float]:
    return lambda data: reduce([float(of(name)) for start in STARTS for _, of in _cases(data, start)])


def _plot(data: xr.Dataset) -> dict[str, Figure]:
    colors = [plotting.color_of(shade) for shade in (2, 3, 4, 6)]
    balanced, gaussian = dict(_cases(data, "balanced")), dict(_cases(data, "gaussian"))
    with plotting.figure(
        1,
        len(balanced),
        width=6.6 * len(balanced),
        height=5.2,
        caption="Balanced start: the velocity of the norms of the components that become largest, measured (dots) and "
        "by the theorem (lines), over time.",
    ) as (theorem, axes):
        for ax, (order, of) in zip(axes, balanced.items(), strict=True):
            for r, color in zip(np.argsort(-of("norms")[-1])[:4], colors, strict=True):
                ax.plot(of("time"), of("balanced")[:, r], color=color)
                ax.plot(of("time"), of("velocity")[:, r], "o", color=color, markersize=3)
            ax.set(title=f"order {order}", xlabel="time", xscale="log")
        axes[0].set_ylabel("velocity of the norm")
    with plotting.figure(
        1,
        2,
        width=13.2,
        height=5.2,
        caption="Left: the velocity over N times the alignment, against the norm, of all components at all times; "
        "lines are the theorem's c^(2 - 2/N). Right: Gaussian start, which is not balanced: the velocity of the "
        "largest component over that of the formula for balanced ones (dots), between the theorem's bounds (shaded).",
    ) as (law, (left, right)):
        for color, (order, of) in zip(colors, balanced.items(), strict=False):
            velocity, alignment, norms = of("velocity"), of("alignment"), of("norms")
            counts = (np.abs(velocity) > LEAST * np.abs(velocity).max()) & (velocity * alignment > 0)
            x = np.geomspace(norms[counts].min(), norms[counts].max(), 50)
            left.loglog(norms[counts], (velocity / alignment)[counts] / order, "o", color=color, markersize=3)
            left.loglog(x, x ** (2 - 2 / order), color=color, label=f"order {order}")
        left.set(xlabel="norm of the component", ylabel="velocity / (N alignment)")
        left.legend()
        of = gaussian[max(gaussian)]
        r = int(np.argmax(of("norms")[-1]))
        x, velocity, expected = (of(name)[:, r] for name in ("norms", "velocity", "balanced"))
        counts = np.flatnonzero(np.abs(velocity) > LEAST * np.abs(velocity).max())
        counts = counts[np.argsort(x[counts])]
        low, high = (of(name)[counts, r] / expected[counts] for name in ("lower", "upper"))
        right.fill_between(x[counts], low, high, color=plotting.color_of("theory"), alpha=0.25, linewidth=0)
        right.plot(x[counts], (velocity / expected)[counts], "o", color=colors[0], markersize=4)
        right.axhline(1, color=plotting.color_of("theory"), linestyle="--", linewidth=1.4)
        right.set(xscale="log", ylim=(0, 3), xlabel="norm of the component", ylabel="velocity over that if balanced")
        right.set_title(f"order {max(gaussian)}, Gaussian start")
    return {"theorem": theorem, "law": law}


EXAMPLE = """
import jax
import numpy as np
import undertow as ut

jax.config.update("jax_enable_x64", True)
rng = np.random.default_rng(0)
truth = np.einsum("ir,jr,kr->ijk", *rng.standard_normal((3, 6, 2)))
seen = np.unravel_index(np.sort(rng.permutation(216)[:120]), truth.shape)
problem = ut.problems.TensorCompletion(truth.shape, seen, truth[seen])
for start in ("balanced", "gaussian"):
    phi = ut.parameterizations.CPTensor(truth.shape, 4, start)
    factors = phi.init(jax.random.key(1), phi.scale_of(0.3))
    said = ut.theory.component_velocity(problem, factors)
    # A short way along the flow, and how far the norms of the components went.
    stop = ut.Stop(loss=None, time=1e-4)
    run = ut.train(problem, phi, ut.dynamics.GradientFlow("explicit", rtol=1e-9), params=factors, stop=stop)
    moved = (phi.component_norms(run.params) - said.norms) / 1e-4
    print(f"{start}: moved {moved[0]:.4f}, balanced formula {said.balanced[0]:.4f}", end="")
    print(f", bounds {said.lower[0]:.4f} and {said.upper[0]:.4f}")
# balanced: moved -0.0122, balanced formula -0.0122, bounds -0.0122 and -0.0122
# gaussian: moved -0.0126, balanced formula -0.0122, bounds -0.0629 and -0.0053
"""

study = Study(
    id="component-norm-velocity",
    chapter="tensors",
    title="Small components stand still, large ones run",
    source=f"{RAZIN_2021} (Theorem 1 and Corollary 1)",
    claim="Along gradient flow of a CP tensor of order N, the norm c of a balanced component moves at N γ c^(2 - 2/N), "
    "with γ the inner product of its direction and the negative gradient of the loss; where components are not "
    "balanced, between the bounds that their unbalancedness gives.",
    standing="as published",
    run=_run,
    checks=(
        AtLeast("every run reached the loss", _over_all("converged", min), bound=1.0),
        # The difference of two samples misses the velocity by APART^2 / 6 of its curvature over time, and what it
        # subtracts carries the solver's error of 1e-10 over APART.
        AtMost("balanced: velocities against the theorem, gap over the largest", _gap, bound=1e-4),
        Close("balanced, order 3: exponent of the norm", lambda d: _exponent(d, 3), expected=4 / 3, tolerance=1e-3),
        Close("balanced, order 4: exponent of the norm", lambda d: _exponent(d, 4), expected=3 / 2, tolerance=1e-3),
        AtMost("Gaussian: velocities beyond the bounds, over the largest", lambda d: _violation(d, "gaussian"), 1e-4),
        # Squared norms of vectors of n Gaussian entries differ by a share of sqrt(2 / n), and the first ones by more.
        AtLeast("Gaussian: share by which a velocity misses the formula for balanced ones", _off, bound=0.05),
        AtMost("differences of squared norms, largest drift over the largest of these", _over_all("drift", max), 1e-6),
    ),
    plot=_plot,
    example=EXAMPLE,
)
