"""The runs that a store has, one after the other, for other tools to take over; another process may be writing it."""

import dataclasses
import functools
import importlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .._validation import nearest
from ._columns import values_of
from ._ledger import existing_ledger
from ._points import Point
from ._store import FILE


class Run(NamedTuple):
    """A run that is done or failed: its key, its axes, and values by the names of arrays."""

    key: str
    point: Point
    failed: bool
    values: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Finished:
    """What a store had when it was looked at.

    Attributes
    ----------
    facts
        What it is of.
    known
        Key, axes and state of the runs that are there, by their rows.
    """

    path: Path
    facts: dict[str, Any]
    known: dict[int, tuple[str, Point, str]]

    @functools.cached_property
    def numbers(self) -> dict[str, tuple[str, ...]]:
        """The arrays of numbers that are kept, and their dimensions beside the runs."""
        found = ((name, array) for name, array in self._group().arrays() if name not in self.facts["axes"])
        return {name: array.metadata.dimension_names[1:] for name, array in sorted(found) if array.dtype.kind in "iufb"}

    def dimensions(self, argument: str, name: str) -> tuple[str, ...]:
        """Those of an array beside the runs.

        Raises ValueError where there is none of this name.
        """
        numbers = self.numbers
        if name not in numbers:
            raise ValueError(
                f"{argument}: {self.path} has no numbers called {name!r}{nearest(name, numbers)}; there are "
                f"{', '.join(numbers) or 'none'}"
            )
        return numbers[name]

    @functools.cached_property
    def _by_step(self) -> bool:
        """Whether samples are told apart by their steps in all runs; flows take many within a step."""
        found = (run.values for run in self.runs(["step", "samples"]) if not run.failed)
        return all((np.diff(values["step"][: values["samples"]]) > 0).all() for values in found)

    def measured(self, run: Run, name: str) -> list[tuple[int, Any]]:
        """The values of an array in a run: samples by step, or by number where steps do not tell them apart, or one."""
        if run.failed or name not in run.values:
            return []
        if self.numbers[name][:1] != ("sample",):
            return [(0, run.values[name])]
        values = run.values[name][: run.values["samples"]]
        places = map(int, run.values["step"]) if self._by_step else range(len(values))
        return list(zip(places, values, strict=False))

    def runs(self, names: Sequence[str]) -> Iterator[Run]:
        """Them, with these arrays as far as they are kept; no more is read at once than stands in one file."""
        group = self._group()
        arrays = {name: group[name] for name in names if name in group}
        for first in range(0, max(self.known, default=-1) + 1, FILE):
            part = {name: values_of(group, name, slice(first, first + FILE)) for name in arrays}
            for row in range(first, first + FILE):
                if row in self.known:
                    key, point, state = self.known[row]
                    # An array ends where the last run ends that has it.
                    found = {name: values[row - first] for name, values in part.items() if row - first < len(values)}
                    yield Run(key, point, state == "failed", found)

    def _group(self) -> Any:
        import zarr

        # Not the metadata in one piece, which a process that was killed has not written.
        return zarr.open_group(self.path, mode="r", zarr_format=3, use_consolidated=False)


def finished(store: str | os.PathLike[str]) -> Finished:
    """What a store has.

    Raises ValueError if there is none.
    """
    with existing_ledger(store) as ledger:
        known = {row: (key, json.loads(point), state) for row, key, point, state in ledger.runs() if state != "left"}
        return Finished(Path(store), ledger.facts(), known)


def needed(package: str, by: str) -> Any:
    """A package that an extra of its name brings.

    Raises ImportError if it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ImportError(f"{by}: {package} is not installed: pip install 'undertow[{package}]'") from error
