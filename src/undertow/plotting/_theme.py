"""The look of every figure, whatever the user's own settings: two matplotlib style files, light and dark.

They also serve figures of anybody's own: ``matplotlib.style.use("undertow.plotting.light")``.
"""

import contextlib
import contextvars
import functools
from collections.abc import Iterator
from importlib.resources import as_file, files
from typing import Any, Literal

import matplotlib as mpl
import matplotlib.style

Theme = Literal["light", "dark"]

_theme: contextvars.ContextVar[Theme] = contextvars.ContextVar("undertow_theme", default="light")


def current_theme() -> Theme:
    """The theme in force: ``"light"`` unless a `theme` block says otherwise."""
    return _theme.get()


def style(name: Theme | None = None) -> dict[Any, Any]:
    """Matplotlib settings of the house style.

    Parameters
    ----------
    name : "light" or "dark", optional
        The theme; by default the one in force.

    Returns
    -------
    dict
        For `matplotlib.rc_context` or `matplotlib.rcParams.update`.

    Examples
    --------
    >>> style("light")["font.size"]
    15.0
    """
    chosen = current_theme() if name is None else name
    check_theme(chosen)
    return dict(_read(chosen))


def house_style() -> contextlib.AbstractContextManager[None]:
    """A block in the style of the theme in force, on matplotlib's own defaults.

    What else the user has set, in a script or in a ``matplotlibrc``, must not change a figure of ours, or break it.
    """
    return matplotlib.style.context(["default", style()])


@contextlib.contextmanager
def theme(name: Theme) -> Iterator[None]:
    """Draw and save in this theme inside the block.

    Parameters
    ----------
    name : "light" or "dark"

    Raises
    ------
    ValueError
        If there is no such theme.
    """
    check_theme(name)
    token = _theme.set(name)
    try:
        with house_style():
            yield
    finally:
        _theme.reset(token)


def check_theme(name: str) -> None:
    """Refuse what is no theme."""
    if name not in ("light", "dark"):
        raise ValueError(f"name: unknown theme {name!r}; expected 'light' or 'dark'")


@functools.cache
def _read(name: Theme) -> dict[Any, Any]:
    """The light file is whole; the dark one names only what it changes."""
    found: dict[Any, Any] = {}
    for part in ("light",) if name == "light" else ("light", "dark"):
        with as_file(files("undertow.plotting").joinpath(f"{part}.mplstyle")) as path:
            found |= mpl.rc_params_from_file(path, use_default_template=False)
    return found
