"""A table of ratings by variational Bayes: Gaussian factors for users and items, and who rated what.

A rating is ``u_i . v_j + b_i + c_j`` and noise. Users have a latent vector (u, b), items (v, c); each is Gaussian given
the other side, so that one side at a time is found in closed form: an average over all factorizations that fit, in
place of one of them. Which items a user has rated says something about the user, whatever the ratings are: the prior
mean of a user's vector is a sum over these items, and an item's over its users. Precisions of the priors are learned,
a factor that is not needed goes to zero. Everything is sums over the ratings.
"""

import dataclasses

import numpy as np
from scipy.sparse import csr_array

HELD = 1.0
"""Weight at which the prior means by who rated what are held to zero."""
ROUNDS = 10
"""Most conjugate gradient steps for them in each iteration, which start where the last one ended."""
ENOUGH = 1e-4
"""What is left of the gradient there, squared, that ends them."""
VARIANCES = 0.1, 0.01
"""Of a latent number at the start, prior and posterior, in units of the ratings' variance."""
SMALL = 4
"""Dimension up to which matrices are inverted here."""
BLOCK = 65_536


@dataclasses.dataclass(frozen=True)
class Side:
    """Users or items: means (n x d) and covariances (n x d x d) of their vectors, the last number being the bias.

    ``precision`` (d) is that of the prior, and ``expected`` (n x d) its mean, by who rated what: ``shares`` times
    ``weights``.
    """

    means: np.ndarray
    covariances: np.ndarray
    precision: np.ndarray
    expected: np.ndarray
    weights: np.ndarray

    @property
    def seconds(self) -> np.ndarray:
        """Second moments."""
        return self.means[:, :, None] * self.means[:, None, :] + self.covariances

    def regressors(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """What the other side is regressed on, x = (factors, 1): E x x^T, E x, E bias x and E bias^2."""
        squares = self.seconds
        with_bias, bias_squares = squares[:, :, -1].copy(), squares[:, -1, -1].copy()
        with_bias[:, -1] = self.means[:, -1]
        squares[:, -1, :-1] = squares[:, :-1, -1] = self.means[:, :-1]
        squares[:, -1, -1] = 1
        first = self.means.copy()
        first[:, -1] = 1
        return squares, first, with_bias, bias_squares


@dataclasses.dataclass(frozen=True)
class Ratings:
    """Weighted ratings from one side's point of view, as sums over the other."""

    count: csr_array
    total: csr_array
    shares: csr_array | None
    shape: tuple[int, int]

    @staticmethod
    def of(
        i: np.ndarray, j: np.ndarray, z: np.ndarray, weight: np.ndarray, shape: tuple[int, int], who: bool
    ) -> "Ratings":
        """Rows i, columns j; with ``who``, rows of ones over the root of their number."""
        there = csr_array((np.ones(len(z)), (i, j)), shape=shape)
        each = 1 / np.sqrt(np.maximum(np.bincount(i, minlength=shape[0]), 1))
        return Ratings(
            csr_array((weight, (i, j)), shape=shape),
            csr_array((weight * z, (i, j)), shape=shape),
            csr_array(there.multiply(each[:, None])) if who else None,
            shape,
        )


def start(count: int, dimension: int, draws: np.random.Generator) -> Side:
    """Small factors, no biases."""
    prior, posterior = VARIANCES
    means = np.sqrt(posterior) * draws.standard_normal((count, dimension))
    means[:, -1] = 0
    covariances = np.broadcast_to(posterior * np.eye(dimension), (count, dimension, dimension))
    nothing = np.zeros((0, dimension))
    return Side(means, covariances, np.full(dimension, 1 / prior), np.zeros((count, dimension)), nothing)


def updated(
    side: Side, other: Side, ratings: Ratings, noise: float, *, learn: bool, measure: bool
) -> tuple[Side, float]:
    """One side given the other, its prior learned if asked, and the expected sum of squares that is left, if asked."""
    count, dimension = side.means.shape
    squares, first, with_bias, bias_squares = other.regressors()
    # Of symmetric matrices one half is summed over the ratings.
    half = np.triu_indices(dimension)
    place = np.zeros((dimension, dimension), int)
    place[half] = place.T[half] = np.arange(len(half[0]))
    gram = np.asarray(ratings.count @ squares[:, *half])[:, place]
    right = ratings.total @ first - ratings.count @ with_bias
    precision = gram / noise
    precision[:, range(dimension), range(dimension)] += side.precision
    covariances = _inverse(precision)
    means = np.einsum("nde,ne->nd", covariances, right / noise + side.precision * side.expected)
    new, left = dataclasses.replace(side, means=means, covariances=covariances), 0.0
    if measure:
        left = float(np.sum(new.seconds * gram)) - 2 * float(np.sum(means * right))
        # What the biases of the other side alone leave.
        left += float(np.sum(ratings.count @ bias_squares)) - 2 * float(np.sum(ratings.total @ other.means[:, -1]))
    if ratings.shares is not None:
        weights = side.weights if len(side.weights) else np.zeros((ratings.shape[1], dimension))
        weights = _ridge(ratings.shares, means, weights)
        new = dataclasses.replace(new, weights=weights, expected=ratings.shares @ weights)
    if learn:
        away = np.sum((new.means - new.expected) ** 2, 0) + np.einsum("ndd->d", covariances)
        new = dataclasses.replace(new, precision=count / np.maximum(away, 1e-12))
    return new, left


def _inverse(matrices: np.ndarray) -> np.ndarray:
    """Inverses of positive definite matrices (n x d x d)."""
    dimension = matrices.shape[1]
    if dimension > SMALL:
        return np.linalg.inv(matrices)
    # By elimination, entry by entry, of all at once: of many small ones LAPACK spends its time on calls.
    left = np.array(matrices.transpose(1, 2, 0), order="C")
    for k in range(dimension):
        pivot, column = 1 / left[k, k], left[:, k].copy()
        row = left[k] * pivot
        left -= column[:, None] * row
        left[:, k] = -column * pivot
        left[k], left[k, k] = row, pivot
    return np.ascontiguousarray(left.transpose(2, 0, 1))


def _ridge(shares: csr_array, target: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weights with ``shares @ weights`` near the target, held to zero: conjugate gradients, all columns at once."""
    across = csr_array(shares.T)
    # Columns differ in size by how many have rated.
    scale = 1 / (across.power(2).sum(1)[:, None] + HELD)
    right = across @ target
    left = right - across @ (shares @ weights) - HELD * weights
    enough = ENOUGH * np.sum(scale * right**2, 0)
    along = scale * left
    square = np.sum(left * along, 0)
    for _ in range(ROUNDS):
        if (square <= enough).all():
            break
        pushed = across @ (shares @ along) + HELD * along
        length = square / np.maximum(np.sum(along * pushed, 0), np.finfo(float).tiny)
        weights, left = weights + length * along, left - length * pushed
        scaled = scale * left
        before, square = square, np.sum(left * scaled, 0)
        along = scaled + square / np.maximum(before, np.finfo(float).tiny) * along
    return weights


@dataclasses.dataclass(frozen=True)
class Factorization:
    """Both sides, and the variance of the noise."""

    users: Side
    items: Side
    noise: float

    def at(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """Expected ratings of pairs."""
        out = np.empty(len(i))
        for place in _pieces(len(i)):
            u, v = self.users.means[i[place]], self.items.means[j[place]]
            out[place] = np.einsum("kd,kd->k", u[:, :-1], v[:, :-1]) + u[:, -1] + v[:, -1]
        return out

    def variance_at(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """Variances of what is expected, the noise left out."""
        out = np.empty(len(i))
        squares, _, with_bias, bias_squares = self.items.regressors()
        users = self.users.seconds
        for place in _pieces(len(i)):
            u, v = i[place], j[place]
            out[place] = np.einsum("kde,kde->k", users[u], squares[v]) + bias_squares[v]
            out[place] += 2 * np.einsum("kd,kd->k", self.users.means[u], with_bias[v])
        return np.maximum(out - self.at(i, j) ** 2, 0)


def _pieces(count: int) -> list[slice]:
    return [slice(begin, begin + BLOCK) for begin in range(0, count, BLOCK)]


def factorize(
    by_user: Ratings, by_item: Ratings, rank: int, steps: int, seed: int, from_: Factorization | None = None
) -> Factorization:
    """Iterate, from small random factors or from where an earlier fit ended; ratings in units of their deviation."""
    draws = np.random.default_rng(seed)
    total = float(by_user.count.sum())
    # E (z - prediction)^2 is that of z and what `updated` adds.
    squares = float(np.sum(by_user.total.data**2 / np.maximum(by_user.count.data, np.finfo(float).tiny)))
    if from_ is None:
        users, items = (start(one.shape[0], rank + 1, draws) for one in (by_user, by_item))
        noise = 0.8
    else:
        users, items, noise = from_.users, from_.items, from_.noise
    for step in range(steps):
        users, _ = updated(users, items, by_user, noise, learn=step > 0, measure=False)
        items, left = updated(items, users, by_item, noise, learn=step > 0, measure=True)
        noise = max((squares + left) / total, 1e-8)
    return Factorization(users, items, noise)
