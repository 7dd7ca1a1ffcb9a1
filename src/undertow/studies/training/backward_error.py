"""Descent follows a flow of another loss more closely than that of its own: orders one and two in the step."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ... import plotting
from ...dynamics import AdamFlow, Dynamics, GradientDescent, GradientFlow, Stop
from ...objective import Objective
from ...optimizers import make
from ...parameterizations import Hadamard, Parameterization, SignedPower
from ...problems import LeastSquares, PointTarget, Problem
from ...training import train
from .._base import AtLeast, AtMost, Budget, Close, Study
from .._shared import generator
from ._shared import flat, slopes, sparse_truth

COUNTS = {"smoke": (160, 320), "quick": (40, 80, 160, 320), "full": (40, 80, 160, 320, 640, 1280)}
"""Steps in the whole time, each run in half the step of the one before."""
BETA = 0.5
ADAM = {"b1": 0.5, "b2": 0.8, "eps": 1e-3}
CASES = (
    "descent",
    "descent, random",
    "heavy ball",
    "heavy ball, from rest",
    "Nesterov",
    "Nesterov, from rest",
    "Adam",
    "Adam, past a zero",
)
"""From rest: the flow starts where descent does, not where it is up to speed. Past a zero: a gradient's."""
RTOL = 1e-11


class Setting(NamedTuple):
    """What descends from where for how long, and the flow of a step size that it is compared with."""

    problem: Problem
    phi: Parameterization
    start: Any
    time: float
    optimizer: str
    options: dict[str, float]
    flow: Callable[[float], Dynamics]
    behind: float = 0.0
    """How many steps along the gradient at the start descent is behind the flow, once it is up to speed."""


def _settings(key: jax.Array) -> dict[str, Setting]:
    toy, valley = PointTarget([1.0]), Hadamard(1, 2)
    X = generator(key).standard_normal((6, 10))
    random = LeastSquares(X, X @ sparse_truth(10), "half_mean")
    apart, up, down = (jnp.array([[u], [v]]) for u, v in ((2.8, 0.3), (1.2, 0.2), (1.2, 0.5)))
    others = (jnp.full(10, 0.7), jnp.full(10, 0.7))

    def plain(eta: float) -> Dynamics:
        return GradientFlow("explicit", RTOL, step_size=eta)

    def ball(eta: float) -> Dynamics:
        return GradientFlow("explicit", RTOL, step_size=eta, momentum=BETA)

    def nesterov(eta: float) -> Dynamics:
        return GradientFlow("explicit", RTOL, step_size=eta, momentum=BETA, nesterov=True)

    def adam(eta: float) -> Dynamics:
        return AdamFlow(eta, **ADAM, solver="explicit", rtol=1e-9)

    momentum, ahead, slack = {"momentum": BETA}, {"momentum": BETA, "nesterov": True}, 1 / (1 - BETA) ** 2
    settings = (
        Setting(toy, valley, apart, 1.0, "sgd", {}, plain),
        Setting(random, SignedPower(10, 2), others, 1.0, "sgd", {}, plain),
        Setting(toy, valley, apart, 0.1, "sgd", momentum, ball, BETA * slack),
        Setting(toy, valley, apart, 0.1, "sgd", momentum, ball),
        Setting(toy, valley, apart, 0.1, "sgd", ahead, nesterov, BETA**2 * slack),
        Setting(toy, valley, apart, 0.1, "sgd", ahead, nesterov),
        Setting(toy, valley, up, 0.2, "adam", ADAM, adam),
        Setting(toy, valley, down, 0.5, "adam", ADAM, adam),
    )
    return dict(zip(CASES, settings, strict=True))


