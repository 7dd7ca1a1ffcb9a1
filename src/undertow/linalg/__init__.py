"""Functions of matrices and tensors that the other rooms share."""

from .._public import public_names as _public_names
from ._components import khatri_rao as khatri_rao
from ._components import sampled_sum_of_outer_products as sampled_sum_of_outer_products
from ._components import sum_of_outer_products as sum_of_outer_products
from ._cp_rank import CPRank as CPRank
from ._cp_rank import cp_rank as cp_rank
from ._many_axes import ManyAxes as ManyAxes
from ._polar import polar_factor as polar_factor
from ._ranks import effective_rank as effective_rank
from ._ranks import numerical_rank as numerical_rank
from ._ranks import participation_ratio as participation_ratio
from ._ranks import stable_rank as stable_rank
from ._sampled_product import EntryPattern as EntryPattern
from ._sampled_product import axes_of as axes_of
from ._sampled_product import sampled_product as sampled_product

__all__ = [
    "CPRank",
    "EntryPattern",
    "ManyAxes",
    "axes_of",
    "cp_rank",
    "effective_rank",
    "khatri_rao",
    "numerical_rank",
    "participation_ratio",
    "polar_factor",
    "sampled_product",
    "sampled_sum_of_outer_products",
    "stable_rank",
    "sum_of_outer_products",
]

__dir__ = _public_names(__name__)
