"""The lecture on vectors: least norms, the square parameterization and sparsity, mirror descent."""

from .._base import Chapter
from .._files import studies_of

chapter = Chapter(
    id="lecture",
    title="Vectors",
    sentence="Where gradient and mirror flow end among all solutions of linear equations, and which convex program "
    "says so beforehand.",
    studies=studies_of(
        __name__,
        "minimum-norm",
        "square-map-is-least-l1",
        "kernel-to-rich",
        "square-map-is-entropy-mirror-flow",
        "mirror-descent-projects",
        "anti-deep-spreads-out",
        "what-my-parameterization-regularizes",
        "compressed-sensing",
        "saddle-to-saddle",
    ),
)
