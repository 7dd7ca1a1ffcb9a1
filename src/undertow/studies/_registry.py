"""Which studies there are: the built-in chapters, and what third parties add to them.

A third party's package names its studies in the entry-point group ``undertow.studies``; each entry point resolves to a
`Study`, to a `Chapter` with its studies, or to a sequence of these::

    [project.entry-points."undertow.studies"]
    mine = "my_package.my_module:study"
"""

import difflib
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from importlib.metadata import entry_points
from typing import Any, Protocol, cast, runtime_checkable

from ._base import Chapter, Study, describe
from .autoencoders import chapter as autoencoders
from .data import chapter as data
from .factorization import chapter as factorization
from .lecture import chapter as lecture
from .margins import chapter as margins
from .norms import chapter as norms
from .penalties import chapter as penalties
from .primer import chapter as primer
from .tensors import chapter as tensors
from .training import chapter as training

GROUP = "undertow.studies"
BUILT_IN: tuple[Chapter, ...] = (
    primer,
    lecture,
    factorization,
    norms,
    margins,
    penalties,
    tensors,
    autoencoders,
    data,
    training,
)
"""In the order of the gallery: from what one sees in a plane to what it is good for."""


def chapters() -> tuple[Chapter, ...]:
    """The built-in chapters in order, then those of third parties.

    A third party's study of a built-in chapter comes after that chapter's own; one of a chapter that nobody has
    described makes a chapter that is titled by its id.

    Returns
    -------
    tuple of Chapter

    Raises
    ------
    ValueError
        If two studies or two chapters have the same id; the message says where they come from.

    Warns
    -----
    RuntimeWarning
        If an entry point cannot be loaded or gives something else than studies and chapters; the others are returned.
    """
    found = {chapter.id: chapter for chapter in BUILT_IN}
    chapter_from = dict.fromkeys(found, "undertow")
    study_from = {study.id: "undertow" for chapter in BUILT_IN for study in chapter.studies}

    def claim(origins: dict[str, str], kind: str, name: str, origin: str) -> None:
        if name in origins:
            raise ValueError(f"two {kind} are called {name!r}: one of {origins[name]}, one of {origin}")
        origins[name] = origin

    points: Iterable[_EntryPoint] = cast(Any, entry_points(group=GROUP))
    loaded = [(_origin(point), part) for point in sorted(points, key=_name) for part in _load(point)]
    for origin, part in loaded:
        if isinstance(part, Chapter):
            claim(chapter_from, "chapters", part.id, origin)
            found[part.id] = part
    for origin, part in loaded:
        for study in part.studies if isinstance(part, Chapter) else (part,):
            claim(study_from, "studies", study.id, origin)
        if isinstance(part, Study):
            chapter = found.get(part.chapter, Chapter(part.chapter, part.chapter, ""))
            found[part.chapter] = replace(chapter, studies=(*chapter.studies, part))
    return tuple(found.values())


def all_studies() -> tuple[Study, ...]:
    """The studies of all `chapters`, in order; raises and warns as that does."""
    return tuple(study for chapter in chapters() for study in chapter.studies)


def find(ids: Sequence[str] = ()) -> tuple[Study, ...]:
    """The studies with these ids, in this order, each once; all of them where no id is given.

    Raises
    ------
    ValueError
        If an id is unknown; the message names the nearest known ones.
    """
    known = {study.id: study for study in all_studies()}
    for wanted in ids:
        if wanted not in known:
            raise ValueError(f"unknown study {wanted!r}; {_hint(wanted, known)}")
    return tuple(known[wanted] for wanted in dict.fromkeys(ids)) if ids else tuple(known.values())


def _hint(wanted: str, known: Iterable[str]) -> str:
    known = list(known)
    close = difflib.get_close_matches(wanted, known, n=3, cutoff=0.4)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"known: {', '.join(known)}" if known else "no study is installed"


@runtime_checkable
class _EntryPoint(Protocol):
    """An entry point of the standard library, or of importlib_metadata where something has imported that."""

    @property
    def name(self) -> str: ...

    @property
    def dist(self) -> Any: ...

    def load(self) -> Any: ...


def _origin(point: _EntryPoint) -> str:
    return point.dist.name if point.dist else f"entry point {point.name}"


def _name(point: _EntryPoint) -> str:
    return point.name


def _load(point: _EntryPoint) -> tuple[Study | Chapter, ...]:
    """The studies and chapters behind an entry point; a broken package must not take the others with it."""
    try:
        loaded = point.load()
    except Exception as error:  # noqa: BLE001 - foreign code, imported; reported as a warning
        _warn(point, f"could not be loaded: {describe(error)}")
        return ()
    parts = (loaded,) if isinstance(loaded, Study | Chapter) else loaded
    if not isinstance(parts, list | tuple) or not all(isinstance(part, Study | Chapter) for part in parts):
        _warn(point, f"expected a Study, a Chapter or a sequence of them, found {type(loaded).__name__}")
        return ()
    return tuple(parts)


def _warn(point: _EntryPoint, what: str) -> None:
    warnings.warn(f"{GROUP}: {point.name} of {_origin(point)}: {what}", RuntimeWarning, stacklevel=4)
