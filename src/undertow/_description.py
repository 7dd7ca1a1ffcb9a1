"""What a function is: the one description by which programs are shared and runs are resumed.

JAX takes a function for what it is called, and keeps what it traced. A function of the user's is more: its code, and
every value that the code can reach, which may be another one at the next call. ``describe`` follows them all: globals,
closure cells, defaults, attributes of callables and of their classes, what is bound, and the helpers of helpers.
Equal digests mean equal results. What cannot be seen (a generator, a lock, ``eval``) is listed as ``unseen``, and its
digest equals no other: a program of its own is made for it, and a checkpoint is refused.

Code of the libraries that everything here is made of stands for itself by its name; what it was given is followed.
"""

import collections
import copyreg
import enum
import functools
import inspect
import itertools
import operator
import os
import re
import struct
import sys
import types
import typing
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
from jax.core import Tracer

from ._code import (
    BY_NAME,
    FORGETFUL,
    KEEP_TRACES,
    UNSEEN_ATTRIBUTES,
    UNSEEN_MODULES,
    UNSEEN_NAMES,
    hash_parts,
    is_checked,
    is_library,
    read_code,
)
from ._validation import is_traced

MOST = 100_000
"""Values after which a description gives up: what is larger counts as unseen."""

_ABOUT_CLASSES = frozenset(
    {
        *(
            "_abc_impl",
            "__abstractmethods__",
            "__annotations__",
            "__annotate__",
            "__annotate_func__",
            "__dict__",
            "__doc__",
        ),
        *("__annotations_cache__", "__dataclass_fields__", "__dataclass_params__", "__firstlineno__", "__match_args__"),
        *("__module__", "__orig_bases__", "__parameters__", "__qualname__", "__slots__", "__static_attributes__"),
        "__weakref__",
    }
)
_PLAIN = (type(None), bool, int, float, complex, str, bytes, type(...), type(NotImplemented), range, slice)
_alone = itertools.count()


class Description(NamedTuple):
    """The digest of all that a value is, what of it could not be seen, and whether nothing in it can ever change."""

    digest: bytes
    unseen: tuple[str, ...]
    fixed: bool


def describe(*parts: Any) -> Description:
    """Describe values, arrays by their entries and functions by all that they can reach, as they are now.

    The digest is the same in another process; with something ``unseen`` it is like no other.
    """
    describer = _Describer()
    digest = describer.everything(parts)
    if describer.changed and describer.keeps_traces:
        # The same function object, which now gives something else, is not traced again where JAX has kept it.
        jax.clear_caches()
    if describer.unseen:
        digest += str(next(_alone)).encode()
    return Description(digest, tuple(describer.unseen), describer.fixed)


class Static:
    """A value as a static argument of a compiled program, which equals another one by what it is now.

    Its digest is taken when it is made; ``again()`` takes it anew.
    """

    def __init__(self, value: Any):
        self.value = value.value if isinstance(value, Static) else value
        self.digest = describe(self.value).digest

    def again(self) -> "Static":
        """The same value, described as it is now."""
        return Static(self.value)

    def __call__(self, *args: Any) -> Any:
        return self.value(*args)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Static) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return getattr(self.value, "__qualname__", repr(self.value))


def _is_fixed(x: Any) -> bool:
    """Whether a value can never be another one, but for what it holds. A closure may hold what its library rebinds."""
    if isinstance(x, types.FunctionType):
        return is_library(x.__globals__.get("__name__")) and x.__closure__ is None and not x.__kwdefaults__
    if isinstance(x, type):
        return is_library(x.__module__)
    return isinstance(x, (tuple, np.dtype)) or (isinstance(x, eqx.Module) and is_library(type(x).__module__))


_asked: dict[tuple[str, str], bytes] = {}
_last_arrays: dict[int, tuple[Any, bytes]] = {}
_last: "weakref.WeakKeyDictionary[Any, bytes]" = weakref.WeakKeyDictionary()


