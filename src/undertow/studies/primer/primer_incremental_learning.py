"""Incremental learning: from a small start, a deep model learns its coordinates one after the other."""

import math
from collections.abc import Callable, Sequence

import jax
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ... import plotting
from ...dynamics import GradientFlow, Stop
from ...parameterizations import Exponential, Identity, Parameterization, Power
from ...probes import Function
from ...problems import PointTarget
from ...sweeps import sweep
from ...theory import incremental_threshold, mode_time
from ...training import train
from .._base import AtLeast, AtMost, Budget, Study
from ._shared import SOURCE

TARGETS = np.array([4.0, 3.0, 2.0, 1.0])
DEPTHS = (1.0, 2.0, 4.0, math.inf)
START = 1e-3
SHARE = 0.05
"""f: a coordinate is learned at 1 - f of its target, and not begun below f of it."""
# Depths and ratios of two targets whose threshold is measured.
THRESHOLDS = {
    "smoke": ((2.0, 4.0), (2.0, 1.5)),
    "quick": ((2.0, 3.0, 4.0, 6.0), (2.0, 1.5, 1.2, 1.1)),
    "full": ((2.0, 3.0, 4.0, 6.0, 10.0), (3.0, 2.0, 1.5, 1.3, 1.2, 1.15, 1.1)),
}
AROUND = (0.9, 1.1)
"""Starts tried, over the predicted threshold; the measured one is where the lead changes sign between them."""
RTOL, SAMPLES = 1e-10, 2000
MARKS = (SHARE, 0.5, 1 - SHARE)


def _run(budget: Budget, key: jax.Array, progress: Callable[[float, str], None]) -> xr.Dataset:
    depths, ratios = THRESHOLDS[budget]
    steps = len(DEPTHS) + len(depths)
    times = np.zeros((len(DEPTHS), TARGETS.size, len(MARKS)))
    expected = np.zeros_like(times)
    curves, clock = np.zeros((len(DEPTHS), SAMPLES, TARGETS.size)), np.zeros((len(DEPTHS), SAMPLES))
    measured, predicted = np.zeros((len(depths), len(ratios))), np.zeros((len(depths), len(ratios)))
    with jax.enable_x64(True):
        for i, depth in enumerate(DEPTHS):
            progress(i / steps, f"depth {depth:g}: times")
            runs = [(S, START, mark * S) for S in TARGETS for mark in MARKS]
            times[i] = np.reshape(_times(depth, runs), times[i].shape)
            expected[i] = np.reshape([mode_time(depth, *run) for run in runs], times[i].shape)
            clock[i], curves[i] = _curves(depth, end=1.25 * float(times[i].max()))
        for i, depth in enumerate(depths):
            progress((len(DEPTHS) + i) / steps, f"depth {depth:g}: threshold")
            predicted[i] = [incremental_threshold(depth, ratio, SHARE) for ratio in ratios]
            measured[i] = _thresholds(depth, ratios, predicted[i])
    return xr.Dataset(
        {
            "time": (("depth", "coordinate", "mark"), times),
            "time_expected": (("depth", "coordinate", "mark"), expected),
            "curve": (("depth", "sample", "coordinate"), curves),
            "clock": (("depth", "sample"), clock),
            "threshold": (("deep", "ratio"), measured),
            "threshold_expected": (("deep", "ratio"), predicted),
        },
        coords={
            "depth": list(DEPTHS),
            "coordinate": TARGETS,
            "mark": list(MARKS),
            "deep": list(depths),
            "ratio": list(ratios),
        },
        attrs={
            "targets": TARGETS,
            "start": START,
            "time": "of the loss divided by the square of the depth",
            "thresholds": f"targets ratio and 1; starts at {AROUND[0]:g} and {AROUND[1]:g} of the predicted one",
            "share f": SHARE,
            "flow": f"explicit, relative tolerance {RTOL:g}",
            "precision": "float64",
        },
    )


def _parameterization(depth: float, size: int) -> Parameterization:
    return Exponential(size) if math.isinf(depth) else Identity(size) if depth == 1 else Power(size, depth)


def _scale(depth: float) -> float:
    """Depth-normalized time over that of the flow."""
    return 1.0 if math.isinf(depth) else depth**2


