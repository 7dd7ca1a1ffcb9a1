"""Strict by default: 64-bit, shapes checked at run time, no promotion of ranks or types.

Everything above the fixtures happens before `undertow` or `jax` is first imported, by tests or by
doctests: it has no effect afterwards.
"""

import importlib.metadata
import os
import shutil
import sys
from pathlib import Path

# Three quarters of the time are compilation, of programs that run for milliseconds: without optimizations, a fraction.
os.environ["XLA_FLAGS"] = " ".join(
    [
        os.environ.get("XLA_FLAGS", ""),
        "--xla_backend_optimization_level=0",
        "--xla_llvm_disable_expensive_passes=true",
        "--xla_cpu_parallel_codegen_split_count=1",  # small programs in one piece
    ]
)
if importlib.metadata.version("jaxlib").startswith("0.10."):  # later ones know no such flag, and end where they see it
    os.environ["XLA_FLAGS"] += " --xla_cpu_use_fusion_emitters=false"
if "PYTEST_XDIST_WORKER" in os.environ:
    # One thread a worker: two workers that each start a pool for all cores only fight over them.
    # NPROC is what XLA sizes its thread pools by.
    os.environ["XLA_FLAGS"] += " --xla_cpu_multi_thread_eigen=false"
    for variable in ("NPROC", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
os.environ.setdefault("MPLBACKEND", "agg")  # figures go to files; no window is opened

# What a run compiles is there for its other worker, for what `few_programs` lets go, for the processes that tests
# start, and for the next run. JAX goes by program, flags, version and processor; without the folder all is compiled.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parent.parent / ".cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

from collections.abc import Callable, Iterator

import hypothesis
import jax
import jaxtyping
import pytest

if "undertow" in sys.modules:
    raise RuntimeError("undertow was imported before tests/conftest.py: its shapes would go unchecked")
# The numeric tower: an int is welcome where the signature says float, as type checkers hold.
jaxtyping.install_import_hook("undertow", "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

PROGRAMS = Path(__file__).parent.parent / ".cache" / "jax"
MOST_BYTES = 2**30  # those of older code are of no use any longer; a program has some 10 kB
if "PYTEST_XDIST_WORKER" not in os.environ and PROGRAMS.is_dir():
    # Not by jax_compilation_cache_max_size, which looks through the whole folder at each program.
    size = sum(entry.stat().st_size for entry in os.scandir(PROGRAMS))
    if size > MOST_BYTES:
        shutil.rmtree(PROGRAMS, ignore_errors=True)

# The same examples on every run, few of them, and no deadline, because the first example compiles.
# HYPOTHESIS_PROFILE=ci looks wider.
hypothesis.settings.register_profile("default", derandomize=True, deadline=None, max_examples=20, print_blob=True)
hypothesis.settings.register_profile("ci", deadline=None, max_examples=200, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture
def getkey() -> Callable[[], jax.Array]:
    """A function that gives a fresh random key at every call, the same sequence in every run."""
    count = 0

    def next_key() -> jax.Array:
        nonlocal count
        count += 1
        return jax.random.fold_in(jax.random.key(20), count)

    return next_key


@pytest.fixture(autouse=True)
def promotion(request: pytest.FixtureRequest) -> Iterator[None]:
    """Tests marked ``two_types`` have parameters of one type and data of another, which JAX brings together."""
    if request.node.get_closest_marker("two_types") is None:
        yield
    else:
        with jax.numpy_dtype_promotion("standard"):
            yield


@pytest.fixture(autouse=True, scope="module")
def few_programs() -> Iterator[None]:
    """Forget what was compiled in time: programs hold memory maps, of which Linux grants a process 65,530."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > 30_000:
        jax.clear_caches()
