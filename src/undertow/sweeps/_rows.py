"""A run as a row: names and arrays of fixed shapes, which a store keeps and a dataset shows."""

from typing import Any

import numpy as np

from ..training import Trajectory

Row = dict[str, Any]
"""Arrays by name; with the samples first where the name is one of ``sampled``."""


def row_of(trajectory: Trajectory, keep_samples: bool) -> Row:
    """What is kept of a run."""
    row: Row = {
        "status": trajectory.status,
        "message": "",
        "gradient_evaluations": np.int64(trajectory.gradient_evaluations),
        "samples": np.int64(len(trajectory.times)),
        "seconds": np.float64(trajectory.seconds),
        "shapes": {name: values.shape[1:] for name, values in trajectory.records.items()},
    }
    for name, values in trajectory.records.items():
        row[f"final_{name}"] = np.asarray(values[trajectory.chosen])
    for name, values in trajectory.sampled().items():
        row[f"final_{name}"] = np.asarray(values[trajectory.chosen])
    if keep_samples:
        row["sampled"] = {**trajectory.records, **trajectory.sampled()}
    return row


def failed(error: Exception) -> Row:
    """What is kept of a run that raised."""
    return {"status": "failed", "message": f"{type(error).__name__}: {error}"}
