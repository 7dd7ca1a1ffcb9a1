"""The difference of two powers: the diagonal linear network."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from .._arrays import full, normal
from .._validation import Numbers, check_choice, check_number, check_shape
from ._base import Parameterization, check_scale, check_w

Halves = tuple[Float[Array, "..."], Float[Array, "..."]]


class SignedPower(Parameterization):
    r"""The diagonal linear network :math:`w_i = u_i^N - v_i^N`, params = (u, v), N >= 1 real.

    From u = v = alpha with N = 2 the flow on least squares ends where hyperbolic entropy with parameter
    :math:`2 \alpha^2` is smallest: close to the smallest l2 norm for large alpha, to the smallest l1 norm as alpha
    tends to 0.

    Parameters
    ----------
    shape
        Shape of w; one integer n means (n,).
    depth
        N, at least 1.
    initialization
        "gaussian": :math:`u^N` and :math:`v^N` are independent absolute values of normal draws, sized so that w(0) has
        root-mean-square entries ``scale``; "constant": :math:`u^N = v^N =` ``scale`` in every entry, so that w(0) = 0
        and ``scale`` is the size of each half (:math:`\alpha^N` of the literature).

    Raises
    ------
    TypeError, ValueError
        If ``depth`` is not a finite number of at least 1, ``shape`` is not made of positive integers, or
        ``initialization`` is unknown.

    Notes
    -----
    ``lift`` gives the smallest preimage, with one half zero in each entry. For N > 1 that half is at rest and stays
    zero along a gradient flow. For 1 < N < 2 a half can reach zero in finite time, where a flow with non-integer N
    ends as diverged.

    References
    ----------
    Woodworth et al. Kernel and Rich Regimes in Overparametrized Models. COLT 2020.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> SignedPower(2, depth=2)((jnp.array([2.0, 0.0]), jnp.array([0.0, 3.0]))).tolist()
    [4.0, -9.0]
    """

    shape: tuple[int, ...] = eqx.field(static=True)
    depth: float = eqx.field(static=True)
    initialization: str = eqx.field(static=True)

    def __init__(self, shape: int | tuple[int, ...], depth: float, initialization: str = "gaussian"):
        self.shape = check_shape("shape", shape)
        depth = float(check_number("depth", depth, 1))
        self.depth = int(depth) if depth.is_integer() else depth
        self.initialization = check_choice("initialization", initialization, ("gaussian", "constant"))

    def init(self, key: Array, scale: ArrayLike) -> Halves:
        scale = check_scale(scale)
        if self.initialization == "constant":
            halves = full((2, *self.shape), scale)
        else:
            # |z1| - |z2| has variance 2 (1 - 2 / pi) for standard normal z1, z2.
            draws = jnp.abs(normal(key, (2, *self.shape)))
            halves = scale / np.sqrt(2 * (1 - 2 / np.pi)) * draws
        u, v = halves ** (1 / self.depth)
        return u, v

    def __call__(self, params: Halves) -> Float[Array, "..."]:
        u, v = params
        return u**self.depth - v**self.depth

    def lift(self, w: Numbers) -> Halves:
        w = check_w(w, self.shape)
        return jnp.maximum(w, 0) ** (1 / self.depth), jnp.maximum(-w, 0) ** (1 / self.depth)
