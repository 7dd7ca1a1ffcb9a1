"""Weight decay that was on for a while is as if the start had been smaller: predicted and trained."""

import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ... import plotting
from ...datasets import low_rank_matrix, observe
from ...dynamics import GradientFlow, Stop
from ...parameterizations import DeepMatrix, Parameterization, SignedPower
from ...penalties import L2, OnParameters
from ...probes import TestError
from ...problems import LeastSquares, MatrixCompletion, Problem
from ...theory import basis_pursuit, limit
from ...training import Trajectory, train
from .._base import AtLeast, AtMost, Budget, Study

DEPTHS = {"smoke": (2,), "quick": (2, 3, 4), "full": (2, 3, 4)}
RATES = (0.5, 5.0)
ALPHAS = {
    "smoke": (1.0, 0.1),
    "quick": (1.0, 0.55, 0.3, 0.17, 0.1, 0.055, 0.03),
    "full": (1.0, *(round(10 ** (-k / 8), 6) for k in range(1, 8)), 0.3, 0.1, 0.03, 0.01),
}
"""What e^-Lambda is, so that a decay of log(1 / alpha) takes the start from 1 to alpha."""
LINE = {"smoke": np.linspace(0, 4, 12), "quick": np.linspace(0, 4, 24), "full": np.linspace(0, 5, 60)}
KNOWN = {
    (0.3, 2): 1.24693, (0.3, 3): 1.17272, (0.3, 4): 1.07509,
    (0.1, 2): 1.14062, (0.1, 3): 1.02611, (0.1, 4): 1.00244,
    (0.03, 2): 1.05040, (0.03, 3): 1.00176, (0.03, 4): 1.0000229,
}  # fmt: skip
"""Ratios to the least l1 norm at (alpha, depth) of flows without decay, worked out when the facts were collected."""
MATRIX = {"smoke": (8, 1, 36), "quick": (10, 1, 50), "full": (20, 2, 200)}
"""Rows (as many columns), rank, entries."""
MATRIX_DEPTHS = {"smoke": (2,), "quick": (2, 3), "full": (2, 3)}
MATRIX_RATES = (0.03, 1.0)
SHRINKS = {"smoke": (0.0, 2.0), "quick": (0.0, 1.0, 2.0, 3.0, 4.0), "full": tuple(np.linspace(0, 5, 11))}
FLOW = GradientFlow("explicit", rtol=1e-11)
COARSE = GradientFlow(rtol=1e-4)
"""For the errors of matrices: their last phase is stiff."""


def _run(budget: Budget, key: jax.Array, progress: Callable[[float, str], None]) -> xr.Dataset:
    alphas, shrinks, depths, curve = ALPHAS[budget], SHRINKS[budget], DEPTHS[budget], LINE[budget]
    matrix_depths = MATRIX_DEPTHS[budget]
    rng = np.random.default_rng(0)
    X = rng.standard_normal((3, 8))
    with jax.enable_x64(True):
        problem = LeastSquares(X, X[:, 1] - 0.5 * X[:, 4])
        ends = np.zeros((len(depths), len(RATES), len(alphas), 8))
        predicted = np.zeros((len(depths), len(alphas), 8))
        line = np.zeros((len(depths), len(curve)))
        for i, depth in enumerate(depths):
            progress(0.6 * i / len(depths), f"u^{depth} - v^{depth}")
            phi, ones = SignedPower(8, depth), (jnp.ones(8), jnp.ones(8))
            predicted[i] = [limit(problem, phi, ones, decay=-np.log(alpha)) for alpha in alphas]
            line[i] = [np.abs(limit(problem, phi, ones, decay=decay)).sum() for decay in curve]
            for (j, rate), (k, alpha) in itertools.product(enumerate(RATES), enumerate(alphas)):
                ends[i, j, k] = _end(problem, phi, _decayed(problem, phi, ones, rate, -np.log(alpha)), 1e-21).w
        least = float(np.abs(basis_pursuit(problem)).sum())
        matrices = []
        for i, depth in enumerate(matrix_depths):
            progress(0.6 + 0.4 * i / len(matrix_depths), f"a matrix of depth {depth}")
            matrices.append(_matrix(depth, MATRIX[budget], shrinks, key))
    dims = ("matrix_depth", "matrix_rate", "shrink")
    size, rank, entries = MATRIX[budget]
    return xr.Dataset(
        {
            "end": (("depth", "rate", "alpha", "entry"), ends),
            "predicted": (("depth", "alpha", "entry"), predicted),
            "line": (("depth", "decay"), line / least),
            "least_l1": least,
            "imbalance": (dims, [found[0] for found in matrices]),
            "matrix_error": (dims, [found[1] for found in matrices]),
            "smaller_start_error": (("matrix_depth", "shrink"), [found[2] for found in matrices]),
        },
        coords={
            "depth": list(depths),
            "rate": list(RATES),
            "alpha": list(alphas),
            "decay": curve,
            "matrix_depth": list(matrix_depths),
            "matrix_rate": list(MATRIX_RATES),
            "shrink": list(shrinks),
        },
        attrs={
            "vectors": "3 equations, 8 unknowns (NumPy's generator, seed 0), solution with entries 1 and -1/2; from "
            "u = v = 1, decay at a constant rate for a while, then none, to loss 1e-21",
            "matrices": f"{size} x {size}, rank {rank}, {entries} entries, Gaussian start with entries of W of size 1; "
            "to loss 1e-7",
            "flow": "explicit solver, relative tolerance 1e-11; matrices after decay: automatic solver, 1e-4",
            "precision": "float64",
        },
    )


