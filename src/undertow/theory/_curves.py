r"""The curves on which gradient flow moves the parameters, whatever the loss.

Gradient flow moves them by :math:`\dot p = -J^T \nabla\ell(w)`: along the gradients of the entries of w, in a mixture
that the loss decides. Where these fields commute, the order of the mixture is of no consequence: the parameters are a
function of the dual :math:`z = -\int_0^t \nabla\ell\,dt` alone, :math:`p(z)`, where z is reached on a straight line as
well as on any other path, :math:`dp/ds = J(p)^T z` for s from 0 to 1.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from .._programs import filter_jit
from ..parameterizations import Parameterization
from ..parameterizations._base import Params
from ._integrate import RTOL, integrate

ARRIVAL = 100.0
"""Time at which w is there: what is left of the way is e^-100 of it, less than the smallest target's rounding."""


class VectorMap(eqx.Module):
    """A parameterization as a map between vectors, in the precision of its argument."""

    parameterization: Parameterization
    params: Params  # their shapes are what matters

    def __call__(self, p: Float[Array, " k"]) -> Float[Array, " d"]:
        return jnp.ravel(self.parameterization(self.tree(p))).astype(p.dtype)

    def tree(self, p: Float[Array, " k"]) -> Params:
        """The parameters as the parameterization takes them."""
        return ravel_pytree(jax.tree.map(lambda x: x.astype(p.dtype), self.params))[1](p)

    def vector(self, dtype: Any) -> Float[Array, " k"]:
        """The parameters as a vector."""
        # Leaf by leaf: to find a common type of float64 leaves, JAX warns where 64 bits are off.
        return ravel_pytree(jax.tree.map(lambda x: x.astype(dtype), self.params))[0]


def pulled_back(phi: VectorMap, p: Float[Array, " k"], c: Float[Array, " d"]) -> Float[Array, " k"]:
    """The velocity ``J^T c`` of the parameters."""
    return jax.vjp(phi, p)[1](c)[0]


def pushed(phi: VectorMap, p: Float[Array, " k"], c: Float[Array, " d"]) -> Float[Array, " d"]:
    """The velocity ``J J^T c`` of w."""
    return jax.jvp(phi, (p,), (pulled_back(phi, p, c),))[1]


def duals(phi: VectorMap, p: Float[Array, " k"], v: Float[Array, " d"], entrywise: bool) -> Float[Array, " d"]:
    """The c of ``J J^T c = v``."""
    if entrywise:
        return v / pushed(phi, p, jnp.ones_like(v))
    jacobian = jax.jacrev(phi)(p)
    return jnp.linalg.solve(jacobian @ jacobian.T, v)


@filter_jit
def along(phi: VectorMap, p: Float[Array, " k"], z: Float[Array, " d"], entrywise: bool) -> Float[Array, " k"]:
    """The parameters at dual z, counted from p; NaN where the curve ends before."""

    def noise(p: Float[Array, " k"]) -> Float[Array, " k"]:
        return jnp.full_like(p, _tiny(p)) if entrywise else _mixing_noise(phi, p, z)

    end, sound = integrate(lambda p: pulled_back(phi, p, z), p, 1.0, noise)
    return jnp.where(sound, end, jnp.nan)


@filter_jit
def towards(
    phi: VectorMap, p: Float[Array, " k"], w: Float[Array, " d"], entrywise: bool
) -> tuple[Float[Array, " k"], Float[Array, " d"], Float[Array, ""]]:
    r"""The parameters whose image is w, their dual z counted from p, and the potential :math:`\int z \cdot dw`.

    On a straight line in w at exponential speed, :math:`\dot w = w_{end} - w`: unlike at constant speed, small targets
    are met with small relative error, since the way to go is measured and not remembered. NaN where w is not reached.
    """
    d, k = w.size, p.size
    whole = jnp.abs(w - phi(p))

    def field(y: Float[Array, " n"]) -> Float[Array, " n"]:
        p, z = y[:k], y[k : k + d]
        rest = w - phi(p)
        c = duals(phi, p, rest, entrywise)
        return jnp.concatenate([pulled_back(phi, p, c), c, jnp.vdot(z, rest)[None]])

    def noise(y: Float[Array, " n"]) -> Float[Array, " n"]:
        of_p, of_z = _noise(phi, y[:k], w, entrywise)
        return jnp.concatenate([of_p, of_z, (_tiny(p) + jnp.vdot(of_z, whole))[None]])

    y = jnp.concatenate([p, jnp.zeros_like(w), jnp.zeros_like(w, shape=1)])
    y, sound = integrate(field, y, ARRIVAL, noise)
    p, z, value = y[:k], y[k : k + d], y[-1]
    last = duals(phi, p, w - phi(p), entrywise)
    # At the edge of the domain the dual runs off to infinity, and its last correction does not get small.
    sound = sound & jnp.all(jnp.abs(last) <= 1e4 * (RTOL * jnp.abs(z) + _noise(phi, p, w, entrywise)[1]))
    nan = jnp.nan
    return jnp.where(sound, p, nan), jnp.where(sound, z + last, nan), jnp.where(sound, value, nan)


def _noise(
    phi: VectorMap, p: Float[Array, " k"], w: Float[Array, " d"], entrywise: bool
) -> tuple[Float[Array, " k"], Float[Array, " d"]]:
    r"""How far rounding in :math:`\phi(p)`, which may be a small difference, moves parameters and duals that heed it.

    The terms of w_i are taken to be as large as w_i itself and :math:`|J_{ik} p_k|`, summed over k.
    """
    eps = 8 * jnp.finfo(p.dtype).eps
    if entrywise:
        slopes = pulled_back(phi, p, jnp.ones_like(w))
        terms = jnp.abs(phi(p)) + jax.jvp(phi, (p,), (jnp.sign(slopes) * jnp.abs(p),))[1]
        of_p = jnp.abs(pulled_back(phi, p, terms)) / jnp.where(slopes == 0, 1, slopes) ** 2
        return eps * of_p + _tiny(p), eps * jnp.abs(duals(phi, p, terms, True)) + _tiny(p)
    jacobian = jax.jacrev(phi)(p)
    terms = jnp.abs(phi(p)) + jnp.abs(jacobian) @ jnp.abs(p)
    smallest = jnp.linalg.eigvalsh(jacobian @ jacobian.T)[0]
    of_z = eps * jnp.max(terms) / smallest
    return _mixing_noise(phi, p, duals(phi, p, w - phi(p), False)), jnp.full_like(w, of_z)


def _mixing_noise(phi: VectorMap, p: Float[Array, " k"], z: Float[Array, " d"]) -> Float[Array, " k"]:
    """Rounding of parameters whose velocities are sums, in which terms cancel."""
    size = jnp.max(jnp.abs(p)) + jnp.max(jnp.abs(pulled_back(phi, p, z)))
    return jnp.full_like(p, jnp.finfo(p.dtype).eps * size) + _tiny(p)


def _tiny(x: Array) -> float:
    """A positive number that values can still be divided by."""
    return float(jnp.finfo(x.dtype).tiny) ** 0.5
