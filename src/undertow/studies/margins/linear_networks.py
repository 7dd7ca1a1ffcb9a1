"""Linear networks of depth 1 to 4 on separable data: the architecture decides in which norm the margin is largest."""

from collections.abc import Callable
from typing import Any

import clarabel
import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
import xarray as xr
from jax.flatten_util import ravel_pytree
from matplotlib.figure import Figure
from scipy.optimize import nnls

from ... import plotting
from ...dynamics import GradientFlow, Stop
from ...parameterizations import DeepMatrix, Hadamard, LinearConvolution, Parameterization
from ...problems import Classification
from ...theory import maximum_margin
from ...training import train
from .._base import AtLeast, AtMost, Budget, Study
from .._shared import generator

DEPTHS = (1, 2, 3, 4)
ARCHITECTURES = ("fully connected", "diagonal", "convolution")
FEATURES, POINTS = 8, 5
STARTS = {"smoke": 1, "quick": 3, "full": 20}
SCALE = 0.1
LONG = 1000.0
_clarabel: Any = clarabel  # compiled, with no types
NEAR = 1.1
"""Points within this factor of the smallest margin can support it; the others have died out long ago."""


def _run(budget: Budget, key: jax.Array, progress: Callable[[float, str], None]) -> xr.Dataset:
    rng = generator(key)
    starts = STARTS[budget]
    shape = (len(ARCHITECTURES), len(DEPTHS), starts)
    norm, stationary, w = np.zeros(shape), np.zeros(shape), np.zeros((*shape, FEATURES))
    with jax.enable_x64(True):
        X = rng.standard_normal((POINTS, FEATURES))
        y = np.where(np.arange(POINTS) % 2 == 0, 1, -1)
        problem = Classification(X, y)
        for i, architecture in enumerate(ARCHITECTURES):
            for j, depth in enumerate(DEPTHS):
                progress((len(DEPTHS) * i + j) / 12, f"{architecture}, depth {depth}")
                phi = _network(architecture, depth)
                fit = problem if len(phi.shape) == 1 else Classification(X[:, None], y)
                ends, params = _ends(fit, phi, jax.random.fold_in(key, len(DEPTHS) * i + j), starts)
                for k in range(starts):
                    w[i, j, k] = ends[k].ravel()
                    margin = float(np.min(fit.margins(jnp.asarray(ends[k]))))
                    norm[i, j, k] = _implied(architecture, depth, w[i, j, k] / margin)
                    stationary[i, j, k] = _off_stationary(fit, phi, jax.tree.map(lambda x, k=k: x[k], params))
        least = {
            "l2": float(np.linalg.norm(maximum_margin(problem))),
            "l1": float(np.sum(np.abs(maximum_margin(problem, "l1", ties="any")))),
            "l1 in frequency": _least_in_frequency(problem),
        }
        machine = maximum_margin(problem)
    return xr.Dataset(
        {
            "w": (("architecture", "depth", "start", "entry"), w),
            "norm": (("architecture", "depth", "start"), norm),
            "off_stationary": (("architecture", "depth", "start"), stationary),
            "least": ("implied", list(least.values())),
            "machine": ("implied", [_implied(a, d, machine) for a, d in (("diagonal", 1), ("diagonal", 2))]
                        + [_implied("convolution", 2, machine)]),
        },
        coords={"architecture": list(ARCHITECTURES), "depth": list(DEPTHS), "implied": list(least)},
        attrs={
            "problem": f"exponential loss, {POINTS} Gaussian points of {FEATURES} features with labels by turns",
            "networks": f"linear, with one output, from Gaussian weights of scale {SCALE:g}; {starts} draws each",
            "flow": f"automatic solver, relative tolerance 1e-6, to log t = {LONG:g}",
            "precision": "float64",
        },
    )  # fmt: skip


def _network(architecture: str, depth: int) -> Parameterization:
    if architecture == "fully connected":
        return DeepMatrix((1, FEATURES), depth, width=FEATURES)
    return Hadamard(FEATURES, depth) if architecture == "diagonal" else LinearConvolution(FEATURES, depth)


