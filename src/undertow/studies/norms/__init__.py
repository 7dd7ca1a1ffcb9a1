"""Norms that go to infinity while the rank falls."""

from .._base import Chapter
from .depth_two_plateau import study as depth_two_plateau
from .norms_larger import study as norms_larger
from .norms_perturbed import study as norms_perturbed
from .norms_to_infinity import study as norms_to_infinity
from .unbalanced_sign import study as unbalanced_sign

chapter = Chapter(
    id="norms",
    title="Norms that go to infinity",
    sentence="With one entry hidden every norm can grow without bound while the loss falls, and what falls with it is "
    "the rank.",
    studies=(
        norms_to_infinity,
        norms_perturbed,
        norms_larger,
        unbalanced_sign,
        depth_two_plateau,
    ),
)
