"""Code as a value: its digest wherever it stands, what it names, and whose it is."""

import dis
import functools
import hashlib
import struct
import sys
import sysconfig
import types
from pathlib import Path
from typing import Any

import jaxtyping

LIBRARIES = frozenset(sys.stdlib_module_names) | {
    *("beartype", "chex", "diffrax", "equinox", "jax", "jaxlib", "jaxtyping", "lineax", "ml_dtypes", "numpy"),
    *("optax", "optimistix", "scipy", "sklearn", "typing_extensions", "undertow", "wadler_lindig", "xarray"),
}
"""Packages whose globals are constants."""
UNSEEN_NAMES = frozenset({"eval", "exec", "globals", "input", "locals", "open", "vars", "__import__"})
"""Builtins through which code reaches what its names do not tell."""
UNSEEN_MODULES = frozenset({"importlib", "secrets", "socket", "subprocess", "time"})
UNSEEN_ATTRIBUTES = frozenset(
    {
        *("currentframe", "fromfile", "genfromtxt", "getenv", "getenvb", "import_module", "loadtxt", "memmap", "now"),
        *("perf_counter", "read_bytes", "read_csv", "read_text", "today", "urandom", "utcnow", "_getframe"),
    }
)
"""Functions of any library that bring in what no value tells: files, the environment, the clock."""
BY_NAME = frozenset({"__dict__", "attrgetter", "dir", "getattr", "hasattr", "methodcaller"})
"""Where code asks for attributes by strings, any of a module may be meant."""
KEEP_TRACES = frozenset(
    {
        *("associative_scan", "checkpoint", "cond", "custom_jvp", "custom_vjp", "fori_loop", "jit", "filter_jit"),
        *("map", "remat", "scan", "switch", "while_loop"),
    }
)
"""Functions of JAX that remember, by the function object, what they traced; so do those of libraries on top of it."""
FORGETFUL = frozenset(sys.stdlib_module_names) | {"jax", "jaxtyping", "ml_dtypes", "numpy", "typing_extensions"}
"""Libraries whose other functions do not."""

_code: dict[types.CodeType, tuple[bytes, frozenset[str], frozenset[str]]] = {}


@functools.lru_cache
def is_library(module: Any) -> bool:
    """Whether a module is one of LIBRARIES, and not of the user's under the same name."""
    if not isinstance(module, str) or (root := module.split(".")[0]) not in LIBRARIES:
        return False
    file = getattr(sys.modules.get(root), "__file__", None)
    if root not in sys.stdlib_module_names or file is None:
        return True
    return Path(file).is_relative_to(sysconfig.get_path("stdlib")) or Path(file).is_relative_to(
        sysconfig.get_path("platstdlib")
    )


def is_checked(f: types.FunctionType) -> bool:
    """Whether it is a function with checks of its types around it, by jaxtyping or beartype.

    They keep notes of calls, and let through what they were given.
    """
    file = f.__code__.co_filename
    checker = file == jaxtyping.jaxtyped.__code__.co_filename or file.startswith("<@beartype(")
    return checker and isinstance(getattr(f, "__wrapped__", None), types.FunctionType)


def hash_parts(kind: str, *parts: bytes) -> bytes:
    digest = hashlib.blake2b(kind.encode(), digest_size=16)
    for part in parts:
        digest.update(struct.pack("q", len(part)))
        digest.update(part)
    return digest.digest()


def read_code(code: types.CodeType) -> tuple[bytes, frozenset[str], frozenset[str]]:
    """The digest of code wherever it stands, the globals that it names, and the attributes that it asks for."""
    if code not in _code:
        names, attributes, parts = set(), set(), []
        for instruction in dis.get_instructions(code):
            name = instruction.argval
            if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME", "IMPORT_NAME"):
                # import a.b.c binds a, and the attributes of it that follow
                names |= {name, name.split(".")[0]} if "." in name else {name}
                attributes |= set(name.split(".")[1:])
            elif instruction.opcode in dis.hasname:
                attributes.add(name)
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                digest, inner_names, inner_attributes = read_code(constant)
                names |= inner_names
                attributes |= inner_attributes
                parts.append(digest)
            else:
                parts.append(f"{type(constant).__name__}{_constant(constant)}".encode())
        looks = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
        digest = hash_parts(
            "code",
            code.co_code,
            repr((looks, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)).encode(),
            code.co_exceptiontable,
            *parts,
        )
        _code[code] = digest, frozenset(names), frozenset(attributes)
    return _code[code]


def _constant(x: Any) -> str:
    """A constant of code; a set of names has an order of its own in every process."""
    if isinstance(x, frozenset):
        return repr(sorted(map(_constant, x)))
    return f"({','.join(map(_constant, x))})" if isinstance(x, tuple) else repr(x)
