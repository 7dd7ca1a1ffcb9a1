"""What studies of several chapters share."""

from typing import Any

import jax
import numpy as np

from ..probes import Function

W = Function("w", lambda w: w)
"""The probe that records w itself."""


def generator(key: Any) -> np.random.Generator:
    """NumPy's generator from the key of a study."""
    return np.random.default_rng(np.asarray(jax.random.key_data(key)).tolist())
