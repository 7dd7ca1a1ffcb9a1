"""Undertow: the implicit regularization of gradient descent.

An experiment is what is fit (a *problem*), how the fitted object is written in terms of what is trained (a
*parameterization*), how the parameters move (*dynamics*), and what is watched (*probes*)::

    trajectory = undertow.train(problem, parameterization, dynamics, key=0, scale=1e-3)

Everything is imported when it is first used, so that ``import undertow`` and the command start at once.
"""

import importlib
import importlib.metadata
from typing import TYPE_CHECKING, Any

from ._public import public_names as _public_names

if TYPE_CHECKING:
    from . import baselines as baselines
    from . import datasets as datasets
    from . import dynamics as dynamics
    from . import estimators as estimators
    from . import gallery as gallery
    from . import linalg as linalg
    from . import networks as networks
    from . import optimizers as optimizers
    from . import parameterizations as parameterizations
    from . import penalties as penalties
    from . import plotting as plotting
    from . import potentials as potentials
    from . import probes as probes
    from . import problems as problems
    from . import studies as studies
    from . import sweeps as sweeps
    from . import theory as theory
    from ._keep_programs import keep_programs as keep_programs
    from .dynamics import Stop as Stop
    from .objective import Objective as Objective
    from .objective import velocity as velocity
    from .sweeps import sweep as sweep
    from .training import EarlyStopping as EarlyStopping
    from .training import LogTimes as LogTimes
    from .training import Trajectory as Trajectory
    from .training import train as train

__version__ = importlib.metadata.version("undertow")

_ROOMS = (
    "baselines",
    "datasets",
    "dynamics",
    "estimators",
    "gallery",
    "linalg",
    "networks",
    "optimizers",
    "parameterizations",
    "penalties",
    "plotting",
    "potentials",
    "probes",
    "problems",
    "studies",
    "sweeps",
    "theory",
)
_NAMES = {
    "EarlyStopping": "training",
    "LogTimes": "training",
    "Objective": "objective",
    "Stop": "dynamics",
    "Trajectory": "training",
    "keep_programs": "_keep_programs",
    "sweep": "sweeps",
    "train": "training",
    "velocity": "objective",
}

__all__ = [*_ROOMS, *_NAMES]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f".{name}", __name__)
    if name in _NAMES:
        return getattr(importlib.import_module(f".{_NAMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__dir__ = _public_names(__name__)
