"""What gradient flow of factorizations conserves: known quantities along the flow, and how many there are in theory."""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax.flatten_util import ravel_pytree
from jaxtyping import Array
from matplotlib.figure import Figure

from ... import plotting
from ...dynamics import Dynamics, GradientDescent, GradientFlow, Stop
from ...optimizers import make
from ...parameterizations import CPTensor, DeepMatrix, HierarchicalTensor, Parameterization
from ...probes import Function
from ...problems import PointTarget
from ...theory import conservation_laws
from ...training import Trajectory, train
from .._base import AtLeast, AtMost, Budget, Close, Study
from .._shared import generator
from ._shared import RAZIN_2021


class Case(NamedTuple):
    """A map, as what is known to be conserved along its flow, and how many independent laws that makes."""

    name: str
    phi: Parameterization
    known: Callable[[Any], Array]
    laws: int


def _of_product(factors: Any) -> Array:
    """Of W_d ... W_1: the entries of W_{j+1}^T W_{j+1} - W_j W_j^T."""
    pairs = itertools.pairwise(factors)
    return jnp.concatenate(
        [(above.T @ above - below @ below.T)[jnp.triu_indices(below.shape[0])] for below, above in pairs]
    )


def _of_components(factors: Any) -> Array:
    """Of a sum of outer products: differences of squared norms of the vectors of a component."""
    squares = jnp.stack([jnp.sum(factor**2, axis=0) for factor in factors])
    return (squares[1:] - squares[:1]).ravel()


def _of_local_components(phi: HierarchicalTensor) -> Callable[[Any], Array]:
    """Of each node: the same of the vectors of its local components, a row of it and columns of its children."""

    def known(matrices: Any) -> Array:
        found = []
        for matrix, below in zip(matrices, phi.children, strict=True):
            found += [jnp.sum(matrices[child] ** 2, axis=0) - jnp.sum(matrix**2, axis=1) for child in below]
        return jnp.concatenate(found)

    return known


PUBLISHED = {(2, 2, 1): 1, (2, 2, 2): 3, (3, 3, 2): 3, (2, 2, 3): 6, (1, 1, 2): 3, (1, 1, 3): 5}
"""Of U V^T with so many rows, columns and columns of the factors."""


def _cases() -> list[Case]:
    tree = HierarchicalTensor((2, 2, 2, 2), widths=1)
    return [
        *(
            Case(f"U V^T {rows} x {columns}, width {width}", DeepMatrix((rows, columns), 2, width), _of_product, laws)
            for (rows, columns, width), laws in PUBLISHED.items()
        ),
        # Two neighbors each, of symmetric 2 x 2.
        Case("three factors, 2 x 2", DeepMatrix((2, 2), 3), _of_product, 6),
        # R (N - 1) differences.
        Case("CP 3 x 2 x 2, 3 components", CPTensor((3, 2, 2), 3), _of_components, 6),
        Case("CP 2 x 2 x 2 x 2, 2 components", CPTensor((2, 2, 2, 2), 2), _of_components, 6),
        # Two differences at each of three nodes.
        Case("tree of 2 x 2 x 2 x 2, width 1", tree, _of_local_components(tree), 6),
    ]


TIME = {"smoke": 2.0, "quick": 10.0, "full": 100.0}
RATES = (4e-3, 2e-3, 1e-3)
SCALE, TARGET = 0.5, 2.0
"""Of w at the start, and the size of every entry of the target: far enough that parameters move by their own size."""
INDEPENDENT = 1e-8
"""Share of the largest singular value of the quantities' derivatives from which one is not rounding."""


def _run(budget: Budget, key: jax.Array, progress: Callable[[float, str], None]) -> xr.Dataset:
    rng, cases, rows = generator(key), _cases()[:: 3 if budget == "smoke" else 1], []
    with jax.enable_x64(True):
        for i, case in enumerate(cases):
            progress(i / len(cases), case.name)
            rows.append(_measure(case, rng, TIME[budget]))
    return (
        xr.concat(rows, "map")
        .assign_coords(map=[case.name for case in cases])
        .assign_attrs(
            {
                "problem": f"half the sum of squares to a target of entries {TARGET:g} and {-TARGET:g}",
                "start": f"Gaussian, entries of w(0) of root mean square {SCALE:g}",
                "flow": f"explicit, relative tolerance 1e-10, to time {TIME[budget]:g}",
                "descent": f"constant steps of {', '.join(f'{rate:g}' for rate in RATES)}, to the same time",
                "drift": "largest change of a conserved quantity over the largest change of a square of the parameters",
                "precision": "float64",
            }
        )
    )


def _measure(case: Case, rng: np.random.Generator, time: float) -> xr.Dataset:
    phi = case.phi
    problem = PointTarget(TARGET * rng.choice([-1.0, 1.0], phi.shape))
    params = phi.init(jax.random.key(int(rng.integers(2**31))), SCALE)
    probe = Function("known", case.known, of="params"), Function("squares", _squares, of="params")

    def follow(dynamics: Dynamics, stop: Stop) -> Trajectory:
        return train(problem, phi, dynamics, params=params, stop=stop, probes=probe, samples=64)

    flow = follow(GradientFlow("explicit", rtol=1e-10), Stop(loss=None, time=time))
    descents = [
        _drift(follow(GradientDescent(make("sgd", rate)), Stop(loss=None, steps=round(time / rate)))) for rate in RATES
    ]
    flat, unravel = ravel_pytree(params)
    singular = np.linalg.svd(np.asarray(jax.jacobian(lambda p: case.known(unravel(p)))(flat)), compute_uv=False)
    return xr.Dataset(
        {
            "laws": float(conservation_laws(phi, params)),
            "expected_laws": float(case.laws),
            "known_laws": float(np.sum(singular > INDEPENDENT * singular[0])),
            "parameters": float(flat.size),
            "moved": float(np.abs(flow["squares"] - flow["squares"][0]).max()),
            "flow_drift": _drift(flow),
            "descent_drift": ("rate", descents),
        },
        coords={"rate": list(RATES)},
    )


