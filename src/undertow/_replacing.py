"""Files that are whole or not there: written beside their place, then renamed."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

ENDING = ".partial"


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside ``path`` to write to, which takes its place at the end, or is removed on any failure.

    A symbolic link stays one: what it points to is replaced.
    """
    place = Path(os.path.realpath(path))
    beside = place.with_name(f".{place.name[:40]}.{secrets.token_hex(4)}{ENDING}")
    try:
        yield beside
        beside.replace(place)
    finally:  # after Ctrl-C too
        beside.unlink(missing_ok=True)