def _decayed(problem: Problem, phi: Parameterization, params: Any, rate: float, decay: float) -> Any:
    """Where the flow is after decay at this rate for a time of decay / rate."""
    if decay == 0:
        return params
    penalty, stop = OnParameters(L2(rate)), Stop(time=decay / rate, loss=None)
    return train(problem, phi, FLOW, params=params, penalty=penalty, stop=stop, samples=2).params


def _end(
    problem: Problem, phi: Parameterization, params: Any, loss: float, flow: GradientFlow = FLOW, probes: Any = ()
) -> Trajectory:
    return train(problem, phi, flow, params=params, stop=Stop(loss=loss), samples=2, probes=probes)


def _matrix(depth: int, setting: tuple[int, int, int], shrinks: tuple[float, ...], key: jax.Array) -> tuple[Any, ...]:
    """Imbalance over its start's, and errors: of flows that had decay, and of those from starts that are smaller."""
    size, rank, entries = setting
    truth_key, seen_key, start_key = jax.random.split(key, 3)
    truth = low_rank_matrix(truth_key, (size, size), rank)
    rows, columns = observe(seen_key, (size, size), entries)
    problem = MatrixCompletion((size, size), rows, columns, truth[rows, columns], truth=truth)
    phi = DeepMatrix((size, size), depth)
    start = phi.init(start_key, 1.0)
    test = TestError()

    def error(params: Any) -> float:
        return float(np.sqrt(_end(problem, phi, params, 1e-7, COARSE, [test])[test.name][-1]))

    imbalance, errors = np.zeros((2, len(MATRIX_RATES), len(shrinks)))
    for (j, rate), (k, decay) in itertools.product(enumerate(MATRIX_RATES), enumerate(shrinks)):
        params = _decayed(problem, phi, start, rate, decay)
        imbalance[j, k] = _imbalance_over(params, start, decay)
        errors[j, k] = error(params)
    smaller = [error(jax.tree.map(lambda x, decay=decay: np.exp(-decay) * x, start)) for decay in shrinks]
    return imbalance, errors, smaller


def _imbalance_over(params: Any, start: Any, decay: float) -> float:
    """The most that W_{j+1}^T W_{j+1} - W_j W_j^T is off its start's times e^(-2 decay), relative to the latter."""
    off = []
    for (a, b), (a0, b0) in zip(itertools.pairwise(params), itertools.pairwise(start), strict=True):
        expected = np.exp(-2 * decay) * (b0.T @ b0 - a0 @ a0.T)
        off.append(float(jnp.linalg.norm(b.T @ b - a @ a.T - expected) / jnp.linalg.norm(expected)))
    return max(off)


def _ratio(data: xr.Dataset, name: str = "end") -> xr.DataArray:
    """The l1 norm over the least one."""
    return abs(data[name]).sum("entry", skipna=False) / data["least_l1"]


def _known_gap(data: xr.Dataset) -> float:
    """The largest difference to a known ratio, of any rate, in units of its last digit."""
    ratio = _ratio(data)
    found = []
    for (alpha, depth), value in KNOWN.items():
        if alpha in data["alpha"].values and depth in data["depth"].values:
            digit = 1e-7 if depth == 4 and alpha == 0.03 else 1e-5
            found.append(float(abs(ratio.sel(alpha=alpha, depth=depth) - value).max(skipna=False)) / digit)
    return max(found)


def _gain(data: xr.Dataset) -> float:
    """Error after the most decay, at the fast rate, over that without, the worse depth."""
    errors = data["matrix_error"].sel(matrix_rate=max(MATRIX_RATES))
    return float((errors.isel(shrink=-1) / errors.isel(shrink=0)).max(skipna=False))


