"""Compiled programs, shared by what the functions in them are (``_description``), not by what they are called."""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np

from ._description import Description, describe


class _Array:
    """Stands in a description where a program takes an array."""


class Program:
    """All of a PyTree but its arrays, as a static argument: two with equal digests share a compiled program."""

    def __init__(self, tree: Any):
        leaves, structure = jax.tree.flatten(tree)
        places = [_Array if eqx.is_array(x) else x for x in leaves]
        # Copies of NumPy's, which may be changed in place before a sweep comes to run them.
        self.arrays = [x.copy() if isinstance(x, np.ndarray) else x for x in leaves if eqx.is_array(x)]
        kinds = tuple((x.shape, str(x.dtype), getattr(x, "weak_type", False)) for x in self.arrays)
        self.digest, self.unseen, self.fixed = _described(structure, places, kinds)

        def assemble(arrays: list[Any]) -> Any:
            # The arrays themselves are none of the program's business, which may live for long.
            rest = iter(arrays)
            return jax.tree.unflatten(structure, [next(rest) if x is _Array else x for x in places])

        self.key = Key(self.digest, assemble)


class Key:
    """What JAX holds of a program: how arrays become the tree again."""

    def __init__(self, digest: bytes, assemble: Callable[[Any], Any]):
        self.digest, self.assemble = digest, assemble

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)


SAYING = ("jax_enable_x64", "jax_numpy_dtype_promotion", "jax_numpy_rank_promotion")
"""Settings of JAX that have a say in shapes and dtypes, and in what is refused."""
MOST_OUTCOMES = MOST_DESCRIPTIONS = 4096
_outcomes: dict[tuple[Any, ...], Any] = {}
_descriptions: dict[Any, Description] = {}


def _described(structure: Any, places: list[Any], kinds: tuple[Any, ...]) -> Description:
    """What a tree is but for its arrays; not looked at again where nothing in it can ever change.

    The structures of such trees are equal where what they hold is. Their texts tell apart what Python calls equal, as
    1, 1.0 and True.
    """
    try:
        text = (str(structure), *(repr(x) for x in places if x is not _Array))
        known = (structure, text, tuple(places), kinds)
        if known in _descriptions:
            return _descriptions[known]
    except (TypeError, ValueError):  # something in it cannot be hashed or compared, as lists and arrays
        known = None
    found = describe(jax.tree.unflatten(structure, places), kinds)
    if known is not None and found.fixed and not found.unseen:
        if len(_descriptions) >= MOST_DESCRIPTIONS:
            _descriptions.clear()
        _descriptions[known] = found
    return found


def outcome(function: Callable[..., Any], *programs: Program) -> Any:
    """The shapes and dtypes that ``function`` gives for the trees of these programs; nothing is computed.

    It is kept: of other programs with the same digests nothing is traced again. So ``function`` is one of ours, hangs
    on nothing but the trees, and sees their arrays as traced ones. What it raises is not kept.
    """
    # JAX would keep it too, but all that has equal shapes is in one place there, and looked through one by one.
    kept = (function, *(p.digest for p in programs), *(getattr(jax.config, name) for name in SAYING))
    try:
        return _outcomes[kept]
    except KeyError:  # looked up once: another thread may clear it
        pass

    def assembled(arrays: list[list[Any]]) -> Any:
        return function(*(p.key.assemble(some) for p, some in zip(programs, arrays, strict=True)))

    found = jax.eval_shape(assembled, [p.arrays for p in programs])
    if len(_outcomes) >= MOST_OUTCOMES:
        _outcomes.clear()
    _outcomes[kept] = found
    return found


MAPS, LIMIT = Path("/proc/self/maps"), Path("/proc/sys/vm/max_map_count")
_seen: set[bytes] = set()


def make_room(program: Key) -> None:
    """Before a program is compiled: let all go where their memory maps are half of those that Linux grants a process.

    Each new shape of a run adds some 160, and beyond the limit (65,530 as a rule) LLVM ends the process. What is needed
    again is compiled again. It looks once in sixteen new programs.
    """
    if program.digest in _seen:
        return
    _seen.add(program.digest)
    if len(_seen) % 16 == 0 and LIMIT.exists():
        maps = memory_maps()
        if maps is not None and maps > int(LIMIT.read_text()) // 2:
            jax.clear_caches()
            _seen.clear()


def memory_maps() -> int | None:
    """How many memory maps this process holds; None where the system does not tell."""
    try:
        with MAPS.open("rb") as file:
            return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(2**20), b""))
    except OSError:
        return None


SMALL = 4096
"""Numbers in the arrays of a program up to which the time of compiling it is more than what it saves."""

QUICK = {
    "xla_backend_optimization_level": 1,
    "xla_cpu_use_fusion_emitters": False,
    "xla_cpu_parallel_codegen_split_count": 1,
}
"""Options of XLA that compile in half the time on a CPU. Small programs run as fast, large ones up to 4 x slower."""


ONCE = {"xla_backend_optimization_level": 0}
"""What is different for programs that run once: half the time again. Steps would be two to three times slower."""


def compiled_by_size(function: Callable[..., Any], *, once: bool = False) -> Callable[..., Any]:
    """``equinox.filter_jit`` that takes less time to compile, and no longer to run, where the arguments are small.

    Still less for what runs ``once``. Whoever sets the optimization of XLA by the environment variable XLA_FLAGS has
    the say.
    """
    as_ever = eqx.filter_jit(function)

    @functools.cache
    def quick() -> Callable[..., Any]:
        jit: Any = eqx.filter_jit  # its types leave out the options of jax.jit
        options = _quick_options()
        return jit(function, compiler_options=options | {n: x for n, x in ONCE.items() if once and n in options})

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        size = sum(x.size for x in jax.tree.leaves(args) if eqx.is_array(x))
        said = "xla_backend_optimization_level" in os.environ.get("XLA_FLAGS", "")
        small = size <= SMALL and not said and jax.default_backend() == "cpu"
        return (quick() if small else as_ever)(*args, **options)

    return call


@functools.cache
def _quick_options() -> dict[str, Any]:
    """Those of ``QUICK`` that the XLA that is there has: they come and go with its versions."""
    if _known(QUICK):
        return QUICK
    return {name: value for name, value in QUICK.items() if _known({name: value})}


def _known(options: dict[str, Any]) -> bool:
    try:
        jax.jit(lambda: 0, compiler_options=options)()
    except jax.errors.JaxRuntimeError:
        return False
    return True


def filter_jit(function: Callable[..., Any]) -> Callable[..., Any]:
    """``equinox.filter_jit`` for arguments that may hold functions of the user's: shared by what they are."""

    @eqx.filter_jit
    def compiled(key: Key, arrays: list[Any]) -> Any:
        return function(*key.assemble(arrays))

    @functools.wraps(function)
    def call(*args: Any) -> Any:
        program = Program(args)
        return compiled(program.key, program.arrays)

    return call
