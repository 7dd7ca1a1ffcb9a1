r"""What every potential offers.

A potential :math:`\phi` is strictly convex and differentiable inside its domain. Its gradient, the mirror map, takes w
to its dual. Mirror descent and mirror flow are gradient descent and gradient flow of the dual,
:math:`\nabla\phi(w^+) = \nabla\phi(w) - \eta \nabla \ell(w)`, and what they fit exactly they fit at the smallest
Bregman divergence from where they started.
"""

import abc
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from .._repr import shown
from .._validation import Numbers, check_array, is_traced


class Potential(eqx.Module):
    r"""A strictly convex function :math:`\phi` of w.

    Laws, tested for every one: ``inverse_gradient(gradient(w)) == w`` inside the domain, and the other way round on
    every dual that is a gradient; ``divergence`` is positive but where its arguments are equal.
    """

    def __repr__(self) -> str:
        return shown(self)

    @property
    @abc.abstractmethod
    def domain(self) -> str:
        """What w may be, in words: "all reals", "positive", ..."""

    @abc.abstractmethod
    def __call__(self, w: Float[Array, "..."]) -> Float[Array, ""]:
        """The value; finite on the boundary of the domain where the potential is."""

    @abc.abstractmethod
    def gradient(self, w: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """The mirror map, from the interior of the domain to duals."""

    @abc.abstractmethod
    def inverse_gradient(self, dual: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """The w whose gradient is ``dual``; where there is none, the end of the domain beyond which it lies."""

    @abc.abstractmethod
    def contains(self, w: Float[Array, "..."]) -> Bool[Array, ""]:
        """Whether w is inside the domain, and not on its boundary."""

    @abc.abstractmethod
    def divergence(self, x: Float[Array, "*shape"], z: Float[Array, "*shape"]) -> Float[Array, ""]:
        """The Bregman divergence of x from z, as ``bregman_divergence`` says, without its checks."""

    @property
    def acts_entrywise(self) -> bool:
        """Whether an entry of the gradient depends on the same entry of w alone."""
        return False

    @property
    def degree(self) -> Any:
        r"""The n of :math:`\phi(c w) = c^n \phi(w)` for every c > 0, by which projections scale; None without one."""
        return None

    def counted_from(self, dual: Float[Array, "*shape"]) -> "Potential | None":
        """The same potential less a linear function: of gradient zero at the w of this dual. None where it is no gain.

        For potentials whose duals round to the same end far from where they are counted from.
        """
        return None


class Entrywise(Potential):
    r"""A sum :math:`\phi(w) = \sum_i \varphi(w_i)` over the entries of an array of any shape."""

    @property
    def acts_entrywise(self) -> bool:
        return True

    @property
    @abc.abstractmethod
    def interval(self) -> tuple[float, float]:
        """Ends of the open interval that every entry is in."""

    @abc.abstractmethod
    def values(self, w: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """The value at each entry."""

    def divergences(self, x: Float[Array, "*shape"], z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        r"""The divergence of each entry of x from that of z; overridden where a closed form is better.

        By its definition, which loses to cancellation where x is near z, or as the integral
        :math:`(x-z)^2 \int_0^1 (1-t)\, \varphi''(z + t(x-z))\, dt` by Gauss, which is good just there: whichever is
        expected to be more exact.
        """
        step = x - z
        slope = self.gradient(z) * step
        value_x, value_z = self.values(x), self.values(z)
        definition = value_x - value_z - slope
        eps = jnp.finfo(x.dtype).eps
        rounding = eps * (jnp.abs(value_x) + jnp.abs(value_z) + jnp.abs(slope))

        def curvature(t: Array) -> Array:
            return step * jax.jvp(self.gradient, (z + t * step,), (step,))[1]

        def integral(nodes: int) -> Array:
            points, weights = np.polynomial.legendre.leggauss(nodes)
            t = jnp.asarray((1 + points) / 2, x.dtype)
            return jnp.tensordot((1 - t) * jnp.asarray(weights / 2, x.dtype), jax.vmap(curvature)(t), axes=1)

        fine = integral(12)
        near = jnp.abs(fine - integral(8)) + eps * jnp.abs(fine) < rounding
        return jnp.where(near, fine, jnp.maximum(definition, 0))

    def __call__(self, w: Float[Array, "..."]) -> Float[Array, ""]:
        return jnp.sum(self.values(w))

    def contains(self, w: Float[Array, "..."]) -> Bool[Array, ""]:
        lower, upper = self.interval
        return jnp.all((w > lower) & (w < upper))

    def divergence(self, x: Float[Array, "*shape"], z: Float[Array, "*shape"]) -> Float[Array, ""]:
        return jnp.sum(self.divergences(x, z))

    @property
    def domain(self) -> str:
        lower, upper = self.interval
        if (lower, upper) == (-math.inf, math.inf):
            return "all reals"
        if upper == math.inf:
            return "positive" if lower == 0 else f"above {lower:g}"
        return f"below {upper:g}" if lower == -math.inf else f"between {lower:g} and {upper:g}"


def bregman_divergence(potential: Potential, x: Numbers, z: Numbers) -> Float[Array, ""]:
    r"""The Bregman divergence :math:`D(x, z) = \phi(x) - \phi(z) - \langle \nabla\phi(z), x - z \rangle`.

    How far x is from z as the potential sees it: not negative, zero where x = z alone, convex in x, and as a rule not
    symmetric. Computed without the cancellation of the definition where x is near z.

    Parameters
    ----------
    potential
        One of ``undertow.potentials``.
    x
        Where to; may be on the boundary of the domain, where the divergence can be finite: with entropy,
        D(0, z) = z. Infinite outside of the domain.
    z
        Where from, inside the domain; of the shape of x.

    Returns
    -------
    The divergence. Goes through ``jit``, ``vmap`` and ``grad``.

    Raises
    ------
    TypeError, ValueError
        If ``potential`` is none, an argument is no array of finite numbers, the shapes differ, or ``z`` is not inside
        the domain.

    References
    ----------
    Bregman. The relaxation method of finding the common point of convex sets. USSR Comput. Math. Math. Phys. 1967.

    Examples
    --------
    >>> import undertow.potentials
    >>> float(bregman_divergence(undertow.potentials.Entropy(), [0.0, 2.0], [1.0, 2.0]))
    1.0
    """
    if not isinstance(potential, Potential):
        raise TypeError(f"potential: expected an undertow.potentials.Potential, found {type(potential).__name__}")
    x, z = check_array("x", x), check_array("z", z)
    if x.shape != z.shape:
        raise ValueError(f"z: expected the shape of x, {x.shape}, found {z.shape}")
    dtype = jnp.result_type(x, z)
    x, z = x.astype(dtype), z.astype(dtype)
    check_inside("z", potential, z)
    return potential.divergence(x, z)


def check_inside(name: str, potential: Potential, w: Float[Array, "..."]) -> None:
    """Raise ValueError where ``w`` is known and not inside the domain of the potential."""
    inside = potential.contains(w)
    if not is_traced(inside) and not bool(inside):
        kind = type(potential).__name__
        raise ValueError(
            f"{name}: expected a point inside the domain of {kind} ({potential.domain}), found entries from "
            f"{float(jnp.min(w)):g} to {float(jnp.max(w)):g}"
        )
