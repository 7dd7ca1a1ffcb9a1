"""NumPy's error state, which belongs to the calling script: no result may hang on it."""

import numpy as np

usual_errors = np.errstate(divide="warn", over="warn", under="ignore", invalid="warn")
"""A decorator: NumPy's own defaults inside the function, whatever ``numpy.seterr`` was told outside.

An underflow to zero, as of a weight, is meant wherever it happens here.
"""
