"""Grids of runs: in as few compiled programs as there can be, and kept as they go where a store is named."""

from .._public import public_names as _public_names
from ._mlflow import to_mlflow as to_mlflow
from ._optuna import to_optuna as to_optuna
from ._status import Status as Status
from ._status import status as status
from ._sweep import sweep as sweep

__all__ = ["Status", "status", "sweep", "to_mlflow", "to_optuna"]

__dir__ = _public_names(__name__)
