"""Folders of pictures as arrays of bytes, in memory or in a file that is mapped."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from undertow._replacing import replacing
from undertow._validation import check_choice, check_shape

ENDINGS = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
MODES = ("L", "RGB")
_CONVERTED = ("1", "L", "P", "RGB", "CMYK", "YCbCr")
Size = int | tuple[int, int] | None


def load_image_folder(
    folder: str | os.PathLike[str],
    size: Size = None,
    *,
    crop: Size = None,
    mode: str | None = None,
    file: str | os.PathLike[str] | None = None,
) -> UInt8[np.ndarray, "n rows columns *channels"]:
    """The pictures of a folder, sorted by the names of their files, as bytes.

    Files that end in .bmp, .jpeg, .jpg, .pgm, .png, .ppm, .tif, .tiff or .webp are taken, but for hidden ones and those
    in folders below. For CelebA as papers have it: ``load_image_folder(folder, 64, crop=148)``.

    Parameters
    ----------
    folder : path
        Where the pictures are.
    size : int, tuple of two int, or None
        Rows and columns, at most those of each picture; one number means a square. The middle is cut out in these
        proportions and averaged down. None leaves pictures as they are, which then have to be of one size.
    crop : int, tuple of two int, or None
        Rows and columns that are cut out of the middle of each before.
    mode : {"RGB", "L"} or None
        Three colours, or gray levels. None takes the mode of the pictures, which has to be one of these in all.
    file : path or None
        Where the array is written to, picture by picture, as a file of NumPy's that takes the place of an older one. It
        is returned mapped, so that it may be larger than memory; later ``numpy.load(file, mmap_mode="r")`` maps it.

    Returns
    -------
    uint8 array, shape (n, rows, columns, 3), or (n, rows, columns) for gray levels
        As an autoencoder takes it. Pictures are turned as their cameras say.

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        If there is no such folder, or none for ``file``.
    TypeError, ValueError
        If there are no pictures in it; if one cannot be read, has transparent pixels or more than 8 bits a channel, is
        smaller than what is asked for, or is of another size or mode than the first where none is asked for: it is
        named; if ``size``, ``crop`` or ``mode`` are none.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name, level in (("b.png", 255), ("a.png", 0)):
    ...         Image.fromarray(np.full((20, 10), level, np.uint8)).save(Path(folder, name))
    ...     images = load_image_folder(folder, 8)
    >>> images.shape, images[:, 0, 0].tolist()
    ((2, 8, 8), [0, 255])
    """
    wanted = None if size is None else _pair("size", size)
    cut = None if crop is None else _pair("crop", crop)
    if mode is not None:
        check_choice("mode", mode, MODES)
    paths = _pictures(Path(folder))
    first = _picture(paths[0], wanted, cut, mode)
    shape = (len(paths), *first.shape)
    if file is None:
        images = np.empty(shape, np.uint8)
        _fill(images, first, paths, wanted, cut, mode)
        return images
    place = Path(file)
    if not place.parent.is_dir():
        raise FileNotFoundError(f"file: expected a place in a folder that exists, found {str(place)!r}")
    with replacing(place) as beside:
        mapped = np.lib.format.open_memmap(beside, "w+", np.uint8, shape)
        _fill(mapped, first, paths, wanted, cut, mode)
        mapped.flush()
        del mapped  # some systems rename no file that is mapped
    return np.load(place, mmap_mode="r")


def _pair(name: str, size: Any) -> tuple[int, int]:
    rows, columns = check_shape(name, (size, size) if isinstance(size, int) else size, dimensions=2)
    return rows, columns


def _pictures(folder: Path) -> list[Path]:
    """Files of pictures, sorted by name."""
    if not folder.exists():
        raise FileNotFoundError(f"folder: {folder} is not there")
    if not folder.is_dir():
        raise NotADirectoryError(f"folder: {folder} is no folder")
    files = [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    found = sorted((path for path in files if path.suffix.lower() in ENDINGS), key=lambda path: path.name)
    if not found:
        raise ValueError(
            f"folder: expected files in {folder} that end in {', '.join(ENDINGS)}, found none among {len(files)}; "
            "folders below are not looked at"
        )
    return found


def _fill(images: np.ndarray, first: np.ndarray, paths: list[Path], size: Any, crop: Any, mode: str | None) -> None:
    kind = "RGB" if first.ndim == 3 else "L"
    for place, path in enumerate(paths):
        image = first if place == 0 else _picture(path, size, crop, mode)
        found = "RGB" if image.ndim == 3 else "L"
        if found != kind:
            raise ValueError(
                f"mode: expected {kind}, as {paths[0].name} has, found {found} in {path.name}; give one to convert to"
            )
        if image.shape != first.shape:
            expected, other = (" x ".join(map(str, x.shape[:2])) for x in (first, image))
            raise ValueError(
                f"size: expected {expected}, as {paths[0].name} has, found {other} in {path.name}; give a size for all"
            )
        images[place] = image


def _picture(path: Path, size: tuple[int, int] | None, crop: tuple[int, int] | None, mode: str | None) -> np.ndarray:
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened)
            image.load()
    except Exception as error:  # the readers of formats raise what they like
        raise ValueError(f"folder: {path.name} cannot be read as a picture ({error})") from error
    if image.mode not in _CONVERTED or "transparency" in image.info:
        raise ValueError(
            f"folder: expected 8 bits a channel and no transparency, found mode {image.mode} in {path.name}"
        )
    if mode is None and image.mode not in MODES:
        raise ValueError(f"mode: expected L or RGB, found {image.mode} in {path.name}; give one to convert to")
    image = image if mode is None else image.convert(mode)
    left, top, right, bottom = 0.0, 0.0, float(image.width), float(image.height)
    if crop is not None:
        _check_within("crop", crop, path, right, bottom)
        top, left = (image.height - crop[0]) // 2, (image.width - crop[1]) // 2
        right, bottom = left + crop[1], top + crop[0]
    if size is None:
        return np.asarray(image.crop((int(left), int(top), int(right), int(bottom))))
    rows, columns = size
    _check_within("size", size, path, right - left, bottom - top)
    zoom = min((bottom - top) / rows, (right - left) / columns)
    x, y, width, height = (left + right) / 2, (top + bottom) / 2, columns * zoom, rows * zoom
    # The rounding of a sum must not leave the picture.
    box = (
        max(x - width / 2, 0),
        max(y - height / 2, 0),
        min(x + width / 2, image.width),
        min(y + height / 2, image.height),
    )
    return np.asarray(image.resize((columns, rows), Image.Resampling.BOX, box=box))


def _check_within(name: str, size: tuple[int, int], path: Path, width: float, height: float) -> None:
    if size[0] > height or size[1] > width:
        raise ValueError(
            f"{name}: expected at most {height:g} x {width:g}, as {path.name} has, found {size[0]} x {size[1]}"
        )
