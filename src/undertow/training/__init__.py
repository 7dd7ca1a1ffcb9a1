"""``train``: one loop for all dynamics, and the trajectory it leaves."""

from .._public import public_names as _public_names
from ._plan import EarlyStopping as EarlyStopping
from ._samples import LogTimes as LogTimes
from ._train import train as train
from ._trajectory import Trajectory as Trajectory

__all__ = ["EarlyStopping", "LogTimes", "Trajectory", "train"]

__dir__ = _public_names(__name__)
