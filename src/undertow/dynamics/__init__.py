"""How the parameters move."""

from ._base import Dynamics as Dynamics
from ._base import Stop as Stop
from ._gradient_descent import GradientDescent as GradientDescent
from ._gradient_flow import GradientFlow as GradientFlow

__all__ = ["Dynamics", "GradientDescent", "GradientFlow", "Stop"]
