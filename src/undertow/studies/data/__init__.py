"""The same on data of the world."""

from .._base import Chapter
from .image_completion import study as image_completion
from .movielens_100k import study as movielens_100k
from .movielens_singular_values import study as movielens_singular_values

chapter = Chapter(
    id="data",
    title="On real data",
    sentence="The same pull put to use: images with holes, and ratings.",
    studies=(
        image_completion,
        movielens_singular_values,
        movielens_100k,
    ),
)
