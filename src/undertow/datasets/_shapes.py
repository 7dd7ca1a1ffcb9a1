"""Pictures of one shape each, of which it is known in how many ways they differ; and margins for images."""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float32, PRNGKeyArray, UInt8, UInt32

from undertow._repr import shown
from undertow._validation import as_key, check_choice, check_integer

Key = PRNGKeyArray | UInt32[Array, "2"] | int

SIDE = 32
FACTORS = ("red", "green", "blue", "x", "y", "size", "square")
"""What a picture is made from, in the order of the columns of ``ShapeImages.factors``."""
PARTS = ("train", "validation", "test")
_CENTERS, _SIZES = (8, 24), (3, 8)
_TOGETHER = 4096


class ShapeImages(NamedTuple):
    """Pictures of one coloured shape each on black, and what each was made from.

    Parameters
    ----------
    images
        32 x 32 pixels in red, green and blue.
    factors
        A row for each picture: its three colours from 0 to 1, x (columns) and y (rows) in pixels, its size in pixels,
        and whether it is a square (1) or a circle (0).
    """

    images: UInt8[np.ndarray, "n 32 32 3"]
    factors: Float32[np.ndarray, "n 7"]

    def __repr__(self) -> str:
        return shown(self)


def shape_images(key: Key, count: int, part: str = "train") -> ShapeImages:
    """Synthetic pictures that differ in 7 ways: three colours, two coordinates, size, and circle or square.

    Colours are uniform, coordinates uniform integers from 8 to 24, sizes from 3 to 8: the radius of a circle around
    (x, y), or the side of a square that has its upper left corner there.

    Parameters
    ----------
    key : jax.random.key or int
        The source of randomness.
    count : int
        How many pictures; the paper has 50,000.
    part : {"train", "validation", "test"}
        Parts of one key are drawn independently of each other, so that none repeats another.

    Returns
    -------
    ShapeImages
        ``images`` and ``factors``.

    Raises
    ------
    TypeError, ValueError
        If the count is not a positive integer, or the part unknown.

    References
    ----------
    L. Jing, J. Zbontar, Y. LeCun. Implicit Rank-Minimizing Autoencoder. NeurIPS 2020.

    Examples
    --------
    >>> pictures = shape_images(0, 100)
    >>> pictures.images.shape, pictures.factors.shape
    ((100, 32, 32, 3), (100, 7))
    """
    count = check_integer("count", count, 1)
    of_part = jax.random.fold_in(as_key(key), PARTS.index(check_choice("part", part, PARTS)))
    keys = jax.random.split(of_part, 4)
    colors = np.asarray(jax.random.uniform(keys[0], (count, 3)), np.float32)
    centers = np.asarray(jax.random.randint(keys[1], (count, 2), _CENTERS[0], _CENTERS[1] + 1))
    sizes = np.asarray(jax.random.randint(keys[2], (count, 1), _SIZES[0], _SIZES[1] + 1))
    squares = np.asarray(jax.random.bernoulli(keys[3], 0.5, (count, 1)))
    images = np.empty((count, SIDE, SIDE, 3), np.uint8)
    for start in range(0, count, _TOGETHER):
        some = slice(start, start + _TOGETHER)
        inside = _inside(centers[some], sizes[some], squares[some])
        images[some] = np.where(inside[..., None], np.rint(255 * colors[some, None, None, :]), 0)
    factors = np.concatenate([colors, centers, sizes, squares], axis=1).astype(np.float32)
    return ShapeImages(images, factors)


def _inside(centers: np.ndarray, sizes: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """Which pixels belong to the shape."""
    pixels = np.arange(SIDE)
    across = pixels[None, None, :] - centers[:, 0, None, None]
    down = pixels[None, :, None] - centers[:, 1, None, None]
    size = sizes[:, :, None]
    circle = across**2 + down**2 <= size**2
    square = (across >= 0) & (down >= 0) & (across < size) & (down < size)
    return np.where(squares[:, :, None], square, circle)


def pad_images(images: np.ndarray | Array, size: int = 32) -> np.ndarray:
    """Images in the middle of larger ones, with a margin of zeros: MNIST's 28 x 28 as 32 x 32.

    Parameters
    ----------
    images : array, shape (n, rows, columns) or (n, rows, columns, channels)
        Of any type, which is kept.
    size : int
        Rows and columns of the result.

    Returns
    -------
    array, shape (n, size, size) or (n, size, size, channels)
        Where the margin is odd, it is smaller above and on the left.

    Raises
    ------
    TypeError, ValueError
        If ``images`` has another number of axes, or is larger than ``size``.

    Examples
    --------
    >>> import numpy as np
    >>> pad_images(np.ones((10, 28, 28), np.uint8)).shape
    (10, 32, 32)
    """
    array, size = np.asarray(images), check_integer("size", size, 1)
    if array.ndim not in (3, 4):
        raise ValueError(f"images: expected shape (n, rows, columns) or with channels, found {array.shape}")
    missing = [size - side for side in array.shape[1:3]]
    if min(missing) < 0:
        raise ValueError(f"size: expected at least {max(array.shape[1:3])}, as images have, found {size}")
    margins = [(0, 0), *((m // 2, m - m // 2) for m in missing), *[(0, 0)] * (array.ndim - 3)]
    return np.pad(array, margins)
