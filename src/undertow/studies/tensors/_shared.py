"""What several studies of this chapter share: random tensors of low rank, some of their entries seen."""

import jax.numpy as jnp
import numpy as np

from ...problems import Problem, TensorCompletion

RAZIN_COHEN = (
    "N. Razin, N. Cohen, Implicit Regularization in Deep Learning May Not Be Explainable by Norms, NeurIPS 2020, "
    "arXiv:2005.06398"
)
RAZIN_2021 = (
    "N. Razin, A. Maman, N. Cohen, Implicit Regularization in Tensor Factorization, ICML 2021, arXiv:2102.09972"
)


def low_rank_tensor(rng: np.random.Generator, shape: tuple[int, ...], rank: int) -> np.ndarray:
    """A sum of ``rank`` outer products of Gaussian vectors, of Frobenius norm 1."""
    truth = np.zeros(shape)
    for _ in range(rank):
        component = np.ones(())
        for n in shape:
            component = np.multiply.outer(component, rng.standard_normal(n))
        truth += component
    return truth / np.linalg.norm(truth)


def completion(truth: np.ndarray, seen: np.ndarray) -> TensorCompletion:
    """The entries at flat positions ``seen``."""
    places = np.unravel_index(np.sort(seen), truth.shape)
    return TensorCompletion(truth.shape, places, truth[places], truth=truth)


def weighted_completion(truth: np.ndarray, seen: np.ndarray) -> Problem:
    """The same loss, as a part of the problem that sees every entry: however many are seen, one program serves all."""
    counts = np.zeros(truth.size)
    counts[seen] = truth.size / seen.size
    whole = completion(truth, np.arange(truth.size))
    return whole.part(jnp.arange(truth.size), jnp.asarray(counts, whole.values.dtype))