def _squares(params: Any) -> Array:
    return ravel_pytree(params)[0] ** 2


def _drift(found: Trajectory) -> float:
    moved, squares = (np.abs(found[name] - found[name][0]).max() for name in ("known", "squares"))
    return float(moved / squares)


def _order(data: xr.Dataset) -> xr.DataArray:
    """The power of the step by which the drift of descent falls, over the whole range of steps."""
    drift = np.log(data["descent_drift"])
    return (drift[:, 0] - drift[:, -1]) / np.log(RATES[0] / RATES[-1])


def _plot(data: xr.Dataset) -> dict[str, Figure]:
    with plotting.figure(
        1,
        2,
        width=14.0,
        height=6.4,
        caption="Left: how many independent quantities the flow of each map conserves, by the Lie algebra of its "
        "gradients (bars), as published or derived (dots), out of its parameters (outline). Right: how far the known "
        "quantities drift, over the squares of the parameters that move meanwhile.",
    ) as (made, (left, right)):
        y = np.arange(data.sizes["map"])[::-1]
        left.barh(y, data["parameters"], color="none", edgecolor=plotting.color_of("muted"))
        left.barh(y, data["laws"], color=plotting.color_of("theory"), alpha=0.6)
        left.plot(data["expected_laws"], y, "o", color=plotting.color_of("truth"))
        left.set(yticks=y, yticklabels=data["map"].values, xlabel="laws, and parameters")
        series = {
            **{
                f"descent, steps of {rate:g}": (data["descent_drift"].sel(rate=rate), s)
                for rate, s in zip(RATES, (6, 4, 3), strict=True)
            },
            "flow": (data["flow_drift"], 2),
        }
        for label, (values, shade) in series.items():
            right.semilogx(values, y, "o", color=plotting.color_of(shade), label=label)
        right.set(yticks=y, yticklabels=[], xlabel="relative drift")
        right.legend(loc="center")
    return {"laws-and-drift": made}


EXAMPLE = """
import jax
import numpy as np
import undertow as ut

jax.config.update("jax_enable_x64", True)
P, G = ut.parameterizations, ut.dynamics.GradientFlow("explicit", rtol=1e-10)
problem = ut.problems.PointTarget(np.random.default_rng(0).standard_normal((3, 2, 2)))
phi = P.CPTensor((3, 2, 2), 3)
start = phi.init(jax.random.key(0), 0.5)
end = ut.train(problem, phi, G, params=start, stop=ut.Stop(loss=None, time=10.0)).params
for name, factors in {"start": start, "end": end}.items():
    first, second, _ = (np.sum(np.asarray(factor) ** 2, axis=0) for factor in factors)
    print(f"{name}: squared norms {first.round(2)}, their differences {(first - second).round(6)}")
# start: squared norms [4.02 0.34 1.21], their differences [ 3.148828 -0.584217  0.915821]
# end: squared norms [4.5  1.27 1.45], their differences [ 3.148828 -0.584217  0.915821]
print("laws:", ut.theory.conservation_laws(phi, start), "of", sum(factor.size for factor in start), "parameters")
# laws: 6 of 21 parameters
"""

study = Study(
    id="what-the-flow-conserves",
    chapter="tensors",
    title="What the flow conserves, counted",
    source="S. Marcotte, R. Gribonval, G. Peyré, Abide by the Law and Follow the Flow: Conservation Laws for Gradient "
    f"Flows, NeurIPS 2023, arXiv:2307.00144 (Section 3); {RAZIN_2021} (Lemma 1)",
    claim="Gradient flow conserves the differences of squared norms of the vectors of each component, and of products "
    "of matrices UᵀU - VᵀV; these are all the independent laws there are, as many as the parameters less the "
    "dimension of the Lie algebra of the gradients.",
    standing="as published",
    run=_run,
    checks=(
        AtMost(
            "laws by the Lie algebra less those published or derived, largest difference",
            lambda d: float(abs(d["laws"] - d["expected_laws"]).max(skipna=False)),
            bound=0,
        ),
        AtMost(
            "laws less those of them that are known, largest difference",
            lambda d: float(abs(d["laws"] - d["known_laws"]).max(skipna=False)),
            bound=0,
        ),
        AtLeast(
            "squares of parameters that move, the least of the maps",
            lambda d: float(d["moved"].min(skipna=False)),
            0.05,
        ),
        AtMost(
            "flow: relative drift of what is conserved", lambda d: float(d["flow_drift"].max(skipna=False)), bound=1e-7
        ),
        # A step of size h changes a quantity by h^2, and there are time / h of them.
        Close(
            "descent: power of the step by which drift falls, the least",
            lambda d: float(_order(d).min(skipna=False)),
            1,
            0.1,
        ),
    ),
    plot=_plot,
    example=EXAMPLE,
)
