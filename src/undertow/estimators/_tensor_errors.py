"""How good a completed tensor is, on entries that it has not seen."""

import dataclasses
from typing import Any

import numpy as np
from sklearn.base import clone

from .._numpy_errors import usual_errors
from ..training._progress import Report
from ._completion import root_mean_square
from ._hold_out import split_at_random
from ._tensor_completer import TensorCompleter
from ._tensor_effects import fit_tensor_effects, single_axes
from ._tensor_input import observed_entries


@dataclasses.dataclass(frozen=True)
class TensorErrors:
    """Root-mean-square errors on the same held-out entries, in the units of the values.

    Attributes
    ----------
    mean
        Of predicting the mean.
    effects
        Of mean + an effect of each index.
    completer
        Of the completer.
    test_size, train_size
        How many entries were held out, and how many fitted.
    """

    mean: float
    effects: float
    completer: float
    test_size: int
    train_size: int


@usual_errors
def tensor_errors(
    completer: TensorCompleter,
    indices: np.ndarray,
    values: np.ndarray,
    shape: tuple[int, ...] | None = None,
    *,
    test_fraction: float = 0.1,
    seed: int = 0,
    progress: bool | Report = False,
) -> TensorErrors:
    """Hold out a random part of the entries of a tensor, let a completer predict them, and compare with effects.

    Parameters
    ----------
    completer
        A ``TensorCompleter``; it is cloned, and fills slices that are held out altogether.
    indices, values
        The entries: (m x N) integers, and m numbers.
    shape
        Of the tensor; None: as large as the indices are.
    test_fraction
        The share of the entries that is held out.
    seed
        Of the choice.

    Raises
    ------
    TypeError, ValueError
        As ``TensorCompleter.fit``; if fewer than two entries are left to fit.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> truth = np.einsum("i,j,k->ijk", *(rng.normal(size=n) for n in (9, 8, 7)))
    >>> errors = tensor_errors(TensorCompleter(), np.argwhere(truth != 0), truth.ravel())
    >>> bool(errors.completer < 0.1 * errors.effects)
    True
    """
    seen = observed_entries(indices, values, shape)
    test, rest = split_at_random("values", len(seen.values), test_fraction, seed)
    whole: Any = clone(completer)
    rank = None if completer.rank is None else min(completer.rank, len(rest))
    whole.set_params(shape=seen.shape, empty_slices="fill", rank=rank)
    whole.fit(seen.indices[rest], seen.values[rest], progress=progress)
    truth, given = seen.values[test], seen.values[rest]
    scale = float(np.abs(given).max()) or 1.0
    effects = fit_tensor_effects(seen.indices[rest], given / scale, seen.shape, single_axes(len(seen.shape)))
    return TensorErrors(
        mean=root_mean_square(truth - given.mean()),
        effects=root_mean_square(truth - scale * effects.at(seen.indices[test])),
        completer=root_mean_square(truth - whole.predict(seen.indices[test])),
        test_size=len(test),
        train_size=len(rest),
    )
