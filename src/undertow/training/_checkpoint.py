"""Checkpoints: the state of a run on disk, whole or not at all."""

import hashlib
import json
import os
import tempfile
import types
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np

FORMAT = 1


def fingerprint(*parts: Any) -> str:
    """A hash of PyTrees: their structure, static values and arrays. Functions count by their name and code."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(parts):
        digest.update(_describe(leaf))
    structure = jax.tree.map(lambda leaf: 0, parts)
    digest.update(_without_addresses(repr(structure)).encode())
    return digest.hexdigest()


def _describe(leaf: Any) -> bytes:
    if eqx.is_array(leaf):
        if jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        array = np.asarray(leaf)
        return f"{array.dtype}{array.shape}".encode() + np.ascontiguousarray(array).tobytes()
    if isinstance(leaf, types.FunctionType):  # as those of optax; undertow's own are named in the structure
        return f"{leaf.__module__}.{leaf.__qualname__}".encode() + leaf.__code__.co_code
    return _without_addresses(repr(leaf)).encode()


def _without_addresses(text: str) -> str:
    return " ".join(word.split(" at 0x")[0] for word in text.split("\n") if word)


def save(path: Path, header: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Write beside, then rename: ``path`` holds the old checkpoint or the new one, never half of one."""
    text = np.frombuffer(json.dumps({"format": FORMAT, **header}).encode(), np.uint8)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, allow_pickle=False, header=text, **arrays)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def load(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The header and the arrays of a checkpoint; ValueError if the file is none."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        header = json.loads(arrays.pop("header").tobytes())
    except (OSError, EOFError, KeyError, ValueError) as error:
        raise ValueError(f"checkpoint: {path} is not a checkpoint of undertow ({error})") from error
    except Exception as error:  # zipfile.BadZipFile and zlib.error have no common base
        raise ValueError(f"checkpoint: {path} is damaged ({error})") from error
    if header.get("format") != FORMAT:
        raise ValueError(f"checkpoint: {path} has format {header.get('format')}, expected {FORMAT}")
    return header, arrays


def check_path(path: Any) -> Path:
    """``path`` as a Path in a folder that exists."""
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"checkpoint: expected a path, found {path!r}")
    path = Path(path)
    if path.is_dir() or not path.parent.is_dir():
        raise ValueError(f"checkpoint: expected a file in a folder that exists, found {str(path)!r}")
    return path
