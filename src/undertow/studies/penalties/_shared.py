"""What several studies of this chapter share: random problems, and the starts of the source."""

import math

import jax
import numpy as np

from ...datasets import low_rank_matrix, observe
from ...problems import MatrixCompletion

ZHAO = (
    "D. Zhao, Combining Explicit and Implicit Regularization for Efficient Learning in Deep Networks, NeurIPS 2022, "
    "arXiv:2306.00342"
)
TINY = 1e-3
"""The source's start: W(0) has entries of standard deviation TINY / sqrt(rows), whatever the depth."""


def completion(key: jax.Array, size: int, rank: int, count: int) -> MatrixCompletion:
    """A matrix of low rank, with entries of root mean square 1, of which ``count`` are observed."""
    truth_key, seen_key = jax.random.split(key)
    truth = low_rank_matrix(truth_key, (size, size), rank)
    rows, columns = observe(seen_key, (size, size), count)
    return MatrixCompletion((size, size), rows, columns, truth[rows, columns], truth=truth)


def with_held_out(
    key: jax.Array, size: int, rank: int, count: int, held_out: int
) -> tuple[MatrixCompletion, MatrixCompletion, MatrixCompletion]:
    """The same, and its unobserved entries as two problems: ``held_out`` of them for choices, the others for tests."""
    truth_key, seen_key = jax.random.split(key)
    truth = low_rank_matrix(truth_key, (size, size), rank)
    rows, columns = observe(seen_key, (size, size), size * size)
    order = np.random.default_rng(np.asarray(jax.random.key_data(seen_key)).tolist()).permutation(size * size)
    parts = np.split(order, [count, count + held_out])
    train, chosen, test = (
        MatrixCompletion((size, size), rows[p], columns[p], truth[rows[p], columns[p]], truth=truth) for p in parts
    )
    return train, chosen, test


def tiny(size: int) -> float:
    """The root mean square of the entries of W(0) from the source's start."""
    return TINY / math.sqrt(size)
