"""Ratings: pairs of a user and an item, and a number for each."""

import numbers
import warnings
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data

from .._numpy_errors import usual_errors
from .._validation import check_choice, check_integer, check_number
from ..training._progress import Report, reporter
from ._completion import check_size
from ._rating_model import RatingModel, RatingSettings, Table, fit_ratings, refitted
from ._validation import check_flag, check_no_times, check_unmasked, check_vector, seed_of


class RatingPredictor(RegressorMixin, BaseEstimator):
    r"""Ratings of items by users, predicted by an average over factorizations and by who rated what.

    .. math:: r_{ui} = \mu + b_u + c_i + p_u^T q_i + \varepsilon, \quad
        p_u \sim N\big(|N_u|^{-1/2} \textstyle\sum_{j \in N_u} y_j, A^{-1}\big)

    and likewise for the items, N_u being the items that u has rated. What is given is averaged over, not fitted: the
    posterior of one side given the other is Gaussian, and found in closed form, one side after the other (variational
    Bayes), with all precisions learned; several initializations are averaged. Held-out ratings choose whether who rated
    what says something, and how much of what the factors add to the biases is kept: where nothing is gained, the biases
    are the prediction.

    On MovieLens-100K, random 90:10 splits, no side information, the root-mean-square error is about 0.87, where user
    and item biases give 0.935 on the same splits.

    Parameters
    ----------
    rank : int
        Most factors; those that are not needed go to zero.
    members : int or None
        How many initializations are averaged; None: 5, beyond a million ratings 1.
    max_iter : int
        Iterations for each.
    who_rated_what : bool
        Whether who rated what is tried.
    validation_fraction : float
        Share of the ratings that are held out to choose.
    clip : bool
        Whether predictions are kept within the range of the ratings that were seen.
    unseen : {"bias", "nan", "error"}
        Of a user or an item that was not fitted: it counts as an average one, or the prediction is NaN, or refused.
    random_state : int, RandomState or None
        Of the initializations and of what is held out.
    verbose : bool
        Whether to show progress (on a terminal or in a notebook).

    Attributes
    ----------
    users_, items_ : ndarray
        The distinct ids, text and numbers sorted, others as they came; those that ``partial_fit`` brought come after.
    mean_, user_effects_, item_effects_ : float, ndarray, ndarray
        The biases alone.
    kept_ : float
        The share of what the factors add to them that is kept, from 0 to 1.
    who_rated_what_ : bool
        Whether it is used.

    Examples
    --------
    >>> import numpy as np
    >>> X = [["ann", "a"], ["ann", "b"], ["bob", "a"], ["bob", "b"], ["eve", "a"]]
    >>> model = RatingPredictor().fit(X, [5, 4, 3, 2, 4])
    >>> model.predict([["eve", "b"], ["zoe", "a"]]).shape
    (2,)
    >>> items, ratings = model.recommend("eve")
    >>> items.tolist()
    ['b']

    References
    ----------
    Lim, Teh. Variational Bayesian approach to movie rating prediction. KDD Cup and Workshop 2007.
    Koren. Factorization meets the neighborhood. KDD 2008 (who rated what).
    Rendle, Zhang, Koren. On the difficulty of evaluating baselines. 2019, arXiv:1905.01395.
    """

    def __init__(
        self,
        *,
        rank: int = 10,
        members: int | None = None,
        max_iter: int = 15,
        who_rated_what: bool = True,
        validation_fraction: float = 0.1,
        clip: bool = True,
        unseen: str = "bias",
        random_state: Any = 0,
        verbose: bool = False,
    ):
        self.rank = rank
        self.members = members
        self.max_iter = max_iter
        self.who_rated_what = who_rated_what
        self.validation_fraction = validation_fraction
        self.clip = clip
        self.unseen = unseen
        self.random_state = random_state
        self.verbose = verbose

    def settings(self) -> RatingSettings:
        """The parameters of the fit, checked.

        Raises
        ------
        TypeError, ValueError
            If one is out of range; the message names it.
        """
        for name in ("clip", "who_rated_what"):
            check_flag(name, getattr(self, name))
        check_choice("unseen", self.unseen, ("bias", "nan", "error"))
        return RatingSettings(
            rank=check_integer("rank", self.rank, 1),
            members=None if self.members is None else check_integer("members", self.members, 1),
            max_iter=check_integer("max_iter", self.max_iter, 1),
            who_rated_what=bool(self.who_rated_what),
            validation_fraction=float(
                check_number("validation_fraction", self.validation_fraction, 0, exclusive=True, maximum=0.5)
            ),
            seed=seed_of(self.random_state),
        )

    @usual_errors
    def fit(
        self, X: Any, y: Any = None, sample_weight: Any = None, *, progress: bool | Report | None = None
    ) -> "RatingPredictor":
        """Fit ratings ``y`` (n) of the pairs ``X`` (n x 2: user, item), or the stored entries of a sparse ``X``.

        The ids of a column are of one kind: text, numbers, UUIDs, tuples or what else can be hashed, but for dates and
        times; the columns may differ in it. Columns of a data frame keep their own types; in an array they share one,
        and integers beyond 2^53 beside floating numbers have lost digits before they arrive here: such ids are
        refused. Of a sparse matrix (users x items) every entry that is stored is a rating, a zero too, and ids are
        positions.

        Raises
        ------
        TypeError, ValueError
            If shapes do not fit, an id is missing, of another kind than the rest or a floating number so large that
            digits may be lost, a rating is not finite or masked, a weight is not a finite number above 0, a pair
            stands twice, or there are fewer than two ratings.
        """
        settings = self.settings()
        X, y = _from_sparse(X, y)
        users, items = self._pairs(X, reset=True)
        ratings = check_vector("y", y, len(users))
        weight = _weights(sample_weight, len(users))
        self.users_, i = _distinct(users)
        self.items_, j = _distinct(items)
        _check_distinct(i, j, len(self.items_), users, items)
        shape = len(self.users_), len(self.items_)
        with reporter(self.verbose if progress is None else progress) as report:
            self._keep(fit_ratings(i, j, ratings, shape, settings, weight=weight, clip=self.clip, report=report))
        return self

    @usual_errors
    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> "RatingPredictor":
        """Take in more ratings, of new users and items too, without choosing and starting anew: two iterations.

        Raises
        ------
        TypeError, ValueError
            As ``fit``; if a pair was fitted before.
        """
        if not hasattr(self, "model_"):
            return self.fit(X, y, sample_weight)
        settings = self.settings()
        X, y = _from_sparse(X, y)
        users, items = self._pairs(X, reset=False)
        ratings = check_vector("y", y, len(users))
        if not len(ratings):
            return self
        weight = _weights(sample_weight, len(users))
        all_users, i = _extended("user", users, self.users_)
        all_items, j = _extended("item", items, self.items_)
        check_size(ratings)
        before, model = self.model_.table, self.model_
        i, j = np.concatenate([before.i, i]), np.concatenate([before.j, j])
        _check_distinct(i, j, len(all_items), all_users[i], all_items[j])
        weight, shape = np.concatenate([before.weight, weight]), (len(all_users), len(all_items))
        if model.unit > 0:
            table = Table(i, j, np.concatenate([before.z, (ratings - model.mean) / model.unit]), weight, shape)
            new = refitted(model, table, 2, settings.seed, clip=self.clip)
        else:  # all were alike, so that nothing was learned
            ratings = np.concatenate([np.full(len(before.i), model.mean), ratings])
            new = fit_ratings(i, j, ratings, shape, settings, weight=weight, clip=self.clip)
        self.users_, self.items_ = all_users, all_items
        self._keep(new)
        return self

    @usual_errors
    def predict(self, X: Any, *, return_std: bool = False) -> Any:
        """Ratings of the pairs ``X`` (n x 2); what is given for an unknown user or item is up to ``unseen``.

        Warns where all users and items are unknown. With ``return_std`` a pair: standard deviations beside them, the
        noise of a rating included.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        TypeError, ValueError
            If ``X`` is not n x 2, its ids are of another kind than those that were fitted, or one is unknown and
            ``unseen`` is "error".
        """
        check_is_fitted(self, "model_")
        users, items = self._pairs(X, reset=False)
        i, j = _codes("user", users, self.users_), _codes("item", items, self.items_)
        unknown = (i < 0) | (j < 0)
        if self.unseen == "error" and unknown.any():
            place = int(np.flatnonzero(unknown)[0])
            raise ValueError(f"X: expected users and items that were fitted, found ({users[place]}, {items[place]})")
        if len(i) and (np.maximum(i, j) < 0).all():
            warnings.warn(
                f"X: none of these users and items was fitted, as of ({users[0]!r}, {items[0]!r}); every prediction "
                "is the mean",
                stacklevel=3,  # past the decorator
            )
        found = self.model_.at(i, j)
        if self.unseen == "nan":
            found = np.where(unknown, np.nan, found)
        return (found, self.model_.std_at(i, j)) if return_std else found

    @usual_errors
    def recommend(self, user: Any, n: int = 10, *, exclude_seen: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """The ``n`` items with the highest expected ratings for a user, and these; not those the user has rated.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        TypeError, ValueError
            If the user was not fitted, or ``n`` is not a positive integer.
        """
        check_is_fitted(self, "model_")
        check_integer("n", n, 1)
        check_flag("exclude_seen", exclude_seen)
        code = int(_codes("user", _objects([user]), self.users_)[0])
        if code < 0:
            raise ValueError(f"user: expected one that was fitted, such as {self.users_[0]!r}, found {user!r}")
        table = self.model_.table
        left = np.ones(len(self.items_), bool)
        if exclude_seen:
            left[table.j[table.i == code]] = False
        items = np.flatnonzero(left)
        ratings = self.model_.at(np.full(len(items), code), items)
        best = np.argsort(-ratings, kind="stable")[:n]
        return self.items_[items[best]], ratings[best]

    def codes(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """Positions of the pairs ``X`` in ``users_`` and ``items_``, -1 where unknown; errors as for ``predict``."""
        check_is_fitted(self, "model_")
        users, items = self._pairs(X, reset=False)
        return _codes("user", users, self.users_), _codes("item", items, self.items_)

    def _keep(self, model: RatingModel) -> None:
        self.model_ = model
        self.kept_, self.who_rated_what_ = model.kept, model.who_rated_what
        self.mean_ = model.mean
        self.user_effects_ = model.unit * model.biases.users.means[:-1, -1]
        self.item_effects_ = model.unit * model.biases.items.means[:-1, -1]

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = tags.input_tags.categorical = True
        return tags

    def _pairs(self, X: Any, *, reset: bool) -> tuple[np.ndarray, np.ndarray]:
        users, items = _columns(X)
        if len(users) == 0 and reset:
            raise ValueError("X: expected at least one pair, found none")
        validate_data(self, X, reset=reset, skip_check_array=True)
        return _ids("user", users), _ids("item", items)


def _from_sparse(X: Any, y: Any) -> tuple[Any, Any]:
    """Pairs of positions and ratings of the stored entries of a sparse matrix; anything else as it is."""
    if not issparse(X):
        if y is None:
            raise ValueError("y: expected a rating for each pair, found None; a sparse X has them as its entries")
        return X, y
    if y is not None:
        raise ValueError("y: expected None beside a sparse X, whose stored entries are the ratings")
    entries = X.tocoo()
    return np.stack(entries.coords, axis=1), entries.data


def _weights(weight: Any, count: int) -> np.ndarray:
    if weight is None:
        return np.ones(count)
    weight = check_vector("sample_weight", weight, count)
    if not (weight > 0).all():
        raise ValueError(f"sample_weight: expected numbers above 0, found {weight[weight <= 0][0]}")
    weight = weight / weight.max()
    return weight / weight.mean()


def _extended(role: str, ids: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The known ids and the new ones after them, and the positions of ``ids``."""
    codes = _codes(role, ids, known)
    new, places = _distinct(ids[codes < 0])
    codes[codes < 0] = len(known) + places
    kind = known.dtype if new.size == 0 else object if object in (known.dtype, new.dtype) else None
    return np.concatenate([known.astype(kind), new.astype(kind)]) if kind else np.concatenate([known, new]), codes


def _columns(X: Any) -> list[Any]:
    """The two columns of ``X``, each in a type of its own: in a common one, long integers would be rounded."""
    if issparse(X):
        raise TypeError(
            "X: expected n rows of (user, item), found a sparse matrix, which only `fit` and `partial_fit` take"
        )
    check_unmasked("X", X)
    frame = hasattr(X, "columns") and not isinstance(X, np.ndarray)
    # A list of (text, number) would otherwise become text altogether.
    table: Any = X if frame else np.asarray(X, dtype=object if isinstance(X, (list, tuple)) else None)
    if isinstance(X, (list, tuple)) and table.ndim > 2 and table.shape[1] == 2:  # ids that are tuples
        table = np.stack([_objects(column) for column in zip(*X, strict=True)], axis=1)
    if len(table.shape) != 2 or table.shape[1] != 2:
        raise ValueError(f"X: expected n rows of (user, item), found shape {tuple(table.shape)}")
    if hasattr(table, "iloc"):  # pandas
        return [table.iloc[:, k] for k in range(2)]
    if hasattr(table, "column"):  # Arrow
        return [table.column(k).to_numpy() for k in range(2)]
    return [table[:, k] for k in range(2)]


def _ids(role: str, column: Any) -> np.ndarray:
    """A column of ids: all of one kind, none missing."""
    check_no_times("X", column)
    values = column.to_list() if hasattr(column, "to_list") else column.tolist()
    kinds = sorted({_kind(value) for value in values})
    if len(kinds) > 1:
        raise TypeError(f"X: expected {role} ids of one kind, found {' and '.join(kinds)}")
    if not values:
        return np.empty(0, dtype=object)
    if kinds != ["number"]:
        if kinds[0] in _NO_IDS or not _hashable(values[0]):
            raise TypeError(
                f"X: expected {role} ids: text, numbers, or what else can be hashed, but dates, found {kinds[0]}"
            )
        return column if isinstance(column, np.ndarray) else _objects(values)
    dtype = getattr(column, "dtype", None)
    digits = np.finfo(dtype).nmant if isinstance(dtype, np.dtype) and dtype.kind == "f" else np.finfo(float).nmant
    for value in values:
        if isinstance(value, (float, np.floating)):
            if not np.isfinite(value):
                raise ValueError(f"X: expected {role} ids, found NaN or infinity")
            if abs(value) > 2 ** (digits + 1):
                raise ValueError(
                    f"X: expected {role} ids that keep all their digits, found {value!r} as a floating number: "
                    "several integers have this value; give them as integers, or as text"
                )
    array = np.asarray(values)
    # Integers and floats together, or of both signs beyond 63 bits, have no common type that holds them all.
    return array if array.dtype.kind in "iuf" and array.tolist() == values else np.array(values, dtype=object)


_NO_IDS = (
    "NoneType",
    "NAType",
    "NaTType",
    "bool",
    "complex",
    "date",
    "datetime",
    "time",
    "timedelta",
    "Timestamp",
    "Timedelta",
)
"""Types of what is missing, or is a sign that the columns are others than meant."""


def _hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _objects(values: Any) -> np.ndarray:
    """A vector of these objects, tuples too."""
    array = np.empty(len(values), object)
    for place, value in enumerate(values):
        array[place] = value
    return array


def _distinct(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct ids, and the position of each among them."""
    if len(ids) and ids.dtype == object and _kind(ids[0]) not in ("text", "number", "UUID"):
        # Others need not have an order, or have one in part, as sets do.
        places: dict[Any, int] = {}
        codes = np.array([places.setdefault(value, len(places)) for value in ids], int)
        return _objects(list(places)), codes
    return np.unique(ids, return_inverse=True)


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return "text"
    return "number" if isinstance(value, numbers.Real) and not isinstance(value, bool) else type(value).__name__


def _codes(role: str, ids: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Position of each id among the known ones, -1 where it is none of them."""
    if not len(ids):
        return np.empty(0, int)
    found, expected = _kind(ids.tolist()[0]), _kind(known.tolist()[0])
    if found != expected:
        raise TypeError(f"X: expected the kind of {role} ids that was fitted ({expected}), found {found}")
    # Not by bisection: integers of different types would be compared as rounded numbers.
    codes = {name: code for code, name in enumerate(known.tolist())}
    return np.array([codes.get(name, -1) for name in ids.tolist()], int)


def _check_distinct(i: np.ndarray, j: np.ndarray, width: int, users: np.ndarray, items: np.ndarray) -> None:
    flat = i.astype(np.int64) * width + j
    order = np.argsort(flat, kind="stable")
    again = np.flatnonzero(np.diff(flat[order]) == 0)
    if again.size:
        first, second = order[again[0]], order[again[0] + 1]
        raise ValueError(
            f"X: expected every pair once, found ({users[first]}, {items[first]}) in rows {first} and {second}"
        )
