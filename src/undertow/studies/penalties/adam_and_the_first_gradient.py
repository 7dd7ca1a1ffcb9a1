"""Why Adam at a large rate fails with the ratio penalty: one entry that its first gradient missed runs away."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from matplotlib.figure import Figure

from ... import plotting
from ...dynamics import GradientDescent, Stop
from ...linalg import axes_of
from ...optimizers import make
from ...parameterizations import Identity
from ...penalties import NuclearFrobeniusRatio
from ...problems import MatrixCompletion
from ...sweeps import sweep
from ...training import Trajectory, train
from .._base import AtLeast, AtMost, Budget, Close, Study
from .._shared import W
from ._shared import TINY, ZHAO, completion, tiny

SIZES = {"smoke": (30, 3, 350), "quick": (30, 3, 350), "full": (100, 5, 2000)}
"""Rows (as many columns), rank, entries."""
DRAWS = {"smoke": 2, "quick": 10, "full": 10}
STEPS = {"smoke": 10_000, "quick": 10_000, "full": 20_000}
WARM_UP = 1000
"""Steps: what Adam remembers of squares, 1 / (1 - b2)."""
RATE, WEIGHT = 0.02, 1e-3
AWAY = 2.0
"""A run has escaped if an unobserved entry is this many times the largest of the truth."""


class Case(NamedTuple):
    """How one run differs from Adam at ``RATE`` with optax's constants from a tiny start."""

    rate: Any = RATE
    weight: float = WEIGHT
    filled: bool = False
    options: tuple[tuple[str, float], ...] = ()


LARGE = "rate 0.02"
LIGHT, HEAVY = "weight 0.0001", "weight 0.1"
DECAY, WARM, SHORT, FILLED = "cosine decay", "warm-up", "b2 = 0.98", "zero-filled start"
EPSILON = "eps = 1e-6"


def _cases(steps: int) -> dict[str, Case]:
    return {
        "rate 0.01": Case(0.01),
        LARGE: Case(),
        LIGHT: Case(weight=1e-4),
        HEAVY: Case(weight=0.1),
        EPSILON: Case(options=(("eps", 1e-6),)),
        DECAY: Case(optax.cosine_decay_schedule(RATE, steps)),
        WARM: Case(optax.linear_schedule(0.0, RATE, WARM_UP)),
        SHORT: Case(options=(("b2", 1 - RATE),)),
        FILLED: Case(filled=True),
    }


def _run(budget: Budget, key: jax.Array, progress: Callable[[float, str], None]) -> xr.Dataset:
    size, rank, entries = SIZES[budget]
    steps = STEPS[budget]
    draws = [completion(jax.random.fold_in(key, i), size, rank, entries) for i in range(DRAWS[budget])]
    phi = Identity((size, size))
    starts = [phi.init(jax.random.fold_in(key, 1000 + i), tiny(size)) for i in range(len(draws))]
    cases = _cases(steps)
    samples = np.unique(np.append(np.geomspace(1, steps, 20).astype(int), steps - 1))

    def run(case: str, draw: int) -> Trajectory:
        chosen, problem = cases[case], draws[draw]
        filled = jnp.zeros((size, size)).at[axes_of(problem.indices)].set(problem.values)
        return train(
            problem,
            phi,
            GradientDescent(make("adam", chosen.rate, **dict(chosen.options))),
            params=filled if chosen.filled else starts[draw],
            penalty=NuclearFrobeniusRatio(chosen.weight),
            stop=Stop(loss=None, steps=steps),
            samples=samples,
            probes=[W],
        )

    found = sweep(run, over={"case": list(cases), "draw": range(len(draws))}, progress=progress)
    measured = [
        [_measure(w, problem, start) for w, problem, start in zip(of_case, draws, starts, strict=True)]
        for of_case in found["w"].values
    ]
    names = measured[0][0]
    dims = {name: ("case", "draw", "step") if name == "largest" else ("case", "draw") for name in names}
    return xr.Dataset(
        {name: (dims[name], [[run[name] for run in of_case] for of_case in measured]) for name in names},
        coords={"case": list(cases), "step": np.append(0, samples)},
        attrs={
            "problem": f"{size} x {size}, rank {rank}, {entries} entries at random, entries of size 1; "
            f"{len(draws)} draws; mean square over the entries; no depth",
            "adam": f"rate {RATE:g}, b1 0.9, b2 0.999, eps 1e-8, penalty's weight {WEIGHT:g}, {steps} steps, "
            "where the case does not say otherwise",
            "warm-up": f"rate from 0 in proportion to the step for {WARM_UP} steps",
            "start": f"Gaussian, entries of standard deviation {TINY:g} / sqrt(rows); or the data with zeros elsewhere",
            "escaped": f"an unobserved entry of {AWAY:g} times the largest entry of the truth",
            "precision": "float32",
        },
    )


