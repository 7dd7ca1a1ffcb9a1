"""MNIST and Fashion-MNIST, where they are found; they are never part of this project."""

from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from undertow._repr import shown
from undertow.datasets import _places
from undertow.datasets._places import DataNotFound, check_content, first_file, read

FILES = (
    *("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    *("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
)
CONTENT = {
    "mnist": (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
    "fashion-mnist": (
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
}
"""SHA-256 of the files, unpacked, in the order of ``FILES``: whoever packed them, and however."""
_FOLDERS = {
    "mnist": ("mnist", "MNIST", "MNIST/raw"),
    "fashion-mnist": ("fashion-mnist", "FashionMNIST", "FashionMNIST/raw"),
}
_URLS = {
    "mnist": "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "fashion-mnist": "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
}
_PACKED_MD5 = {  # of the packed files behind these addresses, as their authors and torchvision publish them
    "mnist": (
        *("f68b3c2dcbeaaa9fbdd348bbdeb94873", "d53e105ee54ea40749a09fcbcd1e9432"),
        *("9fb629c4189551a2d022fa330f9573f3", "ec29112dd5afa0611ce80d1b7f02629c"),
    ),
    "fashion-mnist": (
        *("8d4fb7e6c68d591d4c3dfef9ec88bf0d", "25c81989df183df01b3e8a0aad5dffbe"),
        *("bef4ecab320f06d8554ea6380940ec79", "bb300cfdad3c16e7a12a480ee83cd310"),
    ),
}


class LabeledImages(NamedTuple):
    """Gray images of ten classes, split as their authors did.

    Parameters
    ----------
    train_images, test_images
        From 0, the paper of a digit, to 255.
    train_labels, test_labels
        From 0 to 9.
    """

    train_images: UInt8[np.ndarray, "n 28 28"]
    train_labels: UInt8[np.ndarray, " n"]
    test_images: UInt8[np.ndarray, "k 28 28"]
    test_labels: UInt8[np.ndarray, " k"]

    def __repr__(self) -> str:
        return shown(self)


def mnist(*, download: bool = False) -> LabeledImages:
    """MNIST: 60,000 handwritten digits to train with and 10,000 to test with, 28 x 28.

    It is looked for in the folder that the environment variable ``UNDERTOW_DATA`` names (``mnist``, ``MNIST`` or
    ``MNIST/raw`` below it, packed or not), in ``../shared/data``, seen from the current directory and from a source
    checkout, and among what was downloaded before.

    Parameters
    ----------
    download : bool
        Whether to fetch it (11 MB) into the user's cache where it is not found.

    Returns
    -------
    LabeledImages
        In the order of the files.

    Raises
    ------
    DataNotFound
        If it is in none of these places and `download` is false.
    ValueError
        If a file of that name is found whose checksum is not that of the official one.

    References
    ----------
    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner. Gradient-Based Learning Applied to Document Recognition. Proceedings of
    the IEEE 86(11), 1998.
    """
    return _load("mnist", "mnist", download)


def fashion_mnist(*, download: bool = False) -> LabeledImages:
    """Fashion-MNIST: 60,000 pictures of clothing to train with and 10,000 to test with, 28 x 28, in ten classes.

    It is looked for where ``mnist`` is, in ``fashion-mnist``, ``FashionMNIST`` or ``FashionMNIST/raw``. MIT license,
    copyright 2017 Zalando SE.

    Parameters
    ----------
    download : bool
        Whether to fetch it (31 MB) into the user's cache where it is not found.

    Returns
    -------
    LabeledImages
        In the order of the files.

    Raises
    ------
    DataNotFound
        If it is in none of these places and `download` is false.
    ValueError
        If a file of that name is found whose checksum is not that of the official one.

    References
    ----------
    H. Xiao, K. Rasul, R. Vollgraf. Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms.
    arXiv:1708.07747, 2017.
    """
    return _load("fashion-mnist", "fashion_mnist", download)


def _load(name: str, function: str, download: bool) -> LabeledImages:
    cache = _places.downloads()
    places = [folder / below for folder in _places.folders() for below in _FOLDERS[name]] + [cache / name]
    arrays = []
    for file, content, packed in zip(FILES, CONTENT[name], _PACKED_MD5[name], strict=True):
        names = (f"{file}.gz", file)
        path = first_file(names, places)
        if path is None and download:
            import pooch

            pooch.retrieve(f"{_URLS[name]}{file}.gz", f"md5:{packed}", fname=f"{file}.gz", path=cache / name)
            path = first_file(names, places)
        if path is None:
            looked = ", ".join(map(str, places))
            raise DataNotFound(
                f"{file} of {name} was found in none of {looked}. Set UNDERTOW_DATA to a folder that holds "
                f"{name}/{file}.gz (from {_URLS[name]}), or call {function}(download=True)"
            )
        arrays.append(_parse(check_content(path, read(path), file, content)))
    return LabeledImages(*arrays)


def _parse(data: bytes) -> UInt8[np.ndarray, "..."]:
    """An array of bytes in the IDX format, whose header has the number of axes and their lengths."""
    axes = data[3]
    shape = np.frombuffer(data, ">u4", axes, offset=4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * axes).reshape(shape.tolist())
