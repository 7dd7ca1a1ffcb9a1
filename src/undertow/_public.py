"""``dir()`` of the package and its rooms: the names that are public, and no others."""

import sys
from collections.abc import Callable


def public_names(module: str) -> Callable[[], list[str]]:
    """The ``__dir__`` of a module: what its ``__all__`` says, whenever it is asked."""
    return lambda: sorted(sys.modules[module].__all__)
