"""MovieLens-100K, where it is found; it is never part of this project."""

import zipfile
import zlib
from pathlib import Path

from undertow.datasets import _places
from undertow.datasets._places import DataNotFound, check_content, first_file, read
from undertow.datasets._table_types import Ratings
from undertow.datasets._tables import text_ratings
from undertow.datasets._text import check_text, sniff

_URL = "https://files.grouplens.org/datasets/movielens/ml-100k.zip"
_ZIP_SHA256 = "50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229"
_DATA_SHA256 = "06416e597f82b7342361e41163890c81036900f418ad91315590814211dca490"
_MEMBER = "ml-100k/u.data"
_PLACES = (
    *("movielens-100k/u.data.gz", "movielens-100k/u.data", "ml-100k/u.data", "ml-100k/u.data.gz"),
    *("u.data", "u.data.gz"),
)


def load_movielens_100k(*, download: bool = False) -> Ratings:
    """100,000 ratings, from 1 to 5, that 943 people gave 1,682 films between 1997 and 1998.

    It is looked for in the folder that the environment variable ``UNDERTOW_DATA`` names
    (``movielens-100k/u.data.gz``, ``ml-100k/u.data`` and the like below it), in ``../shared/data``, seen
    from the current directory and from a source checkout, and among what was downloaded before.

    The data's terms: research use is allowed; no commercial use without permission; it is not to be
    passed on without permission; no endorsement by the University of Minnesota or the GroupLens group
    may be claimed; and the reference below is to be cited.

    Parameters
    ----------
    download : bool
        Whether to fetch it from GroupLens (5 MB) into the user's cache where it is not found.

    Returns
    -------
    Ratings
        In the order of the file; ids are text.

    Raises
    ------
    DataNotFound
        If it is in none of these places and `download` is false.
    ValueError
        If a file of that name is found whose checksum is not that of the official one.

    References
    ----------
    F. M. Harper, J. A. Konstan. The MovieLens Datasets: History and Context. ACM Transactions on
    Interactive Intelligent Systems 5(4), article 19, 2015.
    """
    import pooch

    folders = _places.folders()
    found = first_file(_PLACES, folders)
    if found is not None:
        return _parse(found, read(found))
    archive = _places.downloads() / "ml-100k.zip"
    if download:
        # Fetched and checked by pooch, but opened here: its extractors follow links out of the folder.
        pooch.retrieve(_URL, f"sha256:{_ZIP_SHA256}", fname=archive.name, path=archive.parent)
    if archive.is_file():
        return _parse(archive, _read_member(archive))
    looked = ", ".join(str(place) for place in (*folders, archive))
    raise DataNotFound(
        f"MovieLens-100K (u.data) was found in none of {looked}. Set UNDERTOW_DATA to a folder that holds "
        f"ml-100k/u.data (from {_URL}), or call load_movielens_100k(download=True)"
    )


def _read_member(archive: Path) -> bytes:
    try:
        with zipfile.ZipFile(archive) as opened:
            return opened.read(_MEMBER)
    except (zipfile.BadZipFile, KeyError, zlib.error, EOFError) as error:
        raise ValueError(f"{archive}: expected a zip archive with {_MEMBER} ({error})") from error


def _parse(path: Path, data: bytes) -> Ratings:
    data = check_content(path, data, "u.data", _DATA_SHA256)
    text = sniff(str(path), check_text(path, data), "\t", least=3)
    return text_ratings(text, {"user": 1, "item": 2, "rating": 3}, header=False)
