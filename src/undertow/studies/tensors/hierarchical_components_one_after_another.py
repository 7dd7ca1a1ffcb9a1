"""Hierarchical tensor factorization: local components are learned one after another, at the nodes of the tree."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ... import plotting
from ...dynamics import GradientDescent, Stop
from ...optimizers import make
from ...parameterizations import HierarchicalTensor
from ...probes import ComponentNorms, MatricizationRanks, ReconstructionError
from ...sweeps import sweep
from ...training import train
from .._base import AtLeast, AtMost, Budget, Study
from .._shared import generator
from ._shared import completion


class Setting(NamedTuple):
    """The length of the four axes, entries seen, local components at every node, draws, steps."""

    size: int
    entries: int
    width: int
    draws: int
    steps: int


SETTINGS: dict[str, Setting] = {
    "smoke": Setting(6, 900, 8, 2, 6000),
    "quick": Setting(8, 2000, 10, 4, 12_000),
    "full": Setting(12, 10_000, 40, 5, 40_000),
}
RANK, RATIO = 3, 0.5
"""Of the truth at every node; and of each of its singular values between the halves of the tree to the one before."""
DEVIATIONS = (0.02, 0.3)
"""Of the start: small, and so large that w(0) is as large as the truth."""
SHOWN, TOLERANCE = 6, 0.05
BEGUN = 0.1
"""Share of its end at which a local component has begun, and of the largest at which one counts."""
RATE, EPS, LOSS = 5e-3, 1e-12, 2e-8
ROOT = (0, 1, 2, 3)
NODES = ((0, 1), (2, 3), ROOT)
ERROR = ReconstructionError(relative=True)
PROBES = (
    *(ComponentNorms(SHOWN, node=node) for node in NODES),
    MatricizationRanks(TOLERANCE, [(0, 1), (0,), (1,), (2,), (3,)]),
    ERROR,
)


def _run(budget: Budget, key: jax.Array, progress: Callable[[float, str], None]) -> xr.Dataset:
    setting, rng = SETTINGS[budget], generator(key)
    phi = HierarchicalTensor((setting.size,) * 4, widths=setting.width)
    draws = [(_truth(rng, setting.size), rng.permutation(setting.size**4)) for _ in range(setting.draws)]
    keys = [jax.random.key(int(rng.integers(2**31))) for _ in draws]

    def run(deviation: float, draw: int) -> Any:
        truth, seen = draws[draw]
        return train(
            completion(truth, seen[: setting.entries]),
            phi,
            GradientDescent(make("group_rmsprop", RATE, eps=EPS)),
            key=keys[draw],
            scale=phi.scale_of(deviation),
            stop=Stop(loss=LOSS, steps=setting.steps),
            probes=PROBES,
        )

    found = sweep(run, over={"deviation": DEVIATIONS, "draw": range(setting.draws)}, progress=progress)
    kept = [probe.name for probe in PROBES]
    data = xr.Dataset(
        {name: (_dims(found[name]), found[name].values.astype(float)) for name in ("step", *kept)}
        | {f"final_{name}": (_dims(found[f"final_{name}"]), found[f"final_{name}"].values) for name in kept},
        coords={"deviation": list(DEVIATIONS)},
    )
    return data.assign_attrs(
        {
            "truth": f"order 4, axes of {setting.size}, rank {RANK} at every node, singular values between the halves "
            f"each {RATIO:g} of the one before, Frobenius norm 1",
            "observed entries": setting.entries,
            "tree": "((0, 1), (2, 3))",
            "local components": setting.width,
            "start": "Gaussian matrices of the standard deviation shown",
            "descent": f"group RMSprop, rate {RATE:g}, epsilon {EPS:g}",
            "stop": f"mean square over observed entries {LOSS:g}, or {setting.steps} steps",
            "rank": f"of matricizations, within a relative error of {TOLERANCE:g}",
            "precision": "float32",
        }
    )


def _dims(found: xr.DataArray) -> tuple[str, ...]:
    """The sweep's names, with one name for the components at whatever node."""
    own = {"component": "component_norms", "group": "matricization_ranks"}
    return tuple(
        next((name for name, probe in own.items() if str(dim).removeprefix("final_").startswith(probe)), str(dim))
        for dim in found.dims
    )


def _truth(rng: np.random.Generator, size: int) -> np.ndarray:
    """Two halves with orthonormal tensors of rank ``RANK`` in each axis, and singular values that fall by ``RATIO``."""
    halves = []
    for _ in range(2):
        first, second = (np.linalg.qr(rng.standard_normal((size, RANK)))[0] for _ in range(2))
        mixed = np.linalg.qr(rng.standard_normal((RANK, RANK)))[0]
        halves.append(np.einsum("ir,jr,rs->ijs", first, second, mixed))
    sigma = RATIO ** np.arange(RANK)
    return np.einsum("s,ijs,kls->ijkl", sigma / np.linalg.norm(sigma), *halves)


def _name(node: tuple[int, ...]) -> str:
    return ComponentNorms(node=node).name


def _counted(data: xr.Dataset, node: tuple[int, ...], deviation: float) -> xr.DataArray:
    """How many local components at a node are above ``BEGUN`` of the largest at the end."""
    norms = data[f"final_{_name(node)}"].sel(deviation=deviation)
    return (
        (norms > BEGUN * norms.max("component", skipna=False)).sum("component").where(norms.notnull().all("component"))
    )