class _Describer:
    """One walk over a graph of values."""

    def __init__(self) -> None:
        self.known: dict[int, bytes] = {}  # digests by identity
        self.kept: list[Any] = []  # so that no identity is used twice
        self.open: dict[int, int] = {}  # what the walk is inside of, by order of visit
        self.visits = 0
        self.unseen: list[str] = []
        self.changed = self.keeps_traces = False
        self.fixed = True
        # Which attribute of which module is meant shows only when all code is read: a helper may be given the module.
        self.modules: dict[str, types.ModuleType] = {}
        self.attributes: set[str] = set()

    def everything(self, parts: Any) -> bytes:
        """The digest of the parts, and of what their code asks modules for."""
        parts, asked = self.of(parts), {}
        while missing := sorted(self._asked_of_modules() - asked.keys()):
            for module, name in missing:
                value = vars(self.modules[module])[name]
                self._note_library(value)
                asked[module, name] = digest = self.of(value)
                self.changed |= _asked.get((module, name), digest) != digest
                _asked[module, name] = digest
        return hash_parts("everything", parts, *(f"{m}.{n}".encode() + asked[m, n] for m, n in sorted(asked)))

    def _asked_of_modules(self) -> set[tuple[str, str]]:
        by_name = not BY_NAME.isdisjoint(self.attributes)
        found = set()
        for module, x in self.modules.items():
            names = {n for n in vars(x) if not n.startswith("__")} if by_name and not is_library(module) else set()
            found |= {(module, name) for name in names | (self.attributes & vars(x).keys())}
        # What `os.environ` was made of when Python began is none of it.
        return found - {("posix", "environ"), ("nt", "environ")}

    def _note_library(self, value: Any) -> None:
        module = getattr(value, "__module__", None) or getattr(value, "__name__", None)
        if is_library(module) and str(module).split(".")[0] not in FORGETFUL:
            self.keeps_traces = True

    def of(self, x: Any) -> bytes:
        """The digest of a value."""
        if isinstance(x, _PLAIN) and type(x) in _PLAIN:
            return hash_parts(type(x).__name__, struct.pack("d", x) if type(x) is float else repr(x).encode())
        name = id(x)
        if name in self.known:
            return self.known[name]
        if name in self.open:
            return hash_parts("above", str(self.open[name]).encode())
        self.visits += 1
        if self.visits > MOST:
            return self._not_seen("what a function can reach: it is too much")
        self.fixed &= _is_fixed(x)
        self.open[name] = self.visits
        try:
            digest = self._look(x)
        except RecursionError:
            digest = self._not_seen("what a function can reach: it is too deep")
        del self.open[name]
        self.known[name] = digest
        self.kept.append(x)
        return digest

    def _not_seen(self, what: str) -> bytes:
        if what not in self.unseen:
            self.unseen.append(what)
        return hash_parts("unseen", what.encode())

    def _all(self, kind: str, parts: Iterable[Any]) -> bytes:
        return hash_parts(kind, *(self.of(part) for part in parts))

    def _look(self, x: Any) -> bytes:
        if x.__class__ is type(x):
            return _look_of(type(x))(self, x)
        return next((look for kinds, look in _LOOKS if isinstance(x, kinds)), _Describer._object)(self, x)

    # Values -----------------------------------------------------------------------------------

    def _array(self, x: Any) -> bytes:
        if is_traced(x):
            return self._not_seen("a value that JAX is tracing")
        if jax.numpy.issubdtype(x.dtype, jax.dtypes.prng_key):
            return self._all("key", (str(x.dtype), jax.random.key_data(x)))
        array = np.asarray(x)
        if array.dtype.hasobject:
            return self._all("objects", (array.shape, array.tolist()))
        kind = f"{array.dtype.str}{array.dtype}{array.shape}{isinstance(x, jax.Array)}"
        more = () if type(x) in (np.ndarray, np.generic) else map(self.of, (type(x), *self._state(x)))
        digest = hash_parts("array", kind.encode(), np.ascontiguousarray(array).tobytes(), *more)
        if isinstance(x, np.ndarray):
            self._changes_in_place(x, digest)
        return digest

    def _changes_in_place(self, x: np.ndarray, digest: bytes) -> None:
        """JAX remembers, by the array, what it converted to another precision."""
        name = id(x)
        known, before = _last_arrays.get(name, (None, digest))
        if known is not None and known() is x and before != digest:
            self.changed = self.keeps_traces = True
        _last_arrays[name] = weakref.ref(x, lambda _: _last_arrays.pop(name, None)), digest

    def _sequence(self, x: Any) -> bytes:
        more = () if type(x) in (tuple, list) else (type(x), *self._state(x))
        return self._all(type(x).__name__, (len(x), *x, *more))

    def _mapping(self, x: Any) -> bytes:
        more = () if type(x) is dict else (type(x), getattr(x, "default_factory", None), *self._state(x))
        return self._all("mapping", (*itertools.chain.from_iterable(dict.items(x)), "and", *more))

    def _environment(self, x: Any) -> bytes:
        """Without the size of a terminal, which readline writes where the processes that are started here find it."""
        return self._all("environment", sorted((k, v) for k, v in x.items() if k not in ("LINES", "COLUMNS")))

    def _set(self, x: Any) -> bytes:
        return hash_parts("set", *sorted(self.of(part) for part in x), *map(self.of, (type(x), *self._state(x))))

    def _hint(self, x: Any) -> bytes:
        """Types as they stand in signatures: no result hangs on them, but wrappers that check types hold them."""
        return hash_parts("hint", re.sub(r" at 0x[0-9a-f]+", "", repr(x)).encode())

    def _weak(self, x: Any) -> bytes:
        return self._all("reference", (x(),))

    def _object(self, x: Any) -> bytes:
        """By its class, and by its attributes or what it would be copied from."""
        cls, state = type(x), list(self._state(x))
        if isinstance(x, enum.Enum):
            return self._all("member", (cls, x.name))
        try:
            known = copyreg.dispatch_table.get(cls)
            copied = x.__reduce_ex__(4) if known is None else known(x)
        except Exception:  # noqa: BLE001 (whatever an object raises that cannot be copied: a generator, a lock)
            return self._not_seen(f"{_name(cls)} {_short(x)}")
        if all(getattr(cls, name) is getattr(object, name) for name in ("__reduce__", "__reduce_ex__", "__getstate__")):
            return self._all("object", (cls, *state))  # which is all that there is, or it could not be copied
        parts = copied if isinstance(copied, tuple) else (copied,)
        if isinstance(x, operator.attrgetter | operator.methodcaller):
            self.attributes.add("getattr")
        if is_library(cls.__module__):
            state = []  # what a library says that its objects are made of is all of it
        return self._all("copied", (cls, *(list(p) if isinstance(p, Iterator) else p for p in parts), *state))

    def _state(self, x: Any) -> Iterator[Any]:
        """Attributes of the object itself, by name."""
        attributes = dict(getattr(x, "__dict__", None) or {})
        attributes |= {name: getattr(x, name) for name in _slots(type(x)) if hasattr(x, name)}
        for name in sorted(attributes, key=str):
            yield name
            yield attributes[name]

    # Functions ----------------------------------------------------------------------------------

    def _function(self, f: types.FunctionType) -> bytes:
        if is_checked(f):
            return self.of(f.__wrapped__)  # pyright: ignore[reportFunctionMemberAccess]
        code, names, attributes = read_code(f.__code__)
        cells = [_contents(cell) for cell in f.__closure__ or ()]
        parts = [code, self._all("bound", (f.__defaults__, f.__kwdefaults__, *cells))]
        if is_library(module := f.__globals__.get("__name__")):
            if f.__name__ == "load" and str(module).split(".")[0] in ("jax", "numpy"):
                return self._not_seen(f"what {module}.load reads")
            return hash_parts("library", f"{f.__module__}.{f.__qualname__}".encode(), *parts)
        self.attributes |= names | attributes
        self.keeps_traces |= not KEEP_TRACES.isdisjoint(names | attributes)
        for name in sorted(UNSEEN_ATTRIBUTES & (names | attributes)):
            self._not_seen(f"what {f.__qualname__} reaches through {name}")
        parts += [self.of(dict(f.__dict__))]
        for name in sorted(names):
            parts += [name.encode(), self._global(f, name)]
        return self._changes(f, hash_parts("function", *parts))

    def _global(self, f: types.FunctionType, name: str) -> bytes:
        builtins = f.__globals__.get("__builtins__", {})
        builtins = vars(builtins) if isinstance(builtins, types.ModuleType) else builtins
        if name in f.__globals__:
            value = f.__globals__[name]
            self._note_library(value)
            return self.of(value)
        if name in builtins:
            if name in UNSEEN_NAMES:
                return self._not_seen(f"what {f.__qualname__} reaches through {name}()")
            return self.of(builtins[name])
        # An import inside the function, absolute or of a neighbor; or a name that is not there yet.
        package = f.__globals__.get("__package__") or ""
        return self._all("imported", (sys.modules.get(name), sys.modules.get(f"{package}.{name}".rstrip("."))))

    def _module(self, x: types.ModuleType) -> bytes:
        if x.__name__.split(".")[0] in UNSEEN_MODULES and is_library(x.__name__):
            return self._not_seen(f"the module {x.__name__}")
        self.modules.setdefault(x.__name__, x)
        return hash_parts("module", x.__name__.encode())

    def _changes(self, f: Any, digest: bytes) -> bytes:
        """Remember the digest; whether it was another one when the function was last seen."""
        try:
            self.changed |= _last.get(f, digest) != digest
            _last[f] = digest
        except TypeError:  # no weak reference to it
            pass
        return digest

    def _code_object(self, x: types.CodeType) -> bytes:
        return read_code(x)[0]

    def _method(self, x: types.MethodType) -> bytes:
        return self._all("method", (x.__func__, x.__self__))

    def _builtin(self, x: Any) -> bytes:
        bound = getattr(x, "__self__", None)
        if isinstance(bound, types.ModuleType):
            bound = self._module(bound)
        return self._all("builtin", (x.__qualname__, bound))

    def _named(self, x: Any) -> bytes:
        return hash_parts("named", f"{getattr(x, '__objclass__', '')}{x.__name__}".encode())

    def _partial(self, x: functools.partial) -> bytes:
        return self._all("partial", (x.func, x.args, x.keywords, *self._state(x)))

    def _wrapped(self, x: Any) -> bytes:
        """As ``jax.jit`` and ``functools.lru_cache`` leave a function."""
        self.keeps_traces |= not is_library(getattr(x.__wrapped__, "__globals__", {}).get("__name__"))
        return self._changes(x, self._all("wrapped", (_name(type(x)), x.__wrapped__)))

    def _property(self, x: property) -> bytes:
        return self._all("property", (x.fget, x.fset))

    def _wrapper(self, x: Any) -> bytes:
        return self._all("wrapper", (type(x).__name__, x.__func__))

    def _class(self, x: type) -> bytes:
        """A class of a library by its name; another one by its bases and what is defined in it."""
        if x.__module__ == "builtins" or (is_library(x.__module__) and "<locals>" not in x.__qualname__):
            return hash_parts("class", _name(x).encode())
        defined = {name: value for name, value in vars(x).items() if name not in _ABOUT_CLASSES}
        return self._all("class", (_name(x), type(x), x.__bases__, dict(sorted(defined.items()))))


