"""Two layers and more of a linear network: the strengths of its modes over time, against their closed form."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ... import plotting
from ...dynamics import GradientFlow, Stop
from ...parameterizations import DeepMatrix
from ...probes import Function
from ...problems import PointTarget
from ...theory import mode_time, saxe_modes
from ...training import train
from .._base import AtMost, Budget, Study
from .._shared import generator

SHAPE = (7, 5)
TARGETS = np.array([4.0, 3.0, 2.0, 1.0, 0.5])
"""The singular values of the input-output correlations."""
START = 1e-3
DEPTHS = {"smoke": (2, 3), "quick": (2, 3, 4, 6), "full": (2, 3, 4, 6, 10)}
# a(0), b(0) of each mode: how much of it the first and the second layer carry at the start.
FIRST, SECOND = np.array([0.3, 0.01, 0.1, 0.4, 0.02]), np.array([0.01, 0.2, -0.05, 0.3, 0.02])
# Width, and scales of random starts: W(0) has entries of this root mean square.
RANDOM = {
    "smoke": (20, (1e-3, 1e-6)),
    "quick": (100, (1e-2, 1e-4, 1e-8, 1e-16)),
    "full": (1000, tuple(10.0 ** -np.arange(2, 31, 2))),
}
RTOL, SAMPLES = 1e-9, 400


def _run(budget: Budget, key: jax.Array, progress: Callable[[float, str], None]) -> xr.Dataset:
    depths, (width, scales) = DEPTHS[budget], RANDOM[budget]
    rng = generator(key)
    left, right = (np.linalg.qr(rng.standard_normal((n, TARGETS.size)))[0] for n in SHAPE)
    steps = len(depths) + 1 + len(scales)
    clock, found, expected = np.zeros((3, len(depths), SAMPLES, TARGETS.size))
    half, half_expected = np.zeros((2, len(scales), TARGETS.size))
    random_clock = np.zeros((len(scales), 4 * SAMPLES))
    random_curves, random_expected = np.zeros((2, *random_clock.shape, TARGETS.size))

    def strengths(phi: DeepMatrix, params, times: np.ndarray) -> np.ndarray:
        """The part of W in each mode of the target, at these times of the flow."""
        probe = Function("modes", lambda w: jnp.sum((left.T @ w) * right.T, axis=1))
        stop = Stop(loss=None, time=float(times[-1]), steps=1_000_000)
        flow = GradientFlow("explicit", rtol=RTOL)
        return np.asarray(train(problem, phi, flow, params=params, samples=times, stop=stop, probes=[probe])["modes"])

    with jax.enable_x64(True):
        problem = PointTarget(left * TARGETS @ right.T)
        for i, depth in enumerate(depths):
            progress(i / steps, f"depth {depth}, balanced")
            phi = DeepMatrix(SHAPE, depth)
            end = 1.05 * mode_time(depth, TARGETS[-1], START, 0.95 * TARGETS[-1]) / depth
            times = np.linspace(0, end, SAMPLES)
            clock[i] = times[:, None]
            found[i] = strengths(phi, phi.lift(START * left @ right.T), times)
            expected[i] = saxe_modes(times, TARGETS, np.full(TARGETS.size, START), depth=depth)
        progress(len(depths) / steps, "depth 2, unbalanced")
        times = np.linspace(0, 6, SAMPLES)
        params = (jnp.asarray(FIRST[:, None] * right.T), jnp.asarray(left * SECOND))
        unbalanced = strengths(DeepMatrix(SHAPE, 2), params, times)
        unbalanced_expected = saxe_modes(times, TARGETS, FIRST * SECOND, imbalances=FIRST**2 - SECOND**2)
        for i, scale in enumerate(scales):
            progress((len(depths) + 1 + i) / steps, f"depth 2, random start {scale:g}")
            phi = DeepMatrix(SHAPE, 2, width=width)
            first, second = params = phi.init(jax.random.fold_in(key, 0), scale)
            # The part of a mode that grows is where both layers agree; the other dies out.
            agreed = np.asarray((first @ right + second.T @ left) / 2)
            starts = (agreed**2).sum(0)
            half_expected[i] = [mode_time(2, S, u, S / 2) / 2 for S, u in zip(TARGETS, starts, strict=True)]
            random_clock[i] = np.linspace(0, 1.5 * half_expected[i].max(), 4 * SAMPLES)
            random_curves[i] = strengths(phi, params, random_clock[i])
            random_expected[i] = saxe_modes(random_clock[i], TARGETS, starts)
            half[i] = _first_time(random_clock[i], random_curves[i], TARGETS / 2)
    return xr.Dataset(
        {
            "clock": (("depth", "sample"), clock[:, :, 0]),
            "strength": (("depth", "sample", "mode"), found),
            "strength_expected": (("depth", "sample", "mode"), expected),
            "unbalanced_clock": ("sample", np.linspace(0, 6, SAMPLES)),
            "unbalanced": (("sample", "mode"), unbalanced),
            "unbalanced_expected": (("sample", "mode"), unbalanced_expected),
            "random_clock": (("scale", "random_sample"), random_clock),
            "random": (("scale", "random_sample", "mode"), random_curves),
            "random_expected": (("scale", "random_sample", "mode"), random_expected),
            "half_time": (("scale", "mode"), half),
            "half_time_expected": (("scale", "mode"), half_expected),
        },
        coords={"depth": list(depths), "mode": TARGETS, "scale": list(scales)},
        attrs={
            "problem": f"target {SHAPE[0]} x {SHAPE[1]} with random singular vectors, half the sum of squares",
            "balanced start": f"every mode at {START:g}, in the singular vectors of the target",
            "unbalanced start, first layer": FIRST,
            "unbalanced start, second layer": SECOND,
            "random start": f"Gaussian layers, width {width}",
            "flow": f"explicit, relative tolerance {RTOL:g}",
            "precision": "float64",
        },
    )


def _first_time(times: np.ndarray, curves: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """When each curve first reaches its level, on the line between two samples; NaN where it never does."""
    found = np.full(levels.size, np.nan)
    for k, level in enumerate(levels):
        above = np.flatnonzero(curves[:, k] >= level)
        if above.size and above[0] > 0:
            j = above[0]
            found[k] = np.interp(level, curves[j - 1 : j + 1, k], times[j - 1 : j + 1])
    return found


def _gap(data: xr.Dataset, name: str) -> xr.DataArray:
    """Largest distance of curves from their closed form over time, in units of the target."""
    return (abs(data[name] - data[f"{name}_expected"]) / data["mode"]).max(["sample", "mode"], skipna=False)


def _late(data: xr.Dataset) -> xr.DataArray:
    """Largest relative difference of half-times from the closed form, for each random start."""
    return abs(data["half_time"] / data["half_time_expected"] - 1).max("mode", skipna=False)


def _plot(data: xr.Dataset) -> dict[str, Figure]:
    with plotting.figure(
        1,
        2,
        width=13.4,
        height=5.6,
        caption="Strengths of the five modes of a linear network over time. Left: balanced start in the target's "
        "singular vectors. Right: random Gaussian layers, from the largest of the random starts. Dots: trained; lines: "
        "the closed form. Strong modes are learned first, each in a sigmoid of its own.",
    ) as (curves, axes):
        depth = int(data["depth"][0])
        shown = slice(None, None, 12)
        _modes(axes[0], data["clock"][0], data["strength"][0], data["strength_expected"][0], shown)
        drawn = data.isel(scale=0)
        _modes(axes[1], drawn["random_clock"], drawn["random"], drawn["random_expected"], slice(None, None, 40))
        axes[0].set_title(f"depth {depth}, balanced")
        axes[1].set_title(f"depth 2, random start {float(data['scale'][0]):g}")
        axes[0].set_ylabel("mode strength")
    with plotting.figure(
        1,
        2,
        width=13.4,
        height=5.6,
        caption="Left: the third mode (target 2) at several depths; time in units of that depth's half-time. Right: "
        "unbalanced layers at depth 2, where a mode may even start with the wrong sign. Dots: trained; lines: closed "
        "form.",
    ) as (deeper, axes):
        for depth in data["depth"].values:
            chosen = data.sel(depth=depth, mode=2.0)
            unit = mode_time(int(depth), 2.0, START, 1.0) / depth
            color = plotting.color_of(int(depth))
            inside = chosen["clock"].values <= 2 * unit
            time, line = chosen["clock"].values[inside] / unit, chosen["strength_expected"].values[inside]
            axes[0].plot(time, line, color=color, label=f"depth {depth}")
            every = max(1, time.size // 24)
            axes[0].plot(time[::every], chosen["strength"].values[inside][::every], "o", color=color)
        axes[0].set(xlabel="time over half-time", ylabel="mode strength", title="balanced")
        axes[0].legend(loc="upper left")
        _modes(
            axes[1], data["unbalanced_clock"], data["unbalanced"], data["unbalanced_expected"], slice(None, None, 12)
        )
        axes[1].set_title("depth 2, unbalanced")
    return {"modes": curves, "depths": deeper}


def _modes(ax, clock: xr.DataArray, found: xr.DataArray, expected: xr.DataArray, shown: slice) -> None:
    for k, target in enumerate(TARGETS):
        color = plotting.color_of(float((1, 2, 3, 4, 6)[k]))
        ax.plot(clock, expected[:, k], color=color, label=f"{target:g}")
        ax.plot(clock[shown], found[shown, k], "o", color=color, markersize=6)
    ax.set_xlabel("time")
    plotting.label_lines(ax)


EXAMPLE = """
import jax
import numpy as np
import undertow as ut

