"""Linear networks of depth 1 to 4 on separable data: the architecture decides in which norm the margin is largest."""

from collections.abc import Callable
from typing import Any

import clarabel
import equinox as eqx
import jax
import numpy as np
import scipy.sparse
import xarray as xr
from jax.flatten_util import ravel_pytree
from matplotlib.figure import Figure
from scipy.optimize import nnls

from ... import plotting
from ...dynamics import GradientFlow, Stop
from ...parameterizations import DeepMatrix, Hadamard, LinearConvolution, Parameterization
from ...probes import Function
from ...problems import Classification
from ...theory import maximum_margin
from ...training import LogTimes, train
from .._base import AtLeast, AtMost, Budget, Study
from .._shared import generator

DEPTHS = (1, 2, 3, 4)
ARCHITECTURES = ("fully connected", "diagonal", "convolution")
FEATURES, POINTS, WIDTH = 8, 5, 3
DRAWS = {"smoke": 1, "quick": 5, "full": 50}
SCALE = 0.1
LOG_TIMES = (1e4, 1e6)
IMPLIED = {"l2": ("fully connected", 1), "l1": ("diagonal", 2), "l1 in frequency": ("convolution", 2)}
"""Norms, and where each is implied."""
_clarabel: Any = clarabel  # compiled, with no types
NEAR = 1.1
"""Points within this factor of the smallest margin can support it; the others have died out long ago."""


def _run(budget: Budget, key: jax.Array, progress: Callable[[float, str], None]) -> xr.Dataset:
    rng = generator(key)
    draws = DRAWS[budget]
    shape = (draws, len(ARCHITECTURES), len(DEPTHS))
    norm, w, off = np.zeros(shape), np.zeros((*shape, FEATURES)), np.zeros((*shape, len(LOG_TIMES)))
    least, machine = np.zeros((2, draws, len(IMPLIED)))
    with jax.enable_x64(True):
        for n in range(draws):
            X, y = _draw(rng)
            problem = Classification(X, y)
            widest = maximum_margin(problem)
            least[n] = [
                np.linalg.norm(widest),
                np.sum(np.abs(maximum_margin(problem, "l1", ties="any"))),
                _least_in_frequency(problem),
            ]
            machine[n] = [_implied(a, depth, widest) for a, depth in IMPLIED.values()]
            for i, architecture in enumerate(ARCHITECTURES):
                for j, depth in enumerate(DEPTHS):
                    progress((n + (len(DEPTHS) * i + j) / 12) / draws, f"{architecture}, depth {depth}, draw {n + 1}")
                    phi = _network(architecture, depth)
                    fit = problem if len(phi.shape) == 1 else Classification(X[:, None], y)
                    end, weights = _follow(fit, phi, jax.random.fold_in(key, 12 * n + len(DEPTHS) * i + j))
                    w[n, i, j] = end.ravel()
                    norm[n, i, j] = _implied(architecture, depth, w[n, i, j] / float(np.min(fit.margins(end))))
                    off[n, i, j] = [_off_stationary(fit, phi, vector) for vector in weights]
    return xr.Dataset(
        {
            "w": (("draw", "architecture", "depth", "entry"), w),
            "norm": (("draw", "architecture", "depth"), norm),
            "off_stationary": (("draw", "architecture", "depth", "log_time"), off),
            "least": (("draw", "implied"), least),
            "machine": (("draw", "implied"), machine),
        },
        coords={
            "architecture": list(ARCHITECTURES),
            "depth": list(DEPTHS),
            "implied": list(IMPLIED),
            "log_time": list(LOG_TIMES),
        },
        attrs={
            "problem": f"exponential loss, {POINTS} Gaussian points of {FEATURES} features, on two sides of a wave; "
            f"{draws} draws",
            "networks": f"linear, with one output, from Gaussian weights of scale {SCALE:g}",
            "flow": f"implicit solver, relative tolerance 1e-5, to log t = {LOG_TIMES[-1]:g}",
            "precision": "float64",
        },
    )


def _draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    wave = np.cos(2 * np.pi * np.arange(FEATURES) / FEATURES)
    while True:
        X = rng.standard_normal((POINTS, FEATURES))
        y = np.sign(X @ wave).astype(int)
        if abs(y.sum()) < POINTS:
            return X, y


def _network(architecture: str, depth: int) -> Parameterization:
    if architecture == "fully connected":
        return DeepMatrix((1, FEATURES), depth, width=WIDTH)
    return Hadamard(FEATURES, depth) if architecture == "diagonal" else LinearConvolution(FEATURES, depth)


def _follow(problem: Classification, phi: Parameterization, key: jax.Array) -> tuple[jax.Array, np.ndarray]:
    """W at the end of a run, and all weights at the log times."""
    run = train(
        problem,
        phi,
        GradientFlow("implicit"),
        key=key,
        scale=SCALE,
        stop=Stop(loss=None, log_time=LOG_TIMES[-1]),
        samples=LogTimes(LOG_TIMES[:-1]),
        probes=[Function("weights", lambda params: ravel_pytree(params)[0], of="params")],
    )
    return run.w, np.asarray(run["weights"])[1:]


