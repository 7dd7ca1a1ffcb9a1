"""The singular vectors of w, and what the gradient has to do with them."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._validation import check_choice, check_integer
from ..parameterizations import Parameterization
from ..parameterizations._base import Params
from ..problems import Problem
from ._base import Probe, check_matrix


class SingularVectors(Probe):
    """Left or right singular vectors of w, as columns, those of the largest singular values first.

    Signs are such that the entry of largest size of each left vector is positive; a right vector has the sign that
    goes with it.

    Parameters
    ----------
    side
        "left" or "right".
    count
        How many; all where left out.

    Raises
    ------
    TypeError, ValueError
        If ``side`` is neither, or ``count`` is not a positive integer; before a run, if w is not a matrix.

    Examples
    --------
    >>> SingularVectors("right", count=3).name
    'right_singular_vectors'
    """

    side: str = eqx.field(
        static=True, default="left", converter=lambda side: check_choice("side", side, ("left", "right"))
    )
    count: int | None = eqx.field(static=True, default=None)

    def __check_init__(self) -> None:
        if self.count is not None:
            check_integer("count", self.count, 1)

    @property
    def name(self) -> str:
        return f"{self.side}_singular_vectors"

    def check(self, problem: Problem, parameterization: Parameterization) -> None:
        check_matrix(self.name, parameterization)

    def __call__(self, problem: Problem, parameterization: Parameterization, params: Params) -> Float[Array, "n k"]:
        u, _, vt = jnp.linalg.svd(parameterization(params), full_matrices=False)
        largest = jnp.take_along_axis(u, jnp.argmax(jnp.abs(u), axis=0)[None, :], axis=0)
        vectors = u if self.side == "left" else vt.T
        return (vectors * jnp.where(largest < 0, -1, 1))[:, : self.count]


class SingularVectorAlignment(Probe):
    r"""How nearly the singular vectors of w are singular vectors of the gradient G of the loss at w.

    .. math:: a_r = \frac{-u_r^T G v_r}{\sqrt{|G^T u_r|\,|G v_r|}},

    from -1 to 1: of size 1 where u_r and v_r are a pair of singular vectors of G, positive where the loss asks for a
    larger singular value. A singular vector of a balanced deep matrix stands still where it is aligned. 0 where the
    gradient does not see the vectors at all.

    Parameters
    ----------
    count
        How many pairs, from the largest singular value down; all where left out.

    Raises
    ------
    TypeError, ValueError
        If ``count`` is not a positive integer; before a run, if w is not a matrix.

    References
    ----------
    Arora, Cohen, Hu, Luo. Implicit Regularization in Deep Matrix Factorization. NeurIPS 2019 (Lemma 2, Corollary 1).

    Examples
    --------
    >>> SingularVectorAlignment(count=3).name
    'singular_vector_alignment'
    """

    count: int | None = eqx.field(static=True, default=None)

    def __check_init__(self) -> None:
        if self.count is not None:
            check_integer("count", self.count, 1)

    @property
    def name(self) -> str:
        return "singular_vector_alignment"

    def check(self, problem: Problem, parameterization: Parameterization) -> None:
        check_matrix(self.name, parameterization)

    def __call__(self, problem: Problem, parameterization: Parameterization, params: Params) -> Float[Array, " k"]:
        w = parameterization(params)
        gradient = jax.grad(problem.loss)(w)
        u, _, vt = jnp.linalg.svd(w, full_matrices=False)
        u, v = u[:, : self.count], vt[: self.count].T
        left, right = gradient.T @ u, gradient @ v
        sizes = jnp.sqrt(jnp.linalg.norm(left, axis=0) * jnp.linalg.norm(right, axis=0))
        return jnp.where(sizes > 0, -jnp.sum(u * right, axis=0) / jnp.where(sizes > 0, sizes, 1), 0)
