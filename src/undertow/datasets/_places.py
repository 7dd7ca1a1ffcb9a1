"""Where data sets are looked for that are no part of this project, and how their files are read."""

import gzip
import hashlib
import os
import zlib
from collections.abc import Iterable
from pathlib import Path


class DataNotFound(FileNotFoundError):  # noqa: N818 - says what happened, as FileNotFoundError itself does not
    """A data set is in none of the places where it is looked for; the message names them."""


def folders() -> list[Path]:
    """``UNDERTOW_DATA``, and ``../shared/data`` seen from the current directory and from a source checkout."""
    given = os.environ.get("UNDERTOW_DATA")
    shared = Path("..", "shared", "data")
    found = [Path(given)] if given else []
    found.append((Path.cwd() / shared).resolve())
    root = Path(__file__).resolve().parents[3]
    if (root / "pyproject.toml").is_file():
        found.append((root / shared).resolve())
    return list(dict.fromkeys(found))


def downloads() -> Path:
    """The folder of the user's cache for what was downloaded."""
    import pooch

    return Path(pooch.os_cache("undertow"))


def first_file(names: Iterable[str], places: Iterable[Path]) -> Path | None:
    """The first of these files that is there, folder by folder."""
    names = tuple(names)
    return next((place / name for place in places for name in names if (place / name).is_file()), None)


def read(path: Path) -> bytes:
    """The content of a file, unpacked where its name ends in .gz.

    Raises
    ------
    ValueError
        If it is no gzip data or cut off.
    """
    data = path.read_bytes()
    if path.suffix == ".gz":
        try:
            return gzip.decompress(data)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"{path}: expected gzip data, found it broken or cut off ({error})") from error
    return data


def check_content(path: Path, data: bytes, name: str, sha256: str) -> bytes:
    """The data, if it has this checksum.

    Raises
    ------
    ValueError
        If it has another one.
    """
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise ValueError(f"{path}: expected {name} with sha256 {sha256}, found {found}")
    return data
