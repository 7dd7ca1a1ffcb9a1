"""Sparse linear regression."""

import warnings
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import RepeatedKFold, check_cv
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data

from .._numpy_errors import usual_errors
from .._validation import check_integer, check_number
from ._diagonal_flow import FlowState, Folds, average, dual_pace, flow, last_column
from ._standardized import Standardized
from ._validation import check_no_times, check_unmasked

TEMPERATURE = 4.0
"""Of the weights of stopping times, in units of the noise variance over n: from 4 on, the weighted mean is as good as
the best of them but for a term of order 1 / n (Leung and Barron 2006)."""
IGNORED = 1e-3
"""Stopping times whose weight is below this share of the largest are left out."""
CLEARLY = 2.0
"""A mean difference is clear where it is more than this many of its standard errors."""
THRESHOLDS = np.append(np.geomspace(0.01, 0.5, 18), 1.0)
"""What a coefficient has to exceed to count, in units of the largest; 1 leaves none."""
NEARLY_ALL = 0.75
"""Fits of folds count where they are fitted to at least this share of the rows; others are further from the truth."""
KEPT = 0.5
"""A coefficient is kept where it passes with more than this share of the fits and thresholds: with most of them."""


class SparseRegressor(RegressorMixin, BaseEstimator):
    r"""Sparse linear regression by early-stopped gradient flow of a diagonal network, without a penalty.

    The coefficients are written as :math:`w = u^D - v^D`, entry by entry, and u, v follow the gradient flow of

    .. math:: L(w, c) = \frac{1}{2 n} |y - X w - c|^2, \qquad u(0)^D = v(0)^D = \alpha^D,

    with the intercept c at its best all along. At depth D = 2 this is

    .. math:: w(t) = 2 \alpha^2 \sinh(4 z(t)), \qquad \dot z = X^T (y - X w - c) / n, \qquad z(0) = 0

    (mirror flow of the hyperbolic entropy): an entry keeps the scale of the initialization until the correlation of
    its column with the residual, summed over time, reaches about :math:`\log(1/\alpha^2) / 4`, and then grows at once
    to its least-squares size. So the entries enter by and by, those of the signal first and shrunk little; when to
    stop is the only thing to choose. Run to the end, the flow finds nearly the smallest l1 norm among all exact fits.

    The time is chosen by cross-validation. The folds and the fit to all rows are flows of one program on the same
    times, so that the stopping time found on the folds is that of the fit. Instead of the one best time, the times are
    averaged with weights :math:`\exp(-n \, (e(t) - e_{min}) / (4 e_{min}))`, evenly in log t, where e is the mean
    square on held-out rows. So are the initializations, if there are several: small ones select more sharply, larger
    ones shrink more, which is better in much noise.

    Coefficients of the flow are never exactly zero. Those below a threshold, a share of the largest, are set to zero.
    The coefficients are averaged evenly over the thresholds from the one of least held-out error to the largest that
    is not clearly (by two standard errors) worse.

    The fits of the folds count too: their mean varies less than the fit to all rows, but each of them lacks some rows.
    So the coefficients are the fit to all rows and the mean of the folds in shares :math:`1 - q` and q, where
    q is the least held-out error in units of the variance of y: the mean counts in noise, the fit where y is explained.
    Folds that are fitted to less than three quarters of the rows are left out (with ``cv`` of 2 or 3, all of them).
    Coefficients that exceed the thresholds in no more than half of these, by their shares, are zero.

    Parameters
    ----------
    depth
        D, at least 2.
    scales
        The sizes :math:`\alpha^D` of both halves at the start, in units of sd(y) / sd(column); a number or several.
        Left out: 1e-6 and 1e-24 at depth 2, else 1e-3 and 1e-6.
    standardize
        Whether the flow runs in units of each column's standard deviation; ``coef_`` is in those of X either way.
        False, as of ``LassoCV``, gives columns of larger entries a head start.
    threshold
        A share of the largest coefficient, from 0 (keep all) to less than 1; several by held-out error where left out.
        0 or 0.01 predicts slightly better where many coefficients are small but not zero.
    cv
        Number of folds, at most n; or a splitter or an iterable of splits, as in scikit-learn.
    repeats
        How many times the rows are dealt to folds; where ``cv`` is a number.
    max_iter
        Most trial steps of a flow.
    random_state
        Seed of the folds; nothing else is random.

    Attributes
    ----------
    coef_ : ndarray of shape (p,)
        Coefficients, in units of y per unit of X.
    intercept_ : float
        Intercept.
    n_iter_ : int
        Steps of the flow from the best initialization.
    scale_, stopping_time_ : float
        The initialization and the flow time t where the held-out error is smallest, in standardized units.
    threshold_ : float
        The largest of the thresholds, as a share of the largest coefficient.
    path_times_ : ndarray of shape (samples,)
        Flow times from 0 on, from ``scale_``.
    path_coefs_ : ndarray of shape (samples, p)
        Coefficients at these times, fitted to all rows; nothing set to zero.
    path_train_errors_ : ndarray of shape (samples,)
        Mean square of their residuals.
    path_validation_errors_ : ndarray of shape (samples, folds)
        Mean square on the held-out rows of each fold.
    n_features_in_, feature_names_in_
        As in scikit-learn.

    Notes
    -----
    Numbers are float32 unless JAX is told ``jax.config.update("jax_enable_x64", True)``. A dense X is copied once; a
    sparse one is never made dense,
    though columns that have hardly a zero are filled up. Tables of about the same shape share a compiled program.

    References
    ----------
    Vaskevicius, Kanade, Rebeschini. Implicit Regularization for Optimal Sparse Recovery. NeurIPS 2019.
    Woodworth et al. Kernel and Rich Regimes in Overparametrized Models. COLT 2020.
    Leung, Barron. Information Theory and Mixing Least-Squares Regressions. IEEE Trans. Inf. Theory 2006.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).standard_normal((60, 100))
    >>> model = SparseRegressor().fit(X, 2 * X[:, 3] - X[:, 7] + 5)
    >>> np.flatnonzero(model.coef_).tolist(), model.coef_[[3, 7]].round(2).tolist(), round(model.intercept_, 2)
    ([3, 7], [2.0, -1.0], 5.0)
    """

    def __init__(
        self,
        *,
        depth: int = 2,
        scales: float | Sequence[float] | None = None,
        standardize: bool = True,
        threshold: float | None = None,
        cv: Any = 10,
        repeats: int = 2,
        max_iter: int = 3000,
        random_state: int = 0,
    ):
        self.depth = depth
        self.scales = scales
        self.standardize = standardize
        self.threshold = threshold
        self.cv = cv
        self.repeats = repeats
        self.max_iter = max_iter
        self.random_state = random_state

    @usual_errors
    def fit(self, X: Any, y: Any) -> "SparseRegressor":
        """Fit ``y`` (n,) by ``X`` (n x p, dense or sparse).

        Raises
        ------
        TypeError, ValueError
            If a parameter is out of range, or the data are not finite numbers of these shapes with at least two rows,
            or masked, or in units so far apart that no float holds the coefficients.
        """
        depth, scales, max_iter = self._check_parameters()
        for name, values in (("X", X), ("y", y)):
            check_unmasked(name, values)
            check_no_times(name, values)
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse="csr",
            dtype=[np.float64, np.float32],
            y_numeric=True,
            ensure_min_samples=2,
        )
        y = np.asarray(y, np.float64)
        X = X if isinstance(X, np.ndarray) else csr_array(X)
        problem = Standardized(X, y, self.standardize)
        folds = problem.folds(self._splits(X, y))
        dtype = problem.y.dtype
        runs = [
            flow(problem.design, jnp.asarray(problem.y), folds, jnp.asarray(s, dtype), depth, jnp.asarray(max_iter))
            for s in scales
        ]
        errors = [np.asarray(run.path.held_out, np.float64)[: int(run.path.count)].mean(1) for run in runs]
        best = int(np.argmin([e.min() for e in errors]))
        w: Any = 0
        for run, shares, scale in zip(runs, _shares(errors, len(y)), scales, strict=True):
            if shares.any():
                # To the fixed length of a path, so that one program serves all.
                padded = jnp.asarray(np.pad(shares, (0, run.path.times.size - len(shares))), dtype)
                w = w + average(problem.design, run.path, padded, jnp.asarray(scale, dtype), depth)
        w = np.asarray(w, np.float64)[: problem.columns]
        thresholds = _thresholds(problem, folds, w) if self.threshold is None else np.array([float(self.threshold)])
        self.threshold_ = float(thresholds[-1])
        unexplained = min(e.min() for e in errors)  # y is in units of its deviation
        self.coef_ = problem.coefficients(_combined(w, thresholds, folds, unexplained))
        self.intercept_ = problem.y_mean - float(problem.means @ self.coef_)
        self._keep_path(problem, runs[best], scales[best], depth)
        if int(runs[best].trials) >= max_iter and errors[best].argmin() == len(errors[best]) - 1:
            warnings.warn(
                f"max_iter: the held-out error was still falling after {max_iter} steps; allow more",
                ConvergenceWarning,
                stacklevel=3,  # past the decorator
            )
        return self

    @usual_errors
    def predict(self, X: Any) -> np.ndarray:
        """``X @ coef_ + intercept_``.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If ``X`` has not the columns that were fitted.
        """
        check_is_fitted(self, "coef_")
        check_unmasked("X", X)
        check_no_times("X", X)
        X = validate_data(self, X, accept_sparse="csr", dtype=[np.float64, np.float32], reset=False)
        return np.asarray(X @ self.coef_) + self.intercept_

    def _check_parameters(self) -> tuple[int, list[float], int]:
        depth = check_integer("depth", self.depth, 2)
        epsilon = float(jnp.finfo(jnp.result_type(float)).eps)
        # Below, w(z) jumps from one floating number z to the next by more than a hundredth, or z overflows.
        smallest = 1e-36 if depth == 2 else (100 * epsilon) ** (depth / (depth - 2))
        if self.scales is None:
            scales = [1e-6, 1e-24] if depth == 2 else [1e-3, max(1e-6, smallest)]
        else:
            scales = list(self.scales) if isinstance(self.scales, (Sequence, np.ndarray)) else [self.scales]
        if not scales or isinstance(self.scales, str):
            raise ValueError(f"scales: expected a number or several, found {self.scales!r}")
        scales = [float(check_number("scales", s, smallest, maximum=1.0)) for s in scales]
        if not isinstance(self.standardize, (bool, np.bool_)):
            raise TypeError(f"standardize: expected True or False, found {self.standardize!r}")
        if self.threshold is not None and check_number("threshold", self.threshold, 0) >= 1:
            raise ValueError(f"threshold: expected a number of at least 0 and below 1, found {self.threshold!r}")
        check_integer("repeats", self.repeats, 1)
        if check_integer("random_state", self.random_state, 0) >= 2**32:
            raise ValueError(f"random_state: expected a seed below 2**32, found {self.random_state}")
        return depth, scales, check_integer("max_iter", self.max_iter, 1)

    def _splits(self, X: Any, y: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        if isinstance(self.cv, (int, np.integer)):
            count = min(check_integer("cv", self.cv, 2), len(y))
            splitter: Any = RepeatedKFold(n_splits=count, n_repeats=self.repeats, random_state=self.random_state)
        else:
            splitter = check_cv(self.cv, y)
        splits = list(splitter.split(X, y))
        if any(len(rows) == 0 for split in splits for rows in split):
            raise ValueError("cv: expected splits with rows to fit and rows to hold out, found one without")
        return splits

    def _keep_path(self, problem: Standardized, run: FlowState, scale: float, depth: int) -> None:
        count, path = int(run.path.count), run.path
        self.scale_, self.n_iter_ = scale, int(run.steps)
        self.path_times_ = np.asarray(path.times, np.float64)[:count] / dual_pace(scale, depth)
        # Cut in numpy: a cut by JAX would be a program for every length.
        w = np.asarray(last_column(problem.design, path, jnp.asarray(scale, problem.y.dtype), depth))
        self.path_coefs_ = problem.coefficients(w[:count])
        self.path_train_errors_ = np.asarray(path.fitted, np.float64)[:count, -1] * problem.y_unit**2
        self.path_validation_errors_ = np.asarray(path.held_out, np.float64)[:count] * problem.y_unit**2
        self.stopping_time_ = float(self.path_times_[self.path_validation_errors_.mean(1).argmin()])

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _shares(errors: list[np.ndarray], n: int) -> list[np.ndarray]:
    """Exponential weights of all samples of all flows, by their held-out errors; they sum to 1."""
    least = min(e.min() for e in errors)
    # Where the least error is 0, the samples that reach it share the weight.
    excess = [(e - least) / least if least > 0 else np.where(e > 0, np.inf, 0.0) for e in errors]
    shares = [np.exp(-n / TEMPERATURE * e) for e in excess]
    shares = [np.where(s < IGNORED, 0, s) for s in shares]
    total = sum(s.sum() for s in shares)
    return [s / total for s in shares]


def _thresholds(problem: Standardized, folds: Folds, w: Float[np.ndarray, "p folds"]) -> np.ndarray:
    """From the best to the largest that is not clearly worse, judged row by row on the same held-out rows."""
    rows = problem.rows
    fitted, held_out = (np.asarray(mask, np.float64)[:rows] for mask in (folds.fitted, folds.held_out))
    fitted = fitted[:, :-1]
    times = held_out.sum(1)
    w = w[:, :-1]
    sizes, largest = np.abs(w), np.abs(w).max(0)
    near = np.flatnonzero((sizes > THRESHOLDS[0] * largest).any(1))
    table, target = problem.table[:, near], problem.y[:rows, None].astype(np.float64)
    errors = []
    for threshold in THRESHOLDS:
        residual = target - table @ np.where(sizes[near] > threshold * largest, w[near], 0.0)
        residual = residual - (residual * fitted).sum(0) / fitted.sum(0)
        errors.append((residual**2 * held_out).sum(1)[times > 0] / times[times > 0])
    best = int(np.argmin(np.mean(errors, 1)))
    worse = np.array(errors) - errors[best]
    clearly = worse.mean(1) > CLEARLY * worse.std(1) / np.sqrt(worse.shape[1])
    # That nothing is left is the answer only where nothing is better.
    largest_good = max(best, *np.flatnonzero(~clearly[:-1]), 0)
    return THRESHOLDS[best : largest_good + 1]


def _combined(
    w: Float[np.ndarray, "p folds"], thresholds: Float[np.ndarray, " thresholds"], folds: Folds, unexplained: float
) -> Float[np.ndarray, " p"]:
    """The fit to all rows and the mean of the folds, over the thresholds; few of whose entries are not zero."""
    sizes = np.asarray(folds.fitted, np.float64).sum(0)
    near = sizes[:-1] >= NEARLY_ALL * sizes[-1]
    noise = min(unexplained, 1.0) if near.any() else 0.0
    shares = np.append(noise * near / max(near.sum(), 1), 1 - noise)
    passed = np.abs(w)[None] > thresholds[:, None, None] * np.abs(w).max(0)
    frequency = passed.mean(0)
    return np.where(frequency @ shares > KEPT, (w * frequency) @ shares, 0.0)
