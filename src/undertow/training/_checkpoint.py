"""Checkpoints: the state of a run on disk, whole or not at all."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._arrays import placed
from .._description import describe
from .._replacing import replacing

FORMAT = 3


def fingerprint(*parts: Any, unseen: Sequence[str] = ()) -> str:
    """A hash of all that a run is; ValueError where something of it cannot be seen, as what is named by ``unseen``."""
    digest, more, _ = describe(parts)
    if unseen := [*unseen, *more]:
        raise ValueError(
            f"checkpoint: a run is known again by what its functions can reach, and of these nothing can be told: "
            f"{'; '.join(unseen)}; bind plain values and arrays instead, or run without a checkpoint"
        )
    return digest.hex()


def leaves(tree: Any) -> dict[str, np.ndarray]:
    """The arrays of a PyTree by their places in it."""
    found = jax.tree_util.tree_leaves_with_path(eqx.filter(tree, eqx.is_array))
    return {jax.tree_util.keystr(path): np.asarray(_plain(x)) for path, x in found}


def put_back(tree: Any, arrays: dict[str, np.ndarray]) -> Any:
    """``tree`` with the arrays that ``leaves`` took; ValueError where places, shapes or types are others."""
    expected = leaves(tree)
    for name in sorted(expected.keys() | arrays.keys()):
        kinds = [f"{x[name].dtype} of shape {x[name].shape}" if name in x else "nothing" for x in (expected, arrays)]
        if kinds[0] != kinds[1]:
            raise ValueError(
                f"checkpoint: expected {kinds[0]} as {name}, found {kinds[1]}; it was written by another version, give "
                "another path, or remove it"
            )

    def back(path: Any, x: Any) -> Any:
        if not eqx.is_array(x):
            return x
        new = placed(arrays[jax.tree_util.keystr(path)])
        return jax.random.wrap_key_data(new, impl=jax.random.key_impl(x)) if _is_key(x) else new

    return jax.tree_util.tree_map_with_path(back, tree)


def _is_key(x: Any) -> bool:
    return jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def _plain(x: Any) -> Any:
    return jax.random.key_data(x) if _is_key(x) else x


def save(path: Path, header: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Write beside, then rename: ``path`` holds the old checkpoint or the new one, never half of one."""
    text = np.frombuffer(json.dumps({"format": FORMAT, **header}).encode(), np.uint8)
    with replacing(path) as beside, beside.open("wb") as file:
        np.savez(file, allow_pickle=False, header=text, **arrays)


def load(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The header and the arrays of a checkpoint; ValueError if the file is none."""
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        header = json.loads(arrays.pop("header").tobytes())
    except OSError as error:
        raise ValueError(f"checkpoint: {path} cannot be read ({error.strerror})") from error
    except Exception as error:  # zipfile.BadZipFile, zlib.error and what numpy raises have no common base
        raise ValueError(
            f"checkpoint: {path} is damaged, or no checkpoint of undertow; give another path, or remove it"
        ) from error
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
