"""How good a completion is, on entries that it has not seen, beside the simplest predictors."""

import dataclasses

import numpy as np

from .._numpy_errors import usual_errors
from ..training._progress import Report
from ._completion import Settings, StoppingPoint, check_size, complete, fit_effects, root_mean_square


@dataclasses.dataclass(frozen=True)
class HeldOutErrors:
    """Root-mean-square errors on the same held-out entries, in the units of the values.

    Attributes
    ----------
    mean
        Of predicting the mean.
    effects
        Of mean + row effect + column effect (for ratings: user and item biases).
    completion
        Of the completion.
    test_size, train_size
        How many entries were held out, and how many fitted.
    unseen
        Held-out entries whose row or column had no fitted entry.
    n_iter
        Steps of descent.
    stopping_point
        Where they stopped, for a fit of all entries.
    """

    mean: float
    effects: float
    completion: float
    test_size: int
    train_size: int
    unseen: int
    n_iter: int
    stopping_point: StoppingPoint


@usual_errors
def held_out_errors(
    rows: np.ndarray,
    columns: np.ndarray,
    values: np.ndarray,
    shape: tuple[int, int],
    settings: Settings,
    *,
    test_fraction: float = 0.1,
    seed: int = 0,
    clip: bool = True,
    progress: bool | Report = False,
) -> HeldOutErrors:
    """Hold out a random part of the entries, fit the rest, and compare with the baselines on the same split.

    Everything is chosen on the fitted part, the stopping time too; ``clip`` keeps the predictions of all three within
    the range of the fitted values.

    Raises
    ------
    ValueError
        If fewer than two entries are left to fit, or one is larger than 1e100.

    Examples
    --------
    >>> import numpy as np
    >>> i, j = np.divmod(np.arange(200), 10)
    >>> errors = held_out_errors(i, j, (i + 1.0) * (j + 1.0), (20, 10), Settings(width=10))
    >>> errors.completion < errors.effects < errors.mean
    True
    """
    check_size(values)
    order = np.random.default_rng(seed).permutation(len(values))
    held = max(1, round(test_fraction * len(values)))
    test, rest = order[:held], order[held:]
    if len(rest) < 2:
        raise ValueError(f"values: expected at least 2 entries beside {held} held out, found {len(rest)}")
    found = complete(rows[rest], columns[rest], values[rest], shape, settings, clip=clip, progress=progress)
    effects = fit_effects(rows[rest], columns[rest], values[rest], shape, settings.ridge)
    low, high = (values[rest].min(), values[rest].max()) if clip else (-np.inf, np.inf)

    def error(prediction: np.ndarray) -> float:
        return root_mean_square(np.clip(prediction, low, high) - values[test])

    seen_row = np.isin(rows[test], rows[rest])
    seen_column = np.isin(columns[test], columns[rest])
    return HeldOutErrors(
        mean=error(np.full(held, values[rest].mean())),
        effects=error(effects.at(rows[test], columns[test])),
        completion=error(found.at(rows[test], columns[test])),
        test_size=held,
        train_size=len(rest),
        unseen=int((~(seen_row & seen_column)).sum()),
        n_iter=found.n_iter,
        stopping_point=found.stopping_point,
    )
