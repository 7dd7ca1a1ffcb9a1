"""What ``RatingPredictor`` fits: an average over factorizations, as far as held-out ratings say that it pays."""

import dataclasses

import numpy as np

from .._numpy_errors import usual_errors
from ..training._progress import Report
from ._completion import check_size
from ._pays import share_that_pays
from ._variational import Factorization, Ratings, Side, factorize

FEW = 1_000_000
"""Ratings up to which several factorizations are averaged where it is not said how many."""
ROUNDING = 1e-13
"""Ratings whose deviation is below this share of their mean are all alike."""


@dataclasses.dataclass(frozen=True)
class RatingSettings:
    """How ratings are fitted; as the parameters of ``RatingPredictor``."""

    rank: int = 10
    members: int | None = None
    max_iter: int = 15
    who_rated_what: bool = True
    validation_fraction: float = 0.1
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Table:
    """Ratings ``z`` in units of their deviation, at codes (i, j), with their weights."""

    i: np.ndarray
    j: np.ndarray
    z: np.ndarray
    weight: np.ndarray
    shape: tuple[int, int]

    def part(self, places: np.ndarray) -> "Table":
        """Some of the ratings."""
        return Table(self.i[places], self.j[places], self.z[places], self.weight[places], self.shape)

    def fitted(self, rank: int, steps: int, seed: int, who: bool, from_: Factorization | None = None) -> Factorization:
        """One factorization of them."""
        by_user = Ratings.of(self.i, self.j, self.z, self.weight, self.shape, who)
        by_item = Ratings.of(self.j, self.i, self.z, self.weight, (self.shape[1], self.shape[0]), who)
        return factorize(by_user, by_item, rank, steps, seed, from_)


