"""Files that are whole or not there: written beside their place, then renamed."""

import contextlib
import glob
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

ENDING = ".partial"


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside ``path`` to write to, which takes its place at the end, or is removed on any failure.

    A symbolic link stays one: what it points to is replaced. What a process that was killed left behind is removed.
    """
    place = Path(os.path.realpath(path))
    stem = f".{place.name[:40]}"
    for left in place.parent.glob(f"{glob.escape(stem)}.*{ENDING}"):
        process = left.name.removeprefix(stem).split(".")[1]
        if process.isdigit() and not _is_alive(int(process)):
            left.unlink(missing_ok=True)
    beside = place.with_name(f"{stem}.{os.getpid()}.{secrets.token_hex(4)}{ENDING}")
    try:
        yield beside
        beside.replace(place)
    finally:  # after Ctrl-C too
        beside.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's, or not to be asked on this system
        return True
    return True
