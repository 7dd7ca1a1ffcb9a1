"""Gradient flow on squares and entropy mirror flow are one curve; discrete mirror descent approaches it."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from ... import plotting
from ...dynamics import GradientFlow, MirrorDescent, MirrorFlow, Stop
from ...parameterizations import Identity, Power, SignedPower
from ...potentials import Entropy, HyperbolicEntropy
from ...training import train
from .._base import AtMost, Between, Budget, Study
from .._shared import W, generator
from ._shared import gaussian_problem

SIZES = {"smoke": (3, 7), "quick": (3, 7), "full": (20, 60)}
STEPS = {"smoke": (0.04, 0.02), "quick": (0.08, 0.04, 0.02, 0.01, 0.005), "full": (0.04, 0.02, 0.01, 0.005, 0.0025)}
ALPHA, END, SAMPLES = 0.1, 8.0, 60
"""Start of u (and v); time on the clock of gradient flow."""
RTOL = 1e-11


def _run(budget: Budget, key: jax.Array, progress: Callable[[float, str], None]) -> xr.Dataset:
    equations, unknowns = SIZES[budget]
    rng = generator(key)
    with jax.enable_x64(True):
        problem, _ = gaussian_problem(rng, equations, unknowns, 2, nonnegative=True)
        u = jnp.full(unknowns, ALPHA)
        times = np.linspace(0, END, SAMPLES)
        # Steps of the discrete descent fall on the samples.
        identity = Identity(unknowns)

        def run(phi, dynamics, params, clock):
            stop = Stop(loss=None, time=clock * END)
            trajectory = train(problem, phi, dynamics, params=params, stop=stop, samples=clock * times, probes=[W])
            return np.asarray(trajectory["w"])

        flow, mirror = GradientFlow("explicit", rtol=RTOL), MirrorFlow(Entropy(), "explicit", rtol=RTOL)
        progress(0.0, "flows")
        square = run(Power(unknowns, 2), flow, u, 1.0)
        entropy = run(identity, mirror, u**2, 4.0)
        same_clock = run(identity, mirror, u**2, 1.0)
        signed = run(SignedPower(unknowns, 2), flow, (u, u), 1.0)
        hyperbolic_flow = MirrorFlow(HyperbolicEntropy(ALPHA), "explicit", rtol=RTOL)
        hyperbolic = run(identity, hyperbolic_flow, jnp.zeros(unknowns), 4.0)
        gaps = []
        for i, step in enumerate(STEPS[budget]):
            progress(0.5 + 0.5 * i / len(STEPS[budget]), f"step {step:g}")
            stop = Stop(loss=None, steps=round(4 * END / step))
            descent = MirrorDescent(Entropy(), step)
            count = np.arange(0, round(4 * END / step) + 1, round(0.4 / step))
            found = train(problem, identity, descent, params=u**2, stop=stop, samples=count, probes=[W])
            exact = train(
                problem,
                identity,
                mirror,
                params=u**2,
                stop=Stop(loss=None, time=4 * END),
                samples=count * step,
                probes=[W],
            )
            gaps.append(float(abs(np.asarray(found["w"]) - np.asarray(exact["w"])).max()))
    return xr.Dataset(
        {
            "square": (("sample", "entry"), square),
            "entropy": (("sample", "entry"), entropy),
            "entropy_same_clock": (("sample", "entry"), same_clock),
            "signed": (("sample", "entry"), signed),
            "hyperbolic": (("sample", "entry"), hyperbolic),
            "discrete_gap": ("step", gaps),
        },
        coords={"time": ("sample", times), "step": list(STEPS[budget])},
        attrs={
            "problem": f"{equations} equations, {unknowns} unknowns, Gaussian; nonnegative solution with 2 entries",
            "start": f"u = v = {ALPHA:g}, w = {ALPHA**2:g} (square) or 0 (difference)",
            "time": f"to {END:g}; mirror flows to four times that",
            "flow": f"explicit, relative tolerance {RTOL:g}",
            "precision": "float64",
        },
    )


def _gap(data: xr.Dataset, one: str, other: str) -> float:
    """Largest distance of two curves, over the largest entry of the first."""
    return float(abs(data[one] - data[other]).max(skipna=False) / abs(data[one]).max(skipna=False))


def _order(data: xr.Dataset) -> float:
    gap, step = np.log(data["discrete_gap"].values[-2:]), np.log(data["step"].values[-2:])
    return float((gap[1] - gap[0]) / (step[1] - step[0]))


def _plot(data: xr.Dataset) -> dict[str, Figure]:
    with plotting.figure(
        1,
        2,
        width=13.8,
        height=5.8,
        caption="Left: the weights over time: gradient flow on w = u² (lines) and entropy mirror flow on a clock "
        "four times as fast (dots) are the same. Right: discrete mirror descent comes as near as its step is small.",
    ) as (made, (curve, steps)):
        color, mirror = plotting.color_of(2), plotting.color_of("mirror flow")
        time = data["time"].values
        curve.plot(time, data["square"].values, color=color)
        curve.plot(time[::3], data["entropy"].values[::3], "o", color=mirror, markersize=6)
        curve.set(xlabel="time of gradient flow", ylabel="weights")
        curve.plot([], [], color=color, label="gradient flow, $w = u^2$")
        curve.plot([], [], "o", color=mirror, label="entropy mirror flow, time × 4")
        curve.legend(loc="upper right")
        curve.set_ylim(-0.05, 1.4 * float(data["square"].max()))
        steps.loglog(data["step"], data["discrete_gap"], "o-", color=plotting.color_of("mirror descent"))
        steps.set(xlabel="step size", ylabel="largest distance from the flow")
        steps.set_xticks(data["step"].values, [f"{step:g}" for step in data["step"].values])
        steps.set_xticks([], minor=True)
        steps.yaxis.set_minor_formatter(NullFormatter())
    return {"same-curve": made}


EXAMPLE = """
import jax
import numpy as np
import undertow as ut

