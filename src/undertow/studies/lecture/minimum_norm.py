"""Gradient flow and gradient descent from zero end at the minimum-norm solution and never leave the row space."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ... import plotting
from ...dynamics import GradientDescent, GradientFlow
from ...optimizers import make
from ...parameterizations import Identity
from ...problems import LeastSquares
from ...theory import minimum_norm
from .._base import AtLeast, AtMost, Budget, Study
from .._shared import generator
from ._shared import gaussian_problem, train_from

SIZES = {"smoke": (6, 15), "quick": (30, 90), "full": (200, 1000)}
RATES = (0.5, 1.5)
"""Learning rates, over one over the largest squared singular value; below 2 descent converges."""


def _run(budget: Budget, key: jax.Array, progress: Callable[[float, str], None]) -> xr.Dataset:
    equations, unknowns = SIZES[budget]
    rng = generator(key)
    with jax.enable_x64(True):
        problem, truth = gaussian_problem(rng, equations, unknowns, equations // 2)
        A, b = np.asarray(problem.A), np.asarray(problem.b)
        phi = Identity(unknowns)
        elsewhere = rng.standard_normal(unknowns)
        starts = [jnp.zeros(unknowns), jnp.asarray(elsewhere)]
        progress(0.0, "gradient flow")
        flow = train_from(problem, phi, starts, dynamics=GradientFlow("explicit", rtol=1e-10), samples=120)
        progress(0.5, "gradient descent")
        top = np.linalg.norm(A, 2) ** 2
        ends = []
        for rate in RATES:
            descent = GradientDescent(make("sgd", rate / top))
            ends.append(train_from(problem, phi, starts[:1], dynamics=descent, samples=2)["end"].values[0])
        least = minimum_norm(problem)
    count = int(flow["samples"][0])
    w, time = flow["w"].values[0, :count], flow["time"].values[0, :count]
    return xr.Dataset(
        {
            "end": (("start", "entry"), flow["end"].values),
            "predicted": (("start", "entry"), np.array([least, elsewhere + _solve(A, b - A @ elsewhere)])),
            "descent_end": (("rate", "entry"), np.array(ends)),
            "norm": ("sample", np.linalg.norm(w, axis=1)),
            "distance": ("sample", np.linalg.norm(w - least, axis=1)),
            "distance_closed_form": ("sample", np.linalg.norm(_closed_form(problem, time) - least, axis=1)),
            "path_gap": ("sample", np.linalg.norm(w - _closed_form(problem, time), axis=1)),
            "outside_row_space": ("sample", np.linalg.norm(w - w @ np.linalg.pinv(A) @ A, axis=1)),
            "distance_from_sparse": float(np.linalg.norm(least - truth)),
            "least_norm": float(np.linalg.norm(least)),
        },
        coords={"time": ("sample", time), "rate": list(RATES)},
        attrs={
            "problem": f"{equations} equations, {unknowns} unknowns, Gaussian",
            "flow": "explicit, relative tolerance 1e-10",
            "descent": "learning rates 0.5 and 1.5 over the largest squared singular value",
            "stop": "loss 1e-18",
            "precision": "float64",
        },
    )


def _solve(A: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.linalg.lstsq(A, b, rcond=None)[0]


def _closed_form(problem: LeastSquares, time: np.ndarray) -> np.ndarray:
    """w(t) = A^T (A A^T)^-1 (I - exp(-A A^T t)) b, through the singular vectors of A."""
    A, b = np.asarray(problem.A), np.asarray(problem.b)
    left, s, right = np.linalg.svd(A, full_matrices=False)
    return (-np.expm1(-(s**2) * time[:, None]) / s * (left.T @ b)) @ right


def _relative(data: xr.Dataset, name: str, reference: np.ndarray) -> float:
    gap = np.linalg.norm(data[name].values - reference, axis=-1)
    return float((gap / np.linalg.norm(reference, axis=-1)).max())


def _plot(data: xr.Dataset) -> dict[str, Figure]:
    with plotting.figure(
        width=9.6,
        height=5.8,
        caption="Gradient flow from zero: its distance from the minimum-norm solution falls along the closed form "
        "(line), while the part of it outside of the row space of A stays at rounding.",
    ) as (made, ax):
        flow = plotting.color_of("gradient flow")
        time = data["time"].values[1:]
        ax.loglog(time, data["distance_closed_form"][1:], color=flow)
        ax.loglog(time[::4], data["distance"][1::4], "o", color=flow)
        leak = np.maximum(data["outside_row_space"].values[1:], 1e-18)
        ax.loglog(time, leak, color=plotting.color_of("optimum"))
        for name, words, color in (
            ("distance", "distance from the\nminimum-norm solution", flow),
            ("outside_row_space", "outside of the row space", plotting.color_of("optimum")),
        ):
            place = len(time) // 4
            ax.annotate(
                words, (time[place], max(float(data[name][place]), 1e-18)), xytext=(0, -14), va="top",
                textcoords="offset points", color=color, fontweight="bold",
            )  # fmt: skip
        ax.set(xlabel="time", ylabel="Euclidean norm", ylim=(1e-18, 30))
    return {"distance": made}


EXAMPLE = """
import jax
import numpy as np
import undertow as ut

