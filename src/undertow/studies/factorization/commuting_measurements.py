"""Where least nuclear norm is proved: commuting measurements, and Gaussian ones of restricted isometry."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ... import plotting
from ...dynamics import GradientFlow, Stop
from ...parameterizations import DeepMatrix, Gram, Parameterization, Power
from ...problems import LeastSquares, MatrixSensing
from ...sweeps import sweep
from ...theory import NotUnique, basis_pursuit, limit, minimum_nuclear_norm
from ...training import train
from .._base import AtLeast, AtMost, Budget, Study
from .._shared import W, generator, predicted_order

# Size, commuting measurements, sizes of the start W(0) = x I.
COMMUTING = {
    "smoke": (5, 2, (1e-1, 1e-3, 1e-5)),
    "quick": (8, 3, (1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)),
    "full": (12, 5, tuple(10.0 ** (-k / 2) for k in range(17))),
}
# Size, rank, Gaussian measurements, sizes alpha of the start U = alpha times an orthonormal matrix.
GAUSSIAN = {
    "smoke": (30, 1, 400, (1e-1, 1e-2, 1e-3)),
    "quick": (40, 1, 700, (1e-1, 1e-2, 1e-3, 1e-4)),
    "full": (80, 1, 3000, tuple(10.0 ** (-k / 2) for k in range(1, 13))),
}
MODELS: dict[str, int | None] = {"U Uᵀ": None, "depth 2": 2, "depth 3": 3, "depth 4": 4}
SEPARATED = 0.3
"""Least predicted order in x of the excess: below it, it is not to be seen at starts that a computer can hold."""
RESOLVED = 1e-7
"""An excess of the trace below this is the error of the flow."""
SMALLEST_FOR_LOGARITHM = 1e-2
"""Starts from which all eigenvalues of W keep enough digits for the logarithm of W."""


def _model(name: str, size: int) -> Parameterization:
    depth = MODELS[name]
    return Gram(size) if depth is None else DeepMatrix((size, size), depth)


def _run(budget: Budget, key: jax.Array, progress: Callable[[float, str], None]) -> xr.Dataset:
    rng = generator(key)
    models = ["U Uᵀ", "depth 3"] if budget == "smoke" else list(MODELS)  # each is a program to compile
    size, count, starts = COMMUTING[budget]
    with jax.enable_x64(True):
        rotation = np.linalg.qr(rng.standard_normal((size, size)))[0]
        # In their common eigenvectors the measurements are vectors, and the least trace is a linear program.
        while True:
            vectors = rng.standard_normal((count, size)) / np.sqrt(count)
            reduced = LeastSquares(vectors, values := vectors @ rng.uniform(0.5, 1.5, size))
            least = basis_pursuit(reduced, nonnegative=True)
            order = predicted_order(reduced, least, signed=False) / 2
            if order >= SEPARATED:
                break
        bases = {name: rotation if depth is None else np.eye(size) for name, depth in MODELS.items() if name in models}
        matrices = np.einsum("ia,ma,ja->mij", rotation, vectors, rotation)
        problem = MatrixSensing(matrices, values, normalization="half_sum")
        diagonal = MatrixSensing(vectors[:, None, :] * np.eye(size), values, normalization="half_sum")
        ends = np.zeros((len(models), len(starts), size, size))
        predicted = np.zeros((len(models), len(starts), size))
        for k, name in enumerate(models):
            progress(0.6 * k / len(models), name)
            ends[k] = _ends(
                problem if name == "U Uᵀ" else diagonal, _model(name, size), [x * np.eye(size) for x in starts]
            )
            power = Power(size, MODELS[name] or 2)
            predicted[k] = [limit(reduced, power, jnp.full(size, x ** (1 / (MODELS[name] or 2)))) for x in starts]
        gaussian = _gaussian(rng, budget, lambda share, words: progress(0.6 + 0.4 * share, f"Gaussian: {words}"))
    turned = np.einsum("kia,kxij,kjb->kxab", np.stack(list(bases.values())), ends, np.stack(list(bases.values())))
    found = np.einsum("kxaa->kxa", turned)
    return xr.Dataset(
        {
            "diagonal": (("model", "start", "eigenvector"), found),
            "off_diagonal": (("model", "start"), np.linalg.norm(turned - found[..., None] * np.eye(size), axis=(2, 3))),
            "predicted": (("model", "start", "eigenvector"), predicted),
            "least": ("eigenvector", least),
            "least_trace": _least_trace(problem),
            "span_gap": ("wide_start", [_span_gap(ends[0, i], x, matrices) for i, x in _wide(starts)]),
            "order": order,
            **gaussian,
        },
        coords={"model": models, "start": list(starts), "alpha": list(GAUSSIAN[budget][3])},
        attrs={
            "commuting": f"{count} matrices of size {size} with common random eigenvectors and Gaussian eigenvalues, "
            "of a positive definite matrix; half the sum of squares",
            "deeper products": "in the common eigenvectors as coordinates",
            "start": "W(0) = x I from balanced factors",
            "gaussian": "{2} symmetric Gaussian measurements of a matrix of size {0} and rank {1}".format(
                *GAUSSIAN[budget]
            ),
            "flow": "explicit solver, relative tolerance 1e-8",
            "stop": "loss 1e-18 (Gaussian: time log(1 / least alpha) + 5)",
            "precision": "float64",
        },
    )


def _wide(starts: Any) -> list[tuple[int, float]]:
    return [(i, x) for i, x in enumerate(starts) if x >= SMALLEST_FOR_LOGARITHM]


def _ends(problem: MatrixSensing, phi: Parameterization, starts: list[np.ndarray]) -> np.ndarray:
    """Where the flow ends from each W(0); NaN where it does not come to zero loss."""
    found = sweep(
        lambda start: train(
            problem,
            phi,
            GradientFlow("explicit", rtol=1e-8),
            params=phi.lift(starts[start]),
            stop=Stop(loss=1e-18, steps=200_000),
            samples=2,
            probes=[W],
        ),
        over={"start": range(len(starts))},
    )
    return found["final_w"].where(found["status"] == "converged").values


def _least_trace(problem: MatrixSensing) -> float:
    """By the solver for matrices, which does not know that they commute.

    What the equations see of W is its diagonal in the common eigenvectors, so that there are many minimizers.
    """
    try:
        return float(np.trace(minimum_nuclear_norm(problem, psd=True)))
    except NotUnique as tie:
        return float(np.trace(tie.points[0]))


def _span_gap(end: np.ndarray, x: float, matrices: np.ndarray) -> float:
    """What of log W - log W(0) is not a combination of the measurements, relative."""
    values, vectors = np.linalg.eigh((end + end.T) / 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        moved = ((vectors * (np.log(values) - np.log(x))) @ vectors.T).ravel()
    if not np.all(np.isfinite(moved)):
        return np.nan
    columns = matrices.reshape(len(matrices), -1).T
    return float(np.linalg.norm(columns @ np.linalg.lstsq(columns, moved)[0] - moved) / np.linalg.norm(moved))


def _gaussian(
    rng: np.random.Generator, budget: Budget, progress: Callable[[float, str], None]
) -> dict[str, tuple[str, np.ndarray]]:
    """The error of the recovered matrix against the size of the start."""
    size, rank, count, alphas = GAUSSIAN[budget]
    factor = np.linalg.qr(rng.standard_normal((size, rank)))[0] * np.sqrt(np.linspace(1, 0.5, rank))
    truth = factor @ factor.T
    matrices = rng.standard_normal((count, size, size))
    matrices = (matrices + matrices.transpose(0, 2, 1)) / 2
    problem = MatrixSensing(matrices, np.einsum("mij,ij->m", matrices, truth), truth)
    orthonormal = np.linalg.qr(rng.standard_normal((size, size)))[0]
    # Columns grow like exp(2 s t) at least, s >= 1/2: time for the smallest start to get to size 1 and to settle, and
    # not enough for what the measurements hardly see to grow.
    window = float(np.log(1 / min(alphas))) + 5
    found = sweep(
        lambda alpha: train(
            problem,
            Gram(size),
            GradientFlow("explicit", rtol=1e-8),
            params=jnp.asarray(alpha * orthonormal),
            stop=Stop(loss=None, time=window, steps=50_000),
            samples=2,
            probes=[W],
        ),
        over={"alpha": alphas},
        progress=progress,
    )
    error = np.linalg.norm(found["final_w"].values - truth, axis=(1, 2)) / np.linalg.norm(truth)
    return {"error": ("alpha", np.where(found["status"] == "stopped", error, np.nan))}


def _excess(data: xr.Dataset, name: str = "diagonal") -> xr.DataArray:
    """The trace over the least one, less one."""
    return data[name].sum("eigenvector", skipna=False) / data["least"].sum() - 1


def _prediction_gap(data: xr.Dataset) -> float:
    distance = np.linalg.norm(data["diagonal"] - data["predicted"], axis=-1)
    return float((distance / np.linalg.norm(data["predicted"], axis=-1)).max())


def _order_gap(data: xr.Dataset) -> float:
    """For U U^T: measured over predicted order of the excess in the size of the start, less one.

    At the two smallest starts whose excess is well above the accuracy of the flow.
    """
    excess = _excess(data).sel(model="U Uᵀ").values
    resolved = np.flatnonzero(excess > RESOLVED)[-2:]
    excess, size = np.log(excess[resolved]), np.log(data["start"].values[resolved])
    return float(abs((excess[1] - excess[0]) / (size[1] - size[0]) / float(data["order"]) - 1))


def _slope(data: xr.Dataset) -> float:
    """The least power of alpha at which the error falls from one start to the next."""
    return float((np.diff(np.log(data["error"])) / np.diff(np.log(data["alpha"]))).min())


def _plot(data: xr.Dataset) -> dict[str, Figure]:
    colors = {name: plotting.color_of(depth or "gradient flow") for name, depth in MODELS.items()}
    with plotting.figure(
        width=9.6,
        height=5.8,
        caption="Commuting measurements: excess of the trace of the end point over the least trace, as the start "
        "W(0) = x I shrinks. Dots: trained; lines: predicted by the potential on the eigenvalues.",
    ) as (excess, ax):
        for name in data["model"].values:
            chosen, color = data.sel(model=name), colors[name]
            ax.loglog(data["start"], _excess(chosen, "predicted"), color=color, label=name)
            ax.loglog(data["start"], _excess(chosen), "o", color=color)
        ax.invert_xaxis()
        ax.set(xlabel="start x", ylabel="excess over the least trace")
        plotting.label_lines(ax)
    with plotting.figure(
        width=8.6,
        height=5.4,
        caption="Gaussian measurements, many more than degrees of freedom: relative error of the recovered matrix, "
        "from a full-size orthonormal start of size alpha. Dashed: proportional to alpha.",
    ) as (error, ax):
        ax.loglog(data["alpha"], data["error"], "o-", color=plotting.color_of("gradient flow"))
        line = float(data["error"][0]) * data["alpha"] / float(data["alpha"][0])
        ax.loglog(data["alpha"], line, "--", color=plotting.color_of("theory"), linewidth=1.4)
        ax.invert_xaxis()
        ax.set(xlabel="start alpha", ylabel="relative error")
    return {"commuting": excess, "gaussian": error}


EXAMPLE = """
import jax
import numpy as np
import undertow as ut

