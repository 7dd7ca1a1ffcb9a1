"""How singular values move along gradient flow of deep matrices: the theorem, evaluated beside what is measured."""

import itertools
import math
from collections.abc import Callable

import jax
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ... import plotting
from ...datasets import observe
from ...dynamics import GradientFlow, Stop
from ...parameterizations import DeepMatrix
from ...probes import Balancedness, Function, Loss, SingularValues, SingularVectorAlignment, TestError
from ...problems import MatrixCompletion
from ...theory import singular_value_velocity
from ...training import Trajectory, train
from .._base import AtLeast, AtMost, Budget, Study
from .._shared import DEEP_MATRIX_FACTORIZATION

# Size, rank, observed entries: 2.7 for each number that a matrix of that rank is made of. With 2 it hangs on the draw
# whether the smallest singular value can be told from those the truth has not, at any depth.
SETTINGS = {"smoke": (20, 2, 205), "quick": (50, 3, 800), "full": (100, 5, 2680)}
DEPTHS = (1, 2, 3)
RATIO = 2
"""Of each singular value of the truth to the next. Drawn at random they may all but coincide, and then no two of them
are learned one after the other, from any start that a float can hold."""
BEGUN = 0.1
"""Share of its way at which a singular value has begun to be learned, and that another may lack to be learned.

Of two coordinates of depth 3 at a ratio of 2, one runs ahead of the other by this much from starts up to 0.014 of the
smaller one (``theory.incremental_threshold``). SIZE is a hundredth of that or so, to leave room for what the unseen
entries do."""
SIZE = 1e-3
"""a: W(0) = a / sqrt(n) times sqrt(n) times the identity, that is a times the identity."""
LOSS, RTOL, SAMPLES = 1e-4, 1e-9, 150
APART = 1e-4
"""Half the distance of two samples whose difference is the measured velocity, over their time."""


def _run(budget: Budget, key: jax.Array, progress: Callable[[float, str], None]) -> xr.Dataset:
    size, rank, count = SETTINGS[budget]
    parts = []
    with jax.enable_x64(True):
        problem, truth = _instance(size, rank, count, key)
        for i, depth in enumerate(DEPTHS):
            progress(i / len(DEPTHS), f"depth {depth}")
            phi = DeepMatrix((size, size), depth, initialization="identity")
            params = phi.init(key, SIZE / math.sqrt(size))
            course = _follow(problem, phi, params, None, loss=LOSS)
            parts.append(_record(problem, phi, params, course, 2 * rank).expand_dims(depth=[depth]))
    return xr.concat(parts, "depth", join="exact").assign_attrs(
        {
            "matrix": f"{size} x {size}, rank {rank}, entries of root mean square 1",
            "singular values": f"each {RATIO} times the next",
            "observed entries": count,
            "start": f"every factor a multiple of the identity, W(0) = {SIZE:g} times the identity",
            "flow": f"explicit, relative tolerance {RTOL:g}",
            "stop": f"mean square over observed entries {LOSS:g}",
            "measured velocity": f"difference of samples {APART:g} of their time before and after",
            "precision": "float64",
            "true_singular_values": np.linalg.svd(truth, compute_uv=False)[:rank],
        }
    )


def _instance(size: int, rank: int, count: int, key: jax.Array) -> tuple[MatrixCompletion, np.ndarray]:
    """Entries of a matrix whose singular values fall by ``RATIO``, with singular vectors drawn at random."""
    left_key, right_key, seen_key = jax.random.split(key, 3)
    u, v = (np.linalg.qr(np.asarray(jax.random.normal(k, (size, rank))))[0] for k in (left_key, right_key))
    sigma = float(RATIO) ** -np.arange(rank)
    truth = size / np.linalg.norm(sigma) * (u * sigma) @ v.T
    rows, columns = observe(seen_key, (size, size), count)
    return MatrixCompletion((size, size), rows, columns, truth[rows, columns], truth=truth), truth


def _follow(problem: MatrixCompletion, phi: DeepMatrix, params, times, **stop: float) -> Trajectory:
    probes = [
        SingularValues(),
        SingularVectorAlignment(),
        TestError(),
        Loss(),
        Function("w", lambda w: w),
        *([Balancedness()] if phi.depth > 1 else []),
    ]
    return train(
        problem,
        phi,
        GradientFlow("explicit", rtol=RTOL),
        params=params,
        samples=SAMPLES if times is None else times,
        stop=Stop(**({"loss": None} | stop), steps=1_000_000),
        probes=probes,
    )


