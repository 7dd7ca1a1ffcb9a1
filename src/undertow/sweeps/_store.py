"""The arrays of a store: an xarray dataset in Zarr's format 3 that opens without this package, a row a run.

Runs are in rows in the order in which they were planned. Chunks of 100 rows have a checksum each, and stand together
in files of 1,000. Rows are written before the ledger says that they are there: a process that dies in between leaves
rows that are written again.
"""

import contextlib
import itertools
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import _columns
from ._columns import column, file_of, fill_of, of_axis, padded, parts_of, place_of
from ._ledger import Batch, Ledger, only_writer, told
from ._rows import Row
from ._sweep import check_variables

FORMAT = 2
CHUNK, FILE = 100, 1000
"""Rows that share a checksum, and rows that share a file."""


class Store:
    """A store that is open for writing, by nobody else."""

    def __init__(self, path: Path, ledger: Ledger, group: Any):
        self.path, self.ledger, self._group = path, ledger, group
        with _all_chunks():
            self._arrays: dict[str, Any] = dict(group.arrays())  # of nobody else while it is open
        self._committed = time.monotonic()

    def commit_all(self, results: Sequence[tuple[Batch, Sequence[Row]]]) -> None:
        """Keep what was found; batches in rows one after the other are written together, which takes as long as one."""
        joined: list[tuple[Batch, list[Row]]] = []
        for batch, rows in sorted(results, key=lambda result: result[0].first_row):
            if joined and joined[-1][0].first_row + len(joined[-1][1]) == batch.first_row:
                joined[-1][0].points.extend(batch.points)
                joined[-1][1].extend(rows)
            else:
                joined.append((batch._replace(points=list(batch.points)), list(rows)))
        for batch, rows in joined:
            self.commit(batch, rows)

    def check_probes(self, axes: Mapping[str, Any], shapes: Sequence[dict[str, tuple[int, ...]]]) -> None:
        """Raise ValueError where runs watch other probes than what is kept, or an axis is called as a result is."""
        known = self.ledger.facts().get("probes")
        every = [{name: tuple(shape) for name, shape in known.items()}] if known is not None else []
        every += shapes
        if every:
            check_variables(axes, every)
            if known is None:
                self.ledger.set_facts({"probes": every[0]})

    def commit(self, batch: Batch, rows: Sequence[Row]) -> None:
        """Keep the rows of a batch, and then say that they are there."""
        # Before anything is written: of runs of two trainings nobody knows the probes before.
        self.check_probes(batch.points[0], [row["shapes"] for row in rows if "shapes" in row])
        place = slice(batch.first_row, batch.first_row + len(rows))
        columns: dict[str, np.ndarray] = {
            name: of_axis([point[name] for point in batch.points], kind)
            for name, kind in self.ledger.facts()["axes"].items()
        }
        for name in rows[0].keys() | {key for row in rows for key in row}:
            if name not in ("sampled", "shapes"):
                columns[name] = column([row.get(name) for row in rows])
        sampled = [row.get("sampled", {}) for row in rows]
        with _all_chunks():
            for name, values in columns.items():
                self._write(name, place, values, [])
            for name in dict.fromkeys(key for found in sampled for key in found):
                self._write(name, place, padded([found.get(name) for found in sampled]), ["sample"])
            for name in self._arrays.keys() - columns.keys() - {key for found in sampled for key in found}:
                self._write_nothing(name, place)
            self._complete()
        states = ["failed" if row["status"] == "failed" else "done" for row in rows]
        now = time.monotonic()
        self.ledger.commit(batch, states, now - self._committed)
        self._committed = now

    def _write(self, name: str, place: slice, values: np.ndarray, dims: list[str]) -> None:
        from zarr.codecs import Crc32cCodec, ZstdCodec

        if values.dtype.kind in "OU":
            values = np.array([str(value) for value in values], dtype=np.dtypes.StringDType())
        extra = values.shape[1:]
        if name not in self._arrays:
            names = [*dims, *(f"{name.removeprefix('final_')}_{axis}" for axis in range(len(extra) - len(dims)))]
            fill: Any = "" if values.dtype.kind == "T" else False if values.dtype.kind == "b" else fill_of(values)
            least = tuple(max(size, 1) for size in extra)
            self._arrays[name] = self._group.create_array(
                name,
                shape=(0, *extra),
                chunks=(CHUNK, *least),
                shards=(FILE, *least),
                dtype="string" if values.dtype.kind == "T" else values.dtype,
                fill_value=fill,
                dimension_names=["run", *names],
                compressors=[ZstdCodec(level=3), Crc32cCodec()],
            )
        array = self._arrays[name]
        larger = tuple(map(max, array.shape, (place.stop, *extra)))
        if larger != array.shape:
            array.resize(larger)
        if extra != array.shape[1:]:
            wide = np.full((len(values), *array.shape[1:]), fill_of(values), values.dtype)
            wide[(slice(None), *map(slice, extra))] = values
            values = wide
        array[place] = values

    def _write_nothing(self, name: str, place: slice) -> None:
        """Of an array that no run of these has, so that all are of one length."""
        array = self._arrays[name]
        array.resize((max(array.shape[0], place.stop), *array.shape[1:]))
        array[place] = array.fill_value

    def _complete(self) -> None:
        """Write the files of rows that nothing was written to, and note them: one that is not there then was lost."""
        known = self.ledger.facts().get("arrays", {})
        found = {name: parts_of(array) for name, array in sorted(self._arrays.items())}
        if found == known:
            return
        for name, counts in found.items():
            array, before = self._arrays[name], known.get(name, [0] * len(counts))
            for index in itertools.product(*map(range, counts)):
                fresh = any(i >= count for i, count in zip(index, before, strict=True))
                if fresh and not file_of(self.path / name, index).exists():
                    array[place_of(array, index)] = array.fill_value
        self.ledger.set_facts({"arrays": found})

    def read(self, names: Sequence[str] | None, rows: np.ndarray) -> dict[str, tuple[list[str], np.ndarray]]:
        """Dimensions and values of the arrays in these rows."""
        return _columns.read(self._group, names, rows)

    @property
    def names(self) -> list[str]:
        """What is kept."""
        return sorted(self._arrays)

    def repair(self) -> int:
        """Take back the runs whose chunks are lost or damaged; how many."""
        lost: set[int] = set()
        for index, file in self._damaged():
            first = index[0] * FILE
            file.unlink(missing_ok=True)
            lost |= set(range(first, min(first + FILE, len(self.ledger.states()))))
        return self.ledger.forget(sorted(lost)) if lost else 0

    def check_files(self) -> None:
        """Raise ValueError if a file is not there that should be: Zarr would read what is missing as empty."""
        for name, index, file in self._files():
            if not file.exists():
                raise ValueError(
                    f"store: {file} is missing, with {name!r} of the runs from row {index[0] * FILE} on; repair=True "
                    "runs them again"
                )

    def _files(self) -> Iterator[tuple[str, tuple[int, ...], Path]]:
        """Name, index and place of every file that committed rows are in."""
        committed = [row for row, state in enumerate(self.ledger.states()) if state != "left"]
        parts = sorted({row // FILE for row in committed})
        for name, counts in self.ledger.facts().get("arrays", {}).items():
            for index in itertools.product([part for part in parts if part < counts[0]], *map(range, counts[1:])):
                folder = self.path / name
                yield name, index, file_of(folder, index) if name in self._arrays else folder / "zarr.json"

    def _damaged(self) -> Iterator[tuple[tuple[int, ...], Path]]:
        for name, index, file in self._files():
            try:
                if not file.exists():
                    raise FileNotFoundError
                array = self._arrays[name]
                array[place_of(array, index)]
            except Exception:  # noqa: BLE001 - the codecs raise what they like
                yield index, file


def _all_chunks() -> contextlib.AbstractContextManager[Any]:
    """Arrays that are opened or made inside write chunks of nothing but their fill value too.

    A file that is not there is one that was lost.
    """
    import zarr

    return zarr.config.set({"array.write_empty_chunks": True})


RESERVED = ("sample", "status", "message", "gradient_evaluations", "samples", "seconds")


@contextlib.contextmanager
def opened(path: Path, facts: Mapping[str, Any]) -> Iterator[Store]:
    """The store at ``path``, made where there is none, for writing.

    Raises
    ------
    ValueError
        If something else is there, another process writes, or it is of another sweep: its facts differ from these.
    OSError
        If it cannot be written.
    """
    import zarr

    ledger_path = path.with_name(path.name + ".sqlite")
    if path.exists() and not (path / "zarr.json").is_file() and (not path.is_dir() or any(path.iterdir())):
        raise ValueError(f"store: {path} is there, and no store of a sweep; name another one")
    if path.exists() and (path / "zarr.json").is_file() and not ledger_path.is_file():
        raise ValueError(
            f"store: {path} has no ledger ({ledger_path.name}) beside it, which says what runs are whole; it can be "
            "read, but not added to: name another one"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with only_writer(path), told(ledger_path):
        ledger = Ledger(ledger_path)
        try:
            known = ledger.facts()
            if known:
                check_same(path, known, facts)
                if not (path / "zarr.json").is_file():
                    raise ValueError(
                        f"store: {path} is gone, and its ledger ({ledger_path.name}) is there; bring it back, or "
                        "remove the ledger too"
                    )
            group = zarr.open_group(path, mode="a", zarr_format=3, use_consolidated=False)
            if not known:
                group.attrs.update({key: value for key, value in facts.items() if isinstance(value, (str, int, float))})
                ledger.set_facts(facts)
            store = Store(path, ledger, group)
            try:
                yield store
            finally:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # not in the format's text yet, but all of its readers know it
                    zarr.consolidate_metadata(group.store)
        finally:
            ledger.close()


def check_same(path: Path, known: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Raise ValueError where a store is of something else: what was kept is never mixed with other runs."""
    for name, value in facts.items():
        if known.get(name) != value:
            found = known.get(name)
            raise ValueError(
                f"store: {path} is of another sweep: {name} is {found!r} there and {value!r} here; name another store"
                if name != "function"
                else f"store: {path} was written by another state of {known.get('run')}, whose code or values have "
                "changed since; name another store"
            )
