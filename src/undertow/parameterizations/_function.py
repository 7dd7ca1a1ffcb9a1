"""Any map: the user's own parameterization."""

from collections.abc import Callable

import equinox as eqx
import jax
from jaxtyping import Array, ArrayLike, Float

from .._description import Static
from .._validation import Numbers, check_shape
from ._base import Parameterization, Params, check_scale


class Function(Parameterization):
    r"""Any map :math:`w = \phi(\mathrm{params})` that JAX can differentiate.

    Parameters
    ----------
    phi
        The map, from a PyTree of floating arrays to an array. Functions with the same code and the same bound values
        share what was compiled.
    init
        ``init(key, scale) -> params``, with ``scale`` the root-mean-square size of the entries of w(0). May be left
        out where parameters are always given by hand; then ``shape`` must be given.
    shape
        Shape of w; found from ``init`` where left out.

    Raises
    ------
    TypeError, ValueError
        If ``phi`` or ``init`` is not callable, if neither ``init`` nor ``shape`` is given, if ``phi`` does not return
        one array, or if ``shape`` is not the shape that it returns; by ``init`` if none was given.
    NotImplementedError
        By ``lift`` always, because an arbitrary map has no known inverse.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> softplus = Function(jax.nn.softplus, lambda key, scale: jnp.log(jnp.expm1(scale * jnp.ones(3))))
    >>> softplus.shape
    (3,)
    """

    shape: tuple[int, ...] = eqx.field(static=True)
    phi: Static = eqx.field(static=True)
    initializer: Static | None = eqx.field(static=True)

    def __init__(
        self,
        phi: Callable[[Params], Array],
        init: Callable[[Array, ArrayLike], Params] | None = None,
        *,
        shape: int | tuple[int, ...] | None = None,
    ):
        if not callable(phi):
            raise TypeError(f"phi: expected a function params -> w, found {phi!r}")
        if init is not None and not callable(init):
            raise TypeError(f"init: expected a function (key, scale) -> params, found {init!r}")
        if init is None and shape is None:
            raise ValueError("shape: expected the shape of w where init is not given, found neither")
        self.phi = Static(phi)
        self.initializer = None if init is None else Static(init)
        given = None if shape is None else check_shape("shape", shape)
        if init is None:
            assert given is not None
            self.shape = given
            return
        # The key is an argument of the traced function: scale stays a number, which an init may look at.
        out = jax.eval_shape(lambda key: phi(init(key, 1.0)), jax.random.key(0))
        if not isinstance(out, jax.ShapeDtypeStruct):
            raise TypeError(f"phi: expected one array, found {jax.tree.structure(out)}")
        if given is not None and given != out.shape:
            raise ValueError(f"shape: phi returns shape {out.shape}, found {given}")
        self.shape = out.shape

    def init(self, key: Array, scale: ArrayLike) -> Params:
        if self.initializer is None:
            raise ValueError("init: this Function was made without one; give params by hand")
        return self.initializer(key, check_scale(scale))

    def __call__(self, params: Params) -> Float[Array, "..."]:
        return self.phi(params)

    def lift(self, w: Numbers) -> Params:
        raise NotImplementedError("lift: a Function has no known inverse; give params by hand")
