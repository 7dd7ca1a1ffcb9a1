"""Weight decay after fitting: the test error falls when e^(-decay) has made the start small, at a time of log alpha."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ... import plotting
from ...dynamics import GradientFlow, Stop
from ...parameterizations import SignedPower
from ...penalties import L2, OnParameters
from ...problems import LeastSquares
from ...theory import limit
from ...training import train
from .._base import AtLeast, AtMost, Budget, Close, Study
from .._shared import W, generator
from ._shared import sparse_truth

SHAPE, RATE = (20, 30), 1e-4
ALPHAS = {
    "smoke": (10.0, 100.0),
    "quick": (10.0, 30.0, 100.0, 300.0),
    "full": (10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0),
}
PROBLEMS = {"smoke": 1, "quick": 3, "full": 10}
END, EVERY = 5.0, 0.02
"""How long after log alpha a run goes on, and how often it is looked at; times the rate of decay."""
PREDICTED = np.arange(-1.0, 5.0, 0.5)
"""Times after log alpha at which the error is predicted."""
SWITCH = 10.0, 0.1
"""Decay from the one size to the other, and then none: where it ends is known exactly."""


def _run(budget: Budget, key: jax.Array, progress: Callable[[float, str], None]) -> xr.Dataset:
    alphas, problems, columns = ALPHAS[budget], PROBLEMS[budget], SHAPE[1]
    phi, truth = SignedPower(columns, 2), sparse_truth(columns)
    since = np.arange(-2.0, END + EVERY / 2, EVERY)
    ends = np.zeros((problems, len(alphas), since.size, columns))
    fits, predicted, switched = np.zeros((problems, len(alphas))), [], []
    with jax.enable_x64(True):
        for i in range(problems):
            X = generator(jax.random.fold_in(key, i)).standard_normal(SHAPE)
            problem = LeastSquares(X, X @ truth, "half_mean")
            for j, alpha in enumerate(alphas):
                progress((i + j / len(alphas)) / problems, f"problem {i + 1}, alpha {alpha:g}")
                start, times = (jnp.full(columns, alpha),) * 2, (np.log(alpha) + since) / RATE
                penalty, stop = OnParameters(L2(RATE)), Stop(loss=None, time=times[-1])
                flow = GradientFlow("implicit")
                samples = times[:-1]
                run = train(problem, phi, flow, params=start, penalty=penalty, stop=stop, samples=samples, probes=[W])
                ends[i, j], fits[i, j] = run["w"][1:], np.max(run["loss"][1:])
            ones = (np.ones(columns),) * 2
            predicted.append([limit(problem, phi, ones, decay=t) for t in PREDICTED if t >= 0])
            switched.append(_switched(problem, phi))
    error = ((ends - truth) ** 2).sum(axis=-1)
    before = ((np.stack(predicted) - truth) ** 2).sum(axis=-1)
    return xr.Dataset(
        {
            "error": (("problem", "alpha", "since"), error),
            "loss": (("problem", "alpha"), fits),
            "predicted": (("problem", "after"), before),
            "switched": (("problem", "what", "entry"), switched),
        },
        coords={
            "alpha": list(alphas),
            "since": since,
            "after": [t for t in PREDICTED if t >= 0],
            "what": ["trained", "predicted"],
        },
        attrs={
            "problems": f"{SHAPE[0]} equations, {SHAPE[1]} unknowns drawn by the study's key; truth 1, -1, 0.5, 0, ...",
            "decay": f"rate {RATE:g}; times are multiples of its inverse, counted from log alpha",
            "switched": f"from alpha {SWITCH[0]:g}, decay that fades, of integral log {SWITCH[0] / SWITCH[1]:g}",
            "flow": "implicit solver, relative tolerance 1e-5; switched: explicit, 1e-10",
            "precision": "float64",
        },
    )


def _switched(problem: LeastSquares, phi: SignedPower) -> list[np.ndarray]:
    """Where a flow ends whose decay fades as it goes, and where the integral of its rate says."""
    size, total = problem.shape[0], np.log(SWITCH[0] / SWITCH[1])
    start = (jnp.full(size, SWITCH[0]),) * 2
    flow = GradientFlow(rtol=1e-10, decay=lambda t: total * jnp.exp(-t))
    run = train(problem, phi, flow, params=start, stop=Stop(loss=1e-18), samples=2)
    return [np.asarray(run.w), limit(problem, phi, start, decay=total)]


def _crossing(data: xr.Dataset, share: float) -> xr.DataArray:
    """When the error falls below a share of what it is early on, since log alpha."""
    error = data["error"] / data["error"].isel(since=0)
    times = np.full(error.shape[:2], np.nan)
    for place in np.ndindex(*times.shape):
        values = error.values[place]
        below = np.flatnonzero(values < share)
        if below.size and below[0] > 0:
            k = below[0]
            times[place] = np.interp(share, values[[k, k - 1]], data["since"].values[[k, k - 1]])
    return xr.DataArray(times, dims=("problem", "alpha"), coords={"alpha": data["alpha"]})


def _slope(data: xr.Dataset, *, worst: Callable[..., float]) -> float:
    """Of the time at which half of the error is gone against log alpha."""
    when = _crossing(data, 0.5) + np.log(data["alpha"])
    found = [np.polyfit(np.log(data["alpha"]), row, 1)[0] for row in when.values]
    return float(worst(found))


def _width(data: xr.Dataset) -> xr.DataArray:
    return _crossing(data, 0.1) - _crossing(data, 0.9)


def _off_prediction(data: xr.Dataset) -> float:
    """The largest difference to the predicted error, over the error early on, at the largest alpha."""
    error = data["error"].isel(alpha=-1)
    at = error.interp(since=data["after"].values).rename(since="after")
    return float((abs(at - data["predicted"]).max("after", skipna=False) / error.isel(since=0)).max(skipna=False))


def _plot(data: xr.Dataset) -> dict[str, Figure]:
    with plotting.figure(
        columns=2,
        width=12.0,
        height=4.8,
        caption="Error against the truth of u² - v² with weight decay, over what it is early on. Left: against the "
        "time in units of the inverse rate of decay; the fall comes later the larger the start. Right: counted from "
        "log alpha all are one curve, that of the limits of flows from smaller starts (dots), of a width that stays.",
    ) as (made, axes):
        known = data.isel(problem=0)
        for i, alpha in enumerate(data["alpha"].values):
            curve = known["error"].sel(alpha=alpha) / known["error"].sel(alpha=alpha).isel(since=0)
            color = plotting.color_of(i + 1)
            axes[0].semilogy(data["since"] + np.log(alpha), curve, color=color, label=f"alpha {alpha:g}")
            axes[1].semilogy(data["since"], curve, color=color)
        early = float(known["error"].isel(alpha=-1, since=0))
        axes[1].semilogy(
            data["after"], known["predicted"] / early, "o", color=plotting.color_of("ink"), label="predicted"
        )
        axes[0].set(xlabel="rate of decay times time", ylabel="error over that at first")
        axes[1].set(xlabel="rate of decay times time, less log alpha", ylabel="error over that at first")
        for ax in axes:
            ax.legend()
    return {"falls": made}


EXAMPLE = """
import jax
import jax.numpy as jnp
import numpy as np
import undertow as ut

