"""Tensors with holes."""

import math
import warnings
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from .._numpy_errors import usual_errors
from .._validation import check_choice, check_integer, check_number, check_shape
from ..training._progress import Report, reporter
from ._completion import check_size
from ._tensor_input import Observed, check_indices_of, observed_entries, observed_tensor
from ._tensor_model import TensorSettings, fit_tensor
from ._validation import check_flag, seed_of

LARGEST = 1 << 28
"""Entries of a tensor that is returned whole."""
FAR = 1e3
"""Slices of an axis whose deviations are that many times apart are likely to be in different units."""


class TensorCompleter(BaseEstimator):
    r"""Fill the holes of a tensor of any order: what it is by its axes' effects, and by sums of outer products.

    .. math:: t_{i_1 \dots i_N} = b_{i_1 \dots i_N} + \sum_{r=1}^R w^1_{i_1 r} \cdots w^N_{i_N r} + \varepsilon

    The factors are averaged over, not fitted: each is Gaussian given the others, and found in closed form, one after
    the other, from random initialization (variational Bayes). The more factors a component has, the more the entries
    have to call for it to stay; the rank needs not be known. A tensor can be of high rank with its axes apart and of
    low rank with some of them taken as one, as a picture in many colours: held-out entries choose how axes are grouped,
    whether the effects of the axes are taken out first, how long a fit runs, and how much of what the best three add to
    the baseline is kept. The baseline is the mean, the axes' effects, or those of fibers and slices, whichever predicts
    best, and where nothing is gained it is the prediction.

    Parameters
    ----------
    shape : tuple of int or None
        Of the tensor, where it is given by indices; None: as large as these are.
    rank : int or None
        Most components; those that are not needed go to zero. None: 20, or as many as there are entries.
    members : int or None
        How many initializations are averaged; None: 3, beyond 100,000 entries 1.
    group_axes : bool
        Whether ways to take axes as one are tried; if not, all are apart and ``components_`` has a factor for each.
    center : bool or "auto"
        Whether the axes' effects are taken out first; "auto": by held-out entries. With True, a constant that is added
        to all entries is added to all predictions; a factor of all entries is one of all predictions with any.
    variables : int or None
        An axis whose slices are in different units: each is taken in its own, by its mean and standard deviation, as
        the columns of a table are. None: all entries are in one unit, and slices of large ones count most.
    empty_slices : {"error", "fill"}
        What is done if a slice has no observed entry: an error, or it is filled with what the other axes say.
    validation_fraction : float
        Share of the observed entries that are held out in each of up to five splits (one, where it is large enough).
    patience : int
        Iterations without a lower validation error before a search ends.
    max_iter : int
        Most iterations of a fit.
    random_state : int, RandomState or None
        Of the initialization and the splits.
    verbose : bool
        Whether to show progress (on a terminal or in a notebook).

    Attributes
    ----------
    components_ : tuple of ndarrays
        The factors of the leading part, one for each of ``groups_``, of shape (lengths of its axes, ``rank_``); their
        sum of products is what its first initialization adds to the axes' effects (to zero, where these were not taken
        out), but for components below a hundredth of the entries' deviation. Scaled alike, the largest component first;
        with ``variables``, in deviations of the slices. Empty where the baseline is the prediction.
    groups_ : tuple of tuples of int
        Which axes that part takes as one: ((0,), (1,), (2,)) takes none.
    rank_ : int
        Its components: no fewer than an exact sum of products needs, often some more that share the work.
    weights_ : ndarray
        How much is kept of each part; empty where the baseline is the prediction.
    parts_ : list of tuples
        The groups of each, and whether it is of what the axes' effects leave.
    validation_path_ : ndarray
        Of that part: mean square error on held-out entries of the first split, before and after each iteration, in
        units of what it was fitted to.
    n_iter_ : int
        Its iterations until the error was least.
    shape_ : tuple of int
        Of the tensor.

    Notes
    -----
    Work and memory are those of the observed entries times the square of the rank (up to 32 times as much where that is
    quicker by matrix products), and of the axes' lengths; ``fit_transform`` makes the whole tensor.

    References
    ----------
    Zhao, Zhang, Cichocki. Bayesian CP factorization of incomplete tensors with automatic rank determination. PAMI 2015.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> truth = np.einsum("ir,jr,kr->ijk", *(rng.normal(size=(n, 2)) for n in (15, 12, 10)))
    >>> given = np.where(rng.random(truth.shape) < 0.5, np.nan, truth)
    >>> model = TensorCompleter()
    >>> bool(np.abs(model.fit_transform(given) - truth).max() < 0.1)
    True
    >>> model.predict([[0, 0, 0], [14, 11, 9]]).shape
    (2,)
    """

    def __init__(
        self,
        *,
        shape: tuple[int, ...] | None = None,
        rank: int | None = None,
        members: int | None = None,
        group_axes: bool = True,
        center: bool | str = "auto",
        variables: int | None = None,
        empty_slices: str = "error",
        validation_fraction: float = 0.1,
        patience: int = 5,
        max_iter: int = 50,
        random_state: Any = 0,
        verbose: bool = False,
    ):
        self.shape = shape
        self.rank = rank
        self.members = members
        self.group_axes = group_axes
        self.center = center
        self.variables = variables
        self.empty_slices = empty_slices
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.max_iter = max_iter
        self.random_state = random_state
        self.verbose = verbose

    def settings(self) -> TensorSettings:
        """The parameters of the fit, checked.

        Raises
        ------
        TypeError, ValueError
            If one is out of range; the message names it.
        """
        check_flag("group_axes", self.group_axes)
        if self.center != "auto":
            check_flag("center", self.center)
        check_choice("empty_slices", self.empty_slices, ("error", "fill"))
        if self.shape is not None:
            check_shape("shape", self.shape, least_dimensions=2)
        if self.variables is not None:
            check_integer("variables", self.variables, 0)
        return TensorSettings(
            rank=None if self.rank is None else check_integer("rank", self.rank, 1),
            members=None if self.members is None else check_integer("members", self.members, 1),
            group_axes=bool(self.group_axes),
            center=None if self.center == "auto" else bool(self.center),
            validation_fraction=float(
                check_number("validation_fraction", self.validation_fraction, 0, exclusive=True, maximum=0.5)
            ),
            patience=check_integer("patience", self.patience, 1),
            max_iter=check_integer("max_iter", self.max_iter, 1),
            seed=seed_of(self.random_state),
        )

    @usual_errors
    def fit(self, X: Any, y: Any = None, *, progress: bool | Report | None = None) -> "TensorCompleter":
        """Fit the entries of the tensor ``X``, NaN or NumPy's mask in its holes; or ``y`` (m) at indices ``X`` (m x N).

        Warns if the slices of an axis have deviations that are 1,000 times apart, unless ``variables`` says what to do.

        Raises
        ------
        TypeError, ValueError
            If ``X`` is no tensor of real numbers of order 2 or higher, has infinities or an axis of length 0; if
            indices are no integers, out of range or stand twice; if there are fewer than two observed entries, fewer
            than components are asked for, or none in a slice and ``empty_slices`` is "error"; if a parameter is out of
            its range.
        """
        settings = self.settings()
        seen = observed_tensor(X, self.shape) if y is None else observed_entries(X, y, self.shape)
        self._check(seen)
        if self.variables is None:
            self._warn_of_units(seen)
            means, units = np.zeros(1), np.ones(1)
            values = seen.values
        else:
            means, units = seen.units(self.variables)
            place = seen.indices[:, self.variables]
            values = np.where(units[place] > 0, (seen.values - means[place]) / np.where(units > 0, units, 1)[place], 0)
        with reporter(self.verbose if progress is None else progress) as report:
            self.model_ = fit_tensor(seen.indices, values, seen.shape, settings, report)
        self.shape_, self._means, self._units = seen.shape, means, units
        self._seen = seen
        self._keep()
        return self

    @usual_errors
    def predict(self, X: Any, *, return_std: bool = False) -> Any:
        """Expected entries at indices ``X`` (m x N), whether they were observed or not.

        With ``return_std`` a pair: standard deviations beside them, the noise of an entry included.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        TypeError, ValueError
            If ``X`` is not m x N integers within the tensor's shape.
        """
        check_is_fitted(self, "model_")
        return self._at(check_indices_of("X", X, self.shape_), return_std=return_std)

    @usual_errors
    def fit_transform(
        self, X: Any, y: Any = None, *, return_std: bool = False, progress: bool | Report | None = None
    ) -> Any:
        """Fit and return the whole tensor: observed entries as they are, holes filled with what is expected.

        With ``return_std`` a pair: standard deviations beside it, 0 where an entry was observed. Errors as for ``fit``;
        also ValueError, before any work, if the tensor has more than 2^28 entries: ask ``predict`` for some of them.
        """
        self.settings()
        seen = observed_tensor(X, self.shape) if y is None else observed_entries(X, y, self.shape)
        if math.prod(seen.shape) > LARGEST:
            raise ValueError(f"X: expected a tensor of at most {LARGEST:,} entries to return whole, found {seen.shape}")
        self.fit(X, y, progress=progress)
        filled, std = np.empty(seen.shape), np.zeros(seen.shape if return_std else (0,))
        block = max(1, (1 << 20) // math.prod(seen.shape[1:]))
        for start in range(0, seen.shape[0], block):
            rows = slice(start, min(start + block, seen.shape[0]))
            places = np.indices((rows.stop - start, *seen.shape[1:])).reshape(len(seen.shape), -1).T
            places[:, 0] += start
            found = self._at(places, return_std=return_std)
            if return_std:
                found, spread = found
                std[rows] = spread.reshape(std[rows].shape)
            filled[rows] = found.reshape(filled[rows].shape)
        places = tuple(seen.indices.T)
        filled[places] = seen.values
        if return_std:
            std[places] = 0
        return (filled, std) if return_std else filled

    def score(self, X: Any, y: Any) -> float:
        """The coefficient of determination of predictions of entries ``y`` at indices ``X``."""
        from sklearn.metrics import r2_score

        return float(r2_score(y, self.predict(X)))

    def _at(self, indices: np.ndarray, *, return_std: bool) -> Any:
        found = self.model_.at(indices)
        place = np.zeros(len(indices), int) if self.variables is None else indices[:, self.variables]
        found = self._means[place] + self._units[place] * found
        return (found, self._units[place] * self.model_.std_at(indices)) if return_std else found

    def _check(self, seen: Observed) -> None:
        count = len(seen.values)
        if count < 2:
            raise ValueError(f"X: expected at least 2 observed entries, one to fit and one to hold out, found {count}")
        if self.rank is not None and self.rank > count:
            raise ValueError(
                f"rank: expected at most as many components as observed entries, {count}, found {self.rank}"
            )
        check_size(seen.values)
        if self.variables is not None and self.variables >= len(seen.shape):
            raise ValueError(f"variables: expected an axis from 0 to {len(seen.shape) - 1}, found {self.variables}")
        if self.empty_slices == "error":
            for axis, length in enumerate(seen.shape):
                missing = np.flatnonzero(np.bincount(seen.indices[:, axis], minlength=length) == 0)
                if missing.size:
                    raise ValueError(
                        f"X: expected an observed entry in every slice, found none at index {missing[0]} of axis {axis}"
                        + (f" and {missing.size - 1} more" if missing.size > 1 else "")
                        + '; leave them out, or say empty_slices="fill"'
                    )

    @staticmethod
    def _warn_of_units(seen: Observed) -> None:
        for axis in range(len(seen.shape)):
            units = seen.units(axis)[1]
            units = units[units > 0]
            if units.size and units.max() > FAR * units.min():
                warnings.warn(
                    f"X: the deviations of the slices of axis {axis} go from {units.min():.3g} to {units.max():.3g}; "
                    f"if they are in different units, say variables={axis}",
                    stacklevel=4,  # past the decorator
                )
                return

    def _keep(self) -> None:
        parts, model = self.model_.parts, self.model_
        self.weights_ = np.array([part.weight for part in parts])
        self.parts_ = [(part.groups, part.offset is not None) for part in parts]
        self.validation_path_, self.n_iter_ = model.path, int(np.argmin(model.path))
        self.groups_, self.components_, self.rank_ = (), (), 0
        if parts:
            lead = parts[int(np.argmax(self.weights_))]
            self.groups_ = lead.groups
            factors = lead.factors(model.unit)
            self.rank_ = factors[0].shape[1]
            self.components_ = tuple(
                factor.reshape(*(self.shape_[k] for k in axes), self.rank_)
                for axes, factor in zip(lead.groups, factors, strict=True)
            )