def _run(budget: Budget, key: jax.Array, progress: Callable[[float, str], None]) -> xr.Dataset:
    counts = COUNTS[budget]
    distances, sizes = np.zeros((2, len(CASES), 2, len(counts)))
    with jax.enable_x64(True):
        for i, (name, one) in enumerate(_settings(key).items()):
            progress(i / len(CASES), name)
            for j, count in enumerate(counts):
                eta = one.time / count
                sizes[i, :, j] = eta
                descent = GradientDescent(make(one.optimizer, eta, **one.options))
                end = _end(one, descent, one.start, Stop(loss=None, steps=count))
                start = _up_to_speed(one, eta)
                ends = [_end(one, one.flow(size), start, Stop(loss=None, time=one.time)) for size in (0.0, eta)]
                distances[i, :, j] = [np.linalg.norm(end - other) for other in ends]
    return xr.Dataset(
        {
            "distance": (("case", "flow", "count"), distances),
            "step_size": (("case", "count"), sizes[:, 0]),
            "slope": (("case", "flow", "halving"), slopes(sizes, distances)),
        },
        coords={"case": list(CASES), "flow": ["of the loss", "modified"], "count": list(counts)},
        attrs={
            "toy": "(u v - 1)^2 / 2: descent and with momentum from (2.8, 0.3) for a time of 1 and 0.1; Adam from "
            "(1.2, 0.2) for 0.2, and from (1.2, 0.5) for 0.5, on which way both entries of the gradient pass zero",
            "random": "u^2 - v^2, 6 equations, 10 unknowns drawn by the study's key, from 0.7, for a time of 1",
            "optimizers": f"momentum {BETA}; Adam {ADAM}",
            "flow": f"explicit solver, relative tolerance {RTOL:g}, Adam 1e-9",
            "precision": "float64",
        },
    )


def _end(one: Setting, dynamics: Dynamics, params: Any, stop: Stop) -> np.ndarray:
    return flat(train(one.problem, one.phi, dynamics, params=params, stop=stop, samples=2).params)


def _up_to_speed(one: Setting, eta: float) -> Any:
    """From where a flow is on the path of descent with momentum that starts at rest."""
    gradient = jax.grad(lambda p: Objective(one.problem, one.phi)(p)[0])(one.start)
    return jax.tree.map(lambda x, g: x + eta * one.behind * g, one.start, gradient)


def _last(case: str, flow: str) -> Callable[[xr.Dataset], float]:
    return lambda data: float(data["slope"].sel(case=case, flow=flow)[-1])


def _gain(case: str) -> Callable[[xr.Dataset], float]:
    """By how much the modified flow is nearer, at the smallest step."""
    return lambda data: float(
        data["distance"].sel(case=case, flow="of the loss")[-1] / data["distance"].sel(case=case, flow="modified")[-1]
    )


def _plot(data: xr.Dataset) -> dict[str, Figure]:
    with plotting.figure(
        columns=4,
        width=18.0,
        height=4.8,
        caption="Distance at the end between descent and the flow of the loss (open, order 1) or the modified flow "
        "(filled, order 2), against the step size. Second and third: with momentum the flow has to start where "
        "descent is up to speed (circles); from its own start (squares) it has order 1. Fourth: Adam, and on a path on "
        "which entries of the gradient pass zero (squares), where the modified flow is no better.",
    ) as (made, axes):
        for ax, names in zip(axes, (CASES[:2], CASES[2:4], CASES[4:6], CASES[6:]), strict=True):
            for i, name in enumerate(names):
                chosen, color = data.sel(case=name), plotting.color_of(("theory", "baseline")[i])
                for flow, fill in (("of the loss", "none"), ("modified", color)):
                    ax.loglog(
                        chosen["step_size"],
                        chosen["distance"].sel(flow=flow),
                        "o-" if i == 0 else "s--",
                        color=color,
                        markerfacecolor=fill,
                        label=name if flow == "modified" else None,
                    )
            ax.set(xlabel="step size")
            ax.tick_params(axis="x", which="minor", labelbottom=False)
            ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
        axes[0].set_ylabel("distance from the flow (open)\nand the modified flow (filled)")
    return {"slopes": made}


