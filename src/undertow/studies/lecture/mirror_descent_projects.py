"""Mirror descent ends at the Bregman projection of its start on the perfect fits, whatever the potential."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ... import plotting
from ...dynamics import MirrorDescent, MirrorFlow
from ...parameterizations import Identity
from ...potentials import Burg, Entropy, Euclidean, HyperbolicEntropy, PNorm, Potential, Separable
from ...theory import bregman_projection
from .._base import AtLeast, AtMost, Budget, Study
from .._shared import generator
from ._shared import gaussian_problem, largest_gap, train_from

SIZES = {"smoke": (3, 8), "quick": (8, 24), "full": (30, 100)}
POTENTIALS: dict[str, Potential] = {
    "Euclidean": Euclidean(),
    "3-norm": PNorm(3.0),
    "3/2-norm": PNorm(1.5),
    "hyperbolic entropy": HyperbolicEntropy(b=1e-2),
    "cosh": Separable(jnp.cosh, jnp.arcsinh),
    "entropy": Entropy(),
    "Burg": Burg(),
}
STEPS = (0.05, 0.2)
"""Step sizes of discrete mirror descent with entropy."""


def _run(budget: Budget, key: jax.Array, progress: Callable[[float, str], None]) -> xr.Dataset:
    equations, unknowns = SIZES[budget]
    rng = generator(key)
    shape = (len(POTENTIALS), 2, unknowns)
    ends, projections = np.zeros(shape), np.zeros(shape)
    kkt, crossed = np.zeros(shape[:2]), np.zeros((len(POTENTIALS), len(POTENTIALS)))
    with jax.enable_x64(True):
        problem, _ = gaussian_problem(rng, equations, unknowns, equations // 2, nonnegative=True)
        A = np.asarray(problem.A)
        outside = np.eye(unknowns) - np.linalg.pinv(A) @ A
        starts = [jnp.asarray(rng.uniform(0.05, 0.2, unknowns)), jnp.asarray(rng.uniform(0.5, 2.0, unknowns))]
        phi = Identity(unknowns)
        for i, (name, potential) in enumerate(POTENTIALS.items()):
            progress(i / (len(POTENTIALS) + 1), name)
            flow = MirrorFlow(potential, rtol=1e-9)
            ends[i] = train_from(problem, phi, starts, dynamics=flow, samples=2)["end"].values
            for j, start in enumerate(starts):
                projections[i, j] = bregman_projection(problem, potential, start)
                moved = np.asarray(potential.gradient(jnp.asarray(ends[i, j])) - potential.gradient(start))
                kkt[i, j] = np.linalg.norm(outside @ moved) / np.linalg.norm(moved)
        progress(len(POTENTIALS) / (len(POTENTIALS) + 1), "steps")
        discrete = [
            train_from(problem, phi, starts[:1], dynamics=MirrorDescent(Entropy(), step), samples=2)["end"].values[0]
            for step in STEPS
        ]
    for i in range(len(POTENTIALS)):
        crossed[i] = np.linalg.norm(ends[i, 0] - projections[:, 0], axis=-1) / np.linalg.norm(
            projections[:, 0], axis=-1
        )
    return xr.Dataset(
        {
            "end": (("potential", "start", "entry"), ends),
            "projection": (("potential", "start", "entry"), projections),
            "kkt_residual": (("potential", "start"), kkt),
            "distance": (("potential", "projected_with"), crossed),
            "discrete_end": (("step", "entry"), np.array(discrete)),
        },
        coords={"potential": list(POTENTIALS), "projected_with": list(POTENTIALS), "step": list(STEPS)},
        attrs={
            "problem": f"{equations} equations, {unknowns} unknowns, Gaussian; nonnegative sparse solution",
            "starts": "uniform in [0.05, 0.2] and in [0.5, 2]",
            "flow": "automatic solver of the dual, relative tolerance 1e-9",
            "stop": "loss 1e-18",
            "precision": "float64",
        },
    )


def _step_gap(data: xr.Dataset) -> float:
    target = data["projection"].sel(potential="entropy")[0].values
    return float(np.linalg.norm(data["discrete_end"].values - target, axis=-1).max() / np.linalg.norm(target))


def _least_distance_apart(data: xr.Dataset) -> float:
    """The least distance of an end point from the projection with another potential."""
    distance = data["distance"].values
    return float(distance[~np.eye(len(distance), dtype=bool)].min())


def _plot(data: xr.Dataset) -> dict[str, Figure]:
    names = [str(name) for name in data["potential"].values]
    with plotting.figure(
        width=11.0,
        height=8.2,
        caption="Relative distance of each trained end point (rows) from the Bregman projection with each potential "
        "(columns), from the same start. Rounding on the diagonal, far off it: each potential has an end point of "
        "its own.",
    ) as (made, ax):
        exponent = np.log10(np.maximum(data["distance"].values, 1e-16))
        ax.imshow(exponent, cmap="cividis", vmin=-12, vmax=0)
        for i, row in enumerate(exponent):
            for j, value in enumerate(row):
                words = f"$10^{{{value:.0f}}}$" if value < -1.5 else f"{10**value:.2f}"
                color = "#ffffff" if value < -5 else "#1d232b"
                ax.text(j, i, words, ha="center", va="center", color=color, fontsize=15)
        ax.set_xticks(range(len(names)), names, rotation=30, ha="left", rotation_mode="anchor")
        ax.set_yticks(range(len(names)), names)
        ax.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
        ax.set(ylabel="trained with")
        ax.grid(False)
    return {"projections": made}


EXAMPLE = """
import jax
import numpy as np
import undertow as ut