def _record(problem: MatrixCompletion, phi: DeepMatrix, params, course: Trajectory, shown: int) -> xr.Dataset:
    end = course.times[-1]
    middle = np.geomspace(end / 100, end, SAMPLES) / (1 + APART)
    times = (middle[:, None] * (1 + APART * np.array([-1, 0, 1]))).ravel()
    found = _follow(problem, phi, params, times, time=float(times[-1]))

    def at(name: str) -> np.ndarray:
        # Without the start, which is sampled always.
        return np.asarray(found[name])[1:].reshape(SAMPLES, 3, -1)[:, :, :shown]

    sigma = at("singular_values")
    matrices = np.asarray(found["w"])[1:].reshape(SAMPLES, 3, *phi.shape)[:, 1]
    return xr.Dataset(
        {
            "time": ("sample", middle),
            "singular_values": (("sample", "order"), sigma[:, 1]),
            "velocity": (("sample", "order"), (sigma[:, 2] - sigma[:, 0]) / (2 * APART * middle)[:, None]),
            "velocity_expected": (
                ("sample", "order"),
                np.stack([singular_value_velocity(problem, w, phi.depth)[:shown] for w in matrices]),
            ),
            "alignment": (("sample", "order"), at("singular_vector_alignment")[:, 1]),
            "test_error": ("sample", at("test_error")[:, 1, 0]),
            "loss": ("sample", at("loss")[:, 1, 0]),
            "balancedness": float(np.max(found["balancedness"])) if phi.depth > 1 else 0.0,
            "converged": float(course.status == "converged"),
        }
    )


def _gap(data: xr.Dataset) -> float:
    """Largest distance of the two sides of the theorem, over the largest velocity at that depth."""
    distance = abs(data["velocity"] - data["velocity_expected"]).max(["sample", "order"], skipna=False)
    return float((distance / abs(data["velocity_expected"]).max(["sample", "order"])).max(skipna=False))


def _tail(data: xr.Dataset, depth: int) -> float:
    """The largest singular value beyond the rank over the smallest within, at the end."""
    rank = data.sizes["order"] // 2
    last = data["singular_values"].sel(depth=depth)[-1]
    return float(last[rank] / last[rank - 1])


def _least_lead(data: xr.Dataset, depth: int) -> float:
    """How far each singular value has come, at least, when the next one has begun."""
    rank = data.sizes["order"] // 2
    values = data["singular_values"].sel(depth=depth).values[:, :rank]
    begun = [int(np.argmax(values[:, k] >= BEGUN * values[-1, k])) for k in range(rank)]
    return min(float(values[begun[k + 1], k] / values[-1, k]) for k in range(rank - 1))


def _plot(data: xr.Dataset) -> dict[str, Figure]:
    rank = data.sizes["order"] // 2
    with plotting.figure(
        1,
        3,
        width=14.0,
        height=5.2,
        caption=f"The {2 * rank} largest singular values over time, from the same small start. Without depth they rise "
        "together, also those the truth has not; with depth one after the other, and those beyond the rank stay small. "
        "Dotted: the truth.",
    ) as (values, axes):
        for ax, depth in zip(axes, data["depth"].values, strict=True):
            chosen = data.sel(depth=depth)
            time = chosen["time"] / chosen["time"][-1]
            for k in range(2 * rank):
                ax.plot(time, chosen["singular_values"][:, k], color=plotting.color_of(int(depth)))
            for value in data.attrs["true_singular_values"]:
                ax.axhline(float(value), color=plotting.color_of("truth"), linewidth=1.0, linestyle=":")
            ax.set(title=f"depth {depth}", xlabel="time over that of the end", ylim=(0, None))
        axes[0].set_ylabel("singular values")
    with plotting.figure(
        2,
        2,
        width=13.4,
        height=9.6,
        caption="Above: the velocity of each singular value, measured (dots) and by the theorem (lines). Below: how "
        "well the singular vectors of the largest fit those of the gradient; 1 is a pair of its singular vectors.",
    ) as (theorem, axes):
        for column, depth in zip(axes.T, (2, 3), strict=True):
            chosen = data.sel(depth=depth)
            time = chosen["time"] / chosen["time"][-1]
            for k, shade in zip(range(rank), itertools.cycle((2, 3, 4, 6, 16)), strict=False):
                color = plotting.color_of(float(shade))
                label = f"$\\sigma_{k + 1}$"
                column[0].plot(time, chosen["velocity_expected"][:, k], color=color, label=label)
                column[0].plot(time[::3], chosen["velocity"][::3, k], "o", color=color, markersize=5)
                column[1].plot(time, chosen["alignment"][:, k], color=color, label=label)
            column[0].set(title=f"depth {depth}", xscale="log")
            column[1].set(xlabel="time over that of the end", xscale="log", ylim=(-0.55, 1.05))
        axes[0, 0].set_ylabel("velocity")
        axes[1, 0].set_ylabel("alignment")
        plotting.label_lines(axes.flat)
    return {"singular-values": values, "theorem": theorem}


