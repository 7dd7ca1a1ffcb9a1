"""The same on data of the world."""

from .._base import Chapter
from .._files import studies_of

chapter = Chapter(
    id="data",
    title="On real data",
    sentence="The same pull put to use: images with holes, and ratings.",
    studies=studies_of(
        __name__,
        "image-completion",
        "movielens-singular-values",
        "movielens-100k",
        "factors-from-few-ratings",
        "interval-coverage",
        "few-columns-or-many",
    ),
)
