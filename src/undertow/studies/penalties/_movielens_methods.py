"""What predicts ratings in the study of the MovieLens tables: each chosen on validation ratings, then fitted to all."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...dynamics import GradientDescent, Stop
from ...estimators import Effects, fit_effects
from ...optimizers import make
from ...parameterizations import Parameterization
from ...penalties import Penalty
from ...probes import TestError
from ...problems import MatrixCompletion, Problem
from ...sweeps import sweep
from ...training import Trajectory, train

RIDGE = 5.0
LOW, HIGH = 1.0, 5.0
"""The range of the ratings, to which predictions are clamped where that is said."""


class Table(NamedTuple):
    """Ratings of users (rows) and films (columns)."""

    shape: tuple[int, int]
    rows: np.ndarray
    columns: np.ndarray
    ratings: np.ndarray

    def most_active(self, users: int, films: int) -> "Table":
        """The part of the users and films with the most ratings."""
        chosen = []
        for index, size, count in ((self.rows, self.shape[0], users), (self.columns, self.shape[1], films)):
            places = np.full(size, -1)
            order = np.argsort(-np.bincount(index, minlength=size), kind="stable")[:count]
            places[order] = np.arange(len(order))
            chosen.append(places[index])
        kept = (chosen[0] >= 0) & (chosen[1] >= 0)
        shape = min(users, self.shape[0]), min(films, self.shape[1])
        return Table(shape, chosen[0][kept], chosen[1][kept], self.ratings[kept])


class Part(NamedTuple):
    """Ratings to fit and ratings to predict, and what is taken off both: known from those to fit."""

    table: Table
    fitted: np.ndarray
    held: np.ndarray
    base: np.ndarray

    def problem(self, positions: np.ndarray) -> MatrixCompletion:
        """Completion of what the base leaves of the ratings at these positions."""
        rows, columns, ratings = (x[positions] for x in self.table[1:])
        left = ratings - self.base[rows, columns]
        return MatrixCompletion(self.table.shape, rows, columns, left.astype(np.float32))

    def filled(self, fill: np.ndarray) -> np.ndarray:
        """What is fitted, with ``fill`` less the base in its holes."""
        start = (fill - self.base).astype(np.float32)
        rows, columns, ratings = (x[self.fitted] for x in self.table[1:])
        start[rows, columns] = ratings - self.base[rows, columns]
        return start


def effects_of(table: Table, fitted: np.ndarray) -> Effects:
    """Biases of users and films."""
    rows, columns, ratings = (x[fitted] for x in table[1:])
    return fit_effects(rows, columns, ratings, table.shape, RIDGE)


def biases(table: Table, fitted: np.ndarray) -> np.ndarray:
    """The predictions of the biases alone, of the whole table."""
    effects = effects_of(table, fitted)
    return effects.mean + effects.rows[:, None] + effects.columns


def errors(table: Table, held: np.ndarray, predicted: np.ndarray) -> tuple[float, float]:
    """Root of the mean square over all held-out ratings: of the predictions, and of the same clamped to the range."""
    ratings, found = table.ratings[held], predicted[table.rows[held], table.columns[held]]
    return _root(found - ratings), _root(np.clip(found, LOW, HIGH) - ratings)


def _root(difference: np.ndarray) -> float:
    return float(np.sqrt(np.mean(difference**2)))


class Clamped(Problem):
    """The loss of a completion problem with entries clamped to a range: what an error with clamped predictions is."""

    shape: tuple[int, ...] = eqx.field(static=True)
    problem: MatrixCompletion
    low: Float[Array, " m"]
    high: Float[Array, " m"]

    def loss(self, w: Float[Array, "..."]) -> Float[Array, ""]:
        entries = w[self.problem.rows, self.problem.columns]
        return self.problem.loss_of_entries(jnp.clip(entries, self.low, self.high))


def clamped(part: Part, positions: np.ndarray) -> Clamped:
    """The loss at these positions with predictions clamped to the range of the ratings."""
    problem = part.problem(positions)
    base = part.base[np.asarray(problem.rows), np.asarray(problem.columns)]
    low, high = (jnp.asarray(bound - base, jnp.float32) for bound in (LOW, HIGH))
    return Clamped(problem.shape, problem, low, high)


class Method(NamedTuple):
    """A way to fit by descent, and the grid that weight, rate and stopping point are chosen from."""

    phi: Callable[[tuple[int, int]], Parameterization]
    start: Callable[[Part, Parameterization, jax.Array], Any]
    base: Callable[[Table, np.ndarray], np.ndarray]
    optimizer: str
    rates: tuple[float, ...]
    samples: tuple[int, ...]
    """Steps, or with batches epochs, that a run may be stopped at, from 0 on."""
    weights: tuple[float, ...] = (0.0,)
    penalty: Callable[[Any, tuple[int, int]], Penalty] | None = None
    batch_size: int | None = None
    rate_by_entries: bool = False
    """Whether the rate is in proportion to the number of entries, because the loss is their mean."""
    chosen: bool = True
    """False: the first weight and the first rate, to the last sample."""


class Split(NamedTuple):
    """Positions of the ratings to fit, to choose by, and to test on, which have no part in any choice."""

    fitted: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    @property
    def known(self) -> np.ndarray:
        """All but those to test on."""
        return np.concatenate([self.fitted, self.validation])


def split_of(table: Table, share: float, seed: int, validation: float = 0.1) -> Split:
    """A random split of all ratings; ``share`` of them are known, and a part of those is for validation."""
    order = np.random.default_rng(seed).permutation(len(table.ratings))
    known = round(share * len(order))
    held = round(validation * known)
    return Split(order[held:known], order[:held], order[known:])


def descend(table: Table, splits: list[Split], method: Method) -> dict[str, list[float]]:
    """Test errors, split by split, of the run that the validation ratings choose, on all known ratings."""
    count = len(splits)
    picked = [(method.weights[0], method.rates[0], len(method.samples) - 1)] * count
    if method.chosen:
        parts = [_part(table, split.fitted, split.validation, method) for split in splits]
        watched = [[TestError(part.problem(part.held), "validation")] for part in parts]
        grid = {"split": range(count), "weight": method.weights, "rate": method.rates}
        path = sweep(lambda split, weight, rate: _run(method, parts[split], weight, rate, split, watched[split]), grid)
        path = np.nan_to_num(path["validation"].values, nan=np.inf)
        best = [np.unravel_index(values.argmin(), values.shape) for values in path]
        picked = [(method.weights[w], method.rates[r], int(at)) for w, r, at in best]
    whole = [_part(table, split.known, split.test, method) for split in splits]
    tests = [
        [TestError(part.problem(part.held), "test"), TestError(clamped(part, part.held), "clamped")] for part in whole
    ]

    def again(split: int) -> Trajectory:
        weight, rate, _ = picked[split]
        return _run(method, whole[split], weight, rate, split, tests[split])

    final = sweep(again, {"split": range(count)})
    at = [sample for *_, sample in picked]
    roots = {name: np.sqrt(final[name].values) for name in ("test", "clamped")}
    return {
        "error": [float(roots["test"][i, k]) for i, k in enumerate(at)],
        "clamped": [float(roots["clamped"][i, k]) for i, k in enumerate(at)],
        "untrained": [float(root) for root in roots["test"][:, 0]],
        "weight": [weight for weight, *_ in picked],
        "rate": [rate for _, rate, _ in picked],
        "stop": [method.samples[k] for k in at],
    }


def _part(table: Table, fitted: np.ndarray, held: np.ndarray, method: Method) -> Part:
    return Part(table, fitted, held, method.base(table, fitted))


def _run(method: Method, part: Part, weight: Any, rate: Any, split: int, probes: list[TestError]) -> Trajectory:
    problem, key = part.problem(part.fitted), jax.random.key(split)
    phi = method.phi(problem.shape)
    entries = len(part.fitted)
    a_sample = 1 if method.batch_size is None else -(-entries // method.batch_size)
    optimizer = make(method.optimizer, rate * entries if method.rate_by_entries else rate)
    return train(
        problem,
        phi,
        GradientDescent(optimizer, method.batch_size),
        params=method.start(part, phi, key),
        key=key,
        penalty=None if method.penalty is None else method.penalty(weight, problem.shape),
        stop=Stop(loss=None, steps=method.samples[-1] * a_sample),
        samples=np.array(method.samples) * a_sample,
        probes=probes,
    )