@dataclasses.dataclass(frozen=True)
class RatingModel:
    """``mean + unit * (biases + kept * (average of the members - biases))``, clipped to ``low`` .. ``high``.

    The last row of each side stands for a user or an item that is not known: position -1.

    Attributes
    ----------
    biases
        Users' and items' biases alone, a factorization of rank 0.
    members
        Factorizations, from several initializations.
    kept
        From 0 to 1: the share of what they add that is kept.
    spread
        Of the held-out errors, in units of what the members expected them to be.
    """

    mean: float
    unit: float
    low: float
    high: float
    biases: Factorization
    members: tuple[Factorization, ...]
    kept: float
    spread: float
    who_rated_what: bool
    table: Table

    def at(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """Expected ratings of pairs; with -1 for a user or an item that is not known."""
        i, j = np.asarray(i), np.asarray(j)
        found = self.biases.at(i, j)
        if self.kept > 0:
            found = (1 - self.kept) * found + self.kept * np.mean([member.at(i, j) for member in self.members], axis=0)
        return np.clip(self.mean + self.unit * found, self.low, self.high)

    def std_at(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """Standard deviations of the ratings of pairs, their noise included."""
        i, j = np.asarray(i), np.asarray(j)
        used = self.members if self.kept > 0 else (self.biases,)
        between = np.var([member.at(i, j) for member in used], axis=0)
        within = np.mean([member.variance_at(i, j) + member.noise for member in used], axis=0)
        return self.unit * self.spread * np.sqrt(between + within)

    def block(self, rows: slice) -> np.ndarray:
        """Whole rows of expected ratings."""
        users = np.arange(self.table.shape[0])[rows]
        i, j = np.repeat(users, self.table.shape[1]), np.tile(np.arange(self.table.shape[1]), len(users))
        return self.at(i, j).reshape(len(users), -1)


@usual_errors
def fit_ratings(
    i: np.ndarray,
    j: np.ndarray,
    ratings: np.ndarray,
    shape: tuple[int, int],
    settings: RatingSettings,
    *,
    weight: np.ndarray | None = None,
    clip: bool = True,
    report: Report = lambda fraction, message: None,
) -> RatingModel:
    """Fit ratings at codes (i, j), no pair twice.

    Raises
    ------
    ValueError
        If there are fewer than two, or one is larger than 1e100.
    """
    if len(ratings) < 2:
        raise ValueError(f"y: expected at least 2 ratings, one to fit and one to hold out, found {len(ratings)}")
    check_size(ratings)
    weight = np.ones(len(ratings)) if weight is None else weight
    largest = float(np.abs(ratings).max()) or 1.0
    scaled = ratings / largest
    mean = float(np.average(scaled, weights=weight))
    unit = float(np.sqrt(np.average((scaled - mean) ** 2, weights=weight)))
    unit = 0.0 if unit <= ROUNDING * abs(mean) else unit
    table = Table(i, j, (scaled - mean) / (unit or 1.0) * (unit > 0), weight, shape)
    # More factors than ratings for each cannot be told from noise, and cost time.
    rank = min(settings.rank, shape[0] - 1, shape[1] - 1, 1 + len(ratings) // sum(shape))
    who, kept, spread = False, 0.0, 1.0
    if rank > 0 and unit > 0:
        who, kept, spread = _what_pays(table, rank, settings, report)
    members = settings.members or (5 if len(ratings) <= FEW else 1)
    found = []
    for member in range(members if kept > 0 else 0):
        report((3 + member) / (3 + members), "fit")
        found.append(table.fitted(rank, settings.max_iter, settings.seed + member, who))
    biases = table.fitted(0, settings.max_iter, settings.seed, False)
    low, high = (float(ratings.min()), float(ratings.max())) if clip else (-np.inf, np.inf)
    known = tuple(with_unknown(one) for one in (biases, *found))
    return RatingModel(mean * largest, unit * largest, low, high, known[0], known[1:], kept, spread, who, table)


def _what_pays(table: Table, rank: int, settings: RatingSettings, report: Report) -> tuple[bool, float, float]:
    """By held-out ratings: whether who rated what says something, and how much of the factors to keep."""
    order = np.random.default_rng(settings.seed).permutation(len(table.z))
    held = max(1, round(settings.validation_fraction * len(order)))
    fitted, rest = table.part(order[held:]), table.part(order[:held])
    truth, weight = rest.z, rest.weight
    biases = fitted.fitted(0, settings.max_iter, settings.seed, False)
    base = biases.at(rest.i, rest.j)
    tried = []
    for number, who in enumerate((True, False) if settings.who_rated_what else (False,)):
        report(number / 3, "search")
        model = fitted.fitted(rank, settings.max_iter, settings.seed, who)
        found = model.at(rest.i, rest.j)
        tried.append((float(np.average((found - truth) ** 2, weights=weight)), who, model, found))
    _, who, model, found = min(tried, key=lambda one: one[0])
    added, left = found - base, truth - base
    kept = share_that_pays(added, left, weight)
    used = model if kept > 0 else biases
    variance = used.variance_at(rest.i, rest.j) + used.noise
    errors = left - kept * added
    spread = float(np.sqrt(np.average(errors**2 / variance, weights=weight)))
    return who, kept, spread or 1.0


def with_unknown(found: Factorization) -> Factorization:
    """With a last row on each side for whoever is not known: the prior, whose mean is zero."""
    return dataclasses.replace(found, users=_with_unknown(found.users), items=_with_unknown(found.items))


def _with_unknown(side: Side) -> Side:
    prior = np.diag(1 / side.precision)
    return dataclasses.replace(
        side,
        means=np.vstack([side.means, np.zeros(len(prior))]),
        covariances=np.concatenate([side.covariances, prior[None]]),
    )


def grown(found: Factorization, shape: tuple[int, int]) -> Factorization:
    """For more users and items, who start from the prior; without the rows for the unknown."""

    def more(side: Side, count: int) -> Side:
        known, dimension = len(side.means) - 1, side.means.shape[1]
        missing = count - known
        prior = np.diag(1 / side.precision)
        blank = np.zeros((missing, dimension))
        return dataclasses.replace(
            side,
            means=np.vstack([side.means[:-1], blank]),
            covariances=np.concatenate([side.covariances[:-1], np.broadcast_to(prior, (missing, *prior.shape))]),
            expected=np.vstack([side.expected, blank]),
        )

    users, items = more(found.users, shape[0]), more(found.items, shape[1])
    if len(users.weights):  # a row for each of the other side
        users, items = (
            dataclasses.replace(side, weights=np.pad(side.weights, ((0, len(other.means) - len(side.weights)), (0, 0))))
            for side, other in ((users, items), (items, users))
        )
    return dataclasses.replace(found, users=users, items=items)


def refitted(model: RatingModel, table: Table, steps: int, seed: int, clip: bool) -> RatingModel:
    """With other ratings, from where the model stands; what pays is not asked again."""
    low, high = -np.inf, np.inf
    if clip:
        low, high = (float(model.mean + model.unit * end) for end in (table.z.min(), table.z.max()))

    def again(found: Factorization, rank: int, who: bool) -> Factorization:
        return with_unknown(table.fitted(rank, steps, seed, who, grown(found, table.shape)))

    biases = again(model.biases, 0, False)
    members = tuple(again(one, one.users.means.shape[1] - 1, model.who_rated_what) for one in model.members)
    return dataclasses.replace(model, low=low, high=high, biases=biases, members=members, table=table)
