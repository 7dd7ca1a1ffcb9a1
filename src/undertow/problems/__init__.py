"""What is fit: shape, loss, observations, and the ground truth where it is known."""

from .._public import public_names as _public_names
from ._base import ObservedEntries as ObservedEntries
from ._base import Problem as Problem
from ._chunked_rows import ChunkedRows as ChunkedRows
from ._classification import Classification as Classification
from ._equations import Equations as Equations
from ._least_squares import LeastSquares as LeastSquares
from ._matrix_completion import MatrixCompletion as MatrixCompletion
from ._matrix_sensing import MatrixSensing as MatrixSensing
from ._plane import LineTarget as LineTarget
from ._plane import PointTarget as PointTarget
from ._reconstruction import Reconstruction as Reconstruction
from ._tensor_completion import TensorCompletion as TensorCompletion
from ._tensor_sensing import TensorSensing as TensorSensing

__all__ = [
    "ChunkedRows",
    "Classification",
    "Equations",
    "LeastSquares",
    "LineTarget",
    "MatrixCompletion",
    "MatrixSensing",
    "ObservedEntries",
    "PointTarget",
    "Problem",
    "Reconstruction",
    "TensorCompletion",
    "TensorSensing",
]

__dir__ = _public_names(__name__)
