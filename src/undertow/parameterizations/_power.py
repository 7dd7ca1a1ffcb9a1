"""Entrywise powers of one weight: the "deep" and "anti-deep" models of the primer."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .._validation import Numbers, check_choice, check_number, check_shape
from ._base import Parameterization, check_scale, check_w, draw_entries


class Power(Parameterization):
    r"""The entrywise power :math:`w_i = u_i^N`, N > 0 real, with :math:`J J^T = \mathrm{diag}(N^2 |w_i|^{2 - 2/N})`.

    Deep (N > 1): large entries move faster, and from small initialization on a line or on least squares the end
    point has the smallest :math:`\sum_i w_i^{2/N}` for N < 2 and the smallest l1 norm for N >= 2. Anti-deep (N < 1):
    small entries move faster, and the limit tends to smallest l-infinity norm as N tends to 0.

    Where N is not an odd integer, w is nonnegative and u is kept nonnegative at the start; a flow that reaches the
    boundary u = 0 with non-integer N ends as diverged.

    Parameters
    ----------
    shape
        Shape of w; one integer n means (n,).
    depth
        N, any positive real; an integer value is exact for negative u too.
    initialization
        "gaussian": w(0) is N(0, scale^2), its absolute value where N is not an odd integer;
        "constant": every entry of w(0) equal to scale.

    Raises
    ------
    TypeError, ValueError
        If ``depth`` is not a positive finite number, ``shape`` is not made of positive integers, or
        ``initialization`` is unknown; by ``lift`` if ``w`` has a negative entry that this depth cannot carry.

    References
    ----------
    Gissin, Shalev-Shwartz, Daniely. The Implicit Bias of Depth. ICLR 2020.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> Power(2, depth=3)(jnp.array([1.0, -2.0])).tolist()
    [1.0, -8.0]
    """

    shape: tuple[int, ...] = eqx.field(static=True)
    depth: float = eqx.field(static=True)
    initialization: str = eqx.field(static=True)

    def __init__(self, shape: int | tuple[int, ...], depth: float, initialization: str = "gaussian"):
        self.shape = check_shape("shape", shape)
        depth = float(check_number("depth", depth, 0, exclusive=True))
        # An int goes through integer_pow, which keeps the sign and has no singular derivative at zero.
        self.depth = int(depth) if depth.is_integer() else depth
        self.initialization = check_choice("initialization", initialization, ("gaussian", "constant"))

    @property
    def signed(self) -> bool:
        """Whether w can be negative: for odd integer depth only."""
        return self.depth % 2 == 1

    def init(self, key: Array, scale: ArrayLike) -> Float[Array, "..."]:
        w = draw_entries(key, self.shape, check_scale(scale), self.initialization)
        return self.lift(w if self.signed else jnp.abs(w))

    def __call__(self, params: Float[Array, "..."]) -> Float[Array, "..."]:
        return params**self.depth

    def lift(self, w: Numbers) -> Float[Array, "..."]:
        w = check_w(w, self.shape, nonnegative=not self.signed)
        return jnp.sign(w) * jnp.abs(w) ** (1 / self.depth)
