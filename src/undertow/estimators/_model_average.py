"""Which of many fits count, and how much: stopping times, initializations, thresholds and folds, averaged."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ._diagonal_flow import Folds
from ._standardized import Standardized

TEMPERATURE = 2.0
"""Of the weights, in units of the noise variance over n: from 4 on, exponential weights are as good as the best of what
they weigh but for a term of order 1 / n (Leung and Barron 2006); sharper ones are better where much is far from it."""
ITSELF = 0.75
"""How much the error of the average counts when candidates are weighed, beside the average of their errors: 0 gives
exponential weights, which choose; 1 stacking, in which candidates that err differently make up for each other."""
IGNORED = 1e-3
"""Stopping times whose weight is below this share of the largest are left out; candidates, below a tenth of it."""
THRESHOLDS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
"""What a coefficient has to exceed to count, in units of the largest."""
NONE = 1.0
"""The threshold that leaves no coefficient."""
NEARLY_ALL = 0.75
"""Fits of folds count where they are fitted to at least this share of the rows; others are further from the truth."""
KEPT, SURE = 0.5, 0.9
"""A coefficient is kept, and surely so, where it passes in more than this share of what counts: above one half it is in
the median probability model (Barbieri and Berger 2004)."""
ITERATIONS, PRECISE = 2000, 1e-10
"""At most, and until the mean of what is minimized changes by less."""


def shares_of_times(
    errors: Float[np.ndarray, " samples"], fitted: Float[np.ndarray, " samples"], n: float
) -> Float[np.ndarray, "samples 2"]:
    """Exponential weights of the samples of a flow, by their held-out errors; both columns sum to 1.

    Before errors count, times have their share by how much the error of the fit falls there, in the first column, and
    alike, evenly in log t, in the second. The first gives little to late times, at which hardly anything is left to
    fit but noise, and whose held-out errors are hard to tell apart; the second gives them much.
    """
    falls = np.abs(np.diff(fitted, prepend=fitted[0], append=fitted[-1]))
    falls = falls[1:] + falls[:-1]
    prior = np.stack([falls / (falls.sum() or 1), np.full(len(errors), 1 / len(errors))], axis=1) + 1e-6
    shares = prior * _exponential(errors, n)[:, None]
    shares = np.where(shares < IGNORED * shares.max(0), 0, shares)
    return shares / shares.sum(0)


class Candidate(NamedTuple):
    """An average over times, by its place, and a threshold, a share of its largest coefficient."""

    average: int
    threshold: float

    def kept(self, sizes: Float[np.ndarray, "averages p *folds"]) -> np.ndarray:
        """Whether a coefficient of the average exceeds the threshold."""
        size = sizes[self.average]
        return size > self.threshold * size.max(0) if self.threshold < NONE else np.zeros(size.shape, bool)


def candidates(averages: int, threshold: float | None) -> list[Candidate]:
    """Of averages that come in pairs, the first at every threshold, the second as is; or all at the one threshold."""
    if threshold is not None:
        return [Candidate(i, float(threshold)) for i in range(averages)]
    cut = [Candidate(i, t) for i in range(0, averages, 2) for t in THRESHOLDS]
    return [*cut, *(Candidate(i, 0.0) for i in range(1, averages, 2)), Candidate(0, NONE)]


def weigh(
    problem: Standardized,
    folds: Folds,
    averages: Float[np.ndarray, "averages p folds"],
    options: list[Candidate],
    n: float,
) -> Float[np.ndarray, " candidates"]:
    """Weights of the candidates, by the products of their residuals on held-out rows."""
    products = np.zeros((len(options), len(options)))
    for residual, weight in _residuals(problem, folds, averages, options):
        products += residual.T @ (weight[:, None] * residual)
    return aggregated(products / np.asarray(folds.held_out, np.float64).sum(), n)


def _residuals(
    problem: Standardized, folds: Folds, averages: np.ndarray, options: list[Candidate]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Of all candidates, fold by fold: on the rows held out, which have these weights."""
    rows, table = problem.rows, problem.table
    fitted, held_out = (np.asarray(mask, np.float64)[:rows] for mask in (folds.fitted, folds.held_out))
    target = problem.y[:rows].astype(np.float64)
    shares = fitted[:, :-1] / fitted[:, :-1].sum(0)
    means, centers = (table.T @ shares).T, target @ shares
    for fold in range(held_out.shape[1]):
        held = np.flatnonzero(held_out[:, fold])
        w = averages[:, :, fold].astype(np.float64)
        sizes = np.abs(w)
        coefs = np.stack([w[option.average] * option.kept(sizes) for option in options], axis=1)
        residual = target[held, None] - table[held] @ coefs
        if folds.intercept:
            residual -= centers[fold] - means[fold] @ coefs
        yield residual, held_out[held, fold]