jax.config.update("jax_enable_x64", True)
X = np.random.default_rng(0).standard_normal((20, 30))
truth = np.r_[1.0, -1.0, 0.5, np.zeros(27)]
problem, phi = ut.problems.LeastSquares(X, X @ truth, "half_mean"), ut.parameterizations.SignedPower(30, 2)
rate, flow = 1e-4, ut.dynamics.GradientFlow("implicit")
decay = ut.penalties.OnParameters(ut.penalties.L2(rate))
for alpha in (10.0, 100.0):
    start = (jnp.full(30, alpha), jnp.full(30, alpha))
    times = np.linspace(0.1, 10, 500) / rate
    watch, stop = [ut.probes.DistanceTo(truth)], ut.Stop(loss=None, time=times[-1])
    run = ut.train(problem, phi, flow, params=start, penalty=decay, stop=stop, samples=times[:-1], probes=watch)
    error = run[watch[0].name] ** 2
    print(f"{rate * run.times[np.argmax(error < error[1] / 2)] - np.log(alpha):.1f}")
# 1.2
# 1.2
"""

study = Study(
    id="grokking-clock",
    chapter="training",
    title="Weight decay and the grokking clock",
    source="K. Lyu, J. Jin, Z. Li, S. Du, J. Lee, W. Hu, Dichotomy of Early and Late Phase Implicit Biases Can "
    "Provably Induce Grokking, ICLR 2024, Theorem 3.7 and Section 4 (sparse linear regression)",
    claim="From a large start alpha with weight decay λ, u² - v² fits at once, and its test error falls at a time of "
    "(1/λ) log alpha (1 + o(1)).",
    standing="as published",
    run=_run,
    checks=(
        AtLeast("slope of the time against log alpha, the least", lambda d: _slope(d, worst=min), bound=0.95),
        AtMost("slope of the time against log alpha, the largest", lambda d: _slope(d, worst=max), bound=1.05),
        AtMost(
            "training loss from two before log alpha on, the largest",
            lambda data: float(data["loss"].max(skipna=False)),
            bound=1e-4,
        ),
        AtLeast(
            "width of the fall at the largest alpha over that at the smallest, the least",
            lambda data: float((_width(data).isel(alpha=-1) / _width(data).isel(alpha=0)).min(skipna=False)),
            bound=0.95,
        ),
        AtLeast(
            "width of the fall, from 90 to 10 percent, in units of 1/λ, the least",
            lambda data: float(_width(data).min(skipna=False)),
            bound=1.0,
        ),
        AtMost(
            "error against that of limits of flows from e^-λt alpha, over the error early on", _off_prediction, 0.02
        ),
        Close(
            "decay that fades: end against the predicted one, largest difference of an entry",
            lambda data: float(abs(data["switched"].diff("what")).max(skipna=False)),
            0.0,
            1e-6,
        ),
    ),
    plot=_plot,
    example=EXAMPLE,
    note="The fall is sharp beside log alpha only: its width, 1.4 to 2.4 times 1/λ from problem to problem, is the "
    "same at every alpha, since the curve is that of the limits of flows from starts of size e^-λt alpha, moved by "
    "log alpha. Half of the error is gone later than at log alpha, by a time that depends on the problem: the bare "
    "ratio of the two is still far from 1 at alpha = 300, and it is the slope that tells.",
)
