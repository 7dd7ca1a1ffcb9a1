"""One table with holes for the tests of completion: every other number of entries would compile anew."""

import dataclasses
import functools
from typing import Any

import numpy as np

from undertow.estimators import Completion, StoppingPoint, complete

SHAPE = (40, 30)
EFFECTS_ONLY = StoppingPoint(1.0, 0)


@functools.cache
def seen() -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, ...]]:
    """Rows and columns of 60 % of the entries, the same ones for all tests, so that one compiled program serves."""
    mask = np.random.default_rng(0).random(SHAPE) < 0.6
    i, j = np.nonzero(mask)
    return i, j, np.nonzero(~mask)


@functools.cache
def low_rank() -> np.ndarray:
    rng = np.random.default_rng(1)
    return rng.normal(size=(SHAPE[0], 3)) @ rng.normal(size=(3, SHAPE[1]))


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def effects_only(*arguments: Any, **options: Any) -> Completion:
    """In place of ``complete`` where the fit is not the point: row and column effects, no descent."""
    found = complete(*arguments, **{**options, "stopping_point": EFFECTS_ONLY})
    return dataclasses.replace(found, n_iter=1)
