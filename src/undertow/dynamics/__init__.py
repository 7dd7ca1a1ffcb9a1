"""How the parameters move."""

from ._base import Dynamics as Dynamics
from ._base import Stop as Stop
from ._gradient_descent import GradientDescent as GradientDescent
from ._gradient_flow import GradientFlow as GradientFlow
from ._mirror_descent import MirrorDescent as MirrorDescent
from ._mirror_flow import MirrorFlow as MirrorFlow

__all__ = ["Dynamics", "GradientDescent", "GradientFlow", "MirrorDescent", "MirrorFlow", "Stop"]
