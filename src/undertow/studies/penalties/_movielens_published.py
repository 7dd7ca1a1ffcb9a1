"""Root-mean-square errors on MovieLens-100K as they were published: quoted, not measured here."""

from typing import NamedTuple


class Published(NamedTuple):
    """A row of somebody's table.

    ``split`` says which ratings were held out; numbers on different splits do not compare. ``confidence``: "A" read in
    the source or its repository, "B" quoted by the paper of the study, "C" from memory, unverified.
    """

    method: str
    error: float
    split: str
    confidence: str
    side_information: bool = False


RANDOM_90, RANDOM_80, FIVE_FOLDS, CANONICAL = "random 90:10", "random 80:20", "random 5-fold", "u1 (80:20)"

SOURCE = {
    "depth 1, gradient descent": (2.814, 2.797),
    "depth 1, gradient descent + penalty": (2.808, 2.821),
    "depth 1, Adam": (1.844, 1.822),
    "depth 1, Adam + penalty": (0.915, 0.921),
    "embedding, gradient descent": (2.453, 2.532),
    "embedding, gradient descent + penalty": (2.535, 2.519),
    "embedding, Adam": (1.282, 1.348),
    "embedding, Adam + penalty": (0.906, 0.919),
}
"""The source's own rows at 90:10 and at 80:20. The embedding's are means over mini-batches of roots: a little low."""

OTHERS = (
    Published("NMF", 0.958, RANDOM_90, "B"),
    Published("PMF", 0.952, RANDOM_90, "B"),
    Published("SVD++", 0.913, RANDOM_90, "B"),
    Published("NFM", 0.910, RANDOM_90, "B"),
    Published("FM", 0.909, RANDOM_90, "B"),
    Published("AutoSVD++", 0.904, RANDOM_90, "B"),
    Published("GraphRec", 0.898, RANDOM_90, "B"),
    Published("GraphRec with side information", 0.899, RANDOM_90, "B", side_information=True),
    Published("GraphRec with graph and side information", 0.883, RANDOM_90, "B", side_information=True),
    Published("Surprise: SVD, defaults", 0.9355, FIVE_FOLDS, "A"),
    Published("Surprise: SVD++, defaults", 0.92, FIVE_FOLDS, "C"),
    Published("Surprise: k-NN baseline, defaults", 0.93, FIVE_FOLDS, "C"),
    Published("Surprise: NMF, defaults", 0.96, FIVE_FOLDS, "C"),
    Published("MC (nuclear norm)", 0.973, CANONICAL, "B"),
    Published("IMC", 1.653, CANONICAL, "B", side_information=True),
    Published("GMC", 0.996, CANONICAL, "B", side_information=True),
    Published("GRALS", 0.945, CANONICAL, "B", side_information=True),
    Published("sRGCNN", 0.929, CANONICAL, "B", side_information=True),
    Published("GC-MC", 0.910, CANONICAL, "A"),
    Published("GC-MC with features", 0.905, CANONICAL, "A", side_information=True),
    Published("F-EAE", 0.920, CANONICAL, "C"),
    Published("IGMC", 0.905, CANONICAL, "C"),
    Published("SparseFC", 0.895, CANONICAL, "C"),
    Published("GLocal-K", 0.8889, CANONICAL, "A"),
    Published("MG-GAT with side information", 0.890, CANONICAL, "C", side_information=True),
    Published("GHRS with side information", 0.887, CANONICAL, "C", side_information=True),
)
"""The source sets the rows of u1 beside its own of random 80:20, which are other test ratings."""
