"""The entrywise product: the diagonal network with a layer of its own for every factor."""

import functools

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .._arrays import normal
from .._validation import Numbers, check_choice, check_integer, check_shape
from ._base import Parameterization, check_scale, check_w, draw_entries


class Hadamard(Parameterization):
    r"""The entrywise product :math:`w = u_1 \circ \cdots \circ u_N`, params one array of shape ``(N, *shape)``.

    Differences :math:`u_{j,i}^2 - u_{k,i}^2` are conserved along the flow. Where they are zero (balanced),
    :math:`\dot w_i = -N |w_i|^{2 - 2/N}\, \partial_i \ell(w)`: the path of ``Power`` of depth N, which is N times as
    fast. Unlike there, an entry keeps its sign from the start for every N of at least 2; unbalanced, it can change it.

    Parameters
    ----------
    shape
        Shape of w; one integer n means (n,).
    depth
        N, the number of factors, at least 1.
    initialization
        How w(0) is drawn; in each case its entries have root-mean-square size ``scale``. "gaussian": every factor is
        N(0, scale^(2/N)), independent. Unbalanced. "balanced": w(0) is N(0, scale^2), lifted. "constant": every entry
        of w(0) equal to ``scale``, lifted. Balanced.

    Raises
    ------
    TypeError, ValueError
        If ``depth`` is not a positive integer, ``shape`` is not made of positive integers, or ``initialization`` is
        unknown.

    Notes
    -----
    ``lift`` gives the balanced preimage: factors of equal absolute value, the sign in the first.

    References
    ----------
    Gunasekar, Lee, Soudry, Srebro. Implicit Bias of Gradient Descent on Linear Convolutional Networks. NeurIPS 2018
    (diagonal networks).

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> Hadamard(2, depth=3)(jnp.array([[1.0, -1.0], [2.0, 3.0], [1.0, 5.0]])).tolist()
    [2.0, -15.0]
    """

    shape: tuple[int, ...] = eqx.field(static=True)
    depth: int = eqx.field(static=True)
    initialization: str = eqx.field(static=True)

    def __init__(self, shape: int | tuple[int, ...], depth: int, initialization: str = "gaussian"):
        self.shape = check_shape("shape", shape)
        self.depth = check_integer("depth", depth, 1)
        self.initialization = check_choice("initialization", initialization, ("gaussian", "balanced", "constant"))

    def init(self, key: Array, scale: ArrayLike) -> Float[Array, "depth ..."]:
        scale = jnp.asarray(check_scale(scale), dtype=jnp.result_type(float))
        if self.initialization == "gaussian":
            return normal(key, (self.depth, *self.shape), scale ** (1 / self.depth))
        kind = "constant" if self.initialization == "constant" else "gaussian"
        return self.lift(draw_entries(key, self.shape, scale, kind))

    def __call__(self, params: Float[Array, "depth ..."]) -> Float[Array, "..."]:
        # Not jnp.prod: a product of N known factors has a simpler derivative.
        return functools.reduce(jnp.multiply, [params[j] for j in range(self.depth)])

    def lift(self, w: Numbers) -> Float[Array, "depth ..."]:
        w = check_w(w, self.shape)
        size = jnp.abs(w) ** (1 / self.depth)
        return jnp.stack([jnp.sign(w) * size, *[size] * (self.depth - 1)])
