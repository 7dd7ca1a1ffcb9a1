"""The primer: gradient fields of models of two numbers."""

from .._base import Chapter
from .primer_deep_tends_to_exponential import study as primer_deep_tends_to_exponential
from .primer_end_points_on_the_line import study as primer_end_points_on_the_line
from .primer_gradient_fields import study as primer_gradient_fields
from .primer_incremental_learning import study as primer_incremental_learning
from .primer_rich_get_richer import study as primer_rich_get_richer

chapter = Chapter(
    id="primer",
    title="Two numbers",
    sentence="The same loss, and only how two numbers are written differs: what that does to the field, to the way, "
    "and to where it ends.",
    studies=(
        primer_end_points_on_the_line,
        primer_gradient_fields,
        primer_deep_tends_to_exponential,
        primer_rich_get_richer,
        primer_incremental_learning,
    ),
)
