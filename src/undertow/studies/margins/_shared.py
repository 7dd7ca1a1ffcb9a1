"""What the studies of margins share."""

import numpy as np


def direction_error(w: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The distance of w / |w| from target / |target|, over the last axis."""
    w = w / np.linalg.norm(w, axis=-1, keepdims=True)
    return np.asarray(np.linalg.norm(w - target / np.linalg.norm(target, axis=-1, keepdims=True), axis=-1))