def _times(depth: float, runs: Sequence[tuple[float, float, float]]) -> np.ndarray:
    """Depth-normalized times at which trained weights reach a level, for each (target, start, level).

    A run stops at the loss of its level, which it meets to a thousandth; the rest is a step along the velocity.
    """
    phi = _parameterization(depth, 1)

    def run(number: int):
        target, start, level = runs[number]
        return train(
            PointTarget([target]),
            phi,
            GradientFlow("explicit", rtol=RTOL),
            params=phi.lift([start]),
            stop=Stop(loss=(target - level) ** 2 / 2),
            samples=2,
            probes=[Function("w", lambda w: w)],
        )

    found = sweep(run, over={"number": range(len(runs))})
    end = found["samples"].values - 1
    time = found["time"].values[np.arange(len(runs)), end] * _scale(depth)
    weight = found["final_w"].values[:, 0]
    target, _, level = np.array(runs).T
    speed = weight ** (2 - 2 / depth) * (target - weight)
    reached = found["status"].values == "converged"
    return np.where(reached, time + (level - weight) / speed, np.nan)


def _curves(depth: float, end: float) -> tuple[np.ndarray, np.ndarray]:
    """Depth-normalized times and the weights then."""
    phi = _parameterization(depth, TARGETS.size)
    times = np.linspace(0, end, SAMPLES)
    trajectory = train(
        PointTarget(TARGETS),
        phi,
        GradientFlow("explicit", rtol=RTOL),
        params=phi.lift(np.full(TARGETS.size, START)),
        stop=Stop(loss=None, time=end / _scale(depth)),
        samples=times / _scale(depth),
        probes=[Function("w", lambda w: w)],
    )
    return times, np.asarray(trajectory["w"])


def _thresholds(depth: float, ratios: Sequence[float], predicted: np.ndarray) -> np.ndarray:
    """Where the measured lead of the larger mode changes sign, on the logarithm of the start."""
    starts = predicted[:, None] * np.array(AROUND)
    runs = []
    for ratio, around in zip(ratios, starts, strict=True):
        for start in around:
            runs += [(ratio, start, (1 - SHARE) * ratio), (1.0, start, SHARE)]
    first, second = np.moveaxis(_times(depth, runs).reshape(len(ratios), len(AROUND), 2), -1, 0)
    below, above = (second - first).T
    # NaN, and so a failed check, where the lead does not change sign: it must be ahead below the threshold only.
    share = np.where((below > 0) & (above < 0), below / (below - above), np.nan)
    low, high = np.log(starts).T
    return np.exp(low + share * (high - low))


def _spread(times: np.ndarray) -> float:
    return float(np.ptp(times) / times[0])


def _lead(data: xr.Dataset, depth: float) -> float:
    """The least lead of a coordinate over the next: from its end to the beginning of the next, over the latter time."""
    time = data["time"].sel(depth=depth).values
    return float(np.min((time[1:, 0] - time[:-1, -1]) / time[1:, 0]))


def _plot(data: xr.Dataset) -> dict[str, Figure]:
    with plotting.figure(
        2,
        2,
        width=12.6,
        height=9.2,
        caption="Four weights on their way to targets 4, 3, 2, 1 from the same small start. Depth 1 learns all at "
        "once; the deeper, the more one by one. Diamonds: the closed form for half of each target.",
    ) as (curves, axes):
        for ax, depth in zip(axes.flat, DEPTHS, strict=True):
            chosen = data.sel(depth=depth)
            color = plotting.color_of(depth)
            last = float(chosen["time"].max())
            for k, target in enumerate(TARGETS):
                ax.plot(chosen["clock"] / last, chosen["curve"][:, k], color=color)
                ax.plot(
                    chosen["time_expected"].sel(mark=0.5)[k] / last, target / 2, "D", markersize=10, zorder=5,
                    color=plotting.color_of("theory"), markeredgecolor=plotting.style()["axes.facecolor"],
                )  # fmt: skip
            name = "exponential (infinitely deep)" if math.isinf(depth) else f"depth {depth:g}"
            ax.set_title(name, color=color)
            ax.set(xlim=(0, 1.2), ylim=(0, 4.3), yticks=[0, 1, 2, 3, 4])
        for ax in axes[1]:
            ax.set_xlabel("time over that of the last")
        for ax in axes[:, 0]:
            ax.set_ylabel("weights")
    with plotting.figure(
        width=9.5,
        height=5.8,
        caption="How small the start must be for two weights to be learned one after the other (the larger at 95% "
        "before the smaller is at 5%), against the ratio of their targets. Depth 2 needs an exponentially small "
        "start, deeper models a polynomially small one. Circles: trained; lines: theory.",
    ) as (thresholds, ax):
        ratio = np.geomspace(1.08, data["ratio"].values.max() * 1.02, 60)
        for depth in data["deep"].values:
            color = plotting.color_of(float(depth))
            line = [incremental_threshold(float(depth), r, SHARE) for r in ratio]
            ax.loglog(ratio - 1, line, color=color, label=f"depth {depth:g}")
            ax.loglog(
                data["ratio"] - 1, data["threshold"].sel(deep=depth), "o", color=color, markersize=9,
                markeredgecolor=plotting.style()["axes.facecolor"],
            )  # fmt: skip
        ax.set_xticks(data["ratio"].values - 1, [f"{ratio:g}" for ratio in data["ratio"].values])
        ax.set_xticks([], minor=True)
        ax.set(xlabel="ratio of the two targets", ylabel="largest start", ylim=(1e-30, 1))
        plotting.label_lines(ax)
    return {"one-by-one": curves, "thresholds": thresholds}


