"""A regression problem in units of its own: what the flow is run on, and the way back."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from scipy.sparse import csr_array, diags_array
from sklearn.utils.sparsefuncs import mean_variance_axis

from ._diagonal_flow import Design, Folds

MULTIPLE = 64
"""Rows and columns of a dense table are filled up with zeros to a multiple of this."""
ROUNDING = 10
"""A column whose deviation is below this many roundings of its mean is constant."""


class Standardized:
    """X and y in units of their standard deviations, y and a dense X less their means, in the floats JAX works in.

    A sparse X keeps its zeros: its means are left to the intercept, which the flow profiles out.

    Parameters
    ----------
    X, y
        The data, checked, X an array or a sparse array in rows.
    scale_columns
        False: one unit for all columns, the root mean square of their deviations.

    Raises
    ------
    ValueError
        If a deviation is too large for a number.
    """

    def __init__(self, X: Any, y: np.ndarray, scale_columns: bool):
        dtype = np.dtype(jnp.result_type(float))
        self.rows, self.columns = X.shape
        dense = isinstance(X, np.ndarray)
        padded = tuple(-(-size // MULTIPLE) * MULTIPLE if dense else size for size in X.shape)
        with np.errstate(over="ignore", invalid="ignore"):
            self.y_mean, self.y_unit = float(y.mean()), float(y.std())
            if dense:
                filled = np.zeros(padded, dtype)
                table = filled[: self.rows, : self.columns]
                self.means = X.mean(0, dtype=np.float64)
                # Centered first: deviations far below the means would be lost in the smaller floats.
                np.subtract(X, self.means, out=table, casting="same_kind")
                deviations = np.sqrt(np.einsum("ij,ij->j", table, table, dtype=np.float64) / self.rows)
            else:
                filled = table = None
                moments: Any = mean_variance_axis(X, axis=0)
                self.means, variances = moments
                deviations = np.sqrt(np.asarray(variances, np.float64))
        if not (np.isfinite(deviations).all() and np.isfinite(self.y_unit)):
            raise ValueError(f"X, y: expected numbers that can be squared in {dtype}, found larger ones")
        rounding = ROUNDING * np.finfo(X.dtype).eps * np.abs(self.means)
        constant = (deviations <= rounding) | (deviations == 0)
        if not scale_columns:
            deviations = np.full(self.columns, np.sqrt(np.mean(deviations**2)))
        self.inverse_units = np.divide(1.0, deviations, out=np.zeros(self.columns), where=~constant)
        if self.y_unit <= ROUNDING * np.finfo(float).eps * abs(self.y_mean):
            self.y_unit = 0.0
        if filled is not None and table is not None:
            np.multiply(table, self.inverse_units.astype(dtype), out=table)
            self.table: Any = table
            self.design = Design(filled)
        else:
            self.table = csr_array(X @ diags_array(self.inverse_units)).astype(dtype)
            self.design = Design(self.table)
        self.y = np.zeros(padded[0], dtype)
        self.y[: self.rows] = (y - self.y_mean) / (self.y_unit or 1.0)

    def folds(self, splits: list[tuple[np.ndarray, np.ndarray]]) -> Folds:
        """The (fitted, held-out) rows of every split, and a last run of all rows, as columns of zeros and ones."""
        fitted = np.zeros((self.y.size, len(splits) + 1), self.y.dtype)
        held_out = np.zeros((self.y.size, len(splits)), self.y.dtype)
        for column, (fit, hold) in enumerate(splits):
            fitted[fit, column], held_out[hold, column] = 1, 1
        fitted[: self.rows, -1] = 1
        return Folds(jnp.asarray(fitted), jnp.asarray(held_out))

    def coefficients(self, w: np.ndarray) -> np.ndarray:
        """``w`` of the standardized problem, along its last axis, in units of y per unit of X."""
        return np.asarray(w, np.float64)[..., : self.columns] * (self.y_unit * self.inverse_units)
