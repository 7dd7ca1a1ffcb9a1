"""Matrix functions that the other rooms share."""

from .._public import public_names as _public_names
from ._polar import polar_factor as polar_factor
from ._ranks import effective_rank as effective_rank
from ._ranks import stable_rank as stable_rank
from ._sampled_product import EntryPattern as EntryPattern
from ._sampled_product import axes_of as axes_of
from ._sampled_product import sampled_product as sampled_product

__all__ = ["EntryPattern", "axes_of", "effective_rank", "polar_factor", "sampled_product", "stable_rank"]

__dir__ = _public_names(__name__)
