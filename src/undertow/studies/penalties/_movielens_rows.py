"""The rows of the table: model, optimizer, penalty and start of each."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...parameterizations import Biased, DeepMatrix, Identity, Parameterization
from ...penalties import L2, NuclearFrobeniusRatio, OnParameters, Penalty
from ._movielens_methods import Method, Part, Table, biases

WIDTH, BATCH = 32, 256
TINY = 1e-3


def _nothing(table: Table, fitted: np.ndarray) -> np.ndarray:
    return np.zeros(table.shape)


def _mean(table: Table, fitted: np.ndarray) -> np.ndarray:
    return np.full(table.shape, table.ratings[fitted].mean())


def _tiny(part: Part, phi: Parameterization, key: jax.Array) -> Any:
    """The source's: Gaussian of scale 1e-3 / sqrt(larger side)."""
    return phi.init(key, TINY / max(phi.shape) ** 0.5)


def _filled(part: Part, phi: Parameterization, key: jax.Array) -> Any:
    """The data, with what biases predict in their holes: less the base, which may be the same."""
    return jnp.asarray(part.filled(biases(part.table, part.fitted)))


def _small(part: Part, phi: Parameterization, key: jax.Array) -> Any:
    return phi.init(key, 0.01)


def _as_coded(part: Part, phi: Parameterization, key: jax.Array) -> Any:
    """Entries of both tables of standard deviation 1 / width, biases of 0."""
    return phi.init(key, WIDTH**-1.5)


def _ratio(weight: Any, shape: tuple[int, int]) -> Penalty:
    return NuclearFrobeniusRatio(weight)


def _ratio_of_each(weight: Any, shape: tuple[int, int]) -> Penalty:
    return OnParameters(NuclearFrobeniusRatio(weight))


def _ridge_of_each(weight: Any, shape: tuple[int, int]) -> Penalty:
    """``weight`` for each rating of a user, who has the mean number of them."""
    return OnParameters(L2(2 * weight / shape[0]))


def _embedding(shape: tuple[int, int]) -> Parameterization:
    return Biased(DeepMatrix(shape, 2, width=WIDTH))


def _factors(shape: tuple[int, int]) -> Parameterization:
    return DeepMatrix(shape, 2, width=WIDTH)


RAW, LEFT, SMALL = "biases in the holes", "of what biases leave", "tiny start"
PLAIN = tuple(f"depth 1, {optimizer}, {start}" for optimizer in ("gradient descent", "Adam") for start in (SMALL, RAW))
"""Depth 1 without a penalty: nothing moves that is not observed."""
BY_DESCENT = f"depth 1, gradient descent + penalty, {RAW}"
BY_ADAM = f"depth 1, Adam + penalty, {RAW}"
CODED = "embedding, gradient descent, as coded"


def rows(*, thorough: bool) -> dict[str, Method]:
    """Every row by its name; where not thorough, embeddings are trained for half as long, at one weight."""
    more = 2 if thorough else 1

    def plain(optimizer: str, start: Any) -> Method:
        rate, steps = (0.1, 30) if optimizer == "gd" else (0.1, 60)
        by_entries = optimizer == "gd"
        return Method(
            Identity, start, _nothing, optimizer, (rate,), (0, steps), rate_by_entries=by_entries, chosen=False
        )

    def penalized(optimizer: str, base: Any, rate: float, weights: tuple[float, ...], end: int) -> Method:
        samples, by_entries = tuple(range(0, end + 1, end // 12)), optimizer == "gd"
        return Method(Identity, _filled, base, optimizer, (rate,), samples, weights, _ratio, rate_by_entries=by_entries)

    def embedding(optimizer: str, rates: tuple[float, ...], epochs: int, penalty: Any = None) -> Method:
        weights = (3e-3, 3e-2) if penalty and thorough else (3e-3,)
        samples = tuple(range(0, more * epochs + 1, 2))
        return Method(_embedding, _small, _mean, optimizer, rates[:more], samples, weights, penalty, BATCH)

    def as_coded(optimizer: str) -> Method:
        return Method(_embedding, _as_coded, _nothing, optimizer, (1e-2,), (0, 10), batch_size=BATCH, chosen=False)

    def ridge(phi: Any) -> Method:
        weights, samples = (0.06, 0.02)[:more], tuple(range(0, 12 * more + 1, 2))
        return Method(phi, _small, _mean, "adam", (3e-3,), samples, weights, _ridge_of_each, BATCH)

    optimizers = (("gradient descent", "gd"), ("Adam", "adam"))
    return {
        **{f"depth 1, {name}, {SMALL}": plain(optimizer, _tiny) for name, optimizer in optimizers},
        **{f"depth 1, {name}, {RAW}": plain(optimizer, _filled) for name, optimizer in optimizers},
        BY_DESCENT: penalized("gd", _nothing, 0.1, (1.0, 0.5), 60),
        BY_ADAM: penalized("adam", _nothing, 0.02, (1.0, 2.0), 120),
        f"depth 1, gradient descent + penalty, {LEFT}": penalized("gd", biases, 0.05, (0.1, 0.05), 24),
        f"depth 1, Adam + penalty, {LEFT}": penalized("adam", biases, 0.01, (0.3, 0.1), 48),
        **{f"embedding, {name}, as coded": as_coded(optimizer) for name, optimizer in optimizers},
        "embedding, gradient descent": embedding("gd", (2.0, 1.0), 12),
        "embedding, gradient descent + penalty": embedding("gd", (2.0, 1.0), 12, _ratio_of_each),
        "embedding, Adam": embedding("adam", (3e-3, 1e-3), 10),
        "embedding, Adam + penalty": embedding("adam", (3e-3, 1e-3), 10, _ratio_of_each),
        "PMF": ridge(_factors),
        "biased matrix factorization": ridge(_embedding),
    }
