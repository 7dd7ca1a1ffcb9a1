"""Checkpoints: the state of a run on disk, whole or not at all."""

import dataclasses
import functools
import hashlib
import json
import os
import re
import tempfile
import types
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np

from .._functions import SameCode

FORMAT = 1


def fingerprint(*parts: Any) -> str:
    """A hash of modules, containers and arrays by their values, and of functions by their code and what it binds."""
    digest = hashlib.sha256()
    _describe(parts, digest, ())
    return digest.hexdigest()


def _describe(x: Any, digest: Any, above: tuple[int, ...]) -> None:
    """Feed ``x`` to the digest; ``above``: the functions that it is found in, which may bind each other."""

    def inside(*parts: Any) -> None:
        for part in parts:
            _describe(part, digest, above)

    digest.update(f"<{type(x).__module__}.{type(x).__qualname__}:".encode())
    if id(x) in above:
        digest.update(str(above.index(id(x))).encode())
    elif isinstance(x, SameCode):
        inside(x.function)
    elif isinstance(x, types.FunctionType):
        above = (*above, id(x))
        bound = [cell.cell_contents for cell in x.__closure__ or ()]
        inside(x.__module__, x.__qualname__, x.__code__, bound, x.__defaults__, x.__kwdefaults__)
    elif isinstance(x, types.CodeType):
        inside(x.co_code, x.co_names, x.co_consts)
    elif isinstance(x, types.MethodType):
        inside(x.__func__, x.__self__)
    elif isinstance(x, functools.partial):
        inside(x.func, x.args, x.keywords)
    elif eqx.is_array(x):
        if jax.numpy.issubdtype(x.dtype, jax.dtypes.prng_key):
            x = jax.random.key_data(x)
        array = np.asarray(x)
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    elif dataclasses.is_dataclass(x) and not isinstance(x, type):  # modules are dataclasses
        inside(*((field.name, getattr(x, field.name, None)) for field in dataclasses.fields(x)))
    elif isinstance(x, (tuple, list)):
        inside(*x)
    elif isinstance(x, dict):
        inside(*x.items())
    elif isinstance(x, (set, frozenset)):
        inside(*sorted(x, key=repr))
    elif (wrapped := getattr(x, "__wrapped__", None)) is not None:  # as jax.jit leaves
        inside(wrapped)
    else:
        digest.update(re.sub(r" at 0x[0-9a-f]+", "", repr(x)).encode())
    digest.update(b">")


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
