"""A linear autoencoder with linear layers in the middle: the rank of its codes is how many modes it has learned."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ... import plotting
from ...dynamics import GradientFlow, Stop
from ...networks import IRMAE, CodeVariances, Dense, Weights
from ...probes import Function
from ...problems import Reconstruction
from ...theory import saxe_modes
from ...training import train
from .._base import AtLeast, AtMost, Budget, Close, Study
from .._shared import generator
from ._shared import JING, ranks

SIZE, CODE, ROWS = 10, 8, 40
SPECTRUM = 3.0 ** -np.arange(4)
"""Eigenvalues of X^T X that are not zero."""
MODES = len(SPECTRUM)
LAYERS = (2, 4)
START = 1e-3
"""The singular values of the end-to-end map that are not zero at the start."""
DRAWS = {"smoke": 6, "quick": 8, "full": 100}
SAMPLES = 300
LAST = 6000.0
EXACT, ENOUGH = 1e-8, 1e-6
"""Relative tolerance of the flow where values at a steep rise are compared, and of random starts."""
DIMS = ("draw", "layers", "time")


def _run(budget: Budget, key: jax.Array, progress: Callable[[float, str], None]) -> xr.Dataset:
    rng = generator(key)
    draws, times = DRAWS[budget], np.geomspace(1.0, LAST, SAMPLES)
    variances, predicted = np.zeros((2, len(LAYERS), SAMPLES, CODE))
    strengths = np.zeros((draws, len(LAYERS), SAMPLES, MODES))
    spectra = np.zeros((draws, len(LAYERS), SAMPLES, CODE))
    with jax.enable_x64(True):
        X, V = _data(rng)
        for i, layers in enumerate(LAYERS):
            phi, depth = IRMAE(Dense(SIZE, CODE, ()), X, layers), layers + 2
            variances[i] = _follow(
                phi, [np.eye(CODE, SIZE) @ V.T, *[np.eye(CODE)] * layers, V[:, :CODE]], V, times, EXACT
            )[0]
            modes = np.stack([saxe_modes(s * times, [1.0], START, depth)[:, 0] for s in SPECTRUM], axis=1)
            # Balanced layers share the strength of a mode: all of them but the decoder make the code.
            predicted[i, :, :MODES] = modes ** (2 - 2 / depth) * SPECTRUM / (ROWS - 1)
            for draw in range(draws):
                progress((i + (draw + 1) / (draws + 1)) / len(LAYERS), f"{layers} layers, start {draw + 1}")
                sizes = [(CODE, SIZE), *[(CODE, CODE)] * layers, (SIZE, CODE)]
                spectra[draw, i], strengths[draw, i] = _follow(
                    phi, [_orthonormal(rng, n) for n in sizes], V, times, ENOUGH
                )
    return xr.Dataset(
        {
            "variances": (("layers", "time", "direction"), variances),
            "predicted": (("layers", "time", "direction"), predicted),
            "rank": (DIMS, ranks(spectra)[1]),
            "strength": ((*DIMS, "mode"), strengths),
            "learned": (("draw", "layers", "mode"), _times_of(strengths, times)),
        },
        coords={"layers": list(LAYERS), "time": times, "mode": np.arange(1, MODES + 1)},
        attrs={
            "data": f"{ROWS} rows of {SIZE} numbers, mean zero; X^T X has the eigenvalues "
            + ", ".join(f"{s:.3g}" for s in SPECTRUM),
            "network": f"linear encoder and decoder, codes of {CODE} numbers; half the sum of squares",
            "start": f"orthonormal factors of equal size, their product of singular values {START:g}: along the "
            f"eigenvectors (aligned), or {draws} random ones for each number of layers",
            "flow": f"relative tolerance {EXACT:g} (aligned) and {ENOUGH:g} (random), absolute a thousandth of it",
            "precision": "float64",
        },
    )


def _data(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rows of mean zero, and the eigenvectors of their products in columns, those of eigenvalue zero last."""
    V = _orthonormal(rng, (SIZE, SIZE))
    rows = rng.standard_normal((ROWS, MODES))
    left = np.linalg.qr(rows - rows.mean(axis=0))[0]
    return left * np.sqrt(SPECTRUM) @ V[:, :MODES].T, V


