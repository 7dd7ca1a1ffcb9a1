"""Sparse linear regression."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.model_selection import RepeatedKFold, check_cv
from sklearn.utils import Tags, check_array
from sklearn.utils.validation import check_is_fitted

from .._numpy_errors import usual_errors
from .._validation import check_integer, check_number
from ._diagonal_fit import fit_diagonal
from ._diagonal_flow import Network
from ._standardized import Standardized
from ._validation import (
    check_columns,
    check_flag,
    check_no_times,
    check_unmasked,
    check_vector,
    checked_table,
    seed_of,
)

SCALES = [1.0, 1e-1, 1e-2, 1e-3, 1e-6, 1e-24]
"""Initializations from plain least squares, stopped early, to the sharpest selection."""
LARGEST_POSITIVE = 1e-2
"""Of the initializations of positive coefficients, all of which start at this size."""
LEAST_WEIGHT = 1e-15
"""Of a row, in units of the largest: a fold of rows that weigh less would say nothing in single precision."""


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

    Times are weighed by cross-validation. The folds and the fit to all rows are flows of one program on the same
    times, so that the stopping time found on the folds is that of the fit. Instead of the one best time, the times
    are averaged with weights :math:`\exp(-n \, (e(t) - e_{min}) / (2 e_{min}))`, where e is the mean square on
    held-out rows, once by how much the error of the fit falls at a time and once evenly in log t. There are several
    initializations: small ones select few columns, large ones shrink many coefficients alike (at a scale of 1 the
    flow is nearly that of plain least squares, and stopped early it is nearly ridge regression). And coefficients of
    the flow are never exactly zero: those below a threshold, a share of the largest, are set to zero.

    All these candidates - initializations, thresholds, and no coefficient at all - are averaged in turn, by
    Q-aggregation: with weights that make the held-out error of the average small as well as the errors of what is
    averaged, so that candidates that err differently make up for each other. How sparse the answer is so follows from
    the data.

    The fits of the folds count too: their mean varies less than the fit to all rows, but each of them lacks some
    rows. So the coefficients are the fit to all rows and the mean of the folds in shares :math:`1 - q` and q, where q
    is the least held-out error in units of the variance of y: the mean counts in noise, the fit where y is explained.
    Folds that are fitted to less than three quarters of the rows are left out (with ``cv`` of 2 or 3, all of them).
    Coefficients that exceed the thresholds in no more than half of all this, by their shares, are zero: what is best
    for prediction. Which columns surely count, at the price of some that do, is ``support_``.

    Parameters
    ----------
    depth
        D, at least 2.
    scales
        The sizes :math:`\alpha^D` of both halves at the start, in units of sd(y) / sd(column); a number or several.
        Left out: six from 1 to 1e-24 at depth 2, five from 1 to 1e-6 beyond; with ``positive`` those of 0.01 at most.
    standardize
        Whether the flow runs in units of each column's standard deviation; ``coef_`` is in those of X either way.
        False, as of ``LassoCV``, gives columns of larger entries a head start.
    threshold
        A share of the largest coefficient, from 0 (keep all) to less than 1; by held-out error where left out.
    cv
        Number of folds, at most n; or a splitter or an iterable of splits, as in scikit-learn.
    repeats
        How many times the rows are dealt to folds; where ``cv`` is a number.
    max_iter
        Most trial steps of a flow.
    random_state : int, RandomState or None
        Of the folds; nothing else is random.
    fit_intercept
        Whether the intercept c is free; otherwise it is 0, and columns are scaled by their root mean squares.
    positive
        Whether coefficients are at least 0: then :math:`w = u^D`.

    Attributes
    ----------
    coef_ : ndarray of shape (p,), or (targets, p)
        Coefficients, in units of y per unit of X.
    intercept_ : float, or ndarray of shape (targets,)
        Intercept.
    support_, frequency_ : ndarray of shape (p,)
        Whether a column's coefficient exceeds the thresholds in more than 0.9 of what is averaged, and in what share it
        does. Where few columns matter these are told far more cleanly than by ``coef_``, which is not zero above 0.5;
        where many do, some are missing. This and all below: of several targets, a list with one a target.
    n_iter_ : int
        Steps of the flow from the best initialization.
    scale_, stopping_time_ : float
        The initialization and the flow time t where the held-out error is smallest, in standardized units.
    threshold_ : float
        The threshold that counts most, as a share of the largest coefficient; 1 where it is no coefficient at all.
    path_times_ : ndarray of shape (samples,)
        Flow times from 0 on, from ``scale_``.
    path_coefs_ : ndarray of shape (samples, p)
        Coefficients at these times, fitted to all rows; nothing set to zero.
    path_train_errors_ : ndarray of shape (samples,)
        Mean square of their residuals.
    path_validation_errors_ : ndarray of shape (samples, folds)
        Mean square on the held-out rows of each fold; folds count by the weight of these rows.
    n_features_in_, feature_names_in_
        As in scikit-learn.

    Notes
    -----
    Numbers are float32 unless JAX is told ``jax.config.update("jax_enable_x64", True)``. A dense X is copied once; a
    sparse one is never made dense, though columns that have hardly a zero are filled up. Tables of about the same
    shape share a compiled program.

    References
    ----------
    Vaskevicius, Kanade, Rebeschini. Implicit Regularization for Optimal Sparse Recovery. NeurIPS 2019.
    Woodworth et al. Kernel and Rich Regimes in Overparametrized Models. COLT 2020.
    Leung, Barron. Information Theory and Mixing Least-Squares Regressions. IEEE Trans. Inf. Theory 2006.
    Dai, Rigollet, Zhang. Deviation Optimal Learning using Greedy Q-Aggregation. Annals of Statistics 2012.
    Barbieri, Berger. Optimal Predictive Model Selection. Annals of Statistics 2004 (what passes in more than half).

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).standard_normal((60, 100))
    >>> model = SparseRegressor().fit(X, 2 * X[:, 3] - X[:, 7] + 5)
    >>> np.flatnonzero(model.coef_).tolist(), model.coef_[[3, 7]].round(2).tolist(), round(model.intercept_, 2)
    ([3, 7], [2.0, -1.0], 5.0)
    """

    support_: Any

    def __init__(
        self,
        *,
        depth: int = 2,
        scales: float | Sequence[float] | None = None,
        standardize: bool = True,
        threshold: float | None = None,
        cv: Any = 10,
        repeats: int = 5,
        max_iter: int = 3000,
        random_state: Any = 0,
        fit_intercept: bool = True,
        positive: bool = False,
    ):
        self.depth = depth
        self.scales = scales
        self.standardize = standardize
        self.threshold = threshold
        self.cv = cv
        self.repeats = repeats
        self.max_iter = max_iter
        self.random_state = random_state
        self.fit_intercept = fit_intercept
        self.positive = positive

    @usual_errors
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "SparseRegressor":
        """Fit ``y`` (n,) by ``X`` (n x p, dense or sparse); or several targets, (n x targets), each by itself.

        With ``sample_weight`` (n,), at least 0, rows count in proportion, in the fits and where they are held out; a
        row of weight 0 is as if it were not there. Only the ratios of the weights matter.

        Raises
        ------
        TypeError, ValueError
            If a parameter is out of range, or the data are not finite numbers of these shapes with at least two rows
            of positive weight, or masked, or in units so far apart that no float holds the coefficients.
        """
        networks, max_iter = self._check_parameters()
        X = checked_table(self, X, accept_sparse="csr", dtype=[np.float64, np.float32], ensure_min_samples=2)
        y = _targets(y, X.shape[0])
        X = X if isinstance(X, np.ndarray) else csr_array(X)
        weight = _weight(sample_weight, len(y))
        splits = self._splits(X, y, weight)
        kept = weight > 0
        if not kept.all():  # else no copy
            X, y, weight = X[kept], y[kept], weight[kept]
        targets = y.reshape(len(y), -1).T
        fits = [
            fit_diagonal(
                Standardized(X, target, self.standardize, weight, bool(self.fit_intercept)),
                splits,
                networks,
                self.threshold,
                max_iter,
            )
            for target in targets
        ]
        if y.ndim == 1:
            vars(self).update(vars(fits[0]))
        else:
            vars(self).update({name: [vars(f)[name] for f in fits] for name in vars(fits[0])})
            self.coef_, self.intercept_ = np.array(self.coef_), np.array(self.intercept_)
        return self

    @usual_errors
    def predict(self, X: Any) -> np.ndarray:
        """``X @ coef_.T + intercept_``.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If ``X`` has not the columns that were fitted.
        """
        check_is_fitted(self, "coef_")
        X = checked_table(self, X, accept_sparse="csr", dtype=[np.float64, np.float32], reset=False)
        return np.asarray(X @ self.coef_.T) + self.intercept_

    def _check_parameters(self) -> tuple[list[Network], int]:
        depth = check_integer("depth", self.depth, 2)
        for name in ("standardize", "fit_intercept", "positive"):
            check_flag(name, getattr(self, name))
        epsilon = float(jnp.finfo(jnp.result_type(float)).eps)
        # Below, w(z) jumps from one floating number z to the next by more than a hundredth, or z overflows.
        smallest = 1e-36 if depth == 2 else (100 * epsilon) ** (depth / (depth - 2))
        if self.scales is None:
            scales = SCALES if depth == 2 else [*SCALES[:-2], max(SCALES[-2], smallest)]
            scales = [s for s in scales if s <= LARGEST_POSITIVE or not self.positive]
        else:
            scales = list(self.scales) if isinstance(self.scales, (Sequence, np.ndarray)) else [self.scales]
        if not scales or isinstance(self.scales, str):
            raise ValueError(f"scales: expected a number or several, found {self.scales!r}")
        scales = [float(check_number("scales", s, smallest, maximum=1.0)) for s in scales]
        if self.threshold is not None and check_number("threshold", self.threshold, 0) >= 1:
            raise ValueError(f"threshold: expected a number of at least 0 and below 1, found {self.threshold!r}")
        check_integer("repeats", self.repeats, 1)
        max_iter = check_integer("max_iter", self.max_iter, 1)
        return [Network(s, depth, bool(self.positive)) for s in scales], max_iter

    def _splits(self, X: Any, y: np.ndarray, weight: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Positions of the fitted and of the held-out rows, among those whose weight is not zero."""
        seed = seed_of(self.random_state)
        kept = weight > 0
        if isinstance(self.cv, (int, np.integer)):
            rows = np.arange(np.count_nonzero(kept))
            count = min(check_integer("cv", self.cv, 2), len(rows))
            dealt = RepeatedKFold(n_splits=count, n_repeats=self.repeats, random_state=seed)
            return list(dealt.split(rows))
        splitter: Any = check_cv(self.cv, y)
        position = np.cumsum(kept) - 1
        splits = [(position[f][kept[f]], position[h][kept[h]]) for f, h in splitter.split(X, y)]
        if any(len(rows) == 0 for split in splits for rows in split):
            raise ValueError("cv: expected splits with rows to fit and rows to hold out, found one without")
        return splits

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.multi_output = True
        return tags


def _targets(y: Any, rows: int) -> np.ndarray:
    """Finite numbers, (rows,) or (rows x targets)."""
    if y is None:
        raise ValueError("y: SparseRegressor requires y to be passed, but the target y is None")
    check_unmasked("y", y)
    check_no_times("y", y)
    check_columns("y", y)
    try:
        array = check_array(y, dtype="float64", ensure_2d=False, ensure_min_samples=0, input_name="y")
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"y: expected numbers, for several targets a column each: {error}") from error
    found = len(array) if array.ndim else 1
    if array.ndim == 0 or found != rows:
        raise ValueError(
            f"y: expected a number for each of the {rows} rows of X, found {found} (inconsistent numbers of samples)"
        )
    return array


def _weight(weight: Any, rows: int) -> np.ndarray:
    """Weights of rows, the largest 1."""
    if weight is None:
        return np.ones(rows)
    check_unmasked("sample_weight", weight)
    array = np.asarray(weight)
    array = check_vector("sample_weight", np.full(rows, array) if array.ndim == 0 else array, rows)
    if array.min() < 0:
        raise ValueError(f"sample_weight: expected weights of at least 0, found {array.min():g}")
    if np.count_nonzero(array) < 2:
        raise ValueError(
            f"sample_weight: expected at least 2 rows whose weight is not zero, found {np.count_nonzero(array)}"
        )
    smallest = array[array > 0].min()
    if smallest < LEAST_WEIGHT * array.max():
        raise ValueError(
            f"sample_weight: expected weights that are 0 or at least {LEAST_WEIGHT:g} of the largest, found "
            f"{smallest:g} beside {array.max():g}"
        )
    return array / array.max()
