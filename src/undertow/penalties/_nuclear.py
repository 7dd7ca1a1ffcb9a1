"""The nuclear norm, and what is left of it where the scale has no say."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from ._base import OfMatrices
from ._norms import check_weight
from ._singular_values import norm_of, ratio_of


class Nuclear(OfMatrices):
    r"""The sum of singular values: :math:`\lambda |W|_*`.

    Its gradient is :math:`\lambda U V^T` over the nonzero singular values; where one is zero (to rounding) this is the
    subgradient of least norm.

    Parameters
    ----------
    weight
        :math:`\lambda`, at least 0.

    Raises
    ------
    TypeError, ValueError
        If ``weight`` is not a finite number of at least 0; before a run, if w is no matrix.

    References
    ----------
    Watson. Characterization of the subdifferential of some matrix norms. Linear Algebra and its Applications 1992.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> float(Nuclear(2.0)(jnp.array([[3.0, 0.0], [0.0, -4.0]])))
    14.0
    """

    weight: Float[Array, ""]

    def __init__(self, weight: Any):
        self.weight = check_weight(weight)

    def __call__(self, w: Float[Array, "m n"]) -> Float[Array, ""]:
        return self.weight.astype(w.dtype) * norm_of(w, jnp.ones((), w.dtype))


class NuclearFrobeniusRatio(OfMatrices):
    r"""Nuclear over Frobenius norm: :math:`\lambda |W|_* / |W|_F`, between 1 and the root of the rank.

    It is the same for all multiples of W, so that its gradient,
    :math:`U V^T / |W|_F - |W|_* W / |W|_F^3`, is orthogonal to W: singular values below :math:`|W|_F^2 / |W|_*` shrink
    and those above grow. The gradient is the larger the smaller W is, without bound, and W grows by every step along
    it that is not infinitesimal. Neither convex nor quasi-convex. At zero it has no limit, and is 0 with gradient 0.

    Parameters
    ----------
    weight
        :math:`\lambda`, at least 0.

    Raises
    ------
    TypeError, ValueError
        If ``weight`` is not a finite number of at least 0; before a run, if w is no matrix.

    References
    ----------
    Zhao. Combining Explicit and Implicit Regularization for Efficient Learning in Deep Networks. NeurIPS 2022,
    arXiv:2306.00342.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> round(float(NuclearFrobeniusRatio(1.0)(jnp.array([[3.0, 0.0], [0.0, -4.0]]))), 4)
    1.4
    """

    weight: Float[Array, ""]

    def __init__(self, weight: Any):
        self.weight = check_weight(weight)

    def __call__(self, w: Float[Array, "m n"]) -> Float[Array, ""]:
        return self.weight.astype(w.dtype) * ratio_of(w, jnp.ones((), w.dtype), jnp.full((), 2, w.dtype))
