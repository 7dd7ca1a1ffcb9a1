"""Speed, side by side with what one would have used instead. ``python -m benchmarks`` runs them all.

A benchmark is one file that ends in a ``Benchmark``, and a line in ``_registry.py``. It runs both sides in one process,
from the same data and the same start to the same stopping point, and shows the error that each of them reached.
"""

from ._base import Benchmark as Benchmark
from ._base import Outcome as Outcome
from ._base import Scope as Scope

__all__ = ["Benchmark", "Outcome", "Scope"]
