"""How the parameters move; and what it takes to write a dynamics of one's own."""

from .._public import public_names as _public_names
from ._adam_flow import AdamFlow as AdamFlow
from ._base import CONVERGED as CONVERGED
from ._base import DIVERGED as DIVERGED
from ._base import RUNNING as RUNNING
from ._base import STALLED as STALLED
from ._base import STOPPED as STOPPED
from ._base import Dynamics as Dynamics
from ._base import PlainState as PlainState
from ._base import Snapshots as Snapshots
from ._base import State as State
from ._base import Stop as Stop
from ._base import ended as ended
from ._central_flow import CentralFlow as CentralFlow
from ._flow import Flow as Flow
from ._gradient_descent import GradientDescent as GradientDescent
from ._gradient_flow import GradientFlow as GradientFlow
from ._label_noise_flow import LabelNoiseFlow as LabelNoiseFlow
from ._mirror_descent import MirrorDescent as MirrorDescent
from ._mirror_flow import MirrorFlow as MirrorFlow
from ._steepest_descent import SteepestDescent as SteepestDescent
from ._stepping import by_steps as by_steps

__all__ = [
    "CONVERGED",
    "DIVERGED",
    "RUNNING",
    "STALLED",
    "STOPPED",
    "AdamFlow",
    "CentralFlow",
    "Dynamics",
    "Flow",
    "GradientDescent",
    "GradientFlow",
    "LabelNoiseFlow",
    "MirrorDescent",
    "MirrorFlow",
    "PlainState",
    "Snapshots",
    "State",
    "SteepestDescent",
    "Stop",
    "by_steps",
    "ended",
]

__dir__ = _public_names(__name__)