jax.config.update("jax_enable_x64", True)
rng = np.random.default_rng(0)
A = rng.uniform(size=(3, 8))
problem, start = ut.problems.LeastSquares(A, A @ np.ones(8)), np.linspace(0.2, 0.8, 8)
phi = ut.parameterizations.Identity(8)
for potential in (ut.potentials.Euclidean(), ut.potentials.Entropy()):
    nearest = ut.theory.bregman_projection(problem, potential, start)
    for step_size in (0.01, 0.02):
        descent = ut.dynamics.MirrorDescent(potential, step_size)
        end = ut.train(problem, phi, descent, params=start, stop=ut.Stop(loss=1e-18)).w
        gap = np.linalg.norm(end - nearest)
        print(f"{type(potential).__name__}, step {step_size}: w[0] {end[0]:.3f}, from the projection {gap:.6f}")
# Euclidean, step 0.01: w[0] 0.859, from the projection 0.000000
# Euclidean, step 0.02: w[0] 0.859, from the projection 0.000000
# Entropy, step 0.01: w[0] 0.517, from the projection 0.000000
# Entropy, step 0.02: w[0] 0.517, from the projection 0.000000
"""

study = Study(
    id="mirror-descent-projects",
    chapter="lecture",
    title="Mirror descent ends at a Bregman projection",
    source="S. Gunasekar, J. Lee, D. Soudry, N. Srebro, Characterizing Implicit Bias in Terms of Optimization "
    "Geometry, ICML 2018 (Theorem 1)",
    claim="On underdetermined least squares, mirror descent ends at the perfect fit nearest to its start in the "
    "Bregman divergence of its potential, whatever the step sizes.",
    standing="as published",
    run=_run,
    checks=(
        AtMost(
            "mirror flow: largest relative distance of an end from its Bregman projection",
            lambda data: largest_gap(data, "end", "projection"),
            bound=1e-7,
        ),
        AtMost(
            "KKT residual: part of the dual's way outside of the range of the transpose of A, relative",
            lambda data: float(data["kkt_residual"].max(skipna=False)),
            bound=1e-8,
        ),
        AtMost("discrete, two step sizes: relative distance from the same projection", _step_gap, bound=1e-7),
        AtLeast("least distance of an end from the projection of another potential", _least_distance_apart, bound=1e-3),
    ),
    plot=_plot,
    example=EXAMPLE,
    note="The start has to lie inside the domain of the potential, and the gradient of the potential has to blow up "
    "at its edge (so it does for the entropy, while its divergence stays finite there: it is the gradient that keeps "
    "the flow in).",
)
