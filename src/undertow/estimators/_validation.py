"""Checks that the estimators share; like scikit-learn's own, they run in ``fit`` and not before."""

from typing import Any

import numpy as np

from .._validation import as_numpy, check_integer, check_number, has_masked
from ._completion import Settings

MOST_STEPS = 1_000_000
"""Every step is recorded: more would be asking for memory, not for accuracy."""


def check_settings(estimator: Any) -> Settings:
    """The parameters of an estimator as ``Settings``, each within its range."""
    for name in ("scale", "speed"):
        check_number(name, getattr(estimator, name), 0, exclusive=True)
    check_number("ridge", estimator.ridge, 0)
    check_number("validation_fraction", estimator.validation_fraction, 0, exclusive=True, maximum=0.5)
    check_flag("clip", estimator.clip)
    max_iter = check_integer("max_iter", estimator.max_iter, 1)
    if max_iter > MOST_STEPS:
        raise ValueError(f"max_iter: expected at most {MOST_STEPS:,} steps, found {max_iter:,}")
    seed = check_integer("random_state", estimator.random_state, 0)
    if seed >= 2**32:
        raise ValueError(f"random_state: expected a seed below 2**32, found {seed}")
    return Settings(
        depth=check_integer("depth", estimator.depth, 2),
        width=check_integer("width", estimator.width, 1),
        scale=float(estimator.scale),
        speed=float(estimator.speed),
        ridge=float(estimator.ridge),
        validation_fraction=float(estimator.validation_fraction),
        patience=check_integer("patience", estimator.patience, 1),
        max_iter=max_iter,
        seed=seed,
    )


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


def check_unmasked(name: str, values: Any) -> None:
    """Raise if NumPy's masked entries are among the values: scikit-learn would read what is below the mask."""
    if has_masked(values):
        raise TypeError(f"{name}: expected numbers, found masked ones; leave their rows out, or fill them")


def check_no_times(name: str, values: Any) -> None:
    """Raise if an array, or a column of a data frame, holds dates or time spans: NumPy would count their units."""
    while isinstance(values, (list, tuple)) and len(values):
        values = values[0]  # of a kind with the others, or no array
    dtypes: Any = getattr(values, "dtypes", getattr(values, "dtype", None))
    for dtype in list(dtypes) if hasattr(dtypes, "__iter__") else [dtypes]:
        if getattr(dtype, "kind", "") in ("m", "M") or str(dtype).startswith(("Date", "Duration", "Time")):
            raise TypeError(f"{name}: expected numbers, found dtype {dtype}")