def _ends(problem: Classification, phi: Parameterization, key: jax.Array, starts: int) -> tuple[np.ndarray, object]:
    """W and the parameters at the end of each run."""
    found = [
        train(
            problem,
            phi,
            GradientFlow(rtol=1e-6),
            key=k,
            scale=SCALE,
            stop=Stop(loss=None, log_time=LONG),
            samples=2,
        )
        for k in jax.random.split(key, starts)
    ]
    params = jax.tree.map(lambda *leaves: np.stack(leaves), *[run.params for run in found])
    return np.array([run.w for run in found]), params


def _implied(architecture: str, depth: int, w: np.ndarray) -> float:
    """The norm, or quasi-norm, that the architecture makes small: l2, or l_(2/depth), in frequency for convolutions."""
    if architecture == "fully connected":
        return float(np.linalg.norm(w))
    size = np.abs(w if architecture == "diagonal" else np.fft.fft(w, norm="ortho"))
    return float(np.sum(size ** (2 / depth)) ** (depth / 2))


def _off_stationary(problem: Classification, phi: Parameterization, params: object) -> float:
    """How far the direction of the parameters is from stationary for least norm at margins of 1, relative.

    There the parameters are a nonnegative combination of the gradients of the smallest margins.
    """
    vector, unravel = ravel_pytree(params)
    margins = np.asarray(problem.margins(phi(unravel(vector))))
    slopes = np.asarray(jax.jacobian(lambda v: problem.margins(phi(unravel(v))))(vector))
    tight = margins <= NEAR * margins.min()
    size = float(np.linalg.norm(vector))
    return float(nnls(slopes[tight].T / np.linalg.norm(slopes[tight]), np.asarray(vector) / size)[1])


def _least_in_frequency(problem: Classification) -> float:
    """The least l1 norm of the Fourier coefficients at margins of at least 1: a second-order cone program."""
    rows = problem.rows()
    count, size = rows.shape
    F = np.fft.rfft(np.eye(size), axis=0, norm="ortho")
    k = len(F)
    weights = np.full(k, 2.0)  # each stands for its conjugate too, but for the first, and the last of an even size
    weights[0] = 1.0
    if size % 2 == 0:
        weights[-1] = 1.0
    cones = [_clarabel.NonnegativeConeT(count), *[_clarabel.SecondOrderConeT(3) for _ in range(k)]]
    blocks = [np.hstack([-rows, np.zeros((count, k))])]
    for i in range(k):
        bound = np.zeros((3, size + k))
        bound[0, size + i], bound[1, :size], bound[2, :size] = -1.0, -F[i].real, -F[i].imag
        blocks.append(bound)
    settings = _clarabel.DefaultSettings()
    settings.verbose = False
    solved = _clarabel.DefaultSolver(
        scipy.sparse.csc_matrix((size + k, size + k)),
        np.append(np.zeros(size), weights),
        scipy.sparse.csc_matrix(np.vstack(blocks)),
        np.append(-np.ones(count), np.zeros(3 * k)),
        cones,
        settings,
    ).solve()
    return float(solved.obj_val) if solved.status == _clarabel.SolverStatus.Solved else np.nan


CONVEX = {
    "l2": [("fully connected", depth) for depth in DEPTHS] + [("diagonal", 1), ("convolution", 1)],
    "l1": [("diagonal", 2)],
    "l1 in frequency": [("convolution", 2)],
}
"""Where the implied norm is one, so that its least is known."""


def _over_least(data: xr.Dataset, implied: str) -> float:
    found = [data["norm"].sel(architecture=a, depth=d).max("start", skipna=False) for a, d in CONVEX[implied]]
    return float(max(found) / data["least"].sel(implied=implied))


def _machine_over_least(data: xr.Dataset) -> float:
    ratio = data["machine"] / data["least"]
    return float(ratio.sel(implied=["l1", "l1 in frequency"]).min(skipna=False))


