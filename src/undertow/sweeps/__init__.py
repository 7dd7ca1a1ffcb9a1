"""Grids of runs: in as few compiled programs as there can be, and kept as they go where a store is named."""

from .._public import public_names as _public_names
from ._status import Status as Status
from ._status import status as status
from ._sweep import sweep as sweep

__all__ = ["Status", "status", "sweep"]

__dir__ = _public_names(__name__)
