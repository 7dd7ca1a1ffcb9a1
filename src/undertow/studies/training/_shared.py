"""What the studies of this chapter share."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...dynamics import GradientFlow, Stop
from ...parameterizations import SignedPower
from ...problems import LeastSquares
from ...training import train


def sparse_truth(size: int) -> np.ndarray:
    """Entries 1, -1 and 1/2, and then none."""
    truth = np.zeros(size)
    truth[:3] = 1, -1, 0.5
    return truth


def flat(params: Any) -> np.ndarray:
    """All parameters in one vector."""
    return np.concatenate([np.ravel(x) for x in jax.tree.leaves(params)])


def fitted(problem: LeastSquares, alpha: float, loss: float = 1e-22) -> Any:
    """The parameters u and v at which the flow of u^2 - v^2 from alpha has this loss."""
    size = problem.shape[0]
    start = jnp.full(size, alpha), jnp.full(size, alpha)
    flow, stop = GradientFlow("explicit", rtol=1e-8), Stop(loss=loss)
    return train(problem, SignedPower(size, 2), flow, params=start, stop=stop, samples=2).params


def slopes(steps: Any, distances: Any) -> np.ndarray:
    """Of the logarithm of distances against that of steps, from each step to the next, along the last axis."""
    return np.diff(np.log(distances), axis=-1) / np.diff(np.log(steps))
