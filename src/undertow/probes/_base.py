"""What every probe offers: a name, and a value at given parameters."""

import abc

import equinox as eqx
from jaxtyping import Array

from .._programs import filter_jit
from .._repr import shown
from ..objective import Objective
from ..parameterizations import Parameterization
from ..parameterizations._base import Params
from ..problems import Problem


class Probe(eqx.Module):
    """A measurement of a run. ``name`` is what it is called in the trajectory; the value is an array of fixed shape."""

    def __repr__(self) -> str:
        return shown(self)

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """What ``trajectory[name]`` and the dataset call it."""

    @abc.abstractmethod
    def __call__(self, problem: Problem, parameterization: Parameterization, params: Params) -> Array:
        """The value at ``params``."""

    def measure(self, objective: Objective, params: Params) -> Array:
        """The value at ``params`` of a run; overridden where the penalty, too, is looked at."""
        return self(objective.problem, objective.parameterization, params)

    def check(self, problem: Problem, parameterization: Parameterization) -> None:
        """Raise ValueError where this cannot be measured; called before any work."""


@filter_jit
def measured(probe: Probe, objective: Objective, params: Params) -> Array:
    """What the probe measures, as one program: operations one by one would each be compiled."""
    return probe.measure(objective, params)


def check_label(label: object) -> None:
    """Raise where ``label`` is not a name."""
    if not isinstance(label, str) or not label:
        raise TypeError(f"label: expected a name, found {label!r}")


def check_matrix(name: str, parameterization: Parameterization) -> None:
    """Raise where w is not a matrix."""
    if len(parameterization.shape) != 2:
        raise ValueError(f"{name}: expected w to be a matrix, found shape {parameterization.shape}")