def _measure(w: np.ndarray, problem: MatrixCompletion, start: jax.Array) -> dict[str, Any]:
    truth = np.asarray(problem.truth, float)
    hidden = np.ones(truth.shape, bool)
    hidden[tuple(np.asarray(axis) for axis in axes_of(problem.indices))] = False
    entries = w.astype(float)[:, hidden]
    step = entries[-1] - entries[-2]
    largest = np.abs(entries).max(axis=1) / np.abs(truth).max()
    slope = np.abs(np.asarray(jax.grad(NuclearFrobeniusRatio(1.0))(start)))[hidden]
    last = int(np.abs(entries[-1]).argmax())
    return {
        "largest": largest,
        "escaped": np.nan if np.isnan(largest[-1]) else float(largest[-1] > AWAY),
        "error": float(np.sqrt(np.mean((entries[-1] - truth[hidden]) ** 2))),
        # Of all unobserved entries, the share whose first gradient is smaller than that of the one that ends largest.
        "position": float(np.mean(slope < slope[last])),
        "first_step": float(np.sqrt(np.mean((entries[1] - entries[0]) ** 2))),
        # |W'|^2 - |W|^2 = 2 <W, D> + |D|^2: by how much the last step lengthens W outward, and because it is a step.
        "outward": float(2 * np.sum(entries[-2] * step)),
        "across": float(np.sum(step**2)),
        "ratio": _ratio(w[-1]) / _ratio(truth),
    }


def _ratio(w: np.ndarray) -> float:
    s = np.linalg.svd(w, compute_uv=False)
    return float(s.sum() / np.linalg.norm(s))


def _share(data: xr.Dataset, *cases: str) -> float:
    return float(data["escaped"].sel(case=list(cases)).mean(skipna=False))


def _of_escaped(data: xr.Dataset, values: xr.DataArray) -> float:
    """The median over runs at the large rate that escaped."""
    return float(np.median(values.sel(case=LARGE).values[data["escaped"].sel(case=LARGE).values == 1]))


def _plot(data: xr.Dataset) -> dict[str, Figure]:
    away, stays = plotting.color_of("optimum"), plotting.color_of("train")
    with plotting.figure(
        columns=3,
        width=15,
        height=4.8,
        caption="Left: the largest unobserved entry along Adam at rate 0.02, a line for each draw. Middle: of all "
        "unobserved entries, the share whose first gradient is smaller than that entry's; where the run escapes, next "
        "to none. Right: the share of draws that escape, by what is changed.",
    ) as (made, (left, middle, right)):
        chosen = data.sel(case=LARGE)
        for draw in range(data.sizes["draw"]):
            run = chosen.isel(draw=draw)
            left.loglog(
                data["step"][1:], run["largest"][1:], color=away if run["escaped"] == 1 else stays, linewidth=1.2
            )
        left.axhline(1, color=plotting.color_of("truth"), linestyle=":")
        left.set(xlabel="steps", ylabel="largest entry / that of the truth", title=LARGE)
        for escaped, color, label in ((False, stays, "stays"), (True, away, "escapes")):
            runs = chosen["escaped"].values == escaped
            middle.loglog(
                np.maximum(chosen["position"].values[runs], 1e-3),
                chosen["largest"].isel(step=-1).values[runs],
                "o",
                color=color,
                label=label,
            )
        middle.set(xlabel="share with a smaller first gradient", ylabel="largest entry at the end", title=LARGE)
        middle.legend()
        shares = data["escaped"].mean("draw")
        right.barh(np.arange(len(shares))[::-1], shares, color=away, height=0.6)
        right.set_yticks(np.arange(len(shares))[::-1], [str(case) for case in data["case"].values])
        right.set(xlabel="share that escapes", xlim=(0, 1))
    return {"escapes": made}


