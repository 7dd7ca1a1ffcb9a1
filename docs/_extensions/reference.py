"""The reference: a page for the package and for each of its rooms, made of what they list in ``__all__``."""

import dataclasses
import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import undertow

FOLDER = Path(__file__).parents[1] / "generated" / "reference"


@dataclasses.dataclass(frozen=True)
class Entry:
    """A public name: where it is imported from, what it is, and the name that it is documented under."""

    name: str
    value: Any
    home: str

    @property
    def text(self) -> str:
        """The directive that documents it; nothing where that stands at another name."""
        if self.home != self.name:
            return ""
        if inspect.isclass(self.value):
            kind = "exception" if issubclass(self.value, BaseException) else "class"
            return f".. auto{kind}:: {self.name}\n   :members:\n   :show-inheritance:\n"
        if inspect.isroutine(self.value):
            return f".. autofunction:: {self.name}\n"
        return f".. autodata:: {self.name}\n"


def entries() -> dict[str, list[Entry]]:
    """The public names by module: those of the package that are no rooms, then those of each room."""
    rooms = {name: value for name in undertow.__all__ if inspect.ismodule(value := getattr(undertow, name))}
    own = [name for name in undertow.__all__ if name not in rooms]
    found: dict[str, list[Entry]] = {}
    homes: dict[int, str] = {}
    for module, names in {"undertow": own, **{f"undertow.{r}": m.__all__ for r, m in rooms.items()}}.items():
        found[module] = []
        for name in names:
            full, value = f"{module}.{name}", getattr(importlib.import_module(module), name)
            # Numbers and strings may be the same object by chance.
            one = inspect.isclass(value) or inspect.isroutine(value)
            found[module].append(Entry(full, value, homes.setdefault(id(value), full) if one else full))
    return found


def page(module: str, listed: list[Entry]) -> str:
    """The page of a module, in reStructuredText: a table of what there is, then each of it."""
    parts = [f"``{module}``", "=" * (len(module) + 4), "", f".. py:module:: {module}", ""]
    parts += [inspect.getdoc(importlib.import_module(module)) or "", ""]
    own = [entry for entry in listed if entry.home == entry.name]
    if called := [entry.name.rpartition(".")[2] for entry in own if callable(entry.value)]:
        parts += [".. autosummary::", "   :nosignatures:", "", *(f"   {name}" for name in called), ""]
    for entry in listed:
        if entry.home == entry.name:
            parts += [entry.text]
        else:
            parts += [f"``{entry.name}`` is :py:obj:`{entry.home}`.", ""]
    return "\n".join(parts) + "\n"


def index(modules: list[str]) -> str:
    """The page that leads to the others."""
    lines = [f"   {module}" for module in modules]
    return "\n".join(["Reference", "=========", "", ".. toctree::", "   :maxdepth: 1", "", *lines, ""])


def _write(app: Any) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    found = entries()
    texts = {module: page(module, listed) for module, listed in found.items()}
    texts["index"] = index(list(found))
    for old in FOLDER.glob("*.rst"):
        if old.stem not in texts:
            old.unlink()
    for name, text in texts.items():
        path = FOLDER / f"{name}.rst"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def _check(app: Any, env: Any) -> None:
    from sphinx.util import logging

    documented = env.domains["py"].objects
    for entry in (entry for listed in entries().values() for entry in listed):
        if entry.home not in documented:
            logging.getLogger(__name__).warning("%s is public, and the reference does not have it", entry.name)


def _skip(app: Any, what: str, name: str, value: Any, skip: bool, options: Any) -> bool | None:
    """Leave out what scikit-learn makes for metadata routing: its text refers to pages of its own."""
    return True if re.fullmatch(r"set_\w+_request", name) else None


def setup(app: Any) -> dict[str, Any]:
    """Write the pages before anything is read, and check what came of them."""
    app.connect("builder-inited", _write)
    app.connect("autodoc-skip-member", _skip)
    app.connect("env-check-consistency", _check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
