"""The arrays of a store: an xarray dataset in Zarr's format 3 that opens without this package, a row a run.

Runs are in rows in the order in which they were planned. Chunks of 100 rows have a checksum each, and stand together
in files of 1,000. Rows are written before the ledger says that they are there: a process that dies in between leaves
rows that are written again.
"""

import contextlib
import json
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ._ledger import Batch, Ledger, only_writer
from ._rows import Row
from ._sweep import check_variables

FORMAT = 1
CHUNK, FILE = 100, 1000
"""Rows that share a checksum, and rows that share a file."""


class Store:
    """A store that is open for writing, by nobody else."""

    def __init__(self, path: Path, ledger: Ledger, group: Any):
        self.path, self.ledger, self._group = path, ledger, group
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
        import zarr

        # Before anything is written: of runs of two trainings nobody knows the probes before.
        self.check_probes(batch.points[0], [row["shapes"] for row in rows if "shapes" in row])
        place = slice(batch.first_row, batch.first_row + len(rows))
        columns: dict[str, np.ndarray] = {
            name: _of_axis([point[name] for point in batch.points], kind)
            for name, kind in self.ledger.facts()["axes"].items()
        }
        for name in rows[0].keys() | {key for row in rows for key in row}:
            if name not in ("sampled", "shapes"):
                columns[name] = _column([row.get(name) for row in rows])
        sampled = [row.get("sampled", {}) for row in rows]
        with zarr.config.set({"array.write_empty_chunks": True}):  # a file that is not there is one that was lost
            for name, values in columns.items():
                self._write(name, place, values, [])
            for name in dict.fromkeys(key for found in sampled for key in found):
                self._write(name, place, _padded([found.get(name) for found in sampled]), ["sample"])
        if self.names != self.ledger.facts().get("arrays"):
            self.ledger.set_facts({"arrays": self.names})
        states = ["failed" if row["status"] == "failed" else "done" for row in rows]
        now = time.monotonic()
        self.ledger.commit(batch, states, now - self._committed)
        self._committed = now

    def _write(self, name: str, place: slice, values: np.ndarray, dims: list[str]) -> None:
        from zarr.codecs import Crc32cCodec, ZstdCodec

        if values.dtype.kind in "OU":
            values = np.array([str(value) for value in values], dtype=np.dtypes.StringDType())
        extra = values.shape[1:]
        if name not in self._group:
            names = [*dims, *(f"{name.removeprefix('final_')}_{axis}" for axis in range(len(extra) - len(dims)))]
            fill: Any = "" if values.dtype.kind == "T" else False if values.dtype.kind == "b" else _fill(values)
            least = tuple(max(size, 1) for size in extra)
            self._group.create_array(
                name,
                shape=(place.stop, *extra),
                chunks=(CHUNK, *least),
                shards=(FILE, *least),
                dtype="string" if values.dtype.kind == "T" else values.dtype,
                fill_value=fill,
                dimension_names=["run", *names],
                compressors=[ZstdCodec(level=3), Crc32cCodec()],
            )
        array = self._group[name]
        larger = tuple(map(max, array.shape, (place.stop, *extra)))
        if larger != array.shape:
            array.resize(larger)
        if extra != array.shape[1:]:
            wide = np.full((len(values), *array.shape[1:]), _fill(values), values.dtype)
            wide[(slice(None), *map(slice, extra))] = values
            values = wide
        array[place] = values

    def read(self, names: Sequence[str] | None, rows: np.ndarray) -> dict[str, tuple[list[str], np.ndarray]]:
        """Dimensions and values of the arrays in these rows."""
        return read(self._group, names, rows)

    @property
    def names(self) -> list[str]:
        """What is kept."""
        return sorted(name for name, _ in self._group.arrays())

    def repair(self) -> int:
        """Take back the runs whose chunks are lost or damaged; how many."""
        lost: set[int] = set()
        for name, first, file in self._damaged():
            file.unlink(missing_ok=True)
            lost |= set(range(first, min(first + FILE, len(self.ledger.states()))))
            del name
        return self.ledger.forget(sorted(lost)) if lost else 0

    def check_files(self) -> None:
        """Raise ValueError if a file is not there that should be: Zarr would read what is missing as empty."""
        for name, first, file in self._files():
            if not file.exists():
                raise ValueError(
                    f"store: {file} is missing, with {name!r} of the runs from row {first} on; repair=True "
                    "runs them again"
                )

    def _files(self) -> Iterator[tuple[str, int, Path]]:
        """Name, first row and place of every file that committed rows are in."""
        committed = [row for row, state in enumerate(self.ledger.states()) if state != "left"]
        parts = sorted({row // FILE for row in committed})
        for name in self.ledger.facts().get("arrays", []):
            array = self._group.get(name)
            for part in parts:
                if array is None:
                    yield name, part * FILE, self.path / name / "zarr.json"
                elif part * FILE < array.shape[0]:
                    yield name, part * FILE, self.path / name / "c" / str(part) / "/".join("0" * (array.ndim - 1))

    def _damaged(self) -> Iterator[tuple[str, int, Path]]:
        for name, first, file in self._files():
            try:
                if not file.exists():
                    raise FileNotFoundError
                array = self._group[name]
                array[first : min(first + FILE, array.shape[0])]
            except Exception:  # noqa: BLE001 - the codecs raise what they like
                yield name, first, file


RESERVED = ("run", "sample", "status", "message", "gradient_evaluations", "samples", "seconds")


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
    with only_writer(path):
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


def read(group: Any, names: Sequence[str] | None, rows: np.ndarray) -> dict[str, tuple[list[str], np.ndarray]]:
    """Dimensions and values of arrays of a store in these rows."""
    found = {}
    for name in names if names is not None else sorted(key for key, _ in group.arrays()):
        array = group[name]
        length = max(array.shape[0], int(rows.max(initial=-1)) + 1)
        values = values_of(group, name, slice(None))
        if len(values) < length:  # runs that failed, behind the last that has this
            fill = np.full((length - len(values), *values.shape[1:]), array.fill_value, values.dtype)
            values = np.concatenate([values, fill])
        found[name] = (list(array.metadata.dimension_names), values[rows])
    return found


def values_of(group: Any, name: str, rows: slice) -> np.ndarray:
    """The values of an array of a store in these rows, as far as there are any.

    Raises ValueError where a chunk's checksum does not fit.
    """
    try:
        return np.asarray(group[name][rows])
    except Exception as error:
        raise ValueError(
            f"store: {name!r} of {group.store_path} is damaged ({error}); repair=True runs what is lost again"
        ) from error


def _of_axis(values: list[Any], kind: str) -> np.ndarray:
    if kind == "numbers":
        return np.array(values, float)
    return np.array(values if kind == "text" else [json.dumps(value) for value in values], object)


def _column(values: list[Any]) -> np.ndarray:
    """Values of runs, with NaN, -1 or nothing where a run failed."""
    example = next(np.asarray(value) for value in values if value is not None)
    nothing = "" if example.dtype.kind in "OU" else np.full(example.shape, _fill(example), example.dtype)
    return np.stack([np.asarray(nothing if value is None else value) for value in values])


def _padded(values: list[np.ndarray | None]) -> np.ndarray:
    """Samples of runs side by side, padded behind the end of each."""
    known = [value for value in values if value is not None]
    length = max(map(len, known))
    out = np.full((len(values), length, *known[0].shape[1:]), _fill(known[0]), known[0].dtype)
    for row, value in enumerate(values):
        if value is not None:
            out[row, : len(value)] = value
    return out


def _fill(values: np.ndarray) -> Any:
    """What stands where a run has no number."""
    return -1 if np.issubdtype(values.dtype, np.integer) else np.nan
