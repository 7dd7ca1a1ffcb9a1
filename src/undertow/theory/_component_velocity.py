"""How the components of a CP tensor grow, from the gradient of the loss at w alone."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from .._repr import shown
from .._validation import Numbers, check_array, check_number
from ..problems import Problem


class ComponentVelocity(NamedTuple):
    """The norms of components and their velocities, in the order of the components.

    Parameters
    ----------
    norms
        c_r, the products of the norms of the component's vectors.
    alignment
        gamma_r, the inner product of the component's direction and the negative gradient of the loss at w.
    balanced
        N gamma_r c_r^(2 - 2/N): the velocity where the vectors of a component have equal norms.
    lower, upper
        What the velocity is between, for the given unbalancedness.
    unbalancedness
        The largest difference of two squared norms of vectors of a component.
    """

    norms: Float[np.ndarray, " r"]
    alignment: Float[np.ndarray, " r"]
    balanced: Float[np.ndarray, " r"]
    lower: Float[np.ndarray, " r"]
    upper: Float[np.ndarray, " r"]
    unbalancedness: float

    def __repr__(self) -> str:
        return shown(self)


def component_velocity(
    problem: Problem, factors: Sequence[Numbers], unbalancedness: float | None = None
) -> ComponentVelocity:
    r"""The velocities of the norms of the components of a ``CPTensor`` under gradient flow.

    With :math:`c_r = \prod_n |w_r^n|` of N vectors, and :math:`\gamma_r = \langle -\nabla \ell(w), \hat w_r^1 \circ
    \cdots \circ \hat w_r^N \rangle` of their directions, balanced components (of vectors of equal norms) move by
    :math:`\dot c_r = N \gamma_r c_r^{2 - 2/N}`: slowly where they are small, the more so the higher the order. With
    squared norms that differ by :math:`\epsilon` at most,

    .. math:: \frac{N \gamma_r c_r^2}{c_r^{2/N} + \epsilon} \leq \dot c_r \leq
        N \gamma_r (c_r^{2/N} + \epsilon)^{N - 1} \quad\text{where}\ \gamma_r \geq 0,

    and the other way round where :math:`\gamma_r < 0`. The differences are conserved, so those of the start will do.

    Parameters
    ----------
    problem
        Any problem of the shape of w.
    factors
        The params of a ``CPTensor``: one matrix for each axis, a column for each component.
    unbalancedness
        :math:`\epsilon`, of the start; that of these factors where left out.

    Returns
    -------
    Norms, alignments, the balanced velocities and the two bounds, NumPy float64. A component with a vector of zero has
    alignment and velocity 0.

    Raises
    ------
    TypeError, ValueError
        If ``factors`` are not as many matrices, of as many rows, as the shape of the problem says, with as many columns
        each; or ``unbalancedness`` is not a number of at least 0.

    References
    ----------
    Razin, Maman, Cohen. Implicit Regularization in Tensor Factorization. ICML 2021, Theorem 1 and Corollary 1.

    Examples
    --------
    >>> import undertow as ut
    >>> problem = ut.problems.PointTarget([[[3.0]]])
    >>> found = component_velocity(problem, [[[1.0]], [[1.0]], [[1.0]]])  # w = 1, pulled by 2: 3 * 2 * 1
    >>> found.balanced.tolist(), found.lower.tolist(), found.upper.tolist()
    ([6.0], [6.0], [6.0])
    """
    if not isinstance(problem, Problem):
        raise TypeError(f"problem: expected an undertow.problems.Problem, found {type(problem).__name__}")
    with jax.enable_x64(True):
        arrays = [np.asarray(check_array(f"factors[{n}]", f, dimensions=2), np.float64) for n, f in enumerate(factors)]
        shapes = [array.shape for array in arrays]
        if tuple(rows for rows, _ in shapes) != problem.shape or len({columns for _, columns in shapes}) != 1:
            raise ValueError(
                f"factors: expected a matrix for each axis of {problem.shape}, with as many columns each, "
                f"found shapes {shapes}"
            )
        w = _contracted(np.ones(arrays[0].shape[1]), arrays)
        gradient = np.asarray(jax.grad(problem.loss)(jnp.asarray(w)))
    order = len(arrays)
    norms = np.stack([np.linalg.norm(array, axis=0) for array in arrays])
    directions = [array / np.where(norm > 0, norm, 1) for array, norm in zip(arrays, norms, strict=True)]
    c, gamma = norms.prod(axis=0), -_projected(gradient, directions)
    if unbalancedness is None:
        epsilon = float(np.ptp(norms**2, axis=0).max())
    else:
        epsilon = float(check_number("unbalancedness", unbalancedness, 0))
    size = c ** (2 / order)
    less = order * gamma * c**2 / np.where(size + epsilon > 0, size + epsilon, 1)
    more = order * gamma * (size + epsilon) ** (order - 1)
    lower, upper = np.minimum(less, more), np.maximum(less, more)
    return ComponentVelocity(c, gamma, order * gamma * c ** (2 - 2 / order), lower, upper, epsilon)


def _contracted(weights: np.ndarray, factors: list[np.ndarray]) -> np.ndarray:
    """The sum of the outer products of columns, weighted."""
    order = len(factors)
    operands = [x for n, factor in enumerate(factors) for x in (factor, [n, order])]
    return np.einsum(weights, [order], *operands, list(range(order)), optimize=True)


def _projected(tensor: np.ndarray, factors: list[np.ndarray]) -> np.ndarray:
    """The inner products of a tensor with the outer products of columns."""
    order = len(factors)
    operands = [x for n, factor in enumerate(factors) for x in (factor, [n, order])]
    return np.einsum(tensor, list(range(order)), *operands, [order], optimize=True)
