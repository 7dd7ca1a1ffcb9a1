"""Deep matrix factorization: dynamics of singular values, and rank."""

from .._base import Chapter
from .commuting_measurements import study as commuting_measurements
from .deep_matrix_factorization import study as deep_matrix_factorization
from .flow_versus_descent import study as flow_versus_descent
from .rank_not_nuclear_norm import study as rank_not_nuclear_norm
from .saxe_mode_strengths import study as saxe_mode_strengths
from .singular_value_dynamics import study as singular_value_dynamics

chapter = Chapter(
    id="factorization",
    title="Products of matrices",
    sentence="Products of matrices learn their singular values one after the other: what depth and the size of the "
    "start make of that.",
    studies=(
        saxe_mode_strengths,
        singular_value_dynamics,
        deep_matrix_factorization,
        commuting_measurements,
        rank_not_nuclear_norm,
        flow_versus_descent,
    ),
)