jax.config.update("jax_enable_x64", True)
Q = np.linalg.qr(np.random.default_rng(0).standard_normal((5, 5)))[0]
diagonals = np.array([[4.0, 1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0, 4.0]])
measurements = np.einsum("ia,ma,ja->mij", Q, diagonals, Q)  # common eigenvectors: they commute
problem = ut.problems.MatrixSensing(measurements, [6.0, 6.0])
phi = ut.parameterizations.Gram(5)  # W = U U^T
for size in (1e-1, 1e-2, 1e-4):
    params, stop = np.sqrt(size) * np.eye(5), ut.Stop(loss=1e-16)  # W(0) = size I
    end = ut.train(problem, phi, ut.dynamics.GradientFlow(), params=params, stop=stop).w
    print(f"from {size:g}: trace {np.trace(end):.4f}, eigenvalues", np.linalg.eigvalsh(end)[::-1].round(2))
# from 0.1: trace 3.4724, eigenvalues [1.36 1.36 0.37 0.19 0.19]
# from 0.01: trace 3.1126, eigenvalues [1.46 1.46 0.12 0.03 0.03]
# from 0.0001: trace 3.0078, eigenvalues [1.5  1.5  0.01 0.   0.  ]
least = ut.theory.basis_pursuit(ut.problems.LeastSquares(diagonals, [6.0, 6.0]), nonnegative=True)
print(f"least trace of a perfect fit: {least.sum():.4f}")  # least trace of a perfect fit: 3.0000
"""

study = Study(
    id="commuting-measurements",
    chapter="factorization",
    title="Least nuclear norm, where it is proved",
    source="S. Gunasekar, B. Woodworth, S. Bhojanapalli, B. Neyshabur, N. Srebro, Implicit Regularization in Matrix "
    "Factorization, NeurIPS 2017 (Theorem 1); S. Arora, N. Cohen, W. Hu, Y. Luo, NeurIPS 2019 (Theorem 2); Y. Li, T. "
    "Ma, H. Zhang, COLT 2018 (Theorem 1.1)",
    claim="Where the measurements commute, gradient flow on U Uᵀ, and on deeper products in the common eigenvectors, "
    "ends at the positive semidefinite solution of least nuclear norm as its start vanishes; under restricted "
    "isometry a small orthonormal start recovers a matrix of low rank.",
    standing="as published",
    run=_run,
    checks=(
        AtMost("trained end points against predicted ones, largest relative distance", _prediction_gap, bound=1e-6),
        AtMost(
            "part of the end points across the common eigenvectors, largest (deeper products start and stay within)",
            lambda data: float(data["off_diagonal"].max(skipna=False)),
            bound=1e-8,
        ),
        AtMost(
            "least trace by two solvers, relative gap",
            lambda data: float(abs(data["least_trace"] / data["least"].sum() - 1)),
            bound=1e-6,
        ),
        AtMost(
            "U Uᵀ: part of log W - log W(0) that is no combination of the measurements",
            lambda data: float(data["span_gap"].max(skipna=False)),
            bound=1e-5,
        ),
        AtMost("U Uᵀ: order of the excess in the start against the predicted one, relative", _order_gap, bound=0.1),
        AtMost(
            "every depth: excess over the least trace at the smallest start, largest",
            lambda data: float(abs(_excess(data)[:, -1]).max(skipna=False)),
            bound=1e-2,
        ),
        AtMost(
            "Gaussian measurements: relative error at the smallest start",
            lambda data: float(data["error"][-1]),
            bound=1e-2,
        ),
        AtLeast("Gaussian measurements: least power of alpha at which the error falls", _slope, bound=0.9),
    ),
    plot=_plot,
    example=EXAMPLE,
    note="The settings are not the first ones; the bounds are. At first the deeper products were trained in random "
    "eigenvectors, too, and ended with parts of size 0.9 across them; in the eigenvectors as coordinates, as now, "
    "they do not. The flow through commuting products is not stable at depth 3 and more: on three other draws, from "
    "x = 1e-6, a change of 1e-16 across the eigenvectors in the factors ends 0.4 to 1.1 off (depth 3 and 4), one "
    "along them stays, and depth 2 is stable to both. Rounding is such a change. A truth of fewer eigenvalues than "
    "measurements left runs that did not converge: it has full rank now. A first problem had the predicted order "
    "0.03 and was far from its limit at x = 1e-6; problems are now drawn until it is at least 0.3, and the order is "
    "measured where the flow resolves the excess. Where the solution has two eigenvalues or more the minimizer of "
    "the trace is not unique, since commuting measurements see a diagonal only; the flow stays on it. Gaussian runs "
    "to zero loss (mean square 1e-14; 10 x 10, 45 measurements) took some 10,000 steps, and their error, 1e-6, did "
    "not fall with alpha at all. They now end after a fixed time, as the theorem has it; then the error fell with "
    "the power 0.75 only for 60 measurements of a 12 x 12 matrix, where restricted isometry is poor. The sizes were "
    "raised, and the rank is one, after seeing that.",
)