jax.config.update("jax_enable_x64", True)
rng = np.random.default_rng(0)
A = rng.uniform(size=(3, 6))
problem, times = ut.problems.LeastSquares(A, A @ np.ones(6)), np.array([0.1, 0.3, 1.0, 3.0])
w = ut.probes.Function("w", lambda w: w)


def path(phi, dynamics, times):
    stop, start = ut.Stop(loss=None, time=times[-1]), phi.lift(np.full(6, 0.1))
    return ut.train(problem, phi, dynamics, params=start, samples=times, stop=stop, probes=[w])["w"]


squares = path(ut.parameterizations.Power(6, 2), ut.dynamics.GradientFlow(rtol=1e-9), times)
entropy = ut.dynamics.MirrorFlow(ut.potentials.Entropy(), rtol=1e-9)
for clock in (1, 4):
    mirror = path(ut.parameterizations.Identity(6), entropy, clock * times)
    print(f"entropy run {clock} times as fast: largest distance of the paths {abs(mirror - squares).max():.4f}")
# entropy run 1 times as fast: largest distance of the paths 1.2651
# entropy run 4 times as fast: largest distance of the paths 0.0000
"""

study = Study(
    id="square-map-is-entropy-mirror-flow",
    chapter="lecture",
    title="Squares and entropy: one curve, two descriptions",
    source="E. Amid, M. Warmuth, Reparameterizing Mirror Descent as Gradient Descent, NeurIPS 2020; S. Gunasekar, "
    "B. Woodworth, N. Srebro, Mirrorless Mirror Descent, AISTATS 2021",
    claim="Gradient flow on w = u² is mirror flow with the entropy, and on w = u² - v² with the hyperbolic "
    "entropy, run four times as fast; discrete mirror descent approaches it as its step shrinks.",
    standing="amended",
    published="In substance, as lectures have it: gradient flow on w = u² is mirror flow with the entropy, sum of "
    "w log w - w.",
    refutation=AtMost(
        "w = u² against entropy on the same clock", lambda data: _gap(data, "square", "entropy_same_clock"), bound=1e-8
    ),
    run=_run,
    checks=(
        AtMost("w = u² against entropy, time × 4", lambda data: _gap(data, "square", "entropy"), bound=1e-8),
        AtMost(
            "w = u² - v² against hyperbolic entropy, time × 4",
            lambda data: _gap(data, "signed", "hyperbolic"),
            bound=1e-8,
        ),
        Between("order of discrete mirror descent in its step", _order, low=0.9, high=1.1),
    ),
    plot=_plot,
    example=EXAMPLE,
    note="The potential that belongs to the square on its own clock is a quarter of the entropy, sum of w log w - w; "
    "with the entropy itself the flow is four times slower. A lecture that leaves the factor out has the right path "
    "at the wrong time (the refuted check).",
)
