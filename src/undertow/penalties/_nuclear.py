"""The nuclear norm, and what is left of it where the scale has no say."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from ._base import OfMatrices
from ._norms import check_weight
from ._singular_values import in_units, inner_with_polar, polar_of


class Nuclear(OfMatrices):
    r"""The sum of singular values: :math:`\lambda |W|_*`.

    Its gradient is :math:`\lambda U V^T` over the nonzero singular values. Where some are zero (to rounding, as
    ``linalg.polar_factor`` counts them) the subgradients are :math:`\lambda (U V^T + F)` with :math:`U^T F = 0`,
    :math:`F V = 0` and no singular value of F above 1; this is the one of least norm, 0 at zero. In float32 it is found
    by matrix products where they are faster ("polar_express" there, with the accuracy stated), so that a step of
    descent decomposes nothing.

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

    def __call__(self, w: Float[Array, "..."]) -> Float[Array, ""]:
        self.check_shape("w", w.shape)
        return self.value_by(polar_of(w), w)

    def value_by(self, polar: Float[Array, "m n"], w: Float[Array, "m n"]) -> Float[Array, ""]:
        r"""The value by the polar factor Q of w, if that is known: :math:`\lambda \langle Q, W \rangle`.

        The gradient is :math:`\lambda Q`, and no singular values are asked for. Both are as right as Q is; how Q moves
        with w, which derivatives of second order need, has to come with Q.
        """
        w, unit = in_units(w)
        return self.weight.astype(w.dtype) * (unit * inner_with_polar(polar, w))


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

    def __call__(self, w: Float[Array, "..."]) -> Float[Array, ""]:
        self.check_shape("w", w.shape)
        return self.value_by(polar_of(w), w)

    def value_by(self, polar: Float[Array, "m n"], w: Float[Array, "m n"]) -> Float[Array, ""]:
        r"""The value by the polar factor Q of w, if that is known: :math:`\lambda \langle Q, W \rangle / |W|_F`.

        As for ``Nuclear``. The gradient is orthogonal to W to rounding, whatever Q is; zero stays 0 with gradient 0.
        """
        w, _ = in_units(w)
        squares = jnp.sum(w * w)
        zero = squares == 0
        ratio = inner_with_polar(polar, w) / jnp.sqrt(jnp.where(zero, 1, squares))
        return self.weight.astype(w.dtype) * jnp.where(zero, 0, ratio)
