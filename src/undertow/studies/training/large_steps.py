"""The exact end of descent on a diagonal network, at any step size and in any batches."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ... import plotting
from ...dynamics import GradientDescent, Stop
from ...optimizers import make
from ...parameterizations import SignedPower
from ...problems import LeastSquares
from ...theory import discrete_limit, limit
from ...training import train
from .._base import AtLeast, AtMost, Budget, Study
from .._shared import W, generator
from ._shared import sparse_truth

SHAPE, ALPHA = (20, 30), 0.1
RATES = {"smoke": (0.5, 0.6), "quick": (0.1, 0.3, 0.5, 0.6), "full": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)}
"""In the source's parameters, w = (w_+^2 - w_-^2) / 4; u = w_+ / 2 moves as far at half the rate."""
STOCHASTIC = 0.1
RUNS = {"smoke": 1, "quick": 3, "full": 30}
"""Runs of stochastic descent, a row a step, each in an order of its own."""
RECORDED = {20: 5_000.0, 10: 1_500.0}
"""Steps times rate up to which gradients are recorded, by equations. Later ones are tiny, and their squares count."""
LOSS = 1e-20
"""Residuals of 1e-10, over the least singular value of the equations, 1: so far the end may be off."""
OTHER = (10, 30)
FLOW_IS_OFF = {0.1: 1.3e-3, 0.3: 3.5e-3, 0.5: 5.2e-3, 0.6: 6.0e-3}
"""By how much the flow's own limit misses descent's, worked out when the facts were collected."""


def _run(budget: Budget, key: jax.Array, progress: Callable[[float, str], None]) -> xr.Dataset:
    X = np.random.default_rng(0).standard_normal(SHAPE)
    other = generator(key).standard_normal(OTHER)
    phi, start = SignedPower(SHAPE[1], 2), (np.full(SHAPE[1], ALPHA / np.sqrt(2)),) * 2
    rates, runs, truth = RATES[budget], RUNS[budget], sparse_truth(SHAPE[1])
    with jax.enable_x64(True):
        known, random = (LeastSquares(x, x @ truth, "half_mean") for x in (X, other))
        flows = [limit(problem, phi, start) for problem in (known, random)]
        plain, stochastic = [], []
        for i, rate in enumerate(rates):
            progress(0.4 * i / len(rates), f"descent at a rate of {rate}")
            plain.append(_end_and_prediction(known, phi, start, rate, None, key))
        for i in range(runs):
            progress(0.4 + 0.6 * i / (runs + 1), "stochastic descent")
            stochastic.append(_end_and_prediction(known, phi, start, STOCHASTIC, 1, jax.random.fold_in(key, i)))
        progress(0.9, "another problem")
        drawn = [_end_and_prediction(random, phi, start, rate, size, key) for rate, size in ((0.2, None), (0.05, 1))]
    return xr.Dataset(
        {
            "truth": ("entry", truth),
            "flow": ("entry", flows[0]),
            "plain": (("rate", "what", "entry"), plain),
            "stochastic": (("run", "what", "entry"), stochastic),
            "random": (("descent", "what", "entry"), drawn),
            "random_flow": ("entry", flows[1]),
        },
        coords={
            "rate": list(rates),
            "what": ["trained", "predicted", "without shift"],
            "descent": ["plain", "stochastic"],
        },
        attrs={
            "problem": f"{SHAPE[0]} equations, {SHAPE[1]} unknowns (NumPy's generator, seed 0); truth 1, -1, 1/2, 0...",
            "random": f"{OTHER[0]} equations of the study's key; plain at a rate of 0.2, stochastic at 0.05",
            "start": f"w_+ = w_- = sqrt(2) {ALPHA}",
            "stochastic": f"one row a step, each row once an epoch, rate {STOCHASTIC}",
            "stop": f"loss {LOSS:g}",
            "precision": "float64",
        },
    )


def _end_and_prediction(
    problem: LeastSquares, phi: SignedPower, start: Any, rate: float, batch_size: int | None, key: jax.Array
) -> np.ndarray:
    """Where descent ends, and what its steps say of that: with the reference point moved, and without."""
    dynamics = GradientDescent(make("sgd", rate / 2), batch_size)
    params = tuple(map(jnp.asarray, start))
    run = train(
        problem,
        phi,
        dynamics,
        params=params,
        key=key,
        stop=Stop(loss=LOSS),
        samples=np.arange(1, int(RECORDED[problem.rows] / rate)),
        probes=[W],
    )
    w = jnp.asarray(run["w"][:-1])
    positions, counts = dynamics.batches(problem, key, len(w))
    seen = jax.vmap(lambda w, *batch: jax.grad(problem.part(*batch).loss)(w))(w, positions, counts)
    predicted = discrete_limit(problem, phi, start, np.asarray(seen), rate / 2)
    # The same scale of the entropy, from a reference point of zero: u_0^2 e^(-sum q) made alike for u and v.
    x = rate * np.asarray(seen)
    common = np.sum(2 * np.log(np.abs(1 - x)) + 2 * np.log(np.abs(1 + x)), axis=0) / 4
    unshifted = limit(problem, phi, tuple(s * np.exp(common) for s in start))
    return np.stack(
        [np.asarray(run.w) if run.status == "converged" else np.full(len(predicted), np.nan), predicted, unshifted]
    )


def _off(name: str, what: str = "predicted", *, least: bool = False) -> Callable[[xr.Dataset], float]:
    """The largest difference of an entry to what was trained, of the worst run or of the best."""

    def measure(data: xr.Dataset) -> float:
        off = abs(data[name].sel(what="trained") - data[name].sel(what=what)).max("entry", skipna=False)
        return float(off.min(skipna=False) if least else off.max(skipna=False))

    return measure


