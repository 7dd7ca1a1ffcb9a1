"""Where numbers come from: versions, dynamics and tolerances, precision, device and date, as plain attributes."""

import functools
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

import jax

from .._repr import number, value_text
from ..dynamics import Dynamics

SETTINGS = ("solver", "rtol", "atol")
"""Fields of dynamics that are told apart, where there are such."""
version = functools.cache(metadata.version)
"""Which reads a file; the versions of a process do not change."""
_MOST = 5
"""Values of a setting that are listed where runs differ in it."""

Origin = Mapping[str, str | float]


def origin_of(dynamics: Dynamics, params: Any, atol: float | None = None) -> dict[str, str | float]:
    """The origin of a run that ends now, at ``params``; text and numbers only, which netCDF and Zarr keep.

    ``atol`` is the absolute tolerance that a flow took where it was told none.
    """
    leaf = jax.tree.leaves(params)[0]
    settings = {name: number(getattr(dynamics, name, None)) for name in SETTINGS if hasattr(dynamics, name)}
    if isinstance(solver := getattr(dynamics, "solver", None), str):
        settings["solver"] = solver
    if atol is not None and not isinstance(settings.get("atol"), float):
        settings["atol"] = atol
    kept = {name: value for name, value in settings.items() if isinstance(value, str | int | float)}
    return {
        "undertow": version("undertow"),
        "jax": version("jax"),
        "dynamics": repr(dynamics),
        **kept,
        "precision": str(leaf.dtype),
        "device": sorted(device.device_kind for device in leaf.devices())[0],
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def common_origin(origins: Iterable[Origin]) -> dict[str, str | float]:
    """The origin of several runs: what differs between them is listed, and the date is the last one."""
    several = [dict(origin) for origin in origins]
    found: dict[str, str | float] = {}
    for name in dict.fromkeys(name for origin in several for name in origin):
        values = list(dict.fromkeys(origin[name] for origin in several if name in origin))
        if name == "date":
            found[name] = max(map(str, values))
        elif len(values) == 1:
            found[name] = values[0]
        else:
            more = [f"and {len(values) - _MOST} more"] if len(values) > _MOST else []
            found[name] = "; ".join([*(v if isinstance(v, str) else value_text(v) for v in values[:_MOST]), *more])
    return found
