"""Sweeps that are kept though their caller names no store: so that what calls them can go on after an interrupt."""

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from ._stored import checked_axes, facts_of

_FOLDER: ContextVar[Path | None] = ContextVar("folder of stores", default=None)


@contextlib.contextmanager
def kept_in(folder: Path) -> Iterator[None]:
    """Inside, sweeps are kept in stores of this folder, each under the name of what its runs depend on.

    What they give, and what they raise, is as without a store.
    """
    before = _FOLDER.set(folder)
    try:
        yield
    finally:
        _FOLDER.reset(before)


def implied_store(run: Callable[..., Any], over: Mapping[str, list[Any]]) -> Path | None:
    """The store of a sweep inside of `kept_in`; None outside, and where a store could not know its runs again."""
    folder = _FOLDER.get()
    if folder is None:
        return None
    try:
        facts = facts_of(run, checked_axes(over), keep_samples=True)
    except (TypeError, ValueError):
        return None
    return folder / f"{hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]}.zarr"
