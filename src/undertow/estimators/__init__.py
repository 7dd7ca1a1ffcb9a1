"""Estimators for data of one's own: regularized by how they are trained, not by a tuned penalty."""

from ._completion import Settings as Settings
from ._hold_out import HeldOutErrors as HeldOutErrors
from ._hold_out import held_out_errors as held_out_errors
from ._imputer import LowRankImputer as LowRankImputer
from ._ratings import RatingPredictor as RatingPredictor

__all__ = ["HeldOutErrors", "LowRankImputer", "RatingPredictor", "Settings", "held_out_errors"]
