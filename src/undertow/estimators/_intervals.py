"""Intervals of what fills the holes of a table: as wide as the misses on held-out entries say."""

import dataclasses
import itertools

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import norm, t

from ._pays import BEYOND_CHANCE

COVERED = 0.9
"""The share of the holes that is to be within the interval."""
MULTIPLE = float(norm.ppf(0.5 + COVERED / 2))
"""Standard deviations to either side of the interval."""
SHARED = 30
"""Misses of a column are joined by those of all columns, which count as this many together."""
FEW = 50
"""Held-out entries below which they do not tell by what widths should vary, only how wide intervals are."""
FOLDS = 5


def wider(count: Int[np.ndarray, " p"]) -> Float[np.ndarray, " p"]:
    """By how much intervals are wider where mean and deviation are those of so few numbers: Student's, of one more.

    NaN below two, which have no deviation.
    """
    enough = np.maximum(count, 2)
    ratio = np.sqrt((enough + 1) / (enough - 1)) * t.ppf(0.5 + COVERED / 2, enough - 1) / MULTIPLE
    return np.where(count < 2, np.nan, ratio)


@dataclasses.dataclass(frozen=True)
class Misses:
    """How far expectations of held-out entries were off, in the columns' units.

    Attributes
    ----------
    size
        Absolute values of the misses.
    variance
        What the model expected their squares to be.
    column, place
        Where they are: the column, and the entry of the table. An entry that was held out several times is one.
    """

    size: np.ndarray
    variance: np.ndarray
    column: np.ndarray
    place: np.ndarray

    def part(self, some: np.ndarray) -> "Misses":
        """Some of them."""
        return Misses(self.size[some], self.variance[some], self.column[some], self.place[some])


@dataclasses.dataclass(frozen=True)
class Widths:
    """Standard deviations ``factor`` (p) times the root of what the model expects (n x p) plus ``extra``."""

    factor: np.ndarray
    extra: float

    def std(self, variance: np.ndarray, column: np.ndarray | slice = np.s_[:]) -> np.ndarray:
        """In the units of the columns, of entries with these variances; ``column`` says in which columns they are."""
        return self.factor[column] * np.sqrt(variance + self.extra)


def as_expected(columns: int) -> Widths:
    """What the model expects."""
    return Widths(np.ones(columns), 0.0)


def widths(misses: Misses, columns: int, draws: np.random.Generator) -> Widths:
    r"""So that nine tenths of the misses are within 1.645 standard deviations, column by column.

    The quantile of misses rather than their mean square: one large miss where the model was sure, as of a column that
    it takes for a sum of others, would make all intervals large. Such a model is too sure of some entries and not of
    others; then the mean square of all misses is added to the variances, if intervals are better so on misses that
    had no say: shorter, with the misses outside counted :math:`2 / (1 - 0.9)` times (Winkler's score, which the true
    quantiles minimize), by more than may be chance.

    Gneiting, Raftery. Strictly proper scoring rules, prediction, and estimation. JASA 2007.
    """
    places, index = np.unique(misses.place, return_inverse=True)
    if len(places) < FEW:
        return _fitted(misses, columns, extra=False)
    fold = draws.permutation(len(places))[index] % FOLDS
    gain = np.empty(len(index))
    for number in range(FOLDS):
        out = fold == number
        asked, fitted = misses.part(out), misses.part(~out)
        plain, added = (_score(_fitted(fitted, columns, extra=extra), asked) for extra in (False, True))
        gain[out] = plain - added
    gains = np.bincount(index, gain)
    pays = gains.sum() > BEYOND_CHANCE * np.sqrt(np.sum(gains**2))
    return _fitted(misses, columns, extra=bool(pays))


def _fitted(misses: Misses, columns: int, *, extra: bool) -> Widths:
    added = float(np.mean(misses.size**2)) if extra else 0.0
    shares = misses.size / np.sqrt(misses.variance + added)
    apart = len(np.unique(misses.place)) / len(shares)
    order = np.argsort(shares)
    column, everything = misses.column[order], shares[order]
    starts = np.searchsorted(np.sort(column), np.arange(columns + 1))
    own = everything[np.argsort(column, kind="stable")]  # column by column, ascending in each
    factor = np.array([_quantile(own[a:b], everything, apart) for a, b in itertools.pairwise(starts)])
    return Widths(factor / MULTIPLE, added)


def _quantile(own: np.ndarray, everything: np.ndarray, apart: float) -> float:
    """The least number below which nine tenths are, and of few a bit more, of one's own and a share of everything.

    Both ascending. With k of one's own below it, it is at least the largest of these, and the share of everything has
    to make up for the rest.
    """
    total = len(own) + SHARED
    wanted = min(1.0, COVERED * (1 + 1 / (apart * total))) * total
    below = np.arange(len(own) + 1)
    rank = np.ceil((wanted - below) / SHARED * len(everything) - 1e-9).astype(int)
    possible = rank <= len(everything)
    from_all = np.where(rank > 0, everything[np.clip(rank - 1, 0, len(everything) - 1)], 0)
    from_own = np.concatenate([[0.0], own])
    return float(np.maximum(from_own, from_all)[possible].min())


def _score(found: Widths, asked: Misses) -> np.ndarray:
    half = MULTIPLE * found.std(asked.variance, asked.column)
    return 2 * half + 2 / (1 - COVERED) * np.maximum(asked.size - half, 0)