def _known_gap(data: xr.Dataset) -> float:
    """The largest difference to what is known of the flow's error, in units of its last digit."""
    off = abs(data["plain"].sel(what="trained") - data["flow"]).max("entry", skipna=False)
    known = [float(off.sel(rate=rate)) - value for rate, value in FLOW_IS_OFF.items() if rate in data["rate"].values]
    return max(map(abs, known)) / 1e-4


def _distance(data: xr.Dataset, w: xr.DataArray) -> xr.DataArray:
    return ((w - data["truth"]) ** 2).sum("entry", skipna=False) ** 0.5


def _farther(data: xr.Dataset) -> float:
    """Plain descent at the largest rate over the flow, in distance to the truth."""
    plain = data["plain"].sel(rate=0.6, what="trained")
    return float(_distance(data, plain) / _distance(data, data["flow"]))


def _nearer(data: xr.Dataset) -> float:
    """Stochastic descent over the flow, the mean over the runs."""
    found = _distance(data, data["stochastic"].sel(what="trained")).mean(skipna=False)
    return float(found / _distance(data, data["flow"]))


def _plot(data: xr.Dataset) -> dict[str, Figure]:
    with plotting.figure(
        columns=2,
        width=12.0,
        height=4.8,
        caption="Left: the largest error of an entry of three predictions: that of the steps (filled), the same "
        "without the shifted reference point (open), and the limit of the flow (squares). Right: distance to the "
        "sparse truth; dots at the same place are runs of stochastic descent in other orders.",
    ) as (made, axes):
        plain, stochastic = data["plain"], data["stochastic"]
        for rates, found in ((data["rate"], plain), (np.full(data.sizes["run"], STOCHASTIC), stochastic)):
            color = plotting.color_of("theory" if found is plain else "baseline")
            kind = "descent" if found is plain else "stochastic"
            trained = found.sel(what="trained")
            for what, fill in (("predicted", color), ("without shift", "none")):
                off = abs(trained - found.sel(what=what)).max("entry")
                axes[0].semilogy(rates, off, "o", color=color, markerfacecolor=fill, label=f"{kind}, {what}")
            axes[0].semilogy(rates, abs(trained - data["flow"]).max("entry"), "s", color=color, label=f"{kind}, flow")
            axes[1].plot(rates, _distance(data, trained), "o", color=color, label=kind)
        axes[1].axhline(float(_distance(data, data["flow"])), color=plotting.color_of("muted"), label="flow")
        axes[0].set(xlabel="rate", ylabel="largest error of an entry")
        axes[1].set(xlabel="rate", ylabel="distance to the truth")
        for ax in axes:
            ax.legend()
    return {"ends": made}


EXAMPLE = """
import jax
import jax.numpy as jnp
import numpy as np
import undertow as ut

jax.config.update("jax_enable_x64", True)
X = np.random.default_rng(0).standard_normal((20, 30))
problem = ut.problems.LeastSquares(X, X[:, 0] - X[:, 1] + X[:, 2] / 2, "half_mean")
phi, start = ut.parameterizations.SignedPower(30, 2), (jnp.full(30, 0.1 / np.sqrt(2)),) * 2
descent = ut.dynamics.GradientDescent(ut.optimizers.make("sgd", 0.3))
watch = [ut.probes.Function("w", lambda w: w)]
stop = ut.Stop(loss=1e-28)
run = ut.train(problem, phi, descent, params=start, stop=stop, samples=np.arange(1, 2000), probes=watch)
seen = jax.vmap(jax.grad(problem.loss))(jnp.asarray(run["w"][:-1]))
predicted = ut.theory.discrete_limit(problem, phi, start, seen, 0.3)
flow = ut.theory.limit(problem, phi, start)
print(f"{np.abs(run.w - predicted).max() < 1e-10}, the flow is off by {np.abs(run.w - flow).max():.1e}")
# True, the flow is off by 6.0e-03
"""

study = Study(
    id="large-steps",
    chapter="training",
    title="Where large steps end, exactly",
    source="M. Even, S. Pesme, S. Gunasekar, N. Flammarion, (S)GD over Diagonal Linear Networks: Implicit "
    "Regularisation, Large Stepsizes and Edge of Stability, NeurIPS 2023, Theorem 1 and Figure 1",
    claim="Plain and stochastic descent on a diagonal network end, at every step size at which they converge, at the "
    "Bregman projection that their gradients define; large stochastic steps end nearer to a sparse truth than the "
    "flow, large plain steps farther.",
    standing="as published",
    run=_run,
    checks=(
        AtMost("plain: largest error of the prediction, all rates", _off("plain"), bound=1e-8),
        AtMost("stochastic: largest error of the prediction, all runs", _off("stochastic"), bound=1e-8),
        AtMost("another problem: largest error of the prediction", _off("random"), bound=1e-8),
        AtLeast(
            "error without the shifted reference point, the least",
            _off("stochastic", "without shift", least=True),
            1e-8,
        ),
        AtMost("error of the flow's limit against known ones, in units of their last digit", _known_gap, bound=0.51),
        AtMost("stochastic: distance to the truth over the flow's, mean of the runs", _nearer, bound=0.95),
        AtLeast("plain at the largest rate: distance to the truth over the flow's", _farther, bound=1.02),
    ),
    plot=_plot,
    example=EXAMPLE,
    note="The prediction uses the gradients of the run, so that it says which bias the steps amount to, and not "
    "beforehand where they lead. The bound on its error is that of the loss at which runs end. The shift of the "
    "reference point is of third order in the step; without it a prediction is off by 2e-4 in an entry at a rate of "
    "0.1 and by 1e-2 at 0.6.",
)