def _lead(data: xr.Dataset) -> float:
    """Small start, the root: the share of its end that each has reached just before the next begins.

    The median over draws of the mean over components, as for CP tensors. All growing alike would make it ``BEGUN``.
    """
    small = data.sel(deviation=DEVIATIONS[0])
    norms, ends, means = small[_name(ROOT)].values, small[f"final_{_name(ROOT)}"].values, []
    for course, end in zip(norms, ends, strict=True):
        share = course[:, :RANK] / end[:RANK]
        before = np.maximum(np.argmax(share[:, 1:] >= BEGUN, axis=0) - 1, 0)
        means.append(np.mean(np.minimum(share[before, np.arange(RANK - 1)], 1)))
    return float(np.median(means))


def _off(data: xr.Dataset) -> float:
    """By how much a rank of a matricization misses that of the truth at the end of small starts, the most."""
    ranks = data["final_matricization_ranks"].sel(deviation=DEVIATIONS[0])
    return float(abs(ranks - RANK).max(skipna=False))


def _of_small(name: str) -> Callable[[xr.Dataset], float]:
    return lambda data: float(data[name].sel(deviation=DEVIATIONS[0]).max(skipna=False))


def _plot(data: xr.Dataset) -> dict[str, Figure]:
    with plotting.figure(
        2,
        2,
        width=12.6,
        height=8.6,
        caption=f"Norms of the {SHOWN} largest local components of one draw over iterations, at the root (above) and "
        "at the node of the first two axes (below), from a small and from a large start.",
    ) as (made, axes):
        for column, deviation in zip(axes.T, DEVIATIONS, strict=True):
            for ax, node in zip(column, (ROOT, NODES[0]), strict=True):
                chosen = data.isel(draw=0).sel(deviation=deviation)
                kept = chosen["step"] >= 0
                for k in range(SHOWN):
                    color = plotting.color_of("truth" if k < RANK else "muted")
                    ax.plot(chosen["step"][kept], chosen[_name(node)][kept][:, k], color=color)
                ax.set_ylim(0, None)
            column[0].set_title(f"start {deviation:g}")
            column[1].set_xlabel("iterations")
        axes[0, 0].set_ylabel("norms at the root")
        axes[1, 0].set_ylabel("norms at the node 0, 1")
    return {"local-components": made}


EXAMPLE = """
import numpy as np
import undertow as ut

rng = np.random.default_rng(0)
basis = [np.linalg.qr(rng.standard_normal((6, 2)))[0] for _ in range(4)]
truth = np.einsum("s,is,js,ks,ls->ijkl", [0.9, 0.4], *basis)
seen = np.unravel_index(np.sort(rng.permutation(truth.size)[:700]), truth.shape)
problem = ut.problems.TensorCompletion(truth.shape, seen, truth[seen], truth=truth)
phi = ut.parameterizations.HierarchicalTensor(truth.shape, ((0, 1), (2, 3)), widths=8)
flow = ut.dynamics.GradientFlow("stabilized")
norms, stop = ut.probes.ComponentNorms(4), ut.Stop(loss=1e-8)
for deviation in (0.02, 0.3):
    run = ut.train(problem, phi, flow, key=0, scale=phi.scale_of(deviation), probes=[norms], stop=stop)
    error = np.linalg.norm(run.w - truth)
    print(f"start {deviation}: norms at the root {run['component_norms'][-1].round(1)}, error {error:.1f}")
# start 0.02: norms at the root [0.9 0.7 0.1 0. ], error 0.0
# start 0.3: norms at the root [0.5 0.3 0.2 0.1], error 0.0
"""

study = Study(
    id="hierarchical-components-one-after-another",
    chapter="tensors",
    title="Hierarchical rank falls, node by node",
    source="N. Razin, A. Maman, N. Cohen, Implicit Regularization in Hierarchical Tensor Factorization and Deep "
    "Convolutional Neural Networks, ICML 2022, arXiv:2201.11729",
    claim="From a small start the local components of a hierarchical tensor factorization are learned one after "
    "another, as many at every node as the truth has, so that all matricizations along the tree have low rank; from a "
    "large start they are there at once, and more of them.",
    standing="as published",
    run=_run,
    checks=(
        AtMost("small start: rank of a matricization less that of the truth, the most", _off, bound=0),
        AtLeast(
            "small start: share of draws with as many local components at the root as the truth has",
            lambda d: float((_counted(d, ROOT, DEVIATIONS[0]) == RANK).mean(skipna=False)),
            bound=0.5,
        ),
        AtLeast(
            "small start, root: share of its end each has reached when the next begins, mean and median",
            _lead,
            bound=0.5,
        ),
        AtMost("small start: relative error over all entries, the worst", _of_small(f"final_{ERROR.name}"), bound=0.05),
        AtLeast(
            "large start: share of draws with more of them",
            lambda d: float((_counted(d, ROOT, DEVIATIONS[1]) > RANK).mean(skipna=False)),
            bound=0.5,
        ),
    ),
    plot=_plot,
    example=EXAMPLE,
    note="Local components are counted in most draws, not in all: two of them may share one direction, which the rank "
    "of the matricization does not see. At the end of a long run a fourth sometimes grows so.",
)
