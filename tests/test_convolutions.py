"""Convolutions by patches and natively: the same numbers, and those of a sum written out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from undertow.networks import Convolution, TransposedConvolution, _convolution

RNG = np.random.default_rng(0)
# Height, width, inputs, outputs, kernel, stride, padding: those of the papers, and others.
SIZES = [
    (8, 8, 2, 3, 4, 2, 1),
    (2, 2, 3, 4, 2, 1, 0),
    (4, 4, 3, 1, 1, 1, 0),
    (7, 5, 2, 2, 3, 2, 1),
    (9, 6, 1, 2, 5, 3, 2),
]


def draw(height, width, inputs, outputs, kernel):
    return (
        jnp.asarray(RNG.normal(size=(height, width, inputs))),
        jnp.asarray(RNG.normal(size=(kernel, kernel, inputs, outputs))),
    )


def by_hand(image, weight, stride, padding):
    k, size = weight.shape[0], image.shape
    padded = np.pad(image, [(padding, padding)] * 2 + [(0, 0)])
    rows, columns = ((n + 2 * padding - k) // stride + 1 for n in size[:2])
    out = np.zeros((rows, columns, weight.shape[3]))
    for i in range(rows):
        for j in range(columns):
            patch = padded[i * stride : i * stride + k, j * stride : j * stride + k]
            out[i, j] = np.einsum("abi,abio->o", patch, weight)
    return out


def transposed_by_hand(image, weight, stride, padding):
    k, (rows, columns) = weight.shape[0], image.shape[:2]
    out = np.zeros((stride * (rows - 1) + k, stride * (columns - 1) + k, weight.shape[3]))
    for i in range(rows):
        for j in range(columns):
            out[i * stride : i * stride + k, j * stride : j * stride + k] += np.einsum(
                "i,abio->abo", image[i, j], weight
            )
    return out[padding : out.shape[0] - padding, padding : out.shape[1] - padding]


WAYS = [
    (by_hand, _convolution.by_patches, _convolution.natively, _convolution.convolve),
    (
        transposed_by_hand,
        _convolution.transposed_by_patches,
        _convolution.transposed_natively,
        _convolution.convolve_transposed,
    ),
]


@pytest.mark.parametrize("ways", WAYS, ids=["convolution", "transposed"])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_all_ways_give_the_same_numbers(sizes, ways):
    *size, stride, padding = sizes
    image, weight = draw(*size)
    expected = ways[0](np.asarray(image), np.asarray(weight), stride, padding)
    for way in ways[1:]:
        np.testing.assert_allclose(way(image, weight, stride, padding), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("ways", WAYS, ids=["convolution", "transposed"])
def test_all_ways_have_the_same_derivatives_of_many_images(ways):
    """A sum of squares, over a batch, by both arguments."""
    image, weight = draw(8, 6, 2, 3, 4)
    images = jnp.stack([image, 2 * image, -image])

    def slopes(way):
        total = lambda x, w: jnp.sum(jax.vmap(lambda one: way(one, w, 2, 1))(x) ** 2)
        return jax.jit(jax.grad(total, argnums=(0, 1)))(images, weight)

    expected = slopes(ways[2])
    for way in (ways[1], ways[3]):
        for a, b in zip(slopes(way), expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11)


def test_the_transpose_is_one():
    """<conv(x), y> = <x, conv_T(y)>, with input and output channels exchanged."""
    image, weight = draw(8, 8, 2, 3, 4)
    y = jnp.asarray(RNG.normal(size=(4, 4, 3)))
    left = jnp.vdot(_convolution.by_patches(image, weight, 2, 1), y)
    right = jnp.vdot(image, _convolution.transposed_by_patches(y, jnp.swapaxes(weight, 2, 3), 2, 1))
    np.testing.assert_allclose(left, right, rtol=1e-12)


@pytest.mark.parametrize(("layer", "fan"), [(Convolution, 3 * 16), (TransposedConvolution, 5 * 16)])
def test_weights_and_bias_are_uniform_within_their_bound(layer, fan):
    made = layer(3, 5, kernel=4, stride=2, padding=1, key=jax.random.key(0))
    for array in (made.weight, made.bias):
        assert np.abs(array).max() <= fan**-0.5
    assert np.abs(made.weight).max() > 0.95 * fan**-0.5
    assert np.std(made.weight) == pytest.approx((3 * fan) ** -0.5, rel=0.1)  # 240 draws


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((0, 1, 3), "inputs: expected an integer of at least 1"),
        ((1, 1, 0), "kernel: expected an integer of at least 1"),
        ((1, 1, 3, 0), "stride: expected an integer of at least 1"),
        ((1, 1, 3, 1, -1), "padding: expected an integer of at least 0"),
    ],
)
def test_wrong_sizes_are_named(sizes, message):
    for layer in (Convolution, TransposedConvolution):
        with pytest.raises(ValueError, match=message):
            layer(*sizes, key=jax.random.key(0))


def test_padding_that_leaves_nothing_and_images_that_are_too_small_are_named():
    with pytest.raises(ValueError, match="padding: expected less than the kernel 2, found 2"):
        TransposedConvolution(1, 1, 2, 1, 2, key=jax.random.key(0))
    layer = Convolution(1, 1, 4, key=jax.random.key(0))
    with pytest.raises(ValueError, match="image: expected at least 4 pixels along each side, found"):
        layer(jnp.zeros((3, 5, 1)))
    with pytest.raises(ValueError, match="image: expected 1 channel"):
        layer(jnp.zeros((5, 5, 2)))
