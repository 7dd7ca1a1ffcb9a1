"""Which studies there are: the built-in ones, and those of third parties.

A third party's package names its studies in the entry-point group ``undertow.studies``; each entry
point resolves to a `Study` or to a sequence of them::

    [project.entry-points."undertow.studies"]
    mine = "my_package.my_module:study"
"""

import difflib
import importlib
import warnings
from collections.abc import Iterable, Sequence
from importlib.metadata import EntryPoint, entry_points

from undertow.studies._base import Study, describe

GROUP = "undertow.studies"


def all_studies() -> tuple[Study, ...]:
    """The built-in studies, in the order of ``undertow.studies.__all__``, then those of third parties.

    Returns
    -------
    tuple of Study

    Raises
    ------
    ValueError
        If two studies have the same id; the message says where they come from.

    Warns
    -----
    RuntimeWarning
        If an entry point cannot be loaded or gives something else than studies; the others are
        returned.
    """
    package = importlib.import_module("undertow.studies")
    found = [("undertow", study) for name in package.__all__ if isinstance(study := getattr(package, name), Study)]
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        found += [(_origin(point), study) for study in _load(point)]
    origins: dict[str, str] = {}
    for origin, study in found:
        if study.id in origins:
            raise ValueError(f"two studies are called {study.id!r}: one of {origins[study.id]}, one of {origin}")
        origins[study.id] = origin
    return tuple(study for _, study in found)


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


def _origin(point: EntryPoint) -> str:
    return point.dist.name if point.dist else f"entry point {point.name}"


def _load(point: EntryPoint) -> tuple[Study, ...]:
    """The studies behind an entry point; a broken package must not take the others with it."""
    try:
        loaded = point.load()
    except Exception as error:  # noqa: BLE001 - foreign code, imported; reported as a warning
        _warn(point, f"could not be loaded: {describe(error)}")
        return ()
    studies = (loaded,) if isinstance(loaded, Study) else loaded
    if not isinstance(studies, list | tuple) or not all(isinstance(study, Study) for study in studies):
        _warn(point, f"expected a Study or a sequence of them, found {type(loaded).__name__}")
        return ()
    return tuple(studies)


def _warn(point: EntryPoint, what: str) -> None:
    warnings.warn(f"{GROUP}: {point.name} of {_origin(point)}: {what}", RuntimeWarning, stacklevel=4)
