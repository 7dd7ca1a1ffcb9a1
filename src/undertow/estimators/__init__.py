"""Estimators for data of one's own: regularized by how they are trained, not by a tuned penalty."""

from .._public import public_names as _public_names
from ._completion import Completion as Completion
from ._completion import Effects as Effects
from ._completion import Settings as Settings
from ._completion import StoppingPoint as StoppingPoint
from ._completion import complete as complete
from ._completion import fit_effects as fit_effects
from ._entry_regressor import EntryRegressor as EntryRegressor
from ._hold_out import ColumnErrors as ColumnErrors
from ._hold_out import HeldOutErrors as HeldOutErrors
from ._hold_out import RatingErrors as RatingErrors
from ._hold_out import column_errors as column_errors
from ._hold_out import held_out_errors as held_out_errors
from ._hold_out import rating_errors as rating_errors
from ._imputer import LowRankImputer as LowRankImputer
from ._rank_minimizing_autoencoder import RankMinimizingAutoencoder as RankMinimizingAutoencoder
from ._ratings import RatingPredictor as RatingPredictor
from ._saving import load as load
from ._saving import save as save
from ._sparse_regressor import SparseRegressor as SparseRegressor
from ._tensor_completer import TensorCompleter as TensorCompleter
from ._tensor_errors import TensorErrors as TensorErrors
from ._tensor_errors import tensor_errors as tensor_errors

__all__ = [
    "ColumnErrors",
    "Completion",
    "Effects",
    "EntryRegressor",
    "HeldOutErrors",
    "LowRankImputer",
    "RankMinimizingAutoencoder",
    "RatingErrors",
    "RatingPredictor",
    "Settings",
    "SparseRegressor",
    "StoppingPoint",
    "TensorCompleter",
    "TensorErrors",
    "column_errors",
    "complete",
    "fit_effects",
    "held_out_errors",
    "load",
    "rating_errors",
    "save",
    "tensor_errors",
]

__dir__ = _public_names(__name__)
