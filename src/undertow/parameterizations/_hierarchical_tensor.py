"""Hierarchical tensor factorization: sums of outer products, again of such sums, along a tree of axes."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from .._arrays import normal
from .._validation import Numbers, check_choice, check_holdable, check_integer, check_number, check_shape
from ..linalg import axes_of, khatri_rao
from ._base import Indices, Parameterization, check_scale

Matrices = tuple[Float[Array, "_ _"], ...]
Tree = Any
"""An axis, or a tuple of two trees or more."""

DENSE_RATIO = 20
"""Up to this many entries of w for each one asked for, all of w costs less than the chosen ones."""


class HierarchicalTensor(Parameterization):
    r"""Hierarchical tensor factorization, along a tree whose leaves are the axes of w.

    Every node but the root has tensors :math:`w^{\nu, s}` of the axes below it, numbered by s. Those of a leaf are the
    columns of its matrix :math:`W^\nu`; those of a node with children are sums of outer products of theirs,

    .. math:: w^{\nu, s} = \sum_{r=1}^{R_\nu} W^\nu_{r, s}\; w^{\nu_1, r} \circ w^{\nu_2, r} \circ \cdots,

    and w is the one tensor of the root. Params are the matrices, in the order of ``nodes``. The r-th *local component*
    at a node is made of row r of its matrix and of column r of each of its children's: the differences of the squared
    norms of these vectors are conserved along the flow, and where they are zero the product of the norms,
    :math:`\sigma`, moves by :math:`\dot\sigma = L \gamma \sigma^{2 - 2/L}`, with L the number of the vectors. From a
    small start local components are learned one after another, and the matricizations of w along the nodes have low
    rank.

    Parameters
    ----------
    shape
        Of w; two axes at least.
    tree
        Nested tuples of axes, each axis once: ``((0, 1), (2, 3))``; every node has two children or more. A balanced
        binary tree of the axes in their order where left out.
    widths
        :math:`R_\nu`: the local components of every node with children, one number for all, or one for each in the
        order of ``inner_nodes``.
    initialization
        How w(0) is drawn: "gaussian", all entries of all matrices N(0, s^2), independent, with s such that the entries
        of w(0) have root-mean-square size ``scale``: over K matrices,
        :math:`s = (\mathrm{scale} / \prod_\nu R_\nu^{1/2})^{1/K}`.

    Raises
    ------
    TypeError, ValueError
        If ``shape`` is not made of two positive integers or more, ``tree`` does not have every axis once or has a node
        with one child, ``widths`` are not positive integers or not one for each node with children, or
        ``initialization`` is unknown.
    NotImplementedError
        By ``lift`` always.

    Notes
    -----
    With one node above all axes this is ``CPTensor`` with one more factor, the weights of the components. It is the
    hierarchical Tucker form whose transfer tensors are diagonal in the children.

    References
    ----------
    Hackbusch, Kuehn. A New Scheme for the Tensor Representation. Journal of Fourier Analysis and Applications 2009.
    Razin, Maman, Cohen. Implicit Regularization in Hierarchical Tensor Factorization and Deep Convolutional Neural
    Networks. ICML 2022.

    Examples
    --------
    >>> import jax
    >>> phi = HierarchicalTensor((5, 4, 3, 2), widths=6)
    >>> phi.nodes
    ((0,), (1,), (0, 1), (2,), (3,), (2, 3), (0, 1, 2, 3))
    >>> [matrix.shape for matrix in phi.init(jax.random.key(0), 1e-3)]
    [(5, 6), (4, 6), (6, 6), (3, 6), (2, 6), (6, 6), (6, 1)]
    """

    shape: tuple[int, ...] = eqx.field(static=True)
    tree: Tree = eqx.field(static=True)
    nodes: tuple[tuple[int, ...], ...] = eqx.field(static=True)
    children: tuple[tuple[int, ...], ...] = eqx.field(static=True)
    widths: tuple[int, ...] = eqx.field(static=True)
    initialization: str = eqx.field(static=True)

    def __init__(
        self,
        shape: tuple[int, ...],
        tree: Tree = None,
        *,
        widths: int | Sequence[int],
        initialization: str = "gaussian",
    ):
        self.shape = check_shape("shape", shape, least_dimensions=2)
        self.tree = tree = _balanced(tuple(range(len(self.shape)))) if tree is None else _as_tuples(tree)
        found = list(_walk(tree))
        axes = found[-1][0]
        if sorted(axes) != list(range(len(self.shape))) or len(axes) == 1:
            raise ValueError(f"tree: expected each of the axes 0 to {len(self.shape) - 1} once, found {tree!r}")
        self.nodes = tuple(axes for axes, _ in found)
        self.children = tuple(children for _, children in found)
        self.widths = _check_widths(widths, self.inner_nodes)
        self.initialization = check_choice("initialization", initialization, ("gaussian",))

    @property
    def inner_nodes(self) -> tuple[tuple[int, ...], ...]:
        """The nodes with children, each as the axes below it, children before their parents."""
        return tuple(node for node, children in zip(self.nodes, self.children, strict=True) if children)

    @property
    def matrix_shapes(self) -> tuple[tuple[int, int], ...]:
        """Shapes of the matrices, in the order of ``nodes``."""
        widths = iter(self.widths)
        rows = [next(widths) if below else self.shape[axes[0]] for axes, below in self._nodes]
        columns = [1] * len(rows)
        for node, below in enumerate(self.children):
            for child in below:
                columns[child] = rows[node]
        return tuple(zip(rows, columns, strict=True))

    @property
    def _nodes(self) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
        return list(zip(self.nodes, self.children, strict=True))

    def scale_of(self, deviation: ArrayLike) -> ArrayLike:
        r"""The ``scale`` at which the matrices have this standard deviation s: :math:`\prod_\nu R_\nu^{1/2}\, s^K`.

        Raises
        ------
        TypeError, ValueError
            If ``deviation`` is not a finite number above 0.
        """
        check_number("deviation", deviation, 0, exclusive=True)
        return math.sqrt(math.prod(self.widths)) * deviation ** len(self.nodes)

    def init(self, key: Array, scale: ArrayLike) -> Matrices:
        scale = jnp.asarray(check_scale(scale), dtype=jnp.result_type(float))
        deviation = (scale / math.sqrt(math.prod(self.widths))) ** (1 / len(self.nodes))
        keys = jax.random.split(key, len(self.nodes))
        return tuple(normal(k, s, deviation) for k, s in zip(keys, self.matrix_shapes, strict=True))

    def __call__(self, params: Matrices) -> Float[Array, "..."]:
        check_holdable("w", self.shape)
        found: list[Array] = []  # of each node: its tensors as columns, of the axes below it, the last running fastest
        for matrix, below in zip(params, self.children, strict=True):
            found.append(khatri_rao([found[child] for child in below]) @ matrix if below else matrix)
        axes = self.nodes[-1]
        return jnp.transpose(found[-1].reshape([self.shape[axis] for axis in axes]), np.argsort(axes).tolist())

    def entries(self, params: Matrices, indices: Indices) -> Float[Array, "m ..."]:
        at = axes_of(indices)
        if len(at) < len(self.shape) or math.prod(self.shape) <= DENSE_RATIO * at[0].size:
            return self(params)[at]
        found: list[Array] = []
        for matrix, (axes, below) in zip(params, self._nodes, strict=True):
            if below:
                found.append(math.prod(found[child] for child in below) @ matrix)
            else:
                found.append(matrix[at[axes[0]]])
        return found[-1][:, 0]

    def component_norms(self, params: Matrices, node: tuple[int, ...] | None = None) -> Float[Array, " r"]:
        r"""The norms :math:`\sigma` of the local components at a node, in their order.

        Parameters
        ----------
        params
            The matrices.
        node
            The axes below the node, as ``inner_nodes`` has them; the root where left out.

        Raises
        ------
        ValueError
            If there is no such node, or it has no children.
        """
        position = self.position(node)
        vectors = [jnp.linalg.norm(params[position], axis=1)]
        vectors += [jnp.linalg.norm(params[child], axis=0) for child in self.children[position]]
        return jnp.prod(jnp.stack(vectors), axis=0)

    def position(self, node: tuple[int, ...] | None) -> int:
        """Where an inner node, the root where None, is in ``nodes``.

        Raises
        ------
        ValueError
            If there is no such node, or it has no children.
        """
        if node is None:
            return len(self.nodes) - 1
        if node not in self.inner_nodes:
            raise ValueError(f"node: expected one of {', '.join(map(str, self.inner_nodes))}, found {node!r}")
        return self.nodes.index(node)

    def lift(self, w: Numbers) -> Matrices:
        raise NotImplementedError("lift: a HierarchicalTensor has no known inverse; give params by hand")


def _balanced(axes: tuple[int, ...]) -> Tree:
    half = (len(axes) + 1) // 2
    return axes[0] if len(axes) == 1 else (_balanced(axes[:half]), _balanced(axes[half:]))


def _as_tuples(tree: Tree) -> Tree:
    return tuple(map(_as_tuples, tree)) if isinstance(tree, (tuple, list)) else tree


def _walk(tree: Tree, above: int = 0) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """The axes below each node and the numbers of its children, children first; ``above`` counts those before it."""
    if not isinstance(tree, tuple):
        yield (check_integer("tree", tree, 0),), ()
        return
    if len(tree) < 2:
        raise ValueError(f"tree: expected two children or more at every node, found {tree!r}")
    axes: tuple[int, ...] = ()
    children: list[int] = []
    for child in tree:
        found = list(_walk(child, above))
        yield from found
        above += len(found)
        axes += found[-1][0]
        children.append(above - 1)
    yield axes, tuple(children)


def _check_widths(widths: int | Sequence[int], inner: tuple[tuple[int, ...], ...]) -> tuple[int, ...]:
    if not isinstance(widths, (tuple, list)):
        return (check_integer("widths", widths, 1),) * len(inner)
    if len(widths) != len(inner):
        raise ValueError(f"widths: expected {len(inner)}, one for each node with children, found {len(widths)}")
    return tuple(check_integer("widths", width, 1) for width in widths)