EXAMPLE = """
import jax
import numpy as np
import undertow as ut

jax.config.update("jax_enable_x64", True)
truth = np.asarray(ut.datasets.low_rank_matrix(0, (20, 20), rank=2))
rows, columns = ut.datasets.observe(1, (20, 20), 220)
problem = ut.problems.MatrixCompletion((20, 20), rows, columns, truth[rows, columns], truth=truth)
point = truth / 2 + 0.1 * np.eye(20)  # any point, on a balanced way
u, _, vt = np.linalg.svd(point)
for depth in (1, 3):
    phi, probes = ut.parameterizations.DeepMatrix((20, 20), depth), [ut.probes.SingularValues(4), ut.probes.TestError()]
    found = ut.train(problem, phi, ut.dynamics.GradientFlow(), key=2, scale=1e-3, probes=probes)
    values, error = found["singular_values"][-1], found["test_error"][-1]
    moves = u[:, 0] @ ut.velocity(problem, phi, phi.lift(point)) @ vt[0]
    theorem = ut.theory.singular_value_velocity(problem, point, depth)[0]
    print(f"depth {depth}:", values.round(1), f"test error {error:.3f}, first moves {moves:.3f}, theorem {theorem:.3f}")
# depth 1: [10.1  7.8  4.6  3.4] test error 0.956, first moves 0.040, theorem 0.040
# depth 3: [16.1 11.8  0.   0. ] test error 0.000, first moves 1.968, theorem 1.968
"""

study = Study(
    id="singular-value-dynamics",
    chapter="factorization",
    title="Depth lets large singular values run ahead",
    source=f"{DEEP_MATRIX_FACTORIZATION} (Theorem 3, Lemma 2, Figure 3)",
    claim="Along the flow of a balanced deep matrix every singular value moves at -N σ^(2-2/N) ⟨∇ℓ(W), u vᵀ⟩, so that "
    "with depth the large ones run ahead and few are learned, one after the other.",
    standing="as published",
    run=_run,
    checks=(
        AtLeast("every run reached the loss", lambda data: float(data["converged"].min(skipna=False)), bound=1.0),
        AtMost("measured velocities against the theorem, largest gap over the largest velocity", _gap, bound=1e-4),
        AtMost(
            "balance of the factors, largest departure",
            lambda data: float(data["balancedness"].max(skipna=False)),
            bound=1e-6,
        ),
        AtLeast("depth 1: first singular value beyond the rank over the last within", lambda d: _tail(d, 1), 0.5),
        AtMost("depth 3: first singular value beyond the rank over the last within", lambda d: _tail(d, 3), 0.05),
        AtLeast("depth 3: share of its way each has gone when the next begins", lambda d: _least_lead(d, 3), 1 - BEGUN),
        AtLeast(
            "least test error of depth 1 over that of depth 2",
            lambda data: _ratio_of_errors(data, 1, 2),
            bound=3.0,
        ),
        AtLeast(
            "least test error of depth 2 over that of depth 3",
            lambda data: _ratio_of_errors(data, 2, 3),
            bound=3.0,
        ),
    ),
    plot=_plot,
    example=EXAMPLE,
)


def _ratio_of_errors(data: xr.Dataset, shallow: int, deep: int) -> float:
    least = data["test_error"].min("sample", skipna=False)
    return float(least.sel(depth=shallow) / least.sel(depth=deep))
