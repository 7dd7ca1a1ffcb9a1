"""Checkpoints: the state of a run on disk, whole or not at all."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from .._description import describe

FORMAT = 1


def fingerprint(*parts: Any) -> str:
    """A hash of all that a run is; ValueError where something of it cannot be seen."""
    digest, unseen = describe(parts)
    if unseen:
        raise ValueError(
            f"checkpoint: a run is known again by what its functions can reach, and of these nothing can be told: "
            f"{'; '.join(unseen)}; bind plain values and arrays instead, or run without a checkpoint"
        )
    return digest.hex()


def save(path: Path, header: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Write beside, then rename: ``path`` holds the old checkpoint or the new one, never half of one."""
    text = np.frombuffer(json.dumps({"format": FORMAT, **header}).encode(), np.uint8)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, allow_pickle=False, header=text, **arrays)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink()
        raise


def load(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The header and the arrays of a checkpoint; ValueError if the file is none."""
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        header = json.loads(arrays.pop("header").tobytes())
    except (OSError, EOFError, KeyError, ValueError) as error:
        raise ValueError(f"checkpoint: {path} is not a checkpoint of undertow ({error})") from error
    except Exception as error:  # zipfile.BadZipFile and zlib.error have no common base
        raise ValueError(f"checkpoint: {path} is damaged ({error})") from error
    found = header.get("format") if isinstance(header, dict) else None
    if found != FORMAT:
        raise ValueError(f"checkpoint: {path} has format {found}, expected {FORMAT}")
    return header, arrays


def check_path(path: Any) -> Path:
    """``path`` as a Path in a folder that exists."""
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"checkpoint: expected a path, found {path!r}")
    path = Path(path)
    if path.is_dir() or not path.parent.is_dir():
        raise ValueError(f"checkpoint: expected a file in a folder that exists, found {str(path)!r}")
    return path
