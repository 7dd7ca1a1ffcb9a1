"""Losses that reach zero at infinity only: margins, the norms that optimizers imply, and linear networks."""

from .._base import Chapter
from .._files import studies_of

chapter = Chapter(
    id="margins",
    title="Margins and linear networks",
    sentence="Where the loss reaches zero at infinity only, the direction is what is left to choose: the optimizer and "
    "the architecture decide in which norm the margin is largest.",
    studies=studies_of(
        __name__,
        "margin-direction",
        "losses-and-intercepts",
        "margin-of-each-norm",
        "linear-networks",
        "deep-linear-landscape",
        "margin-and-test-error",
    ),
)