def _plot(data: xr.Dataset) -> dict[str, Figure]:
    with plotting.figure(
        columns=2,
        width=13.0,
        height=5.4,
        caption="Left: the $\\ell_1$ norm of the end over the least one, against the integral of the rate of decay; "
        "lines are predicted, dots trained with decay at a rate of 0.5 (open) and of 5 (filled) for a while, then "
        "none. Right: matrices, error at unobserved entries: after decay that is fast (filled) or slow (open), and "
        "from a start that is smaller by as much (lines). There the integral alone does not decide.",
    ) as (made, axes):
        for depth in data["depth"].values:
            color, chosen = plotting.color_of(int(depth)), _ratio(data).sel(depth=depth)
            axes[0].plot(data["decay"], data["line"].sel(depth=depth), color=color, label=f"depth {depth}")
            for rate, fill in zip(data["rate"].values, ("none", color), strict=True):
                size = 12 if fill == "none" else 6
                dots = {"color": color, "markerfacecolor": fill, "markersize": size}
                axes[0].plot(-np.log(data["alpha"]), chosen.sel(rate=rate), "o", **dots)
        for depth in data["matrix_depth"].values:
            color, chosen = plotting.color_of(int(depth)), data.sel(matrix_depth=depth)
            axes[1].semilogy(data["shrink"], chosen["smaller_start_error"], color=color, label=f"depth {depth}")
            for rate, fill in zip(data["matrix_rate"].values, ("none", color), strict=True):
                dots = {"color": color, "markerfacecolor": fill}
                axes[1].semilogy(data["shrink"], chosen["matrix_error"].sel(matrix_rate=rate), "o", **dots)
        axes[0].set(xlabel="integral of the rate of decay", ylabel="$\\ell_1$ norm over the least", title="vectors")
        axes[1].set(xlabel="integral of the rate of decay", ylabel="error", title="matrix completion")
        for ax in axes:
            ax.legend()
    return {"decay": made}


EXAMPLE = """
import jax
import jax.numpy as jnp
import numpy as np
import undertow as ut

jax.config.update("jax_enable_x64", True)
X = np.random.default_rng(0).standard_normal((3, 8))
problem = ut.problems.LeastSquares(X, X[:, 1] - 0.5 * X[:, 4])
phi = ut.parameterizations.SignedPower(8, 2)  # w = u^2 - v^2
flow = ut.dynamics.GradientFlow("explicit", rtol=1e-11)
least = np.abs(ut.theory.basis_pursuit(problem)).sum()
ones = (jnp.ones(8), jnp.ones(8))
decay = ut.penalties.OnParameters(ut.penalties.L2(0.5))  # at a rate of 0.5, until its integral is log 10
before = ut.train(problem, phi, flow, params=ones, penalty=decay, stop=ut.Stop(time=2 * np.log(10), loss=None))
w = ut.train(problem, phi, flow, params=before.params, stop=ut.Stop(loss=1e-21)).w
predicted = ut.theory.limit(problem, phi, ones, decay=np.log(10))
print(f"trained {np.abs(w).sum() / least:.5f}, predicted {np.abs(predicted).sum() / least:.5f}")
print(f"without decay {np.abs(ut.theory.limit(problem, phi, ones)).sum() / least:.5f}")
# trained 1.14062, predicted 1.14062
# without decay 1.25764
"""

study = Study(
    id="weight-decay-and-the-potential",
    chapter="penalties",
    title="Weight decay moves the implied potential",
    source="For products of two factors: T. Jacobs, R. Burkholz, Mask in the Mirror: Implicit Sparsification, ICLR "
    "2025. Known ratios without decay: the instance of B. Woodworth et al., Kernel and Rich Regimes in "
    "Overparametrized Models, COLT 2020, Section 4, worked out anew",
    claim="After weight decay whose rate has the integral Λ, and then none, the flow of u^D - v^D ends where that "
    "without decay ends from a start e^-Λ times as large, whatever the rate; of a deep matrix, what is conserved "
    "without decay shrinks by e^-2Λ.",
    standing="our own",
    run=_run,
    checks=(
        AtMost(
            "largest difference of a trained end to the predicted one, all depths and rates",
            lambda data: float(abs(data["end"] - data["predicted"]).max(skipna=False)),
            bound=1e-8,
        ),
        AtMost("difference to the known ratios, in units of their last digit", _known_gap, bound=0.51),
        AtLeast(
            "how far decay moves the ratio, the least over the depths",
            lambda data: float((_ratio(data).isel(alpha=0) - _ratio(data).isel(alpha=-1)).min(skipna=False)),
            bound=0.1,
        ),
        AtMost(
            "matrices: imbalance of the factors to its start's times e^-2Λ, relative",
            lambda data: float(data["imbalance"].max(skipna=False)),
            bound=1e-6,
        ),
        AtMost("matrices: error after the most decay, fast, over that without, worse depth", _gain, bound=0.7),
    ),
    plot=_plot,
    example=EXAMPLE,
    note="With p = e^-Λ q, q follows the flow without decay, its gradient weighted by e^((2 - D)Λ), which stays in "
    "the row space of X: the set in which it ends is the same. The gradient of a matrix does not commute with itself "
    "from one time to another, so that for matrices only the imbalance is known, and where the flow ends depends on "
    "when the decay came: decay that is over before the entries are fit is as good as a smaller start, and decay "
    "that is so slow that they are fit meanwhile is not.",
)