jax.config.update("jax_enable_x64", True)
strengths, start = np.array([4.0, 2.0, 1.0]), np.full(3, 1e-3)
problem = ut.problems.PointTarget(np.diag(strengths))  # modes are the axes
times, modes = np.array([1.0, 2.0, 4.0, 8.0]), ut.probes.SingularValues()
for depth in (2, 3):
    phi = ut.parameterizations.DeepMatrix((3, 3), depth)
    flow, stop = ut.dynamics.GradientFlow(rtol=1e-8), ut.Stop(loss=None, time=times[-1])
    found = ut.train(problem, phi, flow, params=phi.lift(np.diag(start)), samples=times, stop=stop, probes=[modes])
    expected = ut.theory.saxe_modes(times, strengths, start, depth=depth)
    for time, trained, closed in zip(times, found["singular_values"][1:], expected, strict=True):
        print(f"depth {depth}, time {time:g}: trained", trained.round(3), "closed form", closed.round(3))
# depth 2, time 1: trained [1.708 0.053 0.007] closed form [1.708 0.053 0.007]
# depth 2, time 2: trained [3.998 1.197 0.052] closed form [3.998 1.197 0.052]
# depth 2, time 4: trained [4.    2.    0.749] closed form [4.    2.    0.749]
# depth 2, time 8: trained [4. 2. 1.] closed form [4. 2. 1.]
# depth 3, time 1: trained [0.005 0.002 0.001] closed form [0.005 0.002 0.001]
# depth 3, time 2: trained [0.12  0.005 0.002] closed form [0.12  0.005 0.002]
# depth 3, time 4: trained [4.    0.115 0.005] closed form [4.    0.115 0.005]
# depth 3, time 8: trained [4.    2.    0.106] closed form [4.    2.    0.106]
"""

study = Study(
    id="saxe-mode-strengths",
    chapter="factorization",
    title="Deep linear networks learn modes in sigmoids",
    source="A. Saxe, J. McClelland, S. Ganguli, Exact Solutions to the Nonlinear Dynamics of Learning in Deep Linear "
    "Neural Networks, ICLR 2014 (equations 6 to 12, Figure 3)",
    claim="From a balanced start in the target's singular vectors, each mode of a deep linear network follows its own "
    "closed form, strong modes first; small random starts follow it nearly.",
    standing="as published",
    run=_run,
    checks=(
        AtMost(
            "balanced, every depth: trained strengths against closed form, largest distance over the target",
            lambda data: float(_gap(data, "strength").max(skipna=False)),
            bound=1e-6,
        ),
        AtMost(
            "unbalanced, depth 2: trained strengths against closed form, largest distance over the target",
            lambda data: float(_gap(data, "unbalanced")),
            bound=1e-6,
        ),
        AtMost(
            "random start: half-times against closed form at the smallest, largest relative difference",
            lambda data: float(_late(data)[-1]),
            bound=0.05,
        ),
        AtMost(
            "random start: the same at the smallest over that at the largest",
            lambda data: float(_late(data)[-1] / _late(data)[0]),
            bound=0.5,
        ),
    ),
    plot=_plot,
    example=EXAMPLE,
    note="Time is that of the flow on half the sum of squares; the paper's time constant is 1 there. The paper takes "
    "the start of a mode as given; for random layers it is taken here as the part on which both layers agree, "
    "|(W₁v + W₂ᵀu)/2|², since the part on which they disagree dies out.",
)