def _plot(data: xr.Dataset) -> dict[str, Figure]:
    with plotting.figure(
        rows=3,
        columns=4,
        width=12.5,
        height=8.2,
        sharex="row",
        caption="The weights at margin 1 of the first draw (convolutions: sizes of the Fourier coefficients). Bars: "
        "where gradient flow has gone; dots: the support vector machine, of least l2 norm. Fully connected networks go "
        "there at every depth; diagonal ones get sparser with depth, convolutions so in frequency.",
    ) as (made, axes):
        machine = data["w"].sel(architecture="fully connected", depth=1, start=0).values
        for i, architecture in enumerate(ARCHITECTURES):
            for j, depth in enumerate(DEPTHS):
                ax = axes[i, j]
                w = data["w"].sel(architecture=architecture, depth=depth, start=0).values
                shown = [v / np.linalg.norm(v) for v in (w, machine)]
                if architecture == "convolution":
                    shown = [np.abs(np.fft.rfft(v, norm="ortho")) for v in shown]
                at = np.arange(len(shown[0]))
                ax.bar(at, shown[0], color=plotting.color_of(depth), width=0.7)
                ax.plot(at, shown[1], "o", color=plotting.color_of("ink"), markersize=4)
                ax.set_xticks([])
                if i == 0:
                    ax.set_title(f"depth {depth}")
                if j == 0:
                    ax.set_ylabel(architecture)
    return {"weights": made}


EXAMPLE = """
import jax
import numpy as np
import undertow as ut

jax.config.update("jax_enable_x64", True)
rng = np.random.default_rng(0)
X, y = rng.standard_normal((5, 8)), [1, -1, 1, -1, 1]
problem = ut.problems.Classification(X, y)
least = {norm: ut.theory.maximum_margin(problem, norm) for norm in ("l1", "l2")}
stop = ut.Stop(loss=None, log_time=1000.0)
for depth in (1, 2):
    phi = ut.parameterizations.Hadamard(8, depth)  # a diagonal linear network
    w = ut.train(problem, phi, ut.dynamics.GradientFlow(), key=0, scale=0.1, stop=stop).w
    w = w / problem.margins(w).min()
    l1, l2 = np.abs(w).sum() / np.abs(least["l1"]).sum(), np.linalg.norm(w) / np.linalg.norm(least["l2"])
    print(f"depth {depth}: l1 norm {l1:.3f} times the least, l2 norm {l2:.3f} times")
"""

study = Study(
    id="linear-networks",
    chapter="margins",
    title="The architecture chooses the norm",
    source="S. Gunasekar, J. Lee, D. Soudry, N. Srebro, Implicit Bias of Gradient Descent on Linear Convolutional "
    "Networks, NeurIPS 2018 (Theorems 1, 2 and 2a, Corollary 1)",
    claim="On separable data linear networks go to a stationary point of least norm at unit margin: fully connected "
    "ones in l2 at every depth, diagonal ones of depth L in l_(2/L), full-width circular convolutions in l_(2/L) of "
    "the Fourier coefficients.",
    standing="as published",
    run=_run,
    checks=(
        AtMost(
            "fully connected at depth 1 to 4, and depth 1 of all: l2 norm at unit margin over the least",
            lambda data: _over_least(data, "l2"),
            bound=1.01,
        ),
        AtMost(
            "diagonal, depth 2: l1 norm at unit margin over the least",
            lambda data: _over_least(data, "l1"),
            bound=1.01,
        ),
        AtMost(
            "convolution, depth 2: l1 norm in frequency at unit margin over the least",
            lambda data: _over_least(data, "l1 in frequency"),
            bound=1.01,
        ),
        AtLeast(
            "the same two norms of the support vector machine over the least (it is another)",
            _machine_over_least,
            bound=1.03,
        ),
        AtMost(
            "every architecture, depth and start: relative distance of the weights from stationary",
            lambda data: float(data["off_stationary"].max(skipna=False)),
            bound=1e-2,
        ),
    ),
    plot=_plot,
    example=EXAMPLE,
    note="For depth 3 and more l_(2/L) is no norm, and the flow finds stationary points of it, other ones from other "
    "starts; what is checked is that they are stationary. On the square loss, from vanishing weights, the same "
    "diagonal networks go to least l1 norm at every depth from 2 on: the quasi-norm is about infinite time.",
)
