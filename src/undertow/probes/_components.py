"""The components of a tensor factorization, and what the gradient has to do with them."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._validation import check_integer
from ..objective import loss_of
from ..parameterizations import CPTensor, HierarchicalTensor, Parameterization
from ..parameterizations._base import Params
from ..problems import Problem
from ._base import Probe


class ComponentNorms(Probe):
    r"""The norms of the components of a tensor factorization, in descending order.

    Of a ``CPTensor`` :math:`c_r = \prod_n |w_r^n|`; of a ``HierarchicalTensor`` those of the local components at one
    node, the products of the norms of the row and the columns that make them.

    Parameters
    ----------
    count
        How many of the largest to keep; all where left out.
    node
        Of a ``HierarchicalTensor``: the axes below the node, as its ``inner_nodes`` has them; the root where left out.

    Raises
    ------
    TypeError, ValueError
        If ``count`` is not a positive integer; before a run, if the parameterization has no components or no such node.

    References
    ----------
    Razin, Maman, Cohen. Implicit Regularization in Tensor Factorization. ICML 2021.
    Razin, Maman, Cohen. Implicit Regularization in Hierarchical Tensor Factorization and Deep Convolutional Neural
    Networks. ICML 2022.

    Examples
    --------
    >>> ComponentNorms(count=5).name, ComponentNorms(node=(0, 1)).name
    ('component_norms', 'component_norms_0_1')
    """

    count: int | None = eqx.field(static=True, default=None)
    node: tuple[int, ...] | None = eqx.field(static=True, default=None)

    def __check_init__(self) -> None:
        if self.count is not None:
            check_integer("count", self.count, 1)

    @property
    def name(self) -> str:
        return "_".join(["component_norms", *map(str, self.node or ())])

    def check(self, problem: Problem, parameterization: Parameterization) -> None:
        if isinstance(parameterization, HierarchicalTensor):
            parameterization.position(self.node)
        elif not isinstance(parameterization, CPTensor):
            raise ValueError(
                f"{self.name}: expected a CPTensor or a HierarchicalTensor, found {type(parameterization).__name__}"
            )
        elif self.node is not None:
            raise ValueError(f"node: expected None for a CPTensor, which has no tree, found {self.node!r}")

    def __call__(self, problem: Problem, parameterization: Parameterization, params: Params) -> Float[Array, " k"]:
        if isinstance(parameterization, HierarchicalTensor):
            norms = parameterization.component_norms(params, self.node)
        else:
            assert isinstance(parameterization, CPTensor)
            norms = parameterization.component_norms(params)
        return jnp.sort(norms, descending=True)[: self.count]


class ComponentAlignment(Probe):
    r"""How nearly the vectors of the components of a ``CPTensor`` point along the directions in which they move.

    With :math:`g_r^n` the gradient of the loss with respect to the vector :math:`w_r^n`,

    .. math:: a_r = -\operatorname{sign}\langle g_r^1, w_r^1 \rangle \Big( \prod_{n=1}^N
        \frac{|\langle g_r^n, w_r^n \rangle|}{|g_r^n|\,|w_r^n|} \Big)^{1/N},

    from -1 to 1: of size 1 where no vector of the component turns, positive where the loss asks for a larger component.
    The inner products of a component are one number, :math:`-c_r \gamma_r`. For two axes this is what
    ``SingularVectorAlignment`` says of singular vectors. 0 where the gradient does not see the component at all.

    Parameters
    ----------
    count
        How many components, from the largest norm down, as ``ComponentNorms`` has them; all where left out.

    Raises
    ------
    TypeError, ValueError
        If ``count`` is not a positive integer; before a run, if the parameterization is not a ``CPTensor``.

    References
    ----------
    Razin, Maman, Cohen. Implicit Regularization in Tensor Factorization. ICML 2021.

    Examples
    --------
    >>> ComponentAlignment(count=3).name
    'component_alignment'
    """

    count: int | None = eqx.field(static=True, default=None)

    def __check_init__(self) -> None:
        if self.count is not None:
            check_integer("count", self.count, 1)

    @property
    def name(self) -> str:
        return "component_alignment"

    def check(self, problem: Problem, parameterization: Parameterization) -> None:
        if not isinstance(parameterization, CPTensor):
            raise ValueError(f"component_alignment: expected a CPTensor, found {type(parameterization).__name__}")

    def __call__(self, problem: Problem, parameterization: Parameterization, params: Params) -> Float[Array, " k"]:
        assert isinstance(parameterization, CPTensor)
        gradient = jax.grad(lambda p: loss_of(problem, parameterization, p))(params)
        cosines = [_cosines(g, w) for g, w in zip(gradient, params, strict=True)]
        alignment = -jnp.sign(cosines[0]) * math.prod(jnp.abs(cosine) for cosine in cosines) ** (1 / len(cosines))
        largest = jnp.argsort(parameterization.component_norms(params), descending=True)
        return alignment[largest][: self.count]


def _cosines(a: Float[Array, "n k"], b: Float[Array, "n k"]) -> Float[Array, " k"]:
    """Of the angles between the columns of two matrices; 0 where one is zero."""

    def unit(x: Array) -> Array:
        size = jnp.linalg.norm(x, axis=0)
        return x / jnp.where(size > 0, size, 1)[None, :]

    return jnp.sum(unit(a) * unit(b), axis=0)
