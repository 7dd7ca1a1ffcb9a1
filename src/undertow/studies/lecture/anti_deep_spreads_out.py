"""Anti-deep maps spread out: the end point tends to least l-infinity norm as the depth tends to zero."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from scipy.optimize import linprog

from ... import plotting
from ...parameterizations import Power
from ...problems import LeastSquares
from ...theory import limit
from .._base import AtMost, Budget, Study
from .._shared import generator
from ._shared import largest_gap, train_from

SIZES = {"smoke": (2, 6), "quick": (4, 12), "full": (10, 40)}
DEPTHS = (2.0, 1.0, 0.5, 0.25, 0.125)
START = 1e-2


def _run(budget: Budget, key: jax.Array, progress: Callable[[float, str], None]) -> xr.Dataset:
    equations, unknowns = SIZES[budget]
    rng = generator(key)
    ends, predicted = np.zeros((2, len(DEPTHS), unknowns))
    with jax.enable_x64(True):
        # Positive coefficients and right sides keep every weight of every depth away from the boundary at zero.
        A = rng.uniform(0.5, 1.5, (equations, unknowns)) / np.sqrt(unknowns)
        problem = LeastSquares(A, A @ rng.uniform(0.8, 1.2, unknowns))
        for i, depth in enumerate(DEPTHS):
            progress(i / len(DEPTHS), f"depth {depth:g}")
            phi = Power(unknowns, depth)
            start = phi.lift(np.full(unknowns, START))
            ends[i] = train_from(problem, phi, [start], samples=2)["end"].values[0]
            predicted[i] = limit(problem, phi, jnp.asarray(start))
    return xr.Dataset(
        {
            "end": (("depth", "entry"), ends),
            "predicted": (("depth", "entry"), predicted),
            "least_largest": _least_largest(A, np.asarray(problem.b)),
        },
        coords={"depth": list(DEPTHS)},
        attrs={
            "problem": f"{equations} equations with positive coefficients, {unknowns} unknowns",
            "start": f"w = {START:g} in every entry",
            "flow": "automatic solver, relative tolerance 1e-9",
            "stop": "loss 1e-18",
            "precision": "float64",
        },
    )


def _least_largest(A: np.ndarray, b: np.ndarray) -> float:
    """The least l-infinity norm of a nonnegative solution, by a linear program."""
    count = A.shape[1]
    found = linprog(
        np.append(np.zeros(count), 1.0),
        A_ub=np.column_stack([np.eye(count), -np.ones(count)]),
        b_ub=np.zeros(count),
        A_eq=np.column_stack([A, np.zeros(len(A))]),
        b_eq=b,
    )
    return float(found.fun)


def _largest(data: xr.Dataset) -> xr.DataArray:
    """The l-infinity norm of each end point over the least one."""
    return abs(data["end"]).max("entry", skipna=False) / data["least_largest"]


def _plot(data: xr.Dataset) -> dict[str, Figure]:
    with plotting.figure(
        width=9.6,
        height=5.8,
        caption="The entries of the end point, largest first, for w = uᴺ: depth 2 ends sparse, anti-deep maps make "
        "the entries as equal as a perfect fit allows. Dashed: the least largest entry that any nonnegative solution "
        "has.",
    ) as (made, ax):
        ranks = np.arange(1, data.sizes["entry"] + 1)
        for depth in DEPTHS:
            values = np.sort(data["end"].sel(depth=depth).values)[::-1]
            color = plotting.color_of(depth)
            ax.plot(ranks, values, "o-", color=color, label="identity" if depth == 1 else f"$w = u^{{{depth:g}}}$")
        ax.axhline(float(data["least_largest"]), color=plotting.color_of("theory"), linestyle="--", linewidth=1.6)
        ax.set(xlabel="entry, by size", ylabel="weight", ylim=(0, None))
        ax.legend()
    return {"entries": made}


EXAMPLE = """
import jax
import numpy as np
import undertow as ut

jax.config.update("jax_enable_x64", True)
rng = np.random.default_rng(0)
A = rng.uniform(0.5, 1.5, (4, 12)) / np.sqrt(12)
problem = ut.problems.LeastSquares(A, A @ rng.uniform(0.8, 1.2, 12))
for depth in (2, 1, 0.25):
    phi = ut.parameterizations.Power(12, depth)  # w = u^depth
    start = phi.lift(np.full(12, 0.01))
    end = ut.train(problem, phi, ut.dynamics.GradientFlow(), params=start, stop=ut.Stop(loss=1e-14)).w
    print(f"depth {depth}: entries from {end.min():.2f} to {end.max():.2f}")
# depth 2: entries from 0.33 to 1.94
# depth 1: entries from 0.80 to 1.25
# depth 0.25: entries from 0.82 to 1.09
"""

study = Study(
    id="anti-deep-spreads-out",
    chapter="lecture",
    title="Anti-deep maps spread the weights out",
    source="D. Gissin, A Primer on Implicit Regularization, 2020; S. Gunasekar, J. Lee, D. Soudry, N. Srebro, "
    "Characterizing Implicit Bias in Terms of Optimization Geometry, ICML 2018",
    claim="For fractional powers w = uᴺ, N below 1, the end point has a small largest entry, the smaller N, the "
    "nearer to the least ℓ∞ norm.",
    standing="amended",
    published="In substance: fractional powers find the perfect fit of low ℓ∞ norm.",
    refutation=AtMost(
        "N below 1: excess of the largest entry over the least possible, largest",
        lambda data: float((_largest(data).where(data["depth"] < 1, drop=True) - 1).max(skipna=False)),
        bound=1e-3,
    ),
    run=_run,
    checks=(
        AtMost(
            "trained end points against predicted ones, largest relative distance",
            lambda data: largest_gap(data, "end", "predicted"),
            bound=1e-6,
        ),
        AtMost(
            "largest entry as N falls: greatest ratio of one to the one before",
            lambda data: float((_largest(data).values[1:] / _largest(data).values[:-1]).max()),
            bound=0.9999,
        ),
        AtMost(
            "N = 1/8: largest entry over the least possible",
            lambda data: float(_largest(data).sel(depth=0.125)),
            bound=1.1,
        ),
    ),
    plot=_plot,
    example=EXAMPLE,
    note="The problems are chosen such that the flow stays inside its domain. With right sides that ask for weights "
    "from 0.5 to 1.5 instead of 0.8 to 1.2, an anti-deep flow can reach a weight of zero before it fits, and nothing "
    "is predicted.",
)
