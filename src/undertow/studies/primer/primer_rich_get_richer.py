"""Rich get richer below the target, and equalizing above it: what depth does to the gap between two weights."""

import math
from collections.abc import Callable

import jax
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ... import plotting
from ...dynamics import GradientFlow, Stop
from ...probes import Function
from ...problems import PointTarget
from ...sweeps import sweep
from ...theory import mode_time
from ...training import train
from .._base import AtLeast, AtMost, Budget, Close, Study
from ._shared import MODELS, SOURCE, Model, set_axes

LEVELS = {"smoke": 80, "quick": 320, "full": 640}
TARGET = 5.0
NAMES = ("identity", "deep 2", "deep 4", "exponential", "anti-deep 0.5")
# In units of the target: from, to.
SIDES = {"below": (0.1, 0.98), "above": (2.0, 1.02)}
LEAD = 1e-4
"""Of one weight over the other at the start, relative; small, so that the gap obeys the linearized flow."""
PLANE = ("identity", "deep 4", "exponential")
RING = np.array([(0.5, 1.1), (1.1, 0.5), (0.4, 3.0), (3.0, 0.4), (9.6, 7.4), (7.4, 9.6), (9.8, 5.7), (5.7, 9.8)])
RTOL = 1e-11


def _run(budget: Budget, key: jax.Array, progress: Callable[[float, str], None]) -> xr.Dataset:
    count = LEVELS[budget]
    models = [next(m for m in MODELS if m.name == name) for name in NAMES]
    levels = np.array([np.linspace(low, high, count) for low, high in SIDES.values()])
    weight, gap, expected = (np.zeros((len(models), 2, count)) for _ in range(3))
    paths = np.zeros((len(PLANE), len(RING), count, 2))
    with jax.enable_x64(True):
        for i, model in enumerate(models):
            progress(i / len(models), model.name)
            times = np.array([_times(model, side) for side in levels])
            starts = np.array([[TARGET * side[0], TARGET * side[0] * (1 + LEAD)] for side in levels])
            w = _paths(model, starts, times)
            weight[i] = w[..., 0] / TARGET
            gap[i] = (w[..., 1] - w[..., 0]) / (starts[:, 1] - starts[:, 0])[:, None]
            speed = _speed(model, weight[i])
            expected[i] = speed / speed[:, :1]
            if model.name in PLANE:
                # Ten times what the slowest of all takes over most of its way.
                end = 10 * max(mode_time(_depth(model), TARGET, 0.4, 4.9), mode_time(_depth(model), TARGET, 9.8, 5.1))
                end /= _clock(model)
                even = np.concatenate([[0.0], np.geomspace(end * 1e-4, end, count - 1)])
                paths[PLANE.index(model.name)] = _paths(model, RING, np.tile(even, (len(RING), 1)))
    return xr.Dataset(
        {
            "weight": (("model", "side", "level"), weight),
            "gap": (("model", "side", "level"), gap),
            "gap_expected": (("model", "side", "level"), expected),
            "path": (("plane", "start", "time", "coordinate"), paths),
        },
        coords={"model": list(NAMES), "side": list(SIDES), "plane": list(PLANE)},
        attrs={
            "target": TARGET,
            "below": "from 0.1 to 0.98 of the target",
            "above": "from 2 to 1.02 of the target",
            "lead at the start": LEAD,
            "flow": f"explicit, relative tolerance {RTOL:g}",
            "precision": "float64",
        },
    )


def _depth(model: Model) -> float:
    assert model.depth is not None
    return model.depth


def _clock(model: Model) -> float:
    """Depth-normalized time over that of the flow."""
    return 1.0 if math.isinf(_depth(model)) else _depth(model) ** 2


def _times(model: Model, levels: np.ndarray) -> np.ndarray:
    """When to look: where the closed form says that the weight is at each level."""
    times = [mode_time(_depth(model), TARGET, TARGET * levels[0], TARGET * level) for level in levels]
    return np.array(times) / _clock(model)


def _speed(model: Model, share: np.ndarray) -> np.ndarray:
    """w^(2 - 2/N) (1 - w), in units of the target."""
    return share ** (2 - 2 / _depth(model)) * (1 - share)


def _paths(model: Model, starts: np.ndarray, times: np.ndarray) -> np.ndarray:
    phi = model.parameterization()

    def run(start: int):
        return train(
            PointTarget([TARGET, TARGET]),
            phi,
            GradientFlow("explicit", rtol=RTOL),
            params=phi.lift(starts[start]),
            stop=Stop(loss=None, time=float(times[start, -1])),
            samples=times[start],
            probes=[Function("w", lambda w: w)],
        )

    return sweep(run, over={"start": range(len(starts))})["w"].values


def _peak(data: xr.Dataset, name: str) -> float:
    """The most that the gap grew below the target."""
    return float(data["gap"].sel(model=name, side="below").max(skipna=False))


def _relative_lead(data: xr.Dataset, name: str) -> float:
    """The most that the gap grew in proportion to the weight, below the target."""
    below = data.sel(model=name, side="below")
    lead = below["gap"] / (below["weight"] / below["weight"][0])
    return float(lead.max(skipna=False))


