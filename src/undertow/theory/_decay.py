r"""What weight decay does to the start of a flow, where the map is homogeneous.

With decay at a rate :math:`\lambda(t)`, :math:`\dot p = -\lambda p - J(p)^T \nabla\ell(w)`. Let :math:`\Lambda` be the
integral of the rate so far and :math:`p = e^{-\Lambda} q`. Where w is homogeneous of degree L,
:math:`w(c p) = c^L w(p)` for c > 0, its Jacobian is so of degree L - 1, and

.. math:: \dot q = -e^{(2 - L) \Lambda} J(q)^T \nabla\ell(w):

q moves on the curves of the flow without decay, by a dual whose parts are weighted: for L = 2 all alike, otherwise by
when they come. A weighted sum of gradients is still in the row space of A, so that the set of points where p may end is
that of a flow without decay from :math:`e^{-\Lambda} p(0)`.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._programs import filter_jit
from .._validation import check_number
from ..parameterizations._base import Params
from ._curves import VectorMap
from ._structure import nearby

HOMOGENEOUS = 1e-8
"""A failure of Euler's identity below this share of its two terms is rounding."""
FURTHEST = 20.0
"""Decay to which the map is looked at: further down the ray, powers soon leave the range of numbers."""


def check_decay(decay: object) -> float:
    """The argument, as a float."""
    return float(check_number("decay", decay, 0))


def decayed(phi: VectorMap, params: Params, decay: float) -> Params:
    """The start without decay that is worth the same; ValueError where there is none that is known."""
    if decay == 0:
        return params
    if not is_homogeneous(phi, phi.vector(jnp.float64), decay):
        raise ValueError(
            f"decay: expected 0 for {type(phi.parameterization).__name__}, found {decay:g}; where weight decay leads "
            "is known for maps that are homogeneous, w(c p) = c^L w(p) with the same L for all entries of w, and this "
            "one is not"
        )
    return jax.tree.map(lambda x: np.exp(-decay) * x, params)


def is_homogeneous(phi: VectorMap, p: Float[Array, " k"], decay: float) -> bool:
    r"""Whether w is homogeneous, on the way from p to what decay makes of it.

    By Euler's identity :math:`J p = L w`, with one L, at random points near p and on the rays from them to zero.
    """
    rng = np.random.default_rng(0)
    degree = None
    for near in nearby(rng, lambda p: jnp.concatenate(_euler(phi, jnp.asarray(p))), np.asarray(p)):
        for share in (0.0, 0.5, 1.0):
            change, w = (np.asarray(x) for x in _euler(phi, jnp.asarray(np.exp(-share * min(decay, FURTHEST)) * near)))
            # In units of the largest, since squares of tiny entries are lost.
            size = np.max(np.abs(w), initial=0)
            if size == 0:
                continue  # too far down the ray for the range of numbers
            if not np.isfinite(size):
                return False
            if degree is None:
                degree = (change / size) @ (w / size) / ((w / size) @ (w / size))
            if not np.all(np.abs(change - degree * w) <= HOMOGENEOUS * (np.abs(change) + np.abs(degree * w))):
                return False
    return degree is not None


@filter_jit
def _euler(phi: VectorMap, p: Float[Array, " k"]) -> tuple[Float[Array, " d"], Float[Array, " d"]]:
    """``J p`` and w."""
    w, change = jax.jvp(phi, (p,), (p,))
    return change, w
