"""Checks that the estimators share; like scikit-learn's own, they run in ``fit`` and not before."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import validate_data

from .._validation import as_numpy, has_masked


def seed_of(random_state: Any) -> int:
    """A seed from a seed, a RandomState, which moves on, or None.

    Raises ValueError if it is none of these.
    """
    try:
        state = check_random_state(random_state)
    except ValueError as error:
        found = repr(random_state)
        raise ValueError(f"random_state: expected a seed, a RandomState or None, found {found}") from error
    return int(state.randint(2**31))


def check_flag(name: str, value: Any) -> None:
    """Raise TypeError if ``value`` is not True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: expected True or False, found {value!r}")


def check_vector(name: str, values: Any, length: int) -> np.ndarray:
    """``values`` as a vector of ``length`` finite numbers."""
    array = as_numpy(name, values)
    check_no_times(name, array)
    try:
        if array.dtype.kind == "c":
            raise TypeError(f"found dtype {array.dtype}")
        vector = array.astype(float)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name}: expected numbers ({error})") from None
    if vector.shape != (length,):
        raise ValueError(f"{name}: expected shape ({length},), found {vector.shape}")
    if not np.isfinite(vector).all():
        raise ValueError(f"{name}: expected finite numbers, found {vector[~np.isfinite(vector)][0]}")
    return vector


def checked_table(estimator: Any, X: Any, *, expected: str = "numbers", **options: Any) -> Any:
    """``X`` as scikit-learn's ``validate_data`` returns it; whatever it objects to, the message names X.

    Raises
    ------
    TypeError, ValueError
        If X is no table of real numbers or has not the columns that were fitted, two columns of a data frame have one
        name, or a column holds what is no number; the column and what it holds are named.
    """
    check_unmasked("X", X)
    check_no_times("X", X)
    check_columns("X", X)
    try:
        return validate_data(estimator, X, **options)
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"X: expected a table of {expected}: {error}") from error


def check_columns(name: str, values: Any) -> None:
    """Raise if columns of a table share a name, or hold what is no number, as text, categories or periods."""
    if hasattr(values, "iloc") and hasattr(values, "columns"):
        twice = [label for label, count in Counter(values.columns).items() if count > 1]
        if twice:
            raise ValueError(
                f"{name}: expected columns with names of their own, found {twice[0]!r} more than once; rename them, or "
                f"give {name}.to_numpy()"
            )
    for label, column in _columns_of_objects(values):
        try:
            column.astype(float)
        except (TypeError, ValueError) as error:
            found = next((value for value in column.tolist() if not _is_number(value)), column[0])
            where = "" if label is None else f" in column {label!r}"
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(
                f"{name}: expected numbers, found {found!r}{where} ({error}); encode what is no number, as by "
                "OneHotEncoder, or leave it out"
            ) from None


def _columns_of_objects(values: Any) -> Iterator[tuple[Any, np.ndarray]]:
    """Labels and entries of the columns that NumPy has no numbers for."""
    if hasattr(values, "iloc"):
        frame = hasattr(values, "columns")
        for place in range(values.shape[1] if frame else 1):
            column = values.iloc[:, place] if frame else values
            if getattr(column.dtype, "kind", "O") in "OUS":
                yield (values.columns[place] if frame else None), column.to_numpy(dtype=object)
        return
    if isinstance(values, (list, tuple)):
        try:
            values = np.asarray(values)
        except (TypeError, ValueError):
            return  # ragged: scikit-learn says so
    if isinstance(values, np.ndarray) and values.dtype.kind in "OUS" and values.ndim in (1, 2):
        for place, column in enumerate(values.T if values.ndim == 2 else values[None]):
            yield (place if values.ndim == 2 else None), column


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def check_unmasked(name: str, values: Any) -> None:
    """Raise if NumPy's masked entries are among the values: scikit-learn would read what is below the mask."""
    if has_masked(values):
        raise TypeError(f"{name}: expected numbers, found masked ones; leave their rows out, or fill them")


def check_no_times(name: str, values: Any) -> None:
    """Raise if an array, or a column of a data frame, holds dates or time spans: NumPy would count their units."""
    if (found := _time_in(values)) is not None:
        raise TypeError(f"{name}: expected numbers, found {found!r}")
    while isinstance(values, (list, tuple)) and len(values):
        values = values[0]  # of a kind with the others, or no array
    dtypes: Any = getattr(values, "dtypes", getattr(values, "dtype", None))
    for dtype in list(dtypes) if hasattr(dtypes, "__iter__") else [dtypes]:
        if getattr(dtype, "kind", "") in ("m", "M") or str(dtype).startswith(("Date", "Duration", "Time")):
            raise TypeError(f"{name}: expected numbers, found dtype {dtype}")


def _time_in(values: Any) -> np.datetime64 | np.timedelta64 | None:
    """One of NumPy's dates or time spans among objects, of lists and columns too; None where there is none."""
    if isinstance(values, (np.datetime64, np.timedelta64)):
        return values
    if hasattr(values, "iloc") and hasattr(values, "columns"):
        columns = [values.iloc[:, place] for place in range(values.shape[1])]
        values = [column.to_numpy() for column in columns if column.dtype == object]
    if isinstance(values, np.ndarray):
        values = values.ravel().tolist() if values.dtype == object else []
    if not isinstance(values, (list, tuple)):
        return None
    # Types first, a twentieth of the time: millions of users' names are no dates.
    kinds = (np.datetime64, np.timedelta64, list, tuple, np.ndarray)
    if not any(issubclass(kind, kinds) for kind in set(map(type, values))):
        return None
    return next((found for value in values if (found := _time_in(value)) is not None), None)
