"""A regression problem in units of its own: what the flow is run on, and the way back."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from scipy.sparse import csc_array, csr_array, diags_array, hstack
from sklearn.utils.sparsefuncs import mean_variance_axis

from ._diagonal_flow import Design, Folds

MULTIPLE = 64
"""Rows and columns of a dense table are filled up with zeros to a multiple of this."""
ROUNDING = 10
"""A column whose deviation is below this many roundings of its mean is constant."""
BLOCK = 1 << 20
"""Entries of a dense table that are taken to double precision at a time."""
MANY = 512
"""Columns beyond which least squares are not asked for where their flow ends."""
FAR = 3.0
"""A sparse column is centered where its mean is above this many deviations: a tenth of it at most is zero then."""


class Standardized:
    """X and y in units of their standard deviations, less their means, in the floats JAX works in.

    Without an intercept the means stay, and the units are root mean squares. Means and squares are weighted.

    Units are found in double precision, and before that every column is divided by a power of two near its largest
    entry, so that neither tiny nor huge numbers get lost. A sparse X keeps its zeros: its means are left to the
    intercept, which the flow profiles out, except in columns that hardly have a zero.

    Parameters
    ----------
    X, y
        The data, checked, X an array or a sparse array in rows.
    scale_columns
        False: one unit for all columns, the root mean square of their deviations.
    weight
        Of the rows, at least 0; only their ratios matter.
    intercept
        Whether means are taken off.

    Raises
    ------
    ValueError
        If y cannot be squared, or its unit per that of a column is no number.
    """

    def __init__(self, X: Any, y: np.ndarray, scale_columns: bool, weight: np.ndarray, intercept: bool):
        self.intercept = intercept
        # Their sum is the number of rows that would tell as much, were they weighted alike.
        self.weight = weight * (weight.sum() / (weight @ weight))
        share = weight / weight.sum()
        dtype = np.dtype(jnp.result_type(float))
        self.rows, self.columns = X.shape
        dense = isinstance(X, np.ndarray)
        rounding = ROUNDING * np.finfo(X.dtype).eps
        if dense:
            padded = tuple(-(-size // MULTIPLE) * MULTIPLE for size in X.shape)
            filled = np.zeros(padded, dtype)
            self.table: Any = filled[: self.rows, : self.columns]
            exponents, means, deviations = _center(X, self.table, share, intercept)
        else:
            filled, padded = None, X.shape
            self.table, exponents, means, deviations = _center_sparse(X, share, intercept)
        self.means = np.ldexp(means, exponents)
        constant = (deviations <= rounding * np.abs(means)) | (deviations == 0)
        y_exponent = _exponents(np.abs(y).max())
        y = np.ldexp(y, -y_exponent)
        y_mean = share @ y if intercept else np.zeros(())
        y_unit = np.sqrt(share @ (y - y_mean) ** 2)
        if y_unit <= ROUNDING * np.finfo(float).eps * abs(y_mean):
            y_unit = np.zeros(())
        self.y_mean, self.y_unit = (float(np.ldexp(x, y_exponent)) for x in (y_mean, y_unit))
        if y_unit > 0 and not 0 < self.y_unit * self.y_unit < np.inf:
            raise ValueError(f"y: expected numbers that can be squared, found a deviation of {self.y_unit:g}")
        factors = np.divide(1.0, deviations, out=np.zeros(self.columns), where=~constant)
        if not scale_columns and not constant.all():
            largest = exponents[~constant].max()
            apart = np.ldexp(1.0, exponents - largest)
            factors = np.where(constant, 0, apart / np.sqrt(np.mean((deviations * apart) ** 2)))
        # In units of y per unit of X; zero where a column is constant.
        with np.errstate(over="ignore"):
            self.units = np.ldexp(factors * y_unit, y_exponent - exponents)
        if not (np.isfinite(self.units).all() and np.all((self.units > 0) | constant | (y_unit == 0))):
            raise ValueError("X, y: expected units whose ratio is a number, found them too far apart")
        if filled is not None:
            self.table *= factors.astype(dtype)
            self.design = Design(filled)
        else:
            self.table = csr_array(self.table @ diags_array(factors)).astype(dtype)
            self.design = Design(self.table)
        self.y = np.zeros(padded[0], dtype)
        self.y[: self.rows] = (y - y_mean) / (y_unit or 1.0)

    def folds(self, splits: list[tuple[np.ndarray, np.ndarray]]) -> Folds:
        """The (fitted, held-out) rows of every split, and a last run of all rows, as columns of weights and zeros."""
        fitted = np.zeros((self.y.size, len(splits) + 1), self.y.dtype)
        held_out = np.zeros((self.y.size, len(splits)), self.y.dtype)
        for column, (fit, hold) in enumerate(splits):
            fitted[fit, column], held_out[hold, column] = self.weight[fit], self.weight[hold]
        fitted[: self.rows, -1] = self.weight
        least = jnp.asarray(self._left_by_least_squares(fitted[: self.rows] > 0), self.y.dtype)
        return Folds(jnp.asarray(fitted), jnp.asarray(held_out), self.intercept, least)

    def _left_by_least_squares(self, fitted: np.ndarray) -> np.ndarray:
        """Their sums of squares on the rows of each column; 0 where columns are as many as rows, or too many."""
        left = np.zeros(fitted.shape[1])
        if not 0 < self.columns < min(self.rows, MANY):
            return left
        everything = self._moments(np.arange(self.rows))
        for column, rows in enumerate(fitted.T):
            # Of a fold, what all rows amount to less what those do that it leaves out, which are few.
            moments = everything - self._moments(np.flatnonzero(~rows))
            if self.intercept:
                moments = moments - np.outer(moments[-1], moments[-1]) / moments[-1, -1]
            gram, right, square = moments[:-2, :-2], moments[:-2, -2], moments[-2, -2]
            left[column] = max(0.0, float(square - right @ np.linalg.lstsq(gram, right)[0]))
        return left

    def _moments(self, rows: np.ndarray) -> np.ndarray:
        """Weighted sums of the products of (X, y, 1) with itself over these rows."""
        total = np.zeros((self.columns + 2, self.columns + 2))
        count = max(1, BLOCK // self.columns)
        for some in (rows[begin : begin + count] for begin in range(0, len(rows), count)):
            table = self.table[some] if isinstance(self.table, np.ndarray) else self.table[some].toarray()
            both = np.column_stack([table, self.y[some], np.ones(len(some))]).astype(np.float64)
            total += both.T @ (self.weight[some, None] * both)
        return total

    def coefficients(self, w: np.ndarray) -> np.ndarray:
        """``w`` of the standardized problem, along its last axis, in units of y per unit of X."""
        return np.asarray(w, np.float64)[..., : self.columns] * self.units


def _exponents(largest: Any) -> Any:
    """Of the powers of two that bring these numbers to at most 1."""
    return np.frexp(largest)[1]


def _center(
    X: np.ndarray, out: np.ndarray, share: np.ndarray, intercept: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Write X, in powers of two for each column and less its means, to ``out``.

    Returns the exponents, and in these units means and deviations. Centered before they are rounded: deviations far
    below the means would be lost in the smaller floats.
    """
    rows, columns = X.shape
    exponents = _exponents(np.maximum(np.abs(X.max(0)), np.abs(X.min(0))).astype(np.float64))
    count = max(1, BLOCK // columns)
    blocks = [slice(start, start + count) for start in range(0, rows, count)]

    def scaled(block: slice) -> np.ndarray:
        return np.ldexp(X[block].astype(np.float64), -exponents)

    means = np.zeros(columns)
    if intercept:
        # From a row on, so that a constant column is left without a rounding error.
        first = scaled(slice(1))[0]
        means = first + sum(share[block] @ (scaled(block) - first) for block in blocks)
    squares = np.zeros(columns)
    for block in blocks:
        centered = scaled(block) - means
        squares += share[block] @ centered**2
        out[block] = centered
    return exponents, means, np.sqrt(squares)


def _center_sparse(X: Any, share: np.ndarray, intercept: bool) -> tuple[csc_array, np.ndarray, np.ndarray, np.ndarray]:
    """As ``_center``, for a sparse X, less its means only in columns that are far from 0."""
    table = csc_array(X, dtype=np.float64, copy=True)
    table.sum_duplicates()
    exponents = _exponents(np.asarray(abs(table).max(axis=0).todense()).ravel())
    table.data = np.ldexp(table.data, -np.repeat(exponents, np.diff(table.indptr)))
    if not intercept:
        return table, exponents, np.zeros(X.shape[1]), np.sqrt(share @ table**2)
    moments: Any = mean_variance_axis(table, axis=0, weights=share)
    means, deviations = moments[0], np.sqrt(np.maximum(moments[1], 0))  # a constant column's may round to less
    far = np.flatnonzero(np.abs(means) > FAR * deviations)
    if far.size:
        filled = table[:, far].toarray()
        _, means[far], deviations[far] = _center(filled, filled, share, intercept)
        rest = np.setdiff1d(np.arange(X.shape[1]), far)
        order = np.argsort(np.concatenate([rest, far]))
        joined: Any = hstack([table[:, rest], csc_array(filled)], format="csc")
        table = csc_array(joined[:, order])
    return table, exponents, means, deviations
