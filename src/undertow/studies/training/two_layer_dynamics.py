"""Two linear layers from lambda-balanced starts: the exact path, and from lazy to rich by lambda."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ... import plotting
from ...dynamics import GradientFlow, Stop
from ...parameterizations import DeepMatrix
from ...probes import Function
from ...problems import PointTarget
from ...theory import TwoLayerPath, two_layer_dynamics
from ...training import train
from .._base import AtLeast, AtMost, Budget, Close, Study
from .._shared import W, generator

SIZE, TARGETS, SCALE = 4, np.array([4.0, 2.0, 1.0, 0.5]), 0.1
"""Inputs, outputs and hidden units; singular values of the target; the those of the smaller layer at first."""
IMBALANCES = {"smoke": (0.0, 1.0), "quick": (-4.0, -0.5, 0.0, 0.5, 4.0), "full": (-16.0, -4, -0.5, 0.0, 0.5, 4, 16.0)}
TIMES = np.array([0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])
NARROW = (5, 2, 3)
"""Outputs, hidden units and inputs of a network that is narrow and not square, balanced."""
LADDER = np.concatenate([[0.0], np.geomspace(0.1, 1000, 17)])
"""Imbalances of the curve from rich to lazy: no training."""
SMALL = 1e-3
"""The smaller layer along the ladder: well below s / sqrt(lambda), to which it grows for a singular value s."""
FAR = 1e7
"""A time at which every one of them has ended."""
RTOL = 1e-12


def _run(budget: Budget, key: jax.Array, progress: Callable[[float, str], None]) -> xr.Dataset:
    rng, imbalances = generator(key), IMBALANCES[budget]
    target = _rotation(rng, SIZE) * TARGETS @ _rotation(rng, SIZE).T
    frames = [_rotation(rng, SIZE) for _ in range(3)]
    errors, products = [], []
    with jax.enable_x64(True):
        for i, imbalance in enumerate(imbalances):
            progress(i / (len(imbalances) + 1), f"lambda = {imbalance:g}")
            layers = _layers(frames, SCALE, imbalance)
            path = two_layer_dynamics(TIMES, target, layers[0], layers[1])
            errors.append(_error(path, target, layers))
            products.append(path.product)
        progress(len(imbalances) / (len(imbalances) + 1), "a narrow network")
        outputs, hidden, inputs = NARROW
        narrow_target = rng.standard_normal((outputs, inputs))
        ends = [_rotation(rng, n)[:, :hidden] for n in (inputs, outputs)]
        layers = _layers([ends[0], _rotation(rng, hidden), ends[1]], SCALE, 0.0)
        narrow = _error(two_layer_dynamics(TIMES, narrow_target, *layers), narrow_target, layers)
    moved = [_kernel_change(target, _layers(frames, SMALL, imbalance)) for imbalance in LADDER]
    lazy = [_lazy_error(target, _layers(frames, SMALL, imbalance), imbalance) for imbalance in LADDER[1:]]
    return xr.Dataset(
        {
            "error": (("imbalance", "time"), errors),
            "product": (("imbalance", "time", "out", "in"), products),
            "narrow_error": ("time", narrow),
            "kernel_change": ("ladder", moved),
            "lazy_error": ("ladder", [np.nan, *lazy]),
            "target": (("out", "in"), target),
        },
        coords={"imbalance": list(imbalances), "time": TIMES, "ladder": LADDER},
        attrs={
            "problem": f"target {SIZE} x {SIZE} of random singular vectors, values {TARGETS}, half the sum of squares",
            "start": f"random singular vectors, the smaller layer of size {SCALE:g}, along the ladder {SMALL:g}",
            "narrow network": f"{NARROW[2]} inputs, {NARROW[1]} hidden units, {NARROW[0]} outputs, balanced",
            "flow": f"explicit, relative tolerance {RTOL:g}",
            "precision": "float64",
        },
    )


def _rotation(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.linalg.qr(rng.standard_normal((n, n)))[0]


def _layers(frames: list[np.ndarray], scale: float, imbalance: float) -> tuple[np.ndarray, np.ndarray]:
    """Layers of these singular vectors whose difference of squares is the imbalance times the identity."""
    inner, hidden, outer = frames
    one, two = np.sqrt(scale**2 + max(-imbalance, 0.0)), np.sqrt(scale**2 + max(imbalance, 0.0))
    return one * hidden @ inner.T, two * outer @ hidden.T


def _error(path: TwoLayerPath, target: np.ndarray, layers: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """The largest error of an entry of the product and of both squares, at every time, against the flow."""
    squares = [
        Function("first", lambda params: params[0].T @ params[0], of="params"),
        Function("second", lambda params: params[1] @ params[1].T, of="params"),
    ]
    run = train(
        PointTarget(target),
        DeepMatrix(target.shape, 2, layers[0].shape[0]),
        GradientFlow("explicit", rtol=RTOL, atol=RTOL),
        params=tuple(map(jnp.asarray, layers)),
        samples=TIMES,
        probes=[W, *squares],
        stop=Stop(loss=None, time=TIMES[-1]),
    )
    pairs = ((run["w"], path.product), (run["first"], path.first), (run["second"], path.second))
    return np.max([abs(found - expected).max((1, 2)) for found, expected in pairs], axis=0)


def _kernel_change(target: np.ndarray, layers: tuple[np.ndarray, np.ndarray]) -> float:
    """How far the tangent kernel goes on the way, as a share of where it starts.

    It is the sum of the squares of the layers, each times the identity of the other side.
    """
    path, one = two_layer_dynamics([0.0, FAR], target, *layers), np.eye(SIZE)
    start, end = (np.kron(path.second[i], one) + np.kron(one, path.first[i]) for i in (0, 1))
    return float(np.linalg.norm(end - start) / np.linalg.norm(start))


def _lazy_error(target: np.ndarray, layers: tuple[np.ndarray, np.ndarray], imbalance: float) -> float:
    """The largest distance, over the target's size, of the path from what a kernel that stands still would do."""
    pace = imbalance + 2 * SMALL**2  # both squares are multiples of the identity at the start, and so is their kernel
    times = np.linspace(0, 6 / pace, 200)
    found, start = two_layer_dynamics(times, target, *layers).product, layers[1] @ layers[0]
    frozen = target + np.exp(-pace * times)[:, None, None] * (start - target)
    return float(np.max(np.linalg.norm(found - frozen, axis=(1, 2))) / np.linalg.norm(target))


