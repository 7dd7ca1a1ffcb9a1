"""The square parameterizations end at least l1 norm as the start vanishes: nonnegative, and with signs."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ... import plotting
from ...parameterizations import Power, SignedPower
from ...problems import LeastSquares
from ...theory import basis_pursuit, limit
from .._base import AtMost, Budget, Study
from .._shared import generator, predicted_order
from ._shared import gaussian_problem, largest_gap, train_from

SIZES = {"smoke": (8, 16, 2), "quick": (15, 40, 4), "full": (40, 120, 10)}
# The distance from the limit falls like alpha to an order that the instance sets, anything between 0 and 2. So the
# starts are chosen by that order, alpha = reduction^(1 / order): at the last one the distance is near the last
# reduction, in units of what it was at alpha = 1, whatever the instance.
REDUCTIONS = {
    "smoke": (1e-1, 1e-2, 1e-3),
    "quick": (1.0, 1e-1, 1e-2, 1e-3, 1e-4),
    "full": tuple(10.0 ** (-k / 2) for k in range(9)),
}
LEAST_ORDER = 0.1
"""An instance of a smaller one is drawn anew: its last start, 1e-40, would be 1e-80 in w, and soon no number at all."""
MODELS = ("square", "difference of squares")
# Every feasible point of this instance has the same l1 norm: the limit is the one of maximal entropy.
TIED = (np.array([[1.0, 1.0, 1.0, 1.0], [0.0, 1.0, 2.0, 3.0]]), np.array([1.0, 1.2]))
MAXIMAL_ENTROPY = np.array([0.34743961, 0.27220765, 0.21326586, 0.16708688])


def _run(budget: Budget, key: jax.Array, progress: Callable[[float, str], None]) -> xr.Dataset:
    equations, unknowns, nonzero = SIZES[budget]
    reductions = np.array(REDUCTIONS[budget])
    rng = generator(key)
    ends, predicted = np.zeros((2, len(MODELS), reductions.size, unknowns))
    sparse, order = np.zeros((len(MODELS), unknowns)), np.zeros(len(MODELS))
    alphas, drawn = np.zeros((len(MODELS), reductions.size)), np.zeros(len(MODELS), int)
    with jax.enable_x64(True):
        for i, model in enumerate(MODELS):
            progress(i / 3, model)
            problem, sparse[i], order[i], drawn[i] = _instance(rng, budget, model)
            alphas[i] = reductions ** (1 / order[i])
            phi = Power(unknowns, 2) if model == "square" else SignedPower(unknowns, 2)
            even = [jnp.full(unknowns, alpha) for alpha in alphas[i]]
            params = even if model == "square" else [(u, u) for u in even]
            ends[i] = train_from(problem, phi, params, samples=2)["end"].values
            predicted[i] = [limit(problem, phi, start) for start in params]
        progress(2 / 3, "a tie")
        tied = train_from(LeastSquares(*TIED), Power(4, 2), [jnp.full(4, 1e-3)], samples=2)["end"].values[0]
    return xr.Dataset(
        {
            "end": (("model", "reduction", "entry"), ends),
            "predicted": (("model", "reduction", "entry"), predicted),
            "alpha": (("model", "reduction"), alphas),
            "basis_pursuit": (("model", "entry"), sparse),
            "predicted_order": ("model", order),
            "instances_drawn": ("model", drawn),
            "tied_end": ("tied_entry", tied),
        },
        coords={"model": list(MODELS), "reduction": reductions},
        attrs={
            "problems": f"{equations} equations, {unknowns} unknowns, Gaussian; solution with {nonzero} entries",
            "start": "every parameter alpha: w is alpha squared for the square, 0 for the difference",
            "alpha": "the reduction of the distance that is aimed at, to the power of one over the predicted order",
            "instances": f"drawn anew where the predicted order is below {LEAST_ORDER:g}",
            "tie": "4 weights with sum 1 and mean 1.2 of 0 to 3, from w = 1e-6",
            "flow": "automatic solver, relative tolerance 1e-9",
            "stop": "loss 1e-18",
            "precision": "float64",
        },
    )


def _instance(rng: np.random.Generator, budget: Budget, model: str) -> tuple[LeastSquares, np.ndarray, float, int]:
    """A problem, its solution of least l1 norm, the order at which the distance falls, and how many were drawn."""
    drawn = 0
    while True:
        drawn += 1
        problem, _ = gaussian_problem(rng, *SIZES[budget], nonnegative=model == "square")
        sparse = basis_pursuit(problem, nonnegative=model == "square")
        order = predicted_order(problem, sparse, signed=model != "square")
        if order >= LEAST_ORDER:
            return problem, sparse, order, drawn


def _distance(data: xr.Dataset, name: str = "end") -> xr.DataArray:
    """Of end points from basis pursuit, over the norm of the latter."""
    norm = lambda x: np.sqrt((x**2).sum("entry", skipna=False))  # noqa: E731
    return norm(data[name] - data["basis_pursuit"]) / norm(data["basis_pursuit"])


def _order_gap(data: xr.Dataset, model: str) -> float:
    """Measured over predicted order, less one, at the two smallest alphas."""
    distance = np.log(_distance(data).sel(model=model).values[-2:])
    alpha = np.log(data["alpha"].sel(model=model).values[-2:])
    order = (distance[1] - distance[0]) / (alpha[1] - alpha[0])
    return float(abs(order / data["predicted_order"].sel(model=model) - 1))


def _plot(data: xr.Dataset) -> dict[str, Figure]:
    colors = {"square": plotting.color_of(2), "difference of squares": plotting.color_of("exponential")}
    with plotting.figure(
        width=9.6,
        height=5.8,
        caption="Distance of the end point from the solution of least ℓ₁ norm, which a linear program finds, as the "
        "start shrinks. Dots: trained; lines: predicted by the potential; the slope follows from the dual "
        "certificate.",
    ) as (distance, ax):
        for model in MODELS:
            chosen = data.sel(model=model)
            ax.loglog(chosen["alpha"], _distance(chosen, "predicted"), color=colors[model])
            ax.loglog(chosen["alpha"], _distance(chosen), "o", color=colors[model])
            end = float(_distance(chosen)[-1])
            sign = "$w = u^2$" if model == "square" else "$w = u^2 - v^2$"
            words = f"{sign}\nslope {float(chosen['predicted_order']):.2f}"
            ax.annotate(
                words, (float(chosen["alpha"][-1]), end), xytext=(12, 0), textcoords="offset points", va="center",
                color=colors[model], fontweight="bold", annotation_clip=False,
            )  # fmt: skip
        ax.invert_xaxis()
        ax.set(xlabel="start alpha", ylabel="distance from least $\\ell_1$ norm")
    with plotting.figure(
        1,
        2,
        width=13.8,
        height=5.6,
        caption="The entries of the end point against the start: from spread out to sparse. Rings: basis pursuit.",
    ) as (entries, axes):
        for ax, model in zip(axes, MODELS, strict=True):
            chosen = data.sel(model=model)
            ax.semilogx(chosen["alpha"], chosen["end"], color=colors[model], linewidth=1.8)
            last = np.full(data.sizes["entry"], float(chosen["alpha"][-1]))
            ax.plot(last, chosen["basis_pursuit"], "o", color=plotting.color_of("ink"), fillstyle="none", markersize=10)
            ax.invert_xaxis()
            ax.set(xlabel="start alpha", title="$w = u^2$" if model == "square" else "$w = u^2 - v^2$")
        axes[0].set_ylabel("entries of w")
    return {"distance": distance, "entries": entries}


EXAMPLE = """
import jax
import jax.numpy as jnp
import numpy as np
import undertow as ut

