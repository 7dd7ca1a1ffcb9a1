"""What ``dir()``, and with it a prompt's completion, offers: public names that are there, and no others."""

import importlib
import pkgutil
import subprocess
import sys

import pytest

import undertow

ROOMS = [name for _, name, _ in pkgutil.iter_modules(undertow.__path__) if not name.startswith("_")]


def test_the_package_offers_its_public_names_before_and_after_they_are_imported():
    assert dir(undertow) == sorted(undertow.__all__)
    code = "import undertow; before = dir(undertow); undertow.Stop; assert dir(undertow) == before; print(*before)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == sorted(undertow.__all__)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_offers_its_public_names(room):
    module = importlib.import_module(f"undertow.{room}")
    assert dir(module) == sorted(module.__all__)
    assert not [name for name in dir(module) if name.startswith("_")]
    assert all(hasattr(module, name) for name in dir(module))


def test_every_room_of_the_package_is_seen():
    assert {"plotting", "problems", "training", "optimizers"} <= set(ROOMS)
