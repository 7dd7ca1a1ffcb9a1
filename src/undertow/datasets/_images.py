"""Pictures as matrices, from what comes with scikit-learn: no network is needed."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8

from undertow._repr import shown
from undertow._validation import check_choice, check_shape

PHOTOGRAPHS = ("china", "flower")
# Luma of ITU-R BT.601: how bright red, green and blue look.
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def load_photograph(
    name: str = "china", size: int | tuple[int, int] | None = None
) -> Float32[np.ndarray, "rows columns"]:
    """A photograph in gray levels from 0 (black) to 1 (white).

    Parameters
    ----------
    name : {"china", "flower"}
        A temple roof, or a flower; both are 427 x 640 and licensed CC BY 2.0 (see
        `sklearn.datasets.load_sample_images`).
    size : int, tuple of two int, or None
        Rows and columns, at most those of the photograph; one number means a square. The middle is cut
        out in these proportions and averaged down. None leaves the photograph as it is.

    Returns
    -------
    float32 array, shape (rows, columns)
        The gray levels.

    Raises
    ------
    ValueError, TypeError
        If the name is unknown, or the size is not positive or exceeds the photograph.

    Examples
    --------
    >>> load_photograph(size=64).shape
    (64, 64)
    """
    from PIL import Image
    from sklearn.datasets import load_sample_image

    check_choice("name", name, PHOTOGRAPHS)
    gray = load_sample_image(f"{name}.jpg").astype(np.float32) / 255 @ _LUMA
    if size is None:
        return gray
    rows, columns = check_shape("size", (size, size) if isinstance(size, int) else size, dimensions=2)
    if rows > gray.shape[0] or columns > gray.shape[1]:
        raise ValueError(f"size: expected at most {gray.shape}, found {(rows, columns)}")
    zoom = min(gray.shape[0] / rows, gray.shape[1] / columns)
    height, width = rows * zoom, columns * zoom
    top, left = (gray.shape[0] - height) / 2, (gray.shape[1] - width) / 2
    scaled = Image.fromarray(gray).resize(
        (columns, rows), Image.Resampling.BOX, box=(left, top, left + width, top + height)
    )
    return np.clip(np.asarray(scaled, np.float32), 0, 1)


def load_digits_matrix() -> Float32[np.ndarray, "1797 64"]:
    """The handwritten digits of scikit-learn, an image of 8 x 8 pixels a row, from 0 (paper) to 1 (ink).

    Returns
    -------
    float32 array, shape (1797, 64)
        Multiples of 1/16.

    References
    ----------
    E. Alpaydin, C. Kaynak. Optical Recognition of Handwritten Digits. UCI Machine Learning Repository, 1998.

    Examples
    --------
    >>> load_digits_matrix().shape
    (1797, 64)
    """
    from sklearn.datasets import load_digits

    images = load_digits(return_X_y=True)[0]
    return (np.asarray(images) / 16).astype(np.float32)


class Digits(NamedTuple):
    """Images of handwritten digits, and what they show.

    Parameters
    ----------
    images
        8 x 8 pixels from 0 (paper) to 1 (ink), in multiples of 1/16.
    labels
        From 0 to 9.
    """

    images: Float32[np.ndarray, "1797 8 8"]
    labels: UInt8[np.ndarray, "1797"]

    def __repr__(self) -> str:
        return shown(self)


def load_digits_images() -> Digits:
    """The handwritten digits of scikit-learn as images, and their labels.

    Returns
    -------
    Digits
        ``images`` and ``labels``, in scikit-learn's order.

    References
    ----------
    E. Alpaydin, C. Kaynak. Optical Recognition of Handwritten Digits. UCI Machine Learning Repository, 1998.

    Examples
    --------
    >>> digits = load_digits_images()
    >>> digits.images.shape, digits.labels[:3].tolist()
    ((1797, 8, 8), [0, 1, 2])
    """
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return Digits((np.asarray(images) / 16).astype(np.float32).reshape(-1, 8, 8), np.asarray(labels, np.uint8))