def _implied(architecture: str, depth: int, w: np.ndarray) -> float:
    """The norm, or quasi-norm, that the architecture makes small: l2, or l_(2/depth), in frequency for convolutions."""
    if architecture == "fully connected":
        return float(np.linalg.norm(w))
    size = np.abs(w if architecture == "diagonal" else np.fft.fft(w, norm="ortho"))
    return float(np.sum(size ** (2 / depth)) ** (depth / 2))


@eqx.filter_jit
def _margins_and_slopes(problem: Classification, phi: Parameterization, vector: Any) -> tuple[Any, Any]:
    unravel = ravel_pytree(phi.init(jax.random.key(0), 1.0))[1]

    def margins(vector: Any) -> Any:
        return problem.margins(phi(unravel(vector)))

    return margins(vector), jax.jacobian(margins)(vector)


def _off_stationary(problem: Classification, phi: Parameterization, vector: np.ndarray) -> float:
    """How far the direction of the parameters is from stationary for least norm at margins of 1, relative.

    There the parameters are a nonnegative combination of the gradients of the smallest margins.
    """
    margins, slopes = map(np.asarray, _margins_and_slopes(problem, phi, vector))
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


def _excess(data: xr.Dataset, implied: str) -> xr.DataArray:
    """By how much a norm at unit margin is above the least, draw by draw."""
    architecture, depth = IMPLIED[implied]
    return data["norm"].sel(architecture=architecture, depth=depth) / data["least"].sel(implied=implied) - 1


def _euclidean(data: xr.Dataset) -> float:
    """The largest excess of the l2 norm where it is implied: fully connected at every depth, depth 1 of the others."""
    least = data["least"].sel(implied="l2")
    connected = data["norm"].sel(architecture="fully connected") / least - 1
    single = data["norm"].sel(depth=1) / least - 1
    return float(np.max([connected.max(skipna=False), single.max(skipna=False)]))


def _plot(data: xr.Dataset) -> dict[str, Figure]:
    with plotting.figure(
        rows=3,
        columns=4,
        width=12.5,
        height=8.2,
        sharex="row",
        caption="The direction of the weights on the first draw (convolutions: sizes of the Fourier coefficients). "
        "Bars: where gradient flow has gone; dots: the support vector machine, of least l2 norm. Fully connected "
        "networks go there at every depth; diagonal ones get sparser with depth, convolutions so in frequency.",
    ) as (made, axes):
        machine = data["w"].sel(architecture="fully connected", depth=1, draw=0).values
        for i, architecture in enumerate(ARCHITECTURES):
            for j, depth in enumerate(DEPTHS):
                ax = axes[i, j]
                w = data["w"].sel(architecture=architecture, depth=depth, draw=0).values
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
stop = ut.Stop(loss=None, log_time=1e6)
for depth in (1, 2):
    phi = ut.parameterizations.Hadamard(8, depth)  # a diagonal linear network
    w = ut.train(problem, phi, ut.dynamics.GradientFlow("implicit"), key=0, scale=0.1, stop=stop).w
    w = w / problem.margins(w).min()
    l1, l2 = np.abs(w).sum() / np.abs(least["l1"]).sum(), np.linalg.norm(w) / np.linalg.norm(least["l2"])
    print(f"depth {depth}: l1 norm {l1:.3f} times the least, l2 norm {l2:.3f} times")
# depth 1: l1 norm 1.102 times the least, l2 norm 1.000 times
# depth 2: l1 norm 1.016 times the least, l2 norm 1.068 times
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
            "fully connected at depth 1 to 4, and depth 1 of all: excess of the l2 norm over the least, largest",
            _euclidean,
            bound=0.01,
        ),
        AtMost(
            "diagonal, depth 2: excess of the l1 norm over the least, median of the draws",
            lambda data: float(_excess(data, "l1").median(skipna=False)),
            bound=0.01,
        ),
        AtMost(
            "convolution, depth 2: excess of the l1 norm in frequency over the least, median of the draws",
            lambda data: float(_excess(data, "l1 in frequency").median(skipna=False)),
            bound=0.01,
        ),
        AtLeast(
            "the support vector machine: excess of the same two norms, the smaller of the medians (it is another)",
            lambda data: float((data["machine"] / data["least"] - 1)[:, 1:].median("draw", skipna=False).min()),
            bound=0.03,
        ),
        AtMost(
            "every architecture and depth: relative distance of the weights from stationary, median, largest",
            lambda data: float(data["off_stationary"][..., -1].median("draw", skipna=False).max()),
            bound=0.1,
        ),
        AtMost(
            "the same distance: by which factor it falls from log t = 1e4 to 1e6, median, largest",
            lambda data: float(
                (data["off_stationary"][..., -1] / data["off_stationary"][..., 0]).median("draw", skipna=False).max()
            ),
            bound=0.9,
        ),
    ),
    plot=_plot,
    example=EXAMPLE,
    note="For depth 3 and more l_(2/L) is no norm, and the flow finds stationary points of it, other ones from other "
    "starts; what is checked is that they are stationary. Weights that are not to grow keep about the size that they "
    "had at the start, while the others grow like the root of log t, the L-th at depth L: so the distance falls like "
    "one over that. On the square loss, from vanishing weights, the same diagonal networks go to least l1 norm at "
    "every depth from 2 on: the quasi-norm is about infinite time.",
)
