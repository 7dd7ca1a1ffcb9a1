"""What real training adds to the flow: steps, noise, decay, sharpness."""

from .._base import Chapter
from .._files import studies_of

chapter = Chapter(
    id="training",
    title="What real training adds",
    sentence="Large steps, noisy labels and weight decay each add a bias of their own to that of gradient flow.",
    studies=studies_of(
        __name__,
        "large-steps",
        "backward-error",
        "label-noise",
        "grokking-clock",
        "edge-of-stability",
        "two-layer-dynamics",
    ),
)
