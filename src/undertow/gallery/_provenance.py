"""What a result depends on: its random key, the code, the versions, the machine."""

import functools
import hashlib
import importlib.metadata
import inspect
import os
import platform
from pathlib import Path

import jax

import undertow
from undertow.studies import Study

_PACKAGES = ("jax", "jaxlib", "numpy", "scipy", "xarray", "matplotlib")


def key_for(study_id: str, seed: int = 0) -> jax.Array:
    """The random key of a study: it depends on the id and the seed only, so adding a study changes no other.

    Parameters
    ----------
    study_id : str
    seed : int
        The base seed, from 0 to 2^32 - 1.

    Returns
    -------
    jax.Array
        A typed key.

    Examples
    --------
    >>> bool((key_for("movielens") == key_for("image-completion")).all())
    False
    """
    # Python's own hash changes from process to process; this one does not.
    word = int.from_bytes(hashlib.sha256(study_id.encode()).digest()[:4], "big")
    return jax.random.fold_in(jax.random.key(seed), word)


def fingerprint(study: Study) -> str:
    """A digest of the code behind a result: the study's own files and the library's, pages left out.

    A result is reused only where this has not changed. A study without source files, written at a
    prompt, has no fingerprint: the empty string, which never counts as the same.
    """
    checks = (*study.checks, *((study.refutation,) if study.refutation else ()))
    own = [_source_file(part) for part in (study.run, study.plot, *(check.measure for check in checks))]
    if any(path is None for path in own):
        return ""
    digest = hashlib.sha256()
    for path in sorted({path for path in own if path is not None}):
        digest.update(path.read_bytes())
    digest.update(_library_digest())
    return digest.hexdigest()


@functools.cache
def versions() -> dict[str, str]:
    """Of undertow, Python, and the packages that decide about numbers and pictures."""
    found = {"undertow": importlib.metadata.version("undertow"), "python": platform.python_version()}
    return found | {name: importlib.metadata.version(name) for name in _PACKAGES}


@functools.cache
def hardware() -> dict[str, str]:
    """Processor, cores, memory, operating system, and the devices JAX runs on."""
    devices = sorted({device.device_kind for device in jax.devices()})
    return {
        "processor": _processor(),
        "cores": str(_cores()),
        "memory": _memory(),
        "system": f"{platform.system()} {platform.machine()}",
        "JAX devices": f"{len(jax.devices())} × {', '.join(devices)} ({jax.default_backend()})",
    }


def _source_file(part: object) -> Path | None:
    while isinstance(part, functools.partial):
        part = part.func
    try:
        found = inspect.getsourcefile(inspect.unwrap(part))  # pyright: ignore[reportArgumentType]
    except TypeError:  # a callable object: its class has the source
        found = inspect.getsourcefile(type(part))
    path = Path(found) if found else None
    return path if path is not None and path.is_file() else None


@functools.cache
def _library_digest() -> bytes:
    """Of every module of the library that a run can reach: other studies, pages and commands it cannot.

    What the studies of a chapter share is in a file ``_shared.py`` of its own.
    """
    root = Path(inspect.getfile(undertow)).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        place = path.relative_to(root)
        if place.parts[0] in ("gallery", "cli"):
            continue
        if place.parts[0] == "studies" and place.name not in ("_base.py", "_shared.py"):
            continue
        digest.update(str(place).encode() + path.read_bytes())
    return digest.digest()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _cores() -> int:
    # Those this process may use; the machine may have more.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory() -> str:
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not every system tells
        return "unknown"
    return f"{size / 2**30:.0f} GiB"
