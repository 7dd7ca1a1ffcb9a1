"""The primer: gradient fields of models of two numbers."""

from .._base import Chapter
from .._files import studies_of

chapter = Chapter(
    id="primer",
    title="Two numbers",
    sentence="The same loss, and only how two numbers are written differs: what that does to the field, to the way, "
    "and to where it ends.",
    studies=studies_of(
        __name__,
        "primer-end-points-on-the-line",
        "primer-gradient-fields",
        "primer-deep-tends-to-exponential",
        "primer-rich-get-richer",
        "primer-incremental-learning",
    ),
)
