"""Linear convolutional networks: circular convolutions of filters as wide as the signal."""

import functools
import math

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Complex, Float

from .._arrays import normal
from .._validation import Numbers, check_choice, check_integer
from ._base import Parameterization, check_scale, check_w, draw_entries


class LinearConvolution(Parameterization):
    r"""Circular convolutions :math:`w = u_1 * \cdots * u_N` of vectors of length D, params of shape ``(N, D)``.

    With :math:`(a * b)_k = D^{-1/2} \sum_j a_j b_{(k - j) \bmod D}` and the orthonormal discrete Fourier transform
    :math:`(F a)_k = D^{-1/2} \sum_j a_j e^{-2 \pi i j k / D}` that is a product in frequency,
    :math:`(F w)_k = \prod_j (F u_j)_k`: a diagonal network of complex weights.

    Differences :math:`|(F u_j)_k|^2 - |(F u_l)_k|^2` are conserved along the flow. Where they are zero (balanced),
    :math:`\frac{d}{dt} (F w)_k = -N |(F w)_k|^{2 - 2/N}\, (F \nabla \ell(w))_k`. On separable data, by a loss that
    reaches zero at infinity only, the direction of w becomes stationary for the least
    :math:`\sum_k |(F w)_k|^{2/N}` at unit margin: at depth 2 it has the least l1 norm in frequency.

    Parameters
    ----------
    size
        D, the length of w and of every filter.
    depth
        N, the number of filters, at least 1.
    initialization
        How w(0) is drawn; in each case its entries have root-mean-square size ``scale``. "gaussian": every filter is
        N(0, scale^(2/N)), independent. Unbalanced. "balanced": w(0) is N(0, scale^2), lifted. "identity": every filter
        is the same multiple of the one that convolves to the same signal, (1, 0, ..., 0), so that all of
        :math:`F w(0)` is ``scale``. Balanced.

    Raises
    ------
    TypeError, ValueError
        If ``size`` or ``depth`` is not a positive integer, or ``initialization`` is unknown.

    Notes
    -----
    ``lift`` gives the balanced preimage: filters of equal modulus at every frequency, the phase in the first, so that
    the others are symmetric, :math:`u_k = u_{-k}`. Frequencies at which w is zero are zero in all filters.

    Gunasekar et al. write a layer as the cross-correlation
    :math:`(u \star h)_k = D^{-1/2} \sum_j u_j h_{(k + j) \bmod D}` with the signal h, which multiplies by the conjugate
    of :math:`F u`, and the last layer as an inner product, which conjugates once more. So the vector w by which their
    network acts, :math:`x \mapsto \langle w, x \rangle`, has :math:`F w = \prod_j F u_j` too: it is this one, with
    nothing reversed.

    References
    ----------
    Gunasekar, Lee, Soudry, Srebro. Implicit Bias of Gradient Descent on Linear Convolutional Networks. NeurIPS 2018,
    Theorem 2.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> phi = LinearConvolution(4, depth=2)
    >>> shift, signal = jnp.array([0.0, 2.0, 0.0, 0.0]), jnp.array([1.0, 2.0, 3.0, 4.0])
    >>> phi(jnp.stack([shift, signal])).round(4).tolist()  # 2 / sqrt(4) times the signal, one to the right
    [4.0, 1.0, 2.0, 3.0]
    """

    shape: tuple[int, ...] = eqx.field(static=True)
    depth: int = eqx.field(static=True)
    initialization: str = eqx.field(static=True)

    def __init__(self, size: int, depth: int, initialization: str = "gaussian"):
        self.shape = (check_integer("size", size, 1),)
        self.depth = check_integer("depth", depth, 1)
        self.initialization = check_choice("initialization", initialization, ("gaussian", "balanced", "identity"))

    def init(self, key: Array, scale: ArrayLike) -> Float[Array, "depth size"]:
        scale = jnp.asarray(check_scale(scale), dtype=jnp.result_type(float))
        (size,) = self.shape
        root = scale ** (1 / self.depth)
        if self.initialization == "gaussian":  # E |(F u)_k|^2 is the variance of an entry of u
            return normal(key, (self.depth, size), root)
        if self.initialization == "identity":
            return jnp.zeros((self.depth, size)).at[:, 0].set(root * math.sqrt(size))
        return self.lift(draw_entries(key, self.shape, scale, "gaussian"))

    def __call__(self, params: Float[Array, "depth size"]) -> Float[Array, " size"]:
        if self.depth == 1:
            return params[0]
        filters = _spectrum(params)
        return self._signal(functools.reduce(jnp.multiply, [filters[j] for j in range(self.depth)]))

    def lift(self, w: Numbers) -> Float[Array, "depth size"]:
        w = check_w(w, self.shape)
        if self.depth == 1:
            return w[None]
        spectrum = _spectrum(w)
        modulus = jnp.abs(spectrum) ** (1 / self.depth)
        other = modulus.astype(spectrum.dtype)
        return self._signal(jnp.stack([jnp.sign(spectrum) * other, *[other] * (self.depth - 1)]))

    def _signal(self, spectrum: Complex[Array, "... half"]) -> Float[Array, "... size"]:
        return jnp.fft.irfft(spectrum, n=self.shape[0], norm="ortho")


def _spectrum(signal: Float[Array, "... size"]) -> Complex[Array, "... half"]:
    """The half of the orthonormal transform that tells the rest, by conjugation, of real vectors."""
    return jnp.fft.rfft(signal, norm="ortho")