def _orthonormal(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """With orthonormal rows or columns, whichever are fewer."""
    u, _, v = np.linalg.svd(rng.standard_normal(shape), full_matrices=False)
    return u @ v


def _follow(
    phi: IRMAE, factors: list[np.ndarray], V: np.ndarray, times: np.ndarray, tolerance: float
) -> tuple[np.ndarray, np.ndarray]:
    """Variances of codes, and the strengths of modes, at these times."""
    drawn, size = phi.init(jax.random.key(0), 1.0), START ** (1 / len(factors))
    encoder, *linear, decoder = (jnp.asarray(size * factor) for factor in factors)

    def put(network: Any, weight: jax.Array) -> Any:
        return jax.tree.map(lambda x: weight if x.ndim == 2 else jnp.zeros_like(x), network)

    run = train(
        Reconstruction(phi.X, normalization="half_sum"),
        phi,
        GradientFlow(rtol=tolerance, atol=1e-3 * tolerance),
        params=Weights(put(drawn.encoder, encoder), put(drawn.decoder, decoder), tuple(linear)),
        stop=Stop(loss=None, time=float(times[-1])),
        samples=times,
        probes=[CodeVariances(), MAP],
    )
    # Where the flow comes to rest before the last time, it stays there.
    at = np.clip(np.searchsorted(run.times, times * (1 - 1e-9)), None, len(run.times) - 1)
    variances, maps = (np.asarray(run[name])[at] for name in ("code_variances", "map"))
    return variances, np.einsum("im,tij,jm->tm", V[:, :MODES], maps, V[:, :MODES])


def _map(params: Weights) -> jax.Array:
    """The matrix from rows to rows."""
    encoder, decoder = (next(x for x in jax.tree.leaves(n) if x.ndim == 2) for n in (params.encoder, params.decoder))
    for matrix in params.linear:
        encoder = matrix @ encoder
    return decoder @ encoder


MAP = Function("map", _map, of="params")


def _times_of(strengths: np.ndarray, times: np.ndarray) -> np.ndarray:
    """When each mode comes to half its strength, interpolated in the logarithm of time; NaN where it does not."""
    found = np.full((*strengths.shape[:2], MODES), np.nan)
    for at in np.ndindex(found.shape):
        u = strengths[(*at[:2], slice(None), at[2])]
        after = int(np.argmax(u >= 1 / 2))
        if after:
            share = (0.5 - u[after - 1]) / (u[after] - u[after - 1])
            found[at] = times[after - 1] * (times[after] / times[after - 1]) ** share
    return found


def _deviation(data: xr.Dataset) -> float:
    off = abs(data["variances"] - data["predicted"]).max(skipna=False)
    return float(off / data["predicted"].max(skipna=False))


def _share_at_the_end(data: xr.Dataset) -> float:
    if np.isnan(data["learned"].values).any():
        return np.nan
    return float((data["rank"].isel(time=-1) == MODES).mean())


def _share_between(data: xr.Dataset) -> float:
    """How often the rank is i in the middle between modes i and i + 1, in the logarithm of time."""
    learned = data["learned"].values
    middle = np.sqrt(learned[..., :-1] * learned[..., 1:])
    if np.isnan(middle).any():
        return np.nan
    hits = [
        float(data["rank"].isel(draw=d, layers=n).interp(time=middle[d, n, i], method="nearest")) == i + 1
        for d, n, i in np.ndindex(middle.shape)
    ]
    return float(np.mean(hits))


def _slope(layers: int) -> Callable[[xr.Dataset], float]:
    """Of the logarithm of times of learning over that of eigenvalues, by least squares over draws."""

    def of(data: xr.Dataset) -> float:
        learned = np.log(data["learned"].sel(layers=layers).values)
        x = np.log(SPECTRUM) - np.log(SPECTRUM).mean()
        return float((learned.mean(axis=0) * x).sum() / (x**2).sum())

    return of


def _plot(data: xr.Dataset) -> dict[str, Figure]:
    with plotting.figure(
        1,
        3,
        width=15,
        caption=f"A linear autoencoder with linear layers. Left: variances of codes over time from the aligned start, "
        f"{LAYERS[0]} layers, and what theory says. Middle: numerical rank from random starts. Right: when modes are "
        "learned, against their eigenvalues; the line falls as one over the eigenvalue.",
    ) as (made, (left, middle, right)):
        first = data.sel(layers=LAYERS[0])
        time = data["time"]
        for i in range(MODES):
            color = plotting.color_of(2.0 ** (i + 1))
            left.plot(time, first["variances"][:, i], color=color)
            left.plot(time, first["predicted"][:, i], ":", color=plotting.color_of("theory"), linewidth=1.4)
        for draw in range(data.sizes["draw"]):
            middle.plot(time, first["rank"][draw], color=plotting.color_of("gradient flow"), alpha=0.4)
        middle.axhline(MODES, color=plotting.color_of("truth"), linestyle=":", linewidth=1.2)
        for layers, color in zip(LAYERS, (2, 4), strict=True):
            learned = data["learned"].sel(layers=layers)
            x = np.broadcast_to(SPECTRUM, learned.shape)
            right.plot(x.ravel(), learned.values.ravel(), "o", color=plotting.color_of(color), alpha=0.5, markersize=5)
            mean = np.exp(np.log(learned).mean())
            line = float(mean) * np.exp(np.log(SPECTRUM).mean()) / SPECTRUM
            right.plot(SPECTRUM, line, color=plotting.color_of(color), label=f"l = {layers}")
        left.set(xlabel="time", ylabel="variance of codes", xscale="log", title="aligned start")
        middle.set(xlabel="time", ylabel="rank of codes", xscale="log", title="random starts", ylim=(0, None))
        right.set(xlabel="eigenvalue", ylabel="time of learning", xscale="log", yscale="log", title="random starts")
        right.legend()
    return {"modes": made}


EXAMPLE = """
import jax.numpy as jnp
import numpy as np
import undertow as ut

rng = np.random.default_rng(0)
left, V = (np.linalg.qr(rng.standard_normal(shape))[0] for shape in ((40, 3), (10, 10)))
X = left * np.array([1.0, 0.5, 0.25]) @ V[:, :3].T  # three modes
phi = ut.networks.IRMAE(ut.networks.Dense(10, 6, hidden=()), X, layers=2, initialization="orthogonal")
probe, squares = ut.networks.CodeRank(1e-2), ut.problems.Reconstruction(X, normalization="half_sum")
times = [10.0, 30.0, 200.0, 3000.0]
run = ut.train(squares, phi, ut.dynamics.GradientFlow(), key=0, scale=0.3, samples=times,
               stop=ut.Stop(loss=None, time=3000.0), probes=[probe])
print(run[probe.name][1:])  # [2 1 2 3]
"""

study = Study(
    id="a-linear-autoencoder-learns-modes",
    chapter="autoencoders",
    title="The rank of codes is how many modes are learned",
    source=f"{JING}; A. Saxe, J. McClelland, S. Ganguli, Exact Solutions to the Nonlinear Dynamics of Learning in Deep "
    "Linear Neural Networks, ICLR 2014, arXiv:1312.6120",
    claim="A linear autoencoder with l linear layers learns the principal components of its data one after another, at "
    "times that go as one over their eigenvalues: the rank of codes is how many are learned by then, and that of the "
    "data at the end; from aligned starts variances of codes follow the closed form of deep linear networks.",
    standing="our own",
    run=_run,
    checks=(
        AtMost("aligned: variances of codes off theory, over the largest", _deviation, bound=1e-3),
        AtLeast("random starts: share whose rank at the end is that of the data", _share_at_the_end, bound=1.0),
        AtLeast(
            "random starts: share of gaps between two modes at which the rank counts them", _share_between, bound=0.9
        ),
        *(
            Close(f"l = {n}: power of the eigenvalue by which times go", _slope(n), expected=-1.0, tolerance=0.15)
            for n in LAYERS
        ),
    ),
    plot=_plot,
    example=EXAMPLE,
)
