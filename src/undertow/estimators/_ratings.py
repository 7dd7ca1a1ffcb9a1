"""Ratings: pairs of a user and an item, and a number for each."""

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from ..training._progress import Report
from ._completion import Completion, Settings, complete
from ._validation import check_settings, check_vector


class RatingPredictor(RegressorMixin, BaseEstimator):
    r"""Ratings of items by users, predicted by early-stopped gradient descent on a deep factorization.

    .. math:: \hat r_{ui} = \mu + b_u + c_i + (W_N \cdots W_1)_{ui}

    User and item effects are ridge estimates; W is fitted to what they leave, by gradient descent from small
    initialization without any penalty. Its bias towards low rank is the regularizer, and the stopping time, chosen on
    held-out ratings, its only strength. The chosen training error is then reached again with all ratings.

    On MovieLens-100K, random 90:10 splits, the root-mean-square error is about 0.90, where user and item effects alone
    give 0.94 on the same splits.

    Parameters
    ----------
    depth : int
        N, the number of factors; 2 is best on ratings.
    width : int
        Inner dimension of the factors, at most; far above the rank that is learned.
    scale : float
        Root-mean-square entries of W(0), in units of the root-mean-square residual.
    speed : float
        Growth of the leading mode in one step: the learning rate in units that depend neither on the number of ratings
        nor on their scale.
    ridge : float
        Ridge weight of the user and item effects, in numbers of ratings.
    validation_fraction : float
        Share of the ratings that the stopping time is chosen on.
    patience : int
        Steps without a lower validation error before the search for the stopping time ends.
    max_iter : int
        Most steps.
    clip : bool
        Whether predictions are kept within the range of the ratings that were seen.
    random_state : int
        Seed of the initialization and of the validation split.
    verbose : bool
        Whether to show progress (on a terminal only).

    Attributes
    ----------
    users_, items_ : ndarray
        The distinct ids, sorted.
    mean_, user_effects_, item_effects_ : float, ndarray, ndarray
        The baseline.
    user_factors_, item_factors_ : ndarray
        The factorization, as a product of two.
    n_iter_ : int
        Steps of the final fit.
    validation_path_ : ndarray of shape (n, 3)
        Step, training error and validation error along the search, mean squares in units of the residual; empty
        where there was nothing to fit.

    Examples
    --------
    >>> import numpy as np
    >>> X = [["ann", "a"], ["ann", "b"], ["bob", "a"], ["bob", "b"], ["eve", "a"]]
    >>> model = RatingPredictor(width=4).fit(X, [5, 4, 3, 2, 4])
    >>> model.predict([["eve", "b"], ["zoe", "a"]]).shape
    (2,)

    References
    ----------
    Arora, Cohen, Hu, Luo. Implicit Regularization in Deep Matrix Factorization. NeurIPS 2019.
    """

    def __init__(
        self,
        *,
        depth: int = 2,
        width: int = 200,
        scale: float = 1e-4,
        speed: float = 0.2,
        ridge: float = 5.0,
        validation_fraction: float = 0.1,
        patience: int = 25,
        max_iter: int = 2000,
        clip: bool = True,
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

    def fit(self, X: Any, y: Any, *, progress: bool | Report | None = None) -> Self:
        """Fit ratings ``y`` (n) of the pairs ``X`` (n x 2: user, item; ids of any one kind).

        Raises
        ------
        TypeError, ValueError
            If shapes do not fit, a rating is not finite, a pair stands twice, or there are fewer than two ratings.
        """
        settings = self.settings()
        users, items = _pairs(X)
        ratings = check_vector("y", y, len(users))
        self.users_, i = np.unique(users, return_inverse=True)
        self.items_, j = np.unique(items, return_inverse=True)
        _check_distinct(i, j, len(self.items_), users, items)
        watch = self.verbose if progress is None else progress
        self.completion_: Completion = complete(
            i, j, ratings, (len(self.users_), len(self.items_)), settings, clip=self.clip, progress=watch
        )
        effects = self.completion_.effects
        self.mean_, self.user_effects_, self.item_effects_ = effects.mean, effects.rows, effects.columns
        self.user_factors_, self.item_factors_ = self.completion_.left, self.completion_.right
        self.n_iter_ = self.completion_.n_iter
        path = self.completion_.validation
        columns = np.empty((0, 3)) if path is None else [path.steps, path["loss"], path["test_error"]]
        self.validation_path_ = np.empty((0, 3)) if path is None else np.stack(columns, axis=1)
        self.n_features_in_ = 2
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Ratings of the pairs ``X`` (n x 2); an unknown user or item counts as an average one.

        Raises
        ------
        ValueError
            If ``X`` is not n x 2.
        """
        check_is_fitted(self, "completion_")
        users, items = _pairs(X)
        return self.completion_.at(_codes(users, self.users_), _codes(items, self.items_))


def _pairs(X: Any) -> tuple[np.ndarray, np.ndarray]:
    columns = np.asarray(X)
    if columns.ndim != 2 or columns.shape[1] != 2:
        raise ValueError(f"X: expected n rows of (user, item), found shape {columns.shape}")
    if columns.shape[0] == 0:
        raise ValueError("X: expected at least one pair, found none")
    if columns.dtype.kind == "f" and not np.isfinite(columns).all():
        raise ValueError("X: expected ids, found NaN or infinity")
    return columns[:, 0], columns[:, 1]


def _codes(ids: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Position of each id among the sorted known ones, -1 where it is none of them."""
    if (ids.dtype.kind in "iuf") != (known.dtype.kind in "iuf"):
        raise TypeError(f"X: expected ids of the kind that was fitted ({known.dtype}), found {ids.dtype}")
    position = np.minimum(np.searchsorted(known, ids), len(known) - 1)
    return np.where(known[position] == ids, position, -1)


def _check_distinct(i: np.ndarray, j: np.ndarray, width: int, users: np.ndarray, items: np.ndarray) -> None:
    flat = i.astype(np.int64) * width + j
    order = np.argsort(flat, kind="stable")
    again = np.flatnonzero(np.diff(flat[order]) == 0)
    if again.size:
        first, second = order[again[0]], order[again[0] + 1]
        raise ValueError(
            f"X: expected every pair once, found ({users[first]}, {items[first]}) in rows {first} and {second}"
        )
