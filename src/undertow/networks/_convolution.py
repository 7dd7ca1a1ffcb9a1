"""Convolutions of one image, by what is fast where they run.

On a CPU a convolution is patches and one matrix product: with stride s, an image whose s x s blocks have become
channels is convolved with stride 1 by a kernel of ceil(k / s) blocks, whose patches are a few shifted views side by
side. A transposed convolution is the same backwards: the product gives s x s blocks of the output. On an accelerator
the native convolution is the fast path. Both give the same numbers; ``by_platform`` is where it is chosen.
"""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._repr import shown
from .._validation import check_integer

Image = Float[Array, "_ _ _"]
Kernel = Float[Array, "_ _ _ _"]


def by_platform(patches: Callable[..., Array], native: Callable[..., Array], *args: Array) -> Array:
    """The one for the platform that a program is compiled for."""
    return jax.lax.platform_dependent(*args, cpu=patches, default=native)


def convolve(image: Image, kernel: Kernel, stride: int, padding: int) -> Image:
    """The convolution (in the sense of networks: a correlation) of an image that is padded with zeros on all sides."""
    how = {"stride": stride, "padding": padding}
    return by_platform(functools.partial(by_patches, **how), functools.partial(natively, **how), image, kernel)


def convolve_transposed(image: Image, kernel: Kernel, stride: int, padding: int) -> Image:
    """The transpose of ``convolve`` as a linear map, with kernel[a, b, i, o] from input channel i to output o."""
    how = {"stride": stride, "padding": padding}
    patches = functools.partial(transposed_by_patches, **how)
    return by_platform(patches, functools.partial(transposed_natively, **how), image, kernel)