jax.config.update("jax_enable_x64", True)
rng = np.random.default_rng(0)
A = rng.standard_normal((5, 12))
problem = ut.problems.LeastSquares(A, rng.standard_normal(5))  # fewer equations than unknowns
least, phi = ut.theory.minimum_norm(problem), ut.parameterizations.Identity(12)
descent = ut.dynamics.GradientDescent(ut.optimizers.make("sgd", 0.02))
for start in (np.zeros(12), np.ones(12)):
    for dynamics in (ut.dynamics.GradientFlow(), descent):
        end = ut.train(problem, phi, dynamics, params=start, stop=ut.Stop(loss=1e-16)).w
        nearest = start + least - np.linalg.pinv(A) @ A @ start
        print(f"norm {np.linalg.norm(end):.3f}, distance from the nearest fit {np.linalg.norm(end - nearest):.6f}")
# norm 1.153, distance from the nearest fit 0.000000
# norm 1.153, distance from the nearest fit 0.000000
# norm 2.311, distance from the nearest fit 0.000000
# norm 2.311, distance from the nearest fit 0.000000
print(f"least norm of a perfect fit: {np.linalg.norm(least):.3f}")  # least norm of a perfect fit: 1.153
"""

study = Study(
    id="minimum-norm",
    chapter="lecture",
    title="From zero, gradient flow finds the minimum-norm solution",
    source="S. Gunasekar, J. Lee, D. Soudry, N. Srebro, Characterizing Implicit Bias in Terms of Optimization "
    "Geometry, ICML 2018 (Section 2); the opening of every lecture on implicit regularization",
    claim="On underdetermined least squares, gradient flow and gradient descent from zero stay in the row space of A "
    "and end at the solution of minimum ℓ₂ norm; from elsewhere, at the solution nearest to the start.",
    standing="as published",
    run=_run,
    checks=(
        AtMost(
            "flow from zero and from elsewhere: relative distance from the predicted end",
            lambda data: _relative(data, "end", data["predicted"].values),
            bound=1e-8,
        ),
        AtMost(
            "descent at two rates: relative distance from the minimum-norm solution",
            lambda data: _relative(data, "descent_end", data["predicted"].values[:1]),
            bound=1e-8,
        ),
        AtMost(
            "path against the closed form, largest distance over the least norm",
            lambda data: float((data["path_gap"] / data["least_norm"]).max(skipna=False)),
            bound=1e-7,
        ),
        AtMost(
            "part of the path outside of the row space, over the least norm",
            lambda data: float((data["outside_row_space"] / data["least_norm"]).max(skipna=False)),
            bound=1e-11,
        ),
        AtLeast(
            "distance of the minimum-norm solution from the sparse one, over its norm (it is another)",
            lambda data: float(data["distance_from_sparse"] / data["least_norm"]),
            bound=0.3,
        ),
    ),
    plot=_plot,
    example=EXAMPLE,
    note="A lecture may write x(t) = x(0) - x'(0) t for the path; it is x(0) plus the integral of the velocity, "
    "which stays in the row space for another reason: every velocity is in it.",
)
