"""Which public names a study uses: read off the code of its run and its checks, so that no list can go stale."""

import dataclasses
import inspect
from collections.abc import Iterable
from types import CodeType, FunctionType, ModuleType
from typing import Any

from reference import entries

from undertow.studies import Study

LEFT_OUT = {"undertow", "undertow.studies", "undertow.gallery", "undertow.plotting", "undertow.linalg"}
"""What nearly every study uses, or no study is about."""


def uses(study: Study) -> list[str]:
    """The full names of what the study uses, in the order of the reference."""
    listed = [e for module, each in entries().items() if module not in LEFT_OUT for e in each if callable(e.value)]
    public = {id(entry.value): entry.home for entry in reversed(listed)}
    found: set[str] = set()
    _look([study.run, *(check.measure for check in study.checks)], public, found, set())
    return [entry.name for entry in listed if entry.name in found]


def _look(values: Iterable[Any], public: dict[int, str], found: set[str], seen: set[int]) -> None:
    """Follow values into what they are made of, as far as the package of studies goes."""
    for value in values:
        if id(value) in seen:
            continue
        seen.add(id(value))
        if name := public.get(id(value), public.get(id(type(value)))):
            found.add(name)
        elif isinstance(value, list | tuple | set | frozenset):
            _look(value, public, found, seen)
        elif isinstance(value, dict):
            _look(value.values(), public, found, seen)
        elif isinstance(value, type):
            if value.__module__.startswith("undertow.studies"):
                _look(vars(value).values(), public, found, seen)
        elif callable(value) and isinstance(inner := inspect.unwrap(value), FunctionType):
            if inner.__module__.startswith("undertow.studies"):
                _look(_reached(inner), public, found, seen)
        elif dataclasses.is_dataclass(value):
            _look(
                [type(value), *(getattr(value, each.name) for each in dataclasses.fields(value))], public, found, seen
            )


def _reached(function: FunctionType) -> list[Any]:
    """The globals and cells that a function's code names, and attributes of the modules among them."""
    names = set(_names(function.__code__))
    reached = [function.__globals__[name] for name in names if name in function.__globals__]
    reached += [cell.cell_contents for cell in function.__closure__ or ()]
    modules = [value for value in reached if isinstance(value, ModuleType) and value.__name__.startswith("undertow")]
    return reached + [getattr(module, name) for module in modules for name in names if name in vars(module)]


def _names(code: CodeType) -> Iterable[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
