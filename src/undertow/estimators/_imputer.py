"""Matrices with holes."""

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.impute import MissingIndicator
from sklearn.utils import Tags
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted

from .._numpy_errors import usual_errors
from .._validation import check_integer, check_number
from ..training._progress import Report, reporter
from ._columns import Columns
from ._factor_analysis import FactorModel, search, start
from ._intervals import MULTIPLE, Misses, as_expected, wider, widths
from ._pays import share_that_pays
from ._validation import check_flag, check_no_times, checked_table, seed_of

TOGETHER = 3
"""Rows in which two columns have to be observed both, before one is filled in by the other."""
SPLITS = 5
ENOUGH = 1000
"""Held-out entries, beyond which no further split is made."""


class LowRankImputer(TransformerMixin, BaseEstimator):
    r"""Fill the holes of a table of measurements: rows are samples, columns are features in any units.

    .. math:: x_i = \mu + V f_i + \varepsilon_i, \quad f_i \sim N(0, I_r), \quad \varepsilon_{ij} \sim N(0, \psi_j)

    Every column is taken in units of its own mean and standard deviation. The loadings V are fitted to the observed
    entries by expectation-maximization from small initialization, in which factors come up one after another, and
    stopped early: by the error on held-out entries, which also decides how much of the difference from the column means
    is kept. Where nothing is gained, holes are filled with the column means. A hole is filled with its expectation
    given the observed entries of its row, so that rows that were not fitted can be filled too; with the column mean
    where none of these belongs to a column that was observed together with its own.

    Parameters
    ----------
    rank : int
        Most factors; at most one less than there are rows or columns.
    validation_fraction : float
        Share of the observed entries that are held out in each of up to five splits (one, where it is large enough).
    patience : int
        Iterations without a lower validation error before the search for the stopping time ends.
    max_iter : int
        Most iterations.
    clip : bool
        Whether what is filled in is kept within the observed range of its column.
    keep_empty_features : bool
        Whether a column without any observed entry is kept, filled with 0, as in scikit-learn; else it is left out.
    add_indicator : bool
        Whether columns that mark the holes are appended, as in scikit-learn.
    random_state : int, RandomState or None
        Of the initialization and the splits.
    verbose : bool
        Whether to show progress (on a terminal or in a notebook).

    Attributes
    ----------
    mean_ : ndarray of shape (p,)
        The mean of each column, in its units; NaN where nothing was observed.
    components_ : ndarray of shape (r, p)
        The loadings: a change of one standard deviation of a factor, in the units of the columns.
    noise_variance_ : ndarray of shape (p,)
        What the factors leave.
    shrinkage_ : float
        The share of the difference from the column means that is kept, from 0 to 1.
    n_iter_ : int
        Iterations of the final fit; 0 where it does not pay.
    validation_path_ : ndarray
        Mean square error on held-out entries of the first split, before and after each iteration, in units of the
        columns' variances.
    n_features_in_, feature_names_in_
        As in scikit-learn.

    Notes
    -----
    Time is that of rows x columns x rank^2 for an iteration. For a matrix whose rows and columns are alike, as ratings
    or a picture, ``complete`` fits both sides by descent.

    References
    ----------
    Rubin, Thayer. EM algorithms for ML factor analysis. Psychometrika 1982.
    Ilin, Raiko. Practical approaches to principal component analysis in the presence of missing values. JMLR 2010.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = np.outer(rng.normal(size=50), [1.0, 200.0, 0.03]) + [7.0, 0.0, 1.0]
    >>> Y = X.copy()
    >>> Y[0, 0] = Y[3, 2] = np.nan
    >>> filled, std = LowRankImputer(random_state=0).fit_transform(Y, return_std=True)
    >>> bool(np.abs(filled - X).max() < 0.1)
    True
    """

    def __init__(
        self,
        *,
        rank: int = 20,
        validation_fraction: float = 0.1,
        patience: int = 10,
        max_iter: int = 500,
        clip: bool = False,
        keep_empty_features: bool = False,
        add_indicator: bool = False,
        random_state: Any = 0,
        verbose: bool = False,
    ):
        self.rank = rank
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.max_iter = max_iter
        self.clip = clip
        self.keep_empty_features = keep_empty_features
        self.add_indicator = add_indicator
        self.random_state = random_state
        self.verbose = verbose

    @usual_errors
    def fit(self, X: Any, y: Any = None, *, progress: bool | Report | None = None) -> "LowRankImputer":
        """Fit the observed entries of ``X`` (rows x columns, NaN or NumPy's mask in the holes).

        Raises
        ------
        TypeError, ValueError
            If ``X`` is no matrix of real numbers, has infinities, or fewer than two observed entries; if a parameter
            is out of its range.
        """
        self.check()
        self._seed = seed_of(self.random_state)
        matrix = self._matrix(X, reset=True)
        seen = ~np.isnan(matrix)
        if seen.sum() < 2:
            raise ValueError(f"X: expected at least 2 entries, one to fit and one to hold out, found {seen.sum()}")
        self._columns = Columns(matrix, seen)
        self._wider = wider(seen.sum(0))
        self._indicator = MissingIndicator(error_on_new=False).fit(matrix) if self.add_indicator else None
        both = seen.astype(np.float32)
        # Of columns that were never observed together it is not known how they hang together.
        self._related = (both.T @ both >= min(TOGETHER, len(matrix) - 1)).astype(np.float32)
        with reporter(self.verbose if progress is None else progress) as report:
            self._fit(self._columns.standardized(matrix, seen), seen, report)
        unit = self._columns.unit
        self.mean_ = np.where(self._columns.empty, np.nan, self._columns.mean + unit * self._model.mean)
        self.components_ = (self._model.loadings * unit[:, None]).T
        self.noise_variance_ = self._model.noise * unit**2
        return self

    def fit_transform(  # pyright: ignore[reportIncompatibleMethodOverride] - no parameters of fit but these
        self, X: Any, y: Any = None, *, return_std: bool = False, progress: bool | Report | None = None
    ) -> Any:
        """Fit ``X`` and return it with its holes filled; errors as for ``fit``, returns as for ``transform``."""
        return self.fit(X, y, progress=progress).transform(X, return_std=return_std)

    @usual_errors
    def transform(self, X: Any, *, return_std: bool = False) -> Any:
        """Fill the holes of ``X``, whose rows need not be those that were fitted; observed entries stay as they are.

        Parameters
        ----------
        X
            With the columns that were fitted.
        return_std
            Whether to return standard deviations too.

        Returns
        -------
        The filled matrix; with ``return_std`` a pair with the standard deviation of each entry, 0 where it was
        observed, and in columns whose observed entries are all alike; NaN in the holes of columns with fewer than two
        observed entries, whose spread is not known. They are such that 90% of held-out entries are within 1.645 of
        them, column by column where that can be told; where errors are far from normal, as of rare events, their root
        mean square is another number. From a few dozen held-out entries they are rough.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        TypeError, ValueError
            If ``X`` has other columns, or is no matrix of real numbers.
        """
        check_is_fitted(self, "mean_")
        matrix = self._matrix(X, reset=False)
        seen = ~np.isnan(matrix)
        columns = self._columns
        means, variances = self._model.expected(columns.standardized(matrix, seen), seen & (columns.unit > 0))
        told = seen.astype(np.float32) @ self._related > 0
        means = np.where(told, means, self._model.mean)
        variances = np.where(told, variances, np.sum(self._model.loadings**2, axis=1) + self._model.noise)
        found = columns.mean + columns.unit * self.shrinkage_ * means
        if self.clip:
            found = np.clip(found, columns.low, columns.high)
        filled = np.where(seen, matrix, np.where(columns.empty, 0, found))
        # An interval that holds the one around the column mean need not be wider.
        most = self._wider + np.abs(self.shrinkage_ * means) / MULTIPLE
        std = np.where(seen, 0, columns.unit * np.minimum(self._widths.std(self._wider**2 * variances), most))
        kept = np.ones(len(columns.unit), bool) if self.keep_empty_features else ~columns.empty
        filled, std = filled[:, kept], std[:, kept]
        if self._indicator is not None:
            marks = np.asarray(self._indicator.transform(matrix), float)
            filled, std = np.hstack([filled, marks]), np.hstack([std, np.zeros(marks.shape)])
        return (filled, std) if return_std else filled

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the columns that ``transform`` returns."""
        check_is_fitted(self, "mean_")
        names = np.asarray(_check_feature_names_in(self, input_features))
        kept = names if self.keep_empty_features else names[~self._columns.empty]
        if self._indicator is None:
            return kept
        return np.concatenate([kept, np.asarray(self._indicator.get_feature_names_out(names))])

    def check(self) -> None:
        """Raise TypeError or ValueError if a parameter is out of its range; the message names it."""
        for name in ("rank", "patience", "max_iter"):
            check_integer(name, getattr(self, name), 1)
        check_number("validation_fraction", self.validation_fraction, 0, exclusive=True, maximum=0.5)
        for name in ("clip", "keep_empty_features", "add_indicator"):
            check_flag(name, getattr(self, name))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def _fit(self, table: np.ndarray, seen: np.ndarray, report: Report) -> None:
        draws = np.random.default_rng(self._seed)
        seen = seen & (self._columns.unit > 0)
        columns, varied = table.shape[1], int((self._columns.unit > 0).sum())
        rank = max(0, min(self.rank, len(table) - 1, varied - 1))
        first = start(columns, rank, draws)
        self.n_iter_, self.shrinkage_, self._widths = 0, 0.0, as_expected(columns)
        self._model, self.validation_path_ = (
            FactorModel(np.zeros(columns), 0 * first.loadings, np.ones(columns)),
            np.ones(1),
        )
        if rank == 0:
            return
        searches = []
        splits = _splits(seen, self.validation_fraction, draws)
        for number, held_out in enumerate(splits):
            searches.append(
                search(
                    first,
                    table,
                    seen & ~held_out,
                    held_out,
                    patience=self.patience,
                    limit=self.max_iter,
                    progress=lambda done, number=number: report((number + done) / (len(splits) + 1), "search"),
                )
            )
        self.validation_path_ = searches[0].path
        truth, found, variance = (
            np.concatenate([getattr(one, name) for one in searches]) for name in ("truth", "expected", "variance")
        )
        self.shrinkage_ = share_that_pays(found, truth)
        if self.shrinkage_ == 0:
            return
        places = np.concatenate([np.flatnonzero(held_out) for held_out in splits])
        column = places % columns
        missed = np.abs(truth - self.shrinkage_ * found)
        self._widths = widths(Misses(missed, variance * self._wider[column] ** 2, column, places), columns, draws)
        self.n_iter_ = max(1, round(float(np.median([one.steps for one in searches]))))
        model = first
        for step in range(self.n_iter_):
            model = model.improved(table, seen)
            report((len(splits) + (step + 1) / self.n_iter_) / (len(splits) + 1), "fit")
        self._model = model

    def _matrix(self, X: Any, *, reset: bool) -> np.ndarray:
        check_no_times("X", X)  # below a mask too
        if isinstance(X, np.ma.MaskedArray):
            X = np.ma.filled(X.astype(np.float64), np.nan)
        options: Any = {"reset": reset, "dtype": np.float64, "ensure_all_finite": "allow-nan"}
        return np.asarray(checked_table(self, X, expected="numbers with NaN in its holes", **options))


def _splits(seen: np.ndarray, fraction: float, draws: np.random.Generator) -> list[np.ndarray]:
    """Which entries are held out: at random, in as many splits as it takes to have enough of them."""
    places = np.flatnonzero(seen)
    held = max(1, round(fraction * len(places)))
    found = []
    for _ in range(min(SPLITS, -(-ENOUGH // held))):
        mask = np.zeros(seen.size, bool)
        mask[draws.permutation(places)[:held]] = True
        found.append(mask.reshape(seen.shape))
    return found
