"""What the studies of norms that go to infinity share: the published settings, and starts of a given sign.

All entries of a matrix are seen but one. In the smallest case W_12 = W_21 = 1 and W_22 = 0, so that every solution has
determinant -1, whatever W_11. Balanced gradient flow keeps the sign of the determinant; from a positive one it can
fit only in the limit, and then W_11 has to grow without bound while W approaches rank one.
"""

from typing import Any

import jax
import jax.numpy as jnp

SOURCE = (
    "N. Razin, N. Cohen, Implicit Regularization in Deep Learning May Not Be Explainable by Norms, NeurIPS 2020 "
    "(arXiv 2005.06398)"
)
# Depth -> learning rates and the standard deviations of the entries of W(0) that the paper's figures are made with.
PUBLISHED = {2: ((6e-3, 1e-5), (3e-3, 1e-6)), 3: ((6e-3, 1e-5), (3e-3, 1e-6)), 4: ((3e-3, 1e-3), (1.5e-3, 1e-4))}


def start(key: Any, scale: Any, sign: int, size: int = 2) -> jax.Array:
    """W(0): independent normal entries of standard deviation ``scale``; a row flipped where its sign is another."""
    w = scale * jax.random.normal(key, (size, size))
    return w.at[0].multiply(sign * jnp.sign(jnp.linalg.det(w / scale)))