EXAMPLE = """
import jax
import numpy as np
import undertow as ut

jax.config.update("jax_enable_x64", True)
targets = np.array([4.0, 3.0, 2.0, 1.0])
w = ut.probes.Function("w", lambda w: w)
for depth in (1, 4):
    phi = ut.parameterizations.Power(4, depth)
    flow, start = ut.dynamics.GradientFlow(), phi.lift(np.full(4, 1e-3))
    found = ut.train(ut.problems.PointTarget(targets), phi, flow, params=start, probes=[w], samples=2000)
    half = np.argmax(found["w"][:, 1] >= 1.5)  # when the second weight is half learned
    print(f"depth {depth}: share learned", (found["w"][half] / targets).round(2))
# depth 1: share learned [0.5 0.5 0.5 0.5]
# depth 4: share learned [1.   0.59 0.   0.  ]
for depth in (2, 3, 4):
    print(f"depth {depth}: one by one from a start below", f"{ut.theory.incremental_threshold(depth, 1.5):.0e}")
# depth 2: one by one from a start below 2e-07
# depth 3: one by one from a start below 2e-03
# depth 4: one by one from a start below 5e-03
"""

study = Study(
    id="primer-incremental-learning",
    chapter="primer",
    title="Deep models learn one coordinate at a time",
    source=f"{SOURCE}; D. Gissin, S. Shalev-Shwartz, A. Daniely, The Implicit Bias of Depth: How Incremental "
    "Learning Drives Generalization, ICLR 2020 (Section 2: Definition 1, Theorems 2 and 3)",
    claim="From a small start, deep models learn their coordinates one after the other, the largest first; depth 2 "
    "needs an exponentially small start for it, depth 3 and more only a polynomially small one.",
    standing="as published",
    run=_run,
    checks=(
        AtMost(
            "times to 5%, 50% and 95% of each target: trained against closed form, largest relative difference",
            lambda data: float(abs(data["time"] / data["time_expected"] - 1).max(skipna=False)),
            bound=1e-5,
        ),
        AtMost(
            "depth 1: spread of the half-times over the first (all at once)",
            lambda data: _spread(data["time"].sel(depth=1.0, mark=0.5).values),
            bound=0.01,
        ),
        AtMost("depth 2 from 1e-3: least lead of one over the next", lambda data: _lead(data, 2.0), bound=0.0),
        AtLeast("depth 4 from 1e-3: least lead of one over the next", lambda data: _lead(data, 4.0), bound=0.1),
        AtLeast(
            "exponential from 1e-3: least lead of one over the next", lambda data: _lead(data, math.inf), bound=0.2
        ),
        AtMost(
            "largest start that is incremental: trained against theory, largest relative difference",
            lambda data: float(abs(data["threshold"] / data["threshold_expected"] - 1).max(skipna=False)),
            bound=0.01,
        ),
        AtLeast(
            "ratio 1.5: threshold of depth 4 over that of depth 2",
            lambda data: float(data["threshold"].sel(deep=4.0, ratio=1.5) / data["threshold"].sel(deep=2.0, ratio=1.5)),
            bound=1e4,
        ),
    ),
    plot=_plot,
    example=EXAMPLE,
)