jax.config.update("jax_enable_x64", True)
rng = np.random.default_rng(0)
A, truth = rng.standard_normal((10, 25)), np.zeros(25)
truth[:3] = 1.0, -2.0, 0.5
problem = ut.problems.LeastSquares(A, A @ truth)
sparse = ut.theory.basis_pursuit(problem)  # of least l1 norm, by a linear program
phi = ut.parameterizations.SignedPower(25, 2)  # w = u^2 - v^2
for alpha in (1.0, 1e-2, 1e-4, 1e-8):
    start = (jnp.full(25, alpha), jnp.full(25, alpha))
    end = ut.train(problem, phi, ut.dynamics.GradientFlow(), params=start, stop=ut.Stop(loss=1e-14)).w
    print(f"alpha {alpha:g}: l1 norm {jnp.abs(end).sum():.3f}, distance {jnp.linalg.norm(end - sparse):.4f}")
# alpha 1: l1 norm 4.487, distance 1.1135
# alpha 0.01: l1 norm 2.861, distance 0.2370
# alpha 0.0001: l1 norm 2.827, distance 0.1366
# alpha 1e-08: l1 norm 2.817, distance 0.0412
print(f"least l1 norm: {np.abs(sparse).sum():.3f}")  # least l1 norm: 2.815
"""

study = Study(
    id="square-map-is-least-l1",
    chapter="lecture",
    title="Square the weights, and small starts end sparse",
    source="S. Gunasekar, B. Woodworth, S. Bhojanapalli, B. Neyshabur, N. Srebro, Implicit Regularization in Matrix "
    "Factorization, NeurIPS 2017 (commuting case); B. Woodworth et al., Kernel and Rich Regimes in Overparametrized "
    "Models, COLT 2020",
    claim="As the start vanishes, gradient flow on w = u² ends at the nonnegative solution of least ℓ₁ norm, and on "
    "w = u² - v² at the solution of basis pursuit.",
    standing="as published",
    run=_run,
    checks=(
        AtMost(
            "trained end points against predicted ones, largest relative distance",
            lambda data: largest_gap(data, "end", "predicted"),
            bound=1e-6,
        ),
        AtMost(
            "square: distance from the least nonnegative ℓ₁ norm at the smallest alpha",
            lambda data: float(_distance(data).sel(model="square")[-1]),
            bound=1e-2,
        ),
        AtMost(
            "difference of squares: distance from basis pursuit at the smallest alpha",
            lambda data: float(_distance(data).sel(model="difference of squares")[-1]),
            bound=1e-2,
        ),
        AtMost(
            "square: order of the distance in alpha against the predicted one, relative",
            lambda data: _order_gap(data, "square"),
            bound=0.1,
        ),
        AtMost(
            "difference of squares: order of the distance in alpha against the predicted one, relative",
            lambda data: _order_gap(data, "difference of squares"),
            bound=0.1,
        ),
        AtMost(
            "tie: distance from the distribution of maximal entropy",
            lambda data: float(abs(data["tied_end"] - MAXIMAL_ENTROPY).max(skipna=False)),
            bound=1e-6,
        ),
    ),
    plot=_plot,
    example=EXAMPLE,
    note="Three things are easily lost in a lecture. The limit may be far: the distance from it falls like alpha to an "
    "order between 0 and 2 that the instance sets, so that the starts are chosen by it here. Training from y = alpha "
    "starts w at alpha squared, not at alpha. "
    "And where the solution of least ℓ₁ norm is not unique, the limit is the one of maximal entropy (last check).",
)
