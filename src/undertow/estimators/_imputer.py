"""Matrices with holes."""

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data

from .._numpy_errors import usual_errors
from ..training._progress import Report
from ._completion import Completion, Settings, complete
from ._validation import check_no_times, check_settings, check_unmasked


class LowRankImputer(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Fill the holes of a numeric matrix by early-stopped gradient descent on a deep factorization.

    As ``RatingPredictor``, for a matrix with NaN, or NumPy's mask, on its holes: row and column effects first, then a
    factorization from small initialization whose bias towards low rank is the only regularizer, stopped by held-out
    entries. It fits the one matrix that it is given: ``fit_transform`` is the way to use it.

    Parameters
    ----------
    depth, width, scale, speed, ridge, validation_fraction, patience, max_iter, clip, random_state, verbose
        As in ``RatingPredictor``. Two defaults differ, because entries of a matrix are measurements rather than
        opinions: ``ridge`` is small, and predictions are not clipped.

    Attributes
    ----------
    completed_ : ndarray
        The matrix that was fitted, with its holes filled; observed entries as they were.
    n_iter_ : int
        Steps of the final fit.
    validation_path_ : ndarray of shape (n, 3)
        Step, training error and validation error along the search.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.outer([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0])
    >>> X[0, 0] = np.nan
    >>> bool(np.isfinite(LowRankImputer().fit_transform(X)).all())
    True
    """

    def __init__(
        self,
        *,
        depth: int = 2,
        width: int = 200,
        scale: float = 1e-4,
        speed: float = 0.2,
        ridge: float = 0.1,
        validation_fraction: float = 0.1,
        patience: int = 25,
        max_iter: int = 2000,
        clip: bool = False,
        random_state: int = 0,
        verbose: bool = False,
    ):
        self.depth = depth
        self.width = width
        self.scale = scale
        self.speed = speed
        self.ridge = ridge
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.max_iter = max_iter
        self.clip = clip
        self.random_state = random_state
        self.verbose = verbose

    def settings(self) -> Settings:
        """The parameters of the fit, checked.

        Raises
        ------
        TypeError, ValueError
            If one is out of range; the message names it.
        """
        return check_settings(self)

    def fit(self, X: Any, y: Any = None, *, progress: bool | Report | None = None) -> "LowRankImputer":
        """Fit the observed entries of ``X`` (rows x columns, NaN in the holes).

        Raises
        ------
        TypeError, ValueError
            If ``X`` is no matrix of real numbers, has infinities, or fewer than two observed entries.
        """
        self.fit_transform(X, y, progress=progress)
        return self

    @usual_errors
    def fit_transform(  # pyright: ignore[reportIncompatibleMethodOverride] - no parameters of fit but these
        self, X: Any, y: Any = None, *, progress: bool | Report | None = None
    ) -> np.ndarray:
        """Fit ``X`` and return it with its holes filled; errors as for ``fit``."""
        settings = self.settings()
        matrix = self._matrix(X, reset=True)
        i, j = np.nonzero(~np.isnan(matrix))
        watch = self.verbose if progress is None else progress
        found = complete(i, j, matrix[i, j], matrix.shape, settings, clip=self.clip, progress=watch)
        self.completion_: Completion = found
        filled = matrix.copy()
        holes = np.nonzero(np.isnan(matrix))
        filled[holes] = found.at(*holes)
        self.completed_, self.n_iter_ = filled, found.n_iter
        self.validation_path_ = found.validation_path
        return filled.copy()

    @usual_errors
    def transform(self, X: Any) -> np.ndarray:
        """The completed matrix, for the matrix that was fitted.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        TypeError, ValueError
            If ``X`` is another matrix: completion knows nothing of rows that it has not seen.
        """
        check_is_fitted(self, "completed_")
        matrix = self._matrix(X, reset=False)
        same = matrix.shape == self.completed_.shape and np.array_equal(
            np.where(np.isnan(matrix), self.completed_, matrix), self.completed_
        )
        if not same:
            raise ValueError("X: expected the matrix that was fitted, found another; use fit_transform")
        return self.completed_.copy()

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def _matrix(self, X: Any, *, reset: bool) -> np.ndarray:
        check_no_times("X", X)
        if isinstance(X, np.ma.MaskedArray):
            X = np.ma.filled(X.astype(np.float64), np.nan)
        check_unmasked("X", X)
        try:
            return np.asarray(validate_data(self, X, reset=reset, dtype=np.float64, ensure_all_finite="allow-nan"))
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"X: expected a numeric matrix with NaN in its holes: {error}") from error
