"""Tensors: what falls along the flow of a tensor factorization is its rank, whatever norms do."""

from .._base import Chapter
from .._files import studies_of

chapter = Chapter(
    id="tensors",
    title="Tensors: rank is what falls",
    sentence="Factorized as sums of outer products, tensors are learned component by component from small starts.",
    studies=studies_of(
        __name__,
        "tensor-rank-falls",
        "components-one-after-another",
        "component-norm-velocity",
        "what-the-flow-conserves",
        "hierarchical-components-one-after-another",
        "tensor-rank-of-images",
    ),
)