EXAMPLE = """
import jax.numpy as jnp
import numpy as np
import undertow as ut

truth = ut.datasets.low_rank_matrix(0, (16, 16), rank=1)
rows, columns = ut.datasets.observe(1, (16, 16), 110)
problem = ut.problems.MatrixCompletion((16, 16), rows, columns, truth[rows, columns], truth=truth)
rates = {"at once": 0.02, "warmed up": lambda step: 0.02 * jnp.minimum(step / 500, 1.0)}
for name, rate in rates.items():
    errors = []
    for key in range(3):
        run = ut.train(problem, ut.parameterizations.Identity((16, 16)),
                       ut.dynamics.GradientDescent(ut.optimizers.make("adam", rate)), key=key, scale=2e-4,
                       penalty=ut.penalties.NuclearFrobeniusRatio(1e-3), stop=ut.Stop(loss=None, steps=6500),
                       probes=[ut.probes.TestError()])
        errors.append(np.sqrt(run["test_error"][-1]))
    print(f"{name}: {np.sum(np.array(errors) > 1)} of 3 escape, least error {min(errors):.2f}")
# at once: 1 of 3 escape, least error 0.00
# warmed up: 0 of 3 escape, least error 0.00
"""

study = Study(
    id="adam-and-the-first-gradient",
    chapter="penalties",
    title="Why a large rate of Adam fails with the ratio penalty",
    source=f"Undertow, on the setting of {ZHAO}",
    claim="From a tiny start, Adam at a rate well above 1 - b2 can send one unobserved entry to infinity, where the "
    "ratio is 1 and so below that of the truth: the entry whose first gradient was smallest, which Adam then moves "
    "fastest. A warm-up, a shorter memory b2 or a start from the data prevents it; a smaller weight or a decaying rate "
    "does not.",
    standing="our own",
    run=_run,
    checks=(
        AtLeast("rate 0.02: share of draws that escape", lambda data: _share(data, LARGE), bound=0.25),
        AtMost(
            "warm-up, 1 - b2 = rate, or zero-filled start: share that escape",
            lambda data: _share(data, WARM, SHORT, FILLED),
            bound=0.05,
        ),
        AtMost(
            "warm-up, 1 - b2 = rate, or zero-filled start: largest error, median of draws",
            lambda data: float(data["error"].sel(case=[WARM, SHORT, FILLED]).median("draw", skipna=False).max()),
            bound=0.02,
        ),
        AtLeast(
            "weights a tenth and a hundred times as large, decaying rate: least share that escape",
            lambda data: min(_share(data, case) for case in (LIGHT, HEAVY, DECAY)),
            bound=0.25,
        ),
        AtMost(
            "escaped: share of unobserved entries with a smaller first gradient than the one that ran away, median",
            lambda data: _of_escaped(data, data["position"]),
            bound=0.05,
        ),
        AtMost("escaped: ratio over that of the truth, median", lambda data: _of_escaped(data, data["ratio"]), 1.0),
        AtMost(
            "escaped: growth of the norm for want of smaller steps, over growth outward, median",
            lambda data: _of_escaped(data, data["across"] / data["outward"]),
            bound=0.01,
        ),
        Close(
            "first step of an unobserved entry over the rate, root mean square, weights 0.0001 and 0.1",
            lambda data: float(data["first_step"].sel(case=[LIGHT, HEAVY]).mean()) / RATE,
            expected=1.0,
            tolerance=0.01,
        ),
    ),
    plot=_plot,
    example=EXAMPLE,
)