def by_patches(image: Image, kernel: Kernel, stride: int, padding: int) -> Image:
    """``convolve`` as one matrix product."""
    k, _, inputs, outputs = kernel.shape
    across = -(-k // stride)  # blocks that a kernel touches
    height, width = image.shape[0], image.shape[1]
    rows, columns = ((n + 2 * padding - k) // stride + 1 for n in (height, width))
    # What is beyond the last kernel is cut off, and what the last block lacks filled up.
    after = [(n + across - 1) * stride - size - padding for n, size in ((rows, height), (columns, width))]
    zero = jnp.zeros((), image.dtype)
    padded = jax.lax.pad(image, zero, [(padding, after[0], 0), (padding, after[1], 0), (0, 0, 0)])
    blocks = _filled(kernel, across * stride).reshape(across, stride, across, stride, inputs, outputs)
    matrix = blocks.transpose(0, 2, 1, 3, 4, 5).reshape(-1, outputs)
    return _views(_blocks_to_channels(padded, stride), across) @ matrix


def transposed_by_patches(image: Image, kernel: Kernel, stride: int, padding: int) -> Image:
    """``convolve_transposed`` as one matrix product."""
    k, _, inputs, outputs = kernel.shape
    across = -(-k // stride)
    height, width = image.shape[0], image.shape[1]
    blocks = _filled(kernel, across * stride).reshape(across, stride, across, stride, inputs, outputs)
    # Block b of the output sums over the pixels b, b - 1, ...: the views, from the farthest one on.
    matrix = blocks[::-1, :, ::-1].transpose(0, 2, 4, 1, 3, 5).reshape(-1, stride * stride * outputs)
    views = _views(jnp.pad(image, [(across - 1, across - 1)] * 2 + [(0, 0)]), across)
    whole = _channels_to_blocks(views @ matrix, stride)
    rows, columns = (stride * (n - 1) + k - 2 * padding for n in (height, width))
    return whole[padding : padding + rows, padding : padding + columns]


def natively(image: Image, kernel: Kernel, stride: int, padding: int) -> Image:
    """``convolve`` by XLA's own."""
    return _convolution(image, kernel, window_strides=(stride, stride), padding=[(padding, padding)] * 2)


def transposed_natively(image: Image, kernel: Kernel, stride: int, padding: int) -> Image:
    """``convolve_transposed`` by XLA's own."""
    around = kernel.shape[0] - 1 - padding
    flipped = kernel[::-1, ::-1]
    return _convolution(
        image, flipped, window_strides=(1, 1), padding=[(around, around)] * 2, lhs_dilation=(stride, stride)
    )


def _convolution(image: Image, kernel: Kernel, **how: Any) -> Image:
    axes = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(image[None], kernel, dimension_numbers=axes, **how)[0]


def _filled(kernel: Kernel, size: int) -> Kernel:
    """With zeros behind, up to ``size`` x ``size``."""
    missing = size - kernel.shape[0]
    return jnp.pad(kernel, [(0, missing)] * 2 + [(0, 0)] * 2)


def _views(image: Image, across: int) -> Image:
    """Beside each other in the channels, the pixels of each ``across`` x ``across`` square."""
    if across == 1:
        return image
    rows, columns = image.shape[0] - across + 1, image.shape[1] - across + 1
    shifts = [(i, j) for i in range(across) for j in range(across)]
    return jnp.concatenate([image[i : i + rows, j : j + columns] for i, j in shifts], axis=-1)


def _blocks_to_channels(image: Image, size: int) -> Image:
    rows, columns, channels = image.shape[0] // size, image.shape[1] // size, image.shape[2]
    blocks = image.reshape(rows, size, columns, size, channels).transpose(0, 2, 1, 3, 4)
    return blocks.reshape(rows, columns, size * size * channels)


def _channels_to_blocks(image: Image, size: int) -> Image:
    rows, columns, channels = image.shape[0], image.shape[1], image.shape[2] // size**2
    blocks = image.reshape(rows, columns, size, size, channels).transpose(0, 2, 1, 3, 4)
    return blocks.reshape(rows * size, columns * size, channels)


class Convolution(eqx.Module):
    r"""A convolution of an image (height, width, channels) and a bias.

    Weights and bias are drawn from :math:`U(-1/\sqrt f, 1/\sqrt f)`, f = inputs * kernel^2, as the framework of the
    papers does by default.

    Parameters
    ----------
    inputs, outputs
        Channels.
    kernel, stride, padding
        Pixels along each side.
    key
        The random key of the weights.

    Raises
    ------
    TypeError, ValueError
        If a size is not a positive integer, or the padding a negative one; when called, if the image is too small or
        has other channels.

    Examples
    --------
    >>> import jax
    >>> import jax.numpy as jnp
    >>> halve = Convolution(3, 8, kernel=4, stride=2, padding=1, key=jax.random.key(0))
    >>> halve(jnp.zeros((32, 32, 3))).shape
    (16, 16, 8)
    """

    weight: Kernel
    bias: Float[Array, " _"]
    stride: int = eqx.field(static=True)
    padding: int = eqx.field(static=True)

    def __repr__(self) -> str:
        return shown(self)

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0, *, key: Array):
        kernel, self.stride, self.padding = _check_sizes(inputs, outputs, kernel, stride, padding)
        self.weight, self.bias = _draw(key, (kernel, kernel, inputs, outputs), inputs * kernel**2)

    def __call__(self, image: Image, *, key: Array | None = None) -> Image:
        del key  # which layers of equinox are all given
        _check_image(image, self.weight, self.weight.shape[0] - 2 * self.padding)
        return convolve(image, self.weight, self.stride, self.padding) + self.bias[None, None]


class TransposedConvolution(eqx.Module):
    r"""A transposed convolution of an image (height, width, channels) and a bias.

    Weights and bias are drawn from :math:`U(-1/\sqrt f, 1/\sqrt f)`, f = outputs * kernel^2, as the framework of the
    papers does by default.

    Parameters
    ----------
    inputs, outputs
        Channels.
    kernel, stride, padding
        Pixels along each side: n of them become stride * (n - 1) + kernel - 2 * padding.
    key
        The random key of the weights.

    Raises
    ------
    TypeError, ValueError
        If a size is not a positive integer, or the padding not from 0 to the kernel less 1; when called, if the image
        has other channels.

    Examples
    --------
    >>> import jax
    >>> import jax.numpy as jnp
    >>> double = TransposedConvolution(8, 3, kernel=4, stride=2, padding=1, key=jax.random.key(0))
    >>> double(jnp.zeros((16, 16, 8))).shape
    (32, 32, 3)
    """

    weight: Kernel
    bias: Float[Array, " _"]
    stride: int = eqx.field(static=True)
    padding: int = eqx.field(static=True)

    def __repr__(self) -> str:
        return shown(self)

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0, *, key: Array):
        kernel, self.stride, self.padding = _check_sizes(inputs, outputs, kernel, stride, padding)
        if padding >= kernel:
            raise ValueError(f"padding: expected less than the kernel {kernel}, found {padding}")
        self.weight, self.bias = _draw(key, (kernel, kernel, inputs, outputs), outputs * kernel**2)

    def __call__(self, image: Image, *, key: Array | None = None) -> Image:
        del key
        _check_image(image, self.weight, 1)
        return convolve_transposed(image, self.weight, self.stride, self.padding) + self.bias[None, None]


def _check_sizes(inputs: int, outputs: int, kernel: int, stride: int, padding: int) -> tuple[int, int, int]:
    check_integer("inputs", inputs, 1)
    check_integer("outputs", outputs, 1)
    return check_integer("kernel", kernel, 1), check_integer("stride", stride, 1), check_integer("padding", padding, 0)


def _check_image(image: Image, weight: Kernel, least: int) -> None:
    channels = weight.shape[2]
    if image.shape[2] != channels:
        raise ValueError(f"image: expected {channels} channel(s), found shape {image.shape}")
    if min(image.shape[:2]) < least:
        raise ValueError(f"image: expected at least {least} pixels along each side, found shape {image.shape}")


def _draw(key: Array, shape: tuple[int, ...], fan: int) -> tuple[Array, Array]:
    of_weight, of_bias = jax.random.split(key)
    bound = fan**-0.5
    weight = jax.random.uniform(of_weight, shape, minval=-bound, maxval=bound)
    return weight, jax.random.uniform(of_bias, shape[-1:], minval=-bound, maxval=bound)
