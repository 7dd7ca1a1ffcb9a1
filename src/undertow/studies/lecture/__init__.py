"""The lecture on vectors: least norms, the square parameterization and sparsity, mirror descent."""

from .._base import Chapter
from .anti_deep_spreads_out import study as anti_deep_spreads_out
from .compressed_sensing import study as compressed_sensing
from .kernel_to_rich import study as kernel_to_rich
from .minimum_norm import study as minimum_norm
from .mirror_descent_projects import study as mirror_descent_projects
from .square_map_is_entropy_mirror_flow import study as square_map_is_entropy_mirror_flow
from .square_map_is_least_l1 import study as square_map_is_least_l1
from .what_my_parameterization_regularizes import study as what_my_parameterization_regularizes

chapter = Chapter(
    id="lecture",
    title="Vectors",
    sentence="Where gradient and mirror flow end among all solutions of linear equations, and which convex program "
    "says so beforehand.",
    studies=(
        minimum_norm,
        square_map_is_least_l1,
        kernel_to_rich,
        square_map_is_entropy_mirror_flow,
        mirror_descent_projects,
        anti_deep_spreads_out,
        what_my_parameterization_regularizes,
        compressed_sensing,
    ),
)
