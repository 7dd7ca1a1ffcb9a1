"""Published claims, one file per source: what is claimed, the run that tests it, what came out.

A built-in study is one module ``_name.py`` that defines a `Study`, and one line here that imports it.
"""

from undertow.studies._base import (
    BUDGETS,
    AbstractCheck,
    AtLeast,
    AtMost,
    Between,
    Budget,
    Chapter,
    Close,
    Expectation,
    Outcome,
    Standing,
    Study,
    Verdict,
)
from undertow.studies._commuting import commuting
from undertow.studies._deep_matrix_factorization import deep_matrix_factorization
from undertow.studies._depth_two_plateau import depth_two_plateau
from undertow.studies._flow_versus_descent import flow_versus_descent
from undertow.studies._greedy import greedy_low_rank
from undertow.studies._image_completion import image_completion
from undertow.studies._lecture_implied import lecture_implied
from undertow.studies._lecture_kernel_rich import lecture_kernel_rich
from undertow.studies._lecture_minimum_norm import lecture_minimum_norm
from undertow.studies._lecture_projection import lecture_projection
from undertow.studies._lecture_same_curve import lecture_same_curve
from undertow.studies._lecture_sparse import lecture_sparse
from undertow.studies._lecture_spread import lecture_spread
from undertow.studies._movielens import movielens
from undertow.studies._movielens_singular_values import movielens_singular_values
from undertow.studies._norms_larger import norms_larger
from undertow.studies._norms_perturbed import norms_perturbed
from undertow.studies._norms_to_infinity import norms_to_infinity
from undertow.studies._phase_diagram import phase_diagram
from undertow.studies._primer_exponential import primer_exponential
from undertow.studies._primer_fields import primer_fields
from undertow.studies._primer_incremental import primer_incremental
from undertow.studies._primer_line import primer_line
from undertow.studies._primer_rich import primer_rich
from undertow.studies._registry import all_studies, find
from undertow.studies._saxe import saxe_mode_strengths
from undertow.studies._singular_value_dynamics import singular_value_dynamics
from undertow.studies._unbalanced_sign import unbalanced_sign

# The studies in the order in which the gallery shows them: from what one sees in a plane to what it is good for.
__all__ = [  # noqa: RUF022
    "BUDGETS",
    "AbstractCheck",
    "AtLeast",
    "AtMost",
    "Between",
    "Budget",
    "Chapter",
    "Close",
    "Expectation",
    "Outcome",
    "Standing",
    "Study",
    "Verdict",
    "all_studies",
    "find",
    "primer_line",
    "primer_fields",
    "primer_exponential",
    "primer_rich",
    "primer_incremental",
    "lecture_minimum_norm",
    "lecture_sparse",
    "lecture_kernel_rich",
    "lecture_same_curve",
    "lecture_projection",
    "lecture_spread",
    "lecture_implied",
    "phase_diagram",
    "saxe_mode_strengths",
    "singular_value_dynamics",
    "deep_matrix_factorization",
    "commuting",
    "greedy_low_rank",
    "norms_to_infinity",
    "norms_perturbed",
    "norms_larger",
    "unbalanced_sign",
    "depth_two_plateau",
    "flow_versus_descent",
    "image_completion",
    "movielens_singular_values",
    "movielens",
]
