"""From the ids that a chapter lists to its studies: the files of its folder."""

from importlib import import_module

from ._base import Study


def studies_of(package: str, *ids: str) -> tuple[Study, ...]:
    """The ``study`` of each module of a chapter's package, in the order of the ids that the modules are called as.

    Raises
    ------
    ModuleNotFoundError
        If no module is called as an id, with underscores for hyphens.
    ValueError
        If the study of a module has another id than the module's name says.
    """
    found = tuple(import_module(f"{package}.{name.replace('-', '_')}").study for name in ids)
    for name, study in zip(ids, found, strict=True):
        if study.id != name:
            raise ValueError(f"id: expected {name!r}, as the file in {package} is called, found {study.id!r}")
    return found
