"""Autoencoders: linear layers in the middle, that change nothing but where descent ends."""

from .._base import Chapter
from .._files import studies_of

chapter = Chapter(
    id="autoencoders",
    title="Autoencoders: the rank of codes",
    sentence="Linear layers between encoder and decoder lower the rank of codes, when and because they start uneven.",
    studies=studies_of(
        __name__,
        "rank-falls-with-linear-layers",
        "shapes-have-seven-factors",
        "which-linear-layers-count",
        "a-linear-autoencoder-learns-modes",
        "interpolation-and-samples",
        "few-labels",
    ),
)