def aggregated(products: Float[np.ndarray, "candidates candidates"], n: float) -> Float[np.ndarray, " candidates"]:
    r"""Weights q of an average, from the mean products of the residuals of what is averaged.

    With e the squares among the products P and v the least of these, they minimize

    .. math:: (1 - \nu) \langle e, q \rangle + \nu \langle q, P q \rangle + \frac{T v}{n} \sum_j q_j \log q_j

    over the simplex, by mirror descent of the entropy. See Dai, Rigollet, Zhang. Deviation Optimal Learning using
    Greedy Q-Aggregation. Annals of Statistics 2012.
    """
    errors = np.diag(products)
    least = errors.min()
    if least <= 0 or len(errors) == 1:
        reached = errors <= least
        return reached / reached.sum()
    # In units of the least, less 1: then numbers are of the size of the differences.
    P, e, heat = products / least - 1, errors / least - 1, TEMPERATURE / n

    def objective(log_q: np.ndarray) -> tuple[float, np.ndarray]:
        q, Pq = np.exp(log_q), P @ np.exp(log_q)
        value = (1 - ITSELF) * (q @ e) + ITSELF * (q @ Pq) + heat * (q @ log_q)
        return value, (1 - ITSELF) * e + 2 * ITSELF * Pq + heat * log_q

    log_q = _normalized(-e / heat)
    value, slope = objective(log_q)
    step = 1 / heat
    for _ in range(ITERATIONS):
        tried = _normalized(log_q - step * slope)
        new, its_slope = objective(tried)
        if new > value + PRECISE * heat:
            step /= 2
            continue
        done = value - new < PRECISE * heat
        log_q, value, slope = tried, new, its_slope
        if done:
            break
        step *= 1.3
    q = np.exp(log_q)
    q = np.where(q < IGNORED / 10 * q.max(), 0, q)
    return q / q.sum()


def combined(
    averages: Float[np.ndarray, "averages p folds"],
    options: list[Candidate],
    weights: Float[np.ndarray, " candidates"],
    folds: Folds,
    unexplained: float,
) -> tuple[Float[np.ndarray, " p"], Float[np.ndarray, " p"]]:
    """The fit to all rows and the mean of the folds, over the candidates; and how often each coefficient is kept."""
    sizes = np.asarray(folds.fitted, np.float64).sum(0)
    near = sizes[:-1] >= NEARLY_ALL * sizes[-1]
    noise = min(unexplained, 1.0) if near.any() else 0.0
    shares = np.append(noise * near / max(near.sum(), 1), 1 - noise)
    w, frequency = np.zeros((2, averages.shape[1]))
    magnitudes = np.abs(averages)
    for option, weight in zip(options, weights, strict=True):
        if weight > 0:
            kept = option.kept(magnitudes)
            frequency += weight * (kept @ shares)
            w += weight * (np.where(kept, averages[option.average], 0) @ shares)
    return np.where(frequency > KEPT, w, 0.0), frequency


def _normalized(log_q: np.ndarray) -> np.ndarray:
    # Not below what is lost beside the largest: its slope has to be a number.
    log_q = np.maximum(log_q - log_q.max(), -300)
    return log_q - np.log(np.exp(log_q).sum())


def _exponential(errors: np.ndarray, n: float) -> np.ndarray:
    # Where the least error is 0, those that reach it share the weight.
    least = errors.min()
    excess = (errors - least) / least if least > 0 else np.where(errors > 0, np.inf, 0.0)
    return np.exp(-n / TEMPERATURE * excess)