EXAMPLE = """
import jax
import jax.numpy as jnp
import numpy as np
import undertow as ut

jax.config.update("jax_enable_x64", True)
problem, phi = ut.problems.PointTarget([1.0]), ut.parameterizations.Hadamard(1, 2)  # (u v - 1)^2 / 2
start = jnp.array([[2.8], [0.3]])
distances = []
for steps in (200, 400):
    eta = 1 / steps
    descent = ut.dynamics.GradientDescent(ut.optimizers.make("sgd", eta))
    end = ut.train(problem, phi, descent, params=start, stop=ut.Stop(loss=None, steps=steps)).params
    flows = [ut.dynamics.GradientFlow("explicit", 1e-10, step_size=size) for size in (0.0, eta)]
    ends = [ut.train(problem, phi, flow, params=start, stop=ut.Stop(loss=None, time=1.0)).params for flow in flows]
    distances.append([float(jnp.linalg.norm(end - x)) for x in ends])
print(np.log2(np.divide(*distances)).round(2).tolist())
# [1.02, 2.0]
"""

study = Study(
    id="backward-error",
    chapter="training",
    title="Descent follows a flow of another loss",
    source="D. Barrett, B. Dherin, Implicit Gradient Regularization, ICLR 2021, Theorem 3.1. With momentum: A. Ghosh, "
    "H. Lyu, X. Zhang, R. Wang, ICLR 2023; N. Kovachki, A. Stuart, JMLR 22, 2021. Adam: M. Cattaneo, J. Klusowski, B. "
    "Shigida, On the Implicit Bias of Adam, ICML 2024",
    claim="Descent with step η is at a distance of order η from gradient flow, and of order η² from the flow of "
    "L + (η/4) |∇L|²; so are heavy ball, Nesterov's momentum and Adam from their modified flows.",
    standing="as published",
    run=_run,
    checks=(
        Close("descent: slope of the distance to the flow", _last("descent", "of the loss"), 1.0, 0.05),
        Close("descent: slope of the distance to the modified flow", _last("descent", "modified"), 2.0, 0.05),
        Close("random problem: slope to the flow", _last("descent, random", "of the loss"), 1.0, 0.1),
        Close("random problem: slope to the modified flow", _last("descent, random", "modified"), 2.0, 0.1),
        Close("heavy ball up to speed: slope to the flow", _last("heavy ball", "of the loss"), 1.0, 0.1),
        Close("heavy ball up to speed: slope to the modified flow", _last("heavy ball", "modified"), 2.0, 0.1),
        Close("heavy ball from rest: slope to the modified flow", _last("heavy ball, from rest", "modified"), 1.0, 0.1),
        Close("Nesterov up to speed: slope to the flow", _last("Nesterov", "of the loss"), 1.0, 0.1),
        Close("Nesterov up to speed: slope to the modified flow", _last("Nesterov", "modified"), 2.0, 0.1),
        Close("Nesterov from rest: slope to the modified flow", _last("Nesterov, from rest", "modified"), 1.0, 0.1),
        Close("Adam: slope to the flow", _last("Adam", "of the loss"), 1.0, 0.1),
        Close("Adam: slope to the modified flow", _last("Adam", "modified"), 2.0, 0.1),
        AtMost("Adam past a zero of the gradient: gain of the modified flow", _gain(CASES[-1]), 1.0),
        AtLeast("Adam before: gain of the modified flow", _gain("Adam"), 10.0),
    ),
    plot=_plot,
    example=EXAMPLE,
    note="What the sources leave to the reader: heavy ball that starts at rest needs 1 / (1 - β) steps to get up to "
    "speed, which puts its path off by a first-order amount, the gradient times ηβ / (1 - β)² (Nesterov's: β² in place "
    "of β); without that the modified flow has order one. The bounds of the slopes with momentum, 0.1, were those of "
    "heavy ball before Nesterov's was run. Adam with its bias correction needs nothing of the kind. Its modified "
    "flow ends to predict where an entry of the gradient passes zero: Adam goes on by the memory of what it was.",
)
