"""Explicit penalties beside the implicit regularization: what each adds to the other."""

from .._base import Chapter
from .._files import studies_of

chapter = Chapter(
    id="penalties",
    title="Explicit and implicit together",
    sentence="A penalty that is the same at every scale leaves it to optimizer and start whether it helps.",
    studies=studies_of(
        __name__,
        "ratio-penalty-and-the-start",
        "rates-starts-and-normalizations",
        "depth-and-the-penalty",
        "adam-and-the-first-gradient",
        "optimizers-and-depth",
        "other-penalties",
        "entries-needed",
        "weight-decay-and-the-potential",
        "movielens-100k-tables",
    ),
)
