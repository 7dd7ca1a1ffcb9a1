"""What the studies of vectors share: problems with more unknowns than equations, and training to their end."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from ...dynamics import Dynamics, GradientFlow, Stop
from ...parameterizations import Parameterization
from ...problems import LeastSquares
from ...sweeps import sweep
from ...training import train
from .._shared import W


def gaussian_problem(
    rng: np.random.Generator, equations: int, unknowns: int, nonzero: int, *, nonnegative: bool = False
) -> tuple[LeastSquares, np.ndarray]:
    """A Gaussian matrix with columns of norm near one, and what it gives of a sparse vector: problem and vector."""
    A = rng.standard_normal((equations, unknowns)) / np.sqrt(equations)
    w = np.zeros(unknowns)
    support = rng.choice(unknowns, nonzero, replace=False)
    w[support] = rng.uniform(0.5, 1.5, nonzero) * (1 if nonnegative else rng.choice([-1.0, 1.0], nonzero))
    return LeastSquares(A, A @ w), w


def train_from(
    problem: LeastSquares,
    phi: Parameterization,
    params: Sequence[Any],
    *,
    dynamics: Dynamics | None = None,
    loss: float = 1e-18,
    samples: Any = 64,
    progress: Callable[[float, str], None] | bool = False,
) -> xr.Dataset:
    """The runs from each of ``params``, side by side along "start"; ``end`` is NaN where a run did not converge."""
    dynamics = GradientFlow(rtol=1e-9) if dynamics is None else dynamics
    stop = Stop(loss=loss, steps=2_000_000)
    found = sweep(
        lambda start: train(problem, phi, dynamics, params=params[start], stop=stop, samples=samples, probes=[W]),
        over={"start": range(len(params))},
        progress=progress,
    )
    reached = found["status"] == "converged"
    return found.assign(end=found["final_w"].where(reached))


def largest_gap(data: xr.Dataset, found: str, expected: str) -> float:
    """The largest distance of vectors found from those expected, relative to the latter; NaN where one is missing."""
    distance = np.linalg.norm(data[found] - data[expected], axis=-1)
    return float((distance / np.linalg.norm(data[expected], axis=-1)).max())
