"""Schatten norms of any exponent, and their ratios."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from .._validation import check_number, is_traced
from ._base import OfMatrices
from ._norms import check_weight
from ._singular_values import norm_of, ratio_of


def _exponent(name: str, value: Any) -> Array:
    return jnp.asarray(check_number(name, value, 0, exclusive=True), jnp.result_type(float))


class SchattenQuasiNorm(OfMatrices):
    r""":math:`\lambda |W|_p = \lambda (\sum_r \sigma_r^p)^{1/p}`; a norm from p = 1 on, the nuclear norm there.

    The smaller p is, the nearer :math:`|W|_p^p` to the rank. For p < 1 the value grows from a singular value of zero
    with infinite slope: along those that are zero (to rounding) every matrix is a subgradient, and the gradient here
    has 0 there, so that they stay zero unless the loss moves them.

    Parameters
    ----------
    weight
        :math:`\lambda`, at least 0.
    p
        The exponent, above 0.

    Raises
    ------
    TypeError, ValueError
        If ``weight`` is not a finite number of at least 0, or ``p`` not one above 0; before a run, if w is no matrix.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> round(float(SchattenQuasiNorm(1.0, p=0.5)(jnp.array([[9.0, 0.0], [0.0, -4.0]]))), 4)
    25.0
    """

    weight: Float[Array, ""]
    p: Float[Array, ""]

    def __init__(self, weight: Any, p: Any):
        self.weight, self.p = check_weight(weight), _exponent("p", p)

    def __call__(self, w: Float[Array, "..."]) -> Float[Array, ""]:
        self.check_shape("w", w.shape)
        return self.weight.astype(w.dtype) * norm_of(w, self.p.astype(w.dtype))


class SchattenRatio(OfMatrices):
    r""":math:`\lambda |W|_p / |W|_q` with p < q: at least 1, which rank one alone has, and the same for all multiples.

    ``NuclearFrobeniusRatio`` is that of p = 1 and q = 2; what is said there of its gradient holds here, and for p < 1
    what ``SchattenQuasiNorm`` says.

    Parameters
    ----------
    weight
        :math:`\lambda`, at least 0.
    p, q
        The exponents, 0 < p < q.

    Raises
    ------
    TypeError, ValueError
        If ``weight`` is not a finite number of at least 0, or the exponents are not as they have to be; before a run,
        if w is no matrix.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> round(float(SchattenRatio(1.0, p=1, q=2)(jnp.array([[3.0, 0.0], [0.0, -4.0]]))), 4)
    1.4
    """

    weight: Float[Array, ""]
    p: Float[Array, ""]
    q: Float[Array, ""]

    def __init__(self, weight: Any, p: Any, q: Any):
        self.weight, self.p, self.q = check_weight(weight), _exponent("p", p), _exponent("q", q)
        if not is_traced(p) and not is_traced(q) and not self.p < self.q:
            raise ValueError(f"q: expected a number above p, found p = {p} and q = {q}")

    def __call__(self, w: Float[Array, "..."]) -> Float[Array, ""]:
        self.check_shape("w", w.shape)
        return self.weight.astype(w.dtype) * ratio_of(w, self.p.astype(w.dtype), self.q.astype(w.dtype))