def _slope(name: str) -> Callable[[xr.Dataset], float]:
    def measure(data: xr.Dataset) -> float:
        far = data.where(data["ladder"] > 50, drop=True)
        return float(np.polyfit(np.log(far["ladder"]), np.log(far[name]), 1)[0])

    return measure


def _plot(data: xr.Dataset) -> dict[str, Figure]:
    with plotting.figure(
        1,
        3,
        width=18,
        height=5.6,
        caption="Two linear layers. Left: the distance from the target over time, in units of its start, for several "
        "lambda: balanced layers learn mode after mode, unbalanced ones all at once. Middle: the closed form against "
        "the flow. Right: how far the tangent kernel moves, and how far the path is from that of a kernel that stands "
        "still.",
    ) as (made, axes):
        for i, imbalance in enumerate(data["imbalance"].values):
            chosen, color = data.sel(imbalance=imbalance), plotting.color_of(float(i + 1))
            left = np.linalg.norm(chosen["product"] - data["target"], axis=(1, 2))
            axes[0].plot(data["time"], left / left[0], "o-", color=color, label=rf"$\lambda$ = {imbalance:g}")
            axes[1].semilogy(data["time"], chosen["error"] + 1e-17, "o-", color=color)
        axes[0].set(xlabel="time", ylabel="distance from the target")
        axes[1].axhline(1e-10, color=plotting.color_of("muted"))
        axes[1].set(xlabel="time", ylabel="error of the closed form")
        shown = data.isel(ladder=slice(1, None))
        axes[2].loglog(shown["ladder"], shown["kernel_change"], color=plotting.color_of("theory"), label="kernel moves")
        axes[2].loglog(shown["ladder"], shown["lazy_error"], color=plotting.color_of("baseline"), label="path off lazy")
        axes[2].set(xlabel=r"$\lambda$", ylabel="share")
        axes[0].legend()
        axes[2].legend()
    return {"paths": made}


EXAMPLE = """
import jax
import numpy as np
import undertow as ut

jax.config.update("jax_enable_x64", True)
rng = np.random.default_rng(0)
target, turn = rng.normal(size=(3, 3)), np.linalg.qr(rng.normal(size=(3, 3)))[0]
first, second = 0.1 * turn, np.sqrt(0.01 + 0.5) * np.eye(3)  # W_2^T W_2 - W_1 W_1^T = 0.5 I
path = ut.theory.two_layer_dynamics([1.0, 4.0], target, first, second)
problem, phi = ut.problems.PointTarget(target), ut.parameterizations.DeepMatrix((3, 3), 2)
flow = ut.dynamics.GradientFlow(rtol=1e-11, atol=1e-12)
for time, expected in zip([1.0, 4.0], path.product, strict=True):
    stop = ut.Stop(loss=None, time=time)
    run = ut.train(problem, phi, flow, params=(first, second), stop=stop)
    print(f"time {time:g}: closed form and flow agree to 1e-9: {abs(run.w - expected).max() < 1e-9}")
# time 1: closed form and flow agree to 1e-9: True
# time 4: closed form and flow agree to 1e-9: True
"""

study = Study(
    id="two-layer-dynamics",
    chapter="training",
    title="Two linear layers in closed form, from lazy to rich",
    source="C. Domine, N. Anguita, A. Proca, L. Braun, D. Kunin, P. Mediano, A. Saxe, From Lazy to Rich: Exact "
    "Learning Dynamics in Deep Linear Networks, ICLR 2025; L. Braun, C. Domine, J. Fitzgerald, A. Saxe, NeurIPS 2022",
    claim="From any start with W_2^T W_2 - W_1 W_1^T = lambda I, whatever its singular vectors, two linear layers "
    "follow the solution of a Riccati equation; balanced small layers learn features, and as |lambda| grows the "
    "tangent kernel stands still and the network learns like a linear model.",
    standing="as published",
    run=_run,
    checks=(
        AtMost("largest error against the flow, all lambda", lambda d: float(d["error"].max(skipna=False)), 1e-10),
        AtMost("the same, a narrow network", lambda d: float(d["narrow_error"].max(skipna=False)), 1e-10),
        AtLeast("balanced: movement of the kernel over its start", lambda d: float(d["kernel_change"][0]), 100.0),
        Close("power of lambda by which the movement falls", _slope("kernel_change"), -2.0, 0.1),
        Close("power of lambda by which the path nears the lazy one", _slope("lazy_error"), -2.0, 0.1),
    ),
    plot=_plot,
    example=EXAMPLE,
    note="At large lambda the second layer's squares end at lambda + s^2 / lambda, and the first's at s^2 / lambda, "
    "for the singular values s of the target: as a share of lambda both move by its power -2, and with the kernel the "
    "pace of the path. Inputs are whitened; for others, and for layers whose difference of squares is no multiple of "
    "the identity, there is no such formula.",
)