def _plot(data: xr.Dataset) -> dict[str, Figure]:
    with plotting.figure(
        1,
        2,
        width=13.8,
        height=6.0,
        sharey=True,
        caption="The gap between two weights with the same target, over what it was at the start, as they move. Below "
        "the target, depth lets the gap grow before it closes: rich get richer. Above it, depth closes the gap faster. "
        "Dots: trained; lines: closed form.",
    ) as (curves, axes):
        for ax, side in zip(axes, SIDES, strict=True):
            for name in NAMES:
                chosen = data.sel(model=name, side=side)
                every = max(1, chosen.sizes["level"] // 14)
                color = plotting.color_of(name)
                ax.plot(chosen["weight"], chosen["gap_expected"], color=color, label=name if side == "above" else None)
                ax.plot(chosen["weight"][::every], chosen["gap"][::every], "o", color=color, markersize=6)
            ax.axhline(1, color=plotting.color_of("muted"), linewidth=1.2, linestyle=":")
        axes[0].set(
            title="below the target: rich get richer", xlabel="weight over target", ylabel="gap over its start",
            yscale="log", xlim=(0.08, 1.0), ylim=(2.5e-3, 40),
        )  # fmt: skip
        axes[1].set(title="above the target: equalizing", xlabel="weight over target", xlim=(2.03, 1.0))
        plotting.label_lines(axes[1])
    with plotting.figure(
        1,
        3,
        width=13.8,
        height=5.2,
        caption="Trained paths to the target (5, 5) from below and above. With depth they bow away from the diagonal "
        "below the target, where the larger weight hurries on, and toward it above.",
    ) as (plane, axes):
        for ax, name in zip(axes, PLANE, strict=True):
            color = plotting.color_of(name)
            ax.plot([0, 10], [0, 10], color=plotting.color_of("muted"), linewidth=1.2, linestyle=":")
            for points in data["path"].sel(plane=name).values:
                ax.plot(*points.T, color=color, zorder=4)
                ax.plot(*points[0], "o", color=plotting.color_of("ink"), markersize=7, zorder=5, clip_on=False)
            ax.plot(TARGET, TARGET, "o", color=plotting.color_of("optimum"), markersize=13, zorder=6)
            model = next(m for m in MODELS if m.name == name)
            ax.set_title(f"{name}:  {model.formula}", color=color)
            set_axes(ax)
    return {"gap": curves, "plane": plane}


EXAMPLE = """
import jax
import numpy as np
import undertow as ut

jax.config.update("jax_enable_x64", True)
point = ut.problems.PointTarget([5.0, 5.0])
gap = ut.probes.Function("gap", lambda w: w[1] - w[0])
maps = ut.parameterizations
for phi in (maps.Identity(2), maps.Power(2, 2), maps.Exponential(2)):
    found = ut.train(point, phi, ut.dynamics.GradientFlow(), params=phi.lift([0.5, 0.5005]), probes=[gap])
    growth = np.max(found["gap"]) / found["gap"][0]
    print(f"{type(phi).__name__}: the gap of two weights grew {growth:.2f} fold")
# Identity: the gap of two weights grew 1.00 fold
# Power: the gap of two weights grew 2.78 fold
# Exponential: the gap of two weights grew 16.44 fold
"""

study = Study(
    id="primer-rich-get-richer",
    chapter="primer",
    title="Rich get richer below the target, equal above it",
    source=f"{SOURCE}: the discussion of the deep fields",
    claim="In a deep model larger weights move faster: below the target the larger of two weights pulls away, above "
    "it the larger one is pulled back faster and the two become equal.",
    standing="as published",
    run=_run,
    checks=(
        AtMost(
            "gap along the way: trained against closed form, largest relative difference",
            lambda data: float(abs(data["gap"] / data["gap_expected"] - 1).max(skipna=False)),
            bound=1e-3,
        ),
        AtMost("identity, below: the most that a gap grew", lambda data: _peak(data, "identity"), bound=1 + 1e-6),
        AtLeast("deep 2, below: the most that a gap grew", lambda data: _peak(data, "deep 2"), bound=2.5),
        AtLeast("deep 4, below: the most that a gap grew", lambda data: _peak(data, "deep 4"), bound=6.0),
        AtLeast("exponential, below: the most that a gap grew", lambda data: _peak(data, "exponential"), bound=15.0),
        AtMost(
            "above: gap left by the exponential over that of the identity, at 1.02 of the target",
            lambda data: (
                float(data["gap"].sel(side="above")[NAMES.index("exponential"), -1])
                / float(data["gap"].sel(side="above")[0, -1])
            ),
            bound=0.3,
        ),
        AtMost(
            "deep 2, below: the most that a lead grew in proportion to the weights",
            lambda data: _relative_lead(data, "deep 2"),
            bound=1 + 1e-6,
        ),
        Close(
            "exponential, below: the most that a lead grew in proportion to the weights (closed form 2.78)",
            lambda data: _relative_lead(data, "exponential"),
            expected=0.25 / 0.09,
            tolerance=0.02,
        ),
    ),
    plot=_plot,
    example=EXAMPLE,
    note="The primer says it in words. In numbers: a small gap between two weights changes in proportion to the "
    "speed w^(2 - 2/N) (S - w), so below the target S it grows until w = S (2 - 2/N) / (3 - 2/N), half of the target "
    "at depth 2 and two thirds for the exponential. In proportion to the weights themselves a lead grows only where "
    "N > 2: at depth 2 it shrinks all the way (seventh check). Anti-deep models do the opposite below the target.",
)
