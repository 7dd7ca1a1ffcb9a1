"""Compiled programs kept on disk, from one run of a script to the next."""

import os
from pathlib import Path

import jax
from jax.experimental.compilation_cache import compilation_cache


def keep_programs(folder: str | os.PathLike[str] | None = None) -> Path:
    """Keep what is compiled from here on in a folder, and take from there what an earlier run compiled.

    Call it once, at the start of a script. What a second start of the same script still takes is importing and tracing.
    It is the persistent cache of JAX, of programs of every size, and holds for all that JAX compiles in this process.

    Parameters
    ----------
    folder
        Where; made where it is missing. Left out: "programs" in the user's cache folder of Undertow.

    Returns
    -------
    The folder. It only grows; removing it is safe at any time. Programs are for the processor that they were compiled
    on, so it is best not shared between machines.

    Raises
    ------
    TypeError, ValueError
        If ``folder`` is not a path, or not one of a folder.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import jax
    >>> before = jax.config.jax_compilation_cache_dir
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     kept = keep_programs(Path(folder) / "programs")
    ...     twice = jax.jit(lambda x: 2 * x)(1.0)
    ...     kept.name, any(kept.iterdir())
    ('programs', True)

    Back to where they were kept before:

    >>> jax.config.update("jax_compilation_cache_dir", before)
    >>> jax.experimental.compilation_cache.compilation_cache.reset_cache()
    """
    if folder is None:
        import pooch

        folder = Path(pooch.os_cache("undertow")) / "programs"
    if not isinstance(folder, (str, os.PathLike)):
        raise TypeError(f"folder: expected a path, found {folder!r}")
    path = Path(folder).expanduser().absolute()
    if path.exists() and not path.is_dir():
        raise ValueError(f"folder: expected a folder, found the file {str(path)!r}")
    path.mkdir(parents=True, exist_ok=True)
    jax.config.update("jax_compilation_cache_dir", str(path))
    jax.config.update("jax_enable_compilation_cache", True)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    compilation_cache.reset_cache()  # JAX decides at the first compilation whether there is one
    return path