_LOOKS: tuple[tuple[Any, Callable[[_Describer, Any], bytes]], ...] = (
    (types.FunctionType, _Describer._function),
    (Static, lambda self, x: self.of(x.value)),
    (types.MethodType, _Describer._method),
    ((functools._lru_cache_wrapper, type(jax.jit(lambda: 0))), _Describer._wrapped),
    ((jax.Array, Tracer, np.ndarray, np.generic), _Describer._array),
    (type, _Describer._class),
    (functools.partial, _Describer._partial),
    ((types.BuiltinFunctionType, types.MethodWrapperType), _Describer._builtin),
    ((types.WrapperDescriptorType, types.MethodDescriptorType, types.GetSetDescriptorType), _Describer._named),
    ((types.MemberDescriptorType, types.ClassMethodDescriptorType, np.ufunc), _Describer._named),
    (types.ModuleType, _Describer._module),
    (types.CodeType, _Describer._code_object),
    (property, _Describer._property),
    ((staticmethod, classmethod), _Describer._wrapper),
    (functools.cached_property, lambda self, x: self._all("cached", (x.func,))),
    (weakref.ReferenceType, _Describer._weak),
    ((tuple, list, collections.deque), _Describer._sequence),
    (dict, _Describer._mapping),
    ((set, frozenset), _Describer._set),
    ((types.GenericAlias, types.UnionType, inspect.Signature, inspect.Parameter), _Describer._hint),
    ((type(Callable[..., Any]), type(typing.ClassVar[int]), typing.TypeVar, typing._SpecialForm), _Describer._hint),
    (types.MappingProxyType, lambda self, x: self._mapping(dict(x))),
    (type(os.environ), _Describer._environment),
)


@functools.lru_cache(maxsize=1024)
def _look_of(cls: type) -> Callable[[_Describer, Any], bytes]:
    """How values of a class are looked at; to ask twenty times of each value takes longer than all the rest."""
    return next((look for kinds, look in _LOOKS if issubclass(cls, kinds)), _Describer._object)


@functools.lru_cache
def _slots(cls: type) -> tuple[str, ...]:
    return tuple(copyreg._slotnames(cls) or ())  # pyright: ignore[reportAttributeAccessIssue] (as pickle does)


class _Empty:
    """What a cell holds before it is filled."""


def _contents(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return _Empty


def _name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _short(x: Any) -> str:
    text = repr(x)
    return text if len(text) < 60 else f"{text[:57]}..."
