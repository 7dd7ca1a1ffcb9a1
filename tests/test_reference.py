"""The reference of the documentation has every public name: its pages are made without Sphinx, and looked at."""

import importlib
import importlib.util
import inspect
import pathlib
import pkgutil
import re
import sys

import pytest

import undertow

EXTENSIONS = pathlib.Path(__file__).parents[1] / "docs" / "_extensions"


def load(name):
    """A module of the documentation's own, which is no part of the package."""
    spec = importlib.util.spec_from_file_location(name, EXTENSIONS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # they import each other by these names
    spec.loader.exec_module(module)
    return module


reference, uses = load("reference"), load("uses")


def public_names():
    """Found by walking the files, where the reference goes by what `undertow` lists."""
    walked = pkgutil.walk_packages(undertow.__path__, "undertow.")
    modules = [module.name for module in walked if "._" not in module.name and ".__" not in module.name]
    modules.remove("undertow.cli")  # a command; its help is its documentation
    listed = {name: getattr(importlib.import_module(name), "__all__", ()) for name in modules}
    return [(module, name) for module, names in listed.items() for name in names]


def documented():
    """The full names that a directive on some page documents."""
    found = set()
    for module, entries in reference.entries().items():
        text = reference.page(module, entries)
        found |= set(re.findall(r"^\.\. auto\w+:: (\S+)$", text, re.MULTILINE))
    return found


DOCUMENTED = documented()


def value_of(full):
    module, _, name = full.rpartition(".")
    return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize(("module", "name"), public_names())
def test_a_public_name_is_in_the_reference(module, name):
    if f"{module}.{name}" not in DOCUMENTED:
        value = value_of(f"{module}.{name}")
        # Under another name it counts for classes and functions, which are the same object wherever they are imported.
        assert inspect.isclass(value) or inspect.isroutine(value)
        assert any(value_of(other) is value for other in DOCUMENTED), f"{module}.{name} is not in the reference"


def test_it_documents_nothing_that_is_not_there():
    assert len(DOCUMENTED) > 100
    for full in DOCUMENTED:
        value_of(full)


def test_the_walk_finds_the_rooms_and_more():
    modules = {module for module, _ in public_names()}
    assert {"undertow.theory", "undertow.training", "undertow.optimizers"} <= modules


def test_a_study_uses_what_its_code_names():
    used = {study.id: uses.uses(study) for study in undertow.studies.all_studies()}
    assert {"undertow.theory.basis_pursuit", "undertow.theory.limit"} <= set(used["square-map-is-least-l1"])
    assert "undertow.theory.minimum_norm" in used["minimum-norm"]
    assert "undertow.theory.greedy_low_rank_learning" not in used["minimum-norm"]
    assert sum(map(bool, used.values())) > len(used) / 2
