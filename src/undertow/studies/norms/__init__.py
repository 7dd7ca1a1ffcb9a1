"""Norms that go to infinity while the rank falls."""

from .._base import Chapter
from .._files import studies_of

chapter = Chapter(
    id="norms",
    title="Norms that go to infinity",
    sentence="With one entry hidden every norm can grow without bound while the loss falls, and what falls with it is "
    "the rank.",
    studies=studies_of(
        __name__,
        "norms-to-infinity",
        "norms-perturbed",
        "norms-larger",
        "unbalanced-sign",
        "depth-two-plateau",
    ),
)
