"""Functions of the user's as static values of a PyTree."""

import types
from collections.abc import Callable
from typing import Any


class SameCode:
    """A function that equals another one with the same code and the same bound values.

    JAX compiles anew for every function object that it has not met. A lambda written inside a loop or inside the
    function of a sweep is a new object at every call; compared by what it does, it shares its compiled program.
    """

    def __init__(self, function: Callable[..., Any]):
        self.function = function.function if isinstance(function, SameCode) else function

    def __call__(self, *args: Any) -> Any:
        return self.function(*args)

    def _parts(self) -> tuple[Any, ...]:
        f = self.function
        if not isinstance(f, types.FunctionType):
            return (f,)
        bound = tuple(id(cell.cell_contents) for cell in f.__closure__ or ())
        defaults = tuple(id(value) for value in (*(f.__defaults__ or ()), *(f.__kwdefaults__ or {}).values()))
        return (f.__code__, id(f.__globals__), bound, defaults)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SameCode) and self._parts() == other._parts()

    def __hash__(self) -> int:
        return hash(self._parts())

    def __repr__(self) -> str:
        return getattr(self.function, "__qualname__", repr(self.function))
