"""Deep matrix factorization: dynamics of singular values, and rank."""

from .._base import Chapter
from .._files import studies_of

chapter = Chapter(
    id="factorization",
    title="Products of matrices",
    sentence="Products of matrices learn their singular values one after the other: what depth and the size of the "
    "start make of that.",
    studies=studies_of(
        __name__,
        "saxe-mode-strengths",
        "singular-value-dynamics",
        "deep-matrix-factorization",
        "commuting-measurements",
        "rank-not-nuclear-norm",
        "flow-versus-descent",
    ),
)
