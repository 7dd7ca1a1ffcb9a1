"""What a store has, and what is left: a small database beside the arrays, committed after them."""

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ._points import Point, key_of

_TABLES = """
create table if not exists facts (name text primary key, value text not null);
create table if not exists runs (
    row integer primary key, key text unique not null, point text not null, batch integer not null,
    state text not null default 'left'
);
create index if not exists batches on runs (batch);
create table if not exists commits (number integer primary key, runs integer not null, seconds real not null);
"""


RATE_OVER = 20
"""Commits that the rate is taken over."""


LOOK = 0.5
"""Seconds that a writer waits for the lock: who looks whether somebody writes has it for an instant."""


class Batch(NamedTuple):
    """Runs that share a program, in rows one after the other: they are run together, and committed together."""

    number: int
    first_row: int
    points: list[Point]


class Ledger:
    """Which run is in which row, and whether it is there: 'left', 'done' or 'failed'."""

    def __init__(self, path: Path, reading: sqlite3.Connection | None = None):
        self.path = path
        if reading is not None:
            self._database = reading
            return
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.execute("pragma journal_mode = wal")
        self._database.execute("pragma synchronous = full")
        self._database.executescript(f"begin; {_TABLES} commit;")

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    @contextlib.contextmanager
    def _whole(self) -> Iterator[None]:
        """All of it or nothing."""
        try:
            self._database.execute("begin immediate")
            try:
                yield
            except BaseException:
                if self._database.in_transaction:  # a disk that is full has ended it already
                    self._database.execute("rollback")
                raise
            self._database.execute("commit")
        except sqlite3.OperationalError as error:
            raise OSError(f"store: {self.path} cannot be written ({error}); what it has is whole") from error

    def facts(self) -> dict[str, Any]:
        """What the store is of."""
        return {name: json.loads(value) for name, value in self._database.execute("select name, value from facts")}

    def set_facts(self, facts: Mapping[str, Any]) -> None:
        """Say what the store is of."""
        with self._whole():
            for name, value in facts.items():
                self._database.execute("insert or replace into facts values (?, ?)", (name, json.dumps(value)))

    def rows(self) -> dict[str, int]:
        """Rows by the keys of their runs."""
        return dict(self._database.execute("select key, row from runs"))

    def states(self) -> list[str]:
        """The state of each row."""
        return [state for (state,) in self._database.execute("select state from runs order by row")]

    def runs(self) -> list[tuple[int, str, str, str]]:
        """Row, key, point (as JSON) and state of every run."""
        return self._database.execute("select row, key, point, state from runs order by row").fetchall()

    def counts(self) -> dict[str, int]:
        """How many runs are in each state."""
        return dict(self._database.execute("select state, count(*) from runs group by state"))

    def plan(self, groups: Sequence[Sequence[Point]]) -> None:
        """Give rows to new runs, a batch for each group; what makes up a batch does not change afterwards."""
        (row, number) = self._database.execute(
            "select coalesce(max(row) + 1, 0), coalesce(max(batch) + 1, 0) from runs"
        ).fetchone()
        with self._whole():
            for batch, group in enumerate(groups, number):
                for point in group:
                    values = (row, key_of(point), json.dumps(point), batch)
                    self._database.execute("insert into runs (row, key, point, batch) values (?, ?, ?, ?)", values)
                    row += 1

    def left(self) -> list[Batch]:
        """The batches that are not committed."""
        found: dict[int, Batch] = {}
        query = (
            "select batch, row, point from runs where batch in (select batch from runs where state = 'left') "
            "order by row"
        )
        for number, row, point in self._database.execute(query):
            found.setdefault(number, Batch(number, row, [])).points.append(json.loads(point))
        return list(found.values())

    def commit(self, batch: Batch, states: Sequence[str], seconds: float) -> None:
        """Say that the runs of a batch are in the arrays, which took so long since the last commit."""
        with self._whole():
            for row, state in enumerate(states, batch.first_row):
                self._database.execute("update runs set state = ? where row = ?", (state, row))
            self._database.execute("insert into commits (runs, seconds) values (?, ?)", (len(states), seconds))

    def rate(self) -> float | None:
        """Runs per second over the last commits; None where nobody knows. No clock is read that can be set back."""
        query = "select sum(runs), sum(seconds) from (select * from commits order by number desc limit ?)"
        runs, seconds = self._database.execute(query, (RATE_OVER,)).fetchone()
        return runs / seconds if runs and seconds > 0 else None

    def forget(self, rows: Sequence[int]) -> int:
        """Take back the batches that these rows belong to; how many runs that is."""
        with self._whole():
            before = self.counts().get("left", 0)
            for row in rows:
                self._database.execute(
                    "update runs set state = 'left' where batch = (select batch from runs where row = ?)", (row,)
                )
            return self.counts().get("left", 0) - before


@contextlib.contextmanager
def existing_ledger(store: str | os.PathLike[str]) -> Iterator[Ledger]:
    """The ledger of a store, which another process may be writing; nothing is written.

    Raises ValueError if there is no store.
    """
    if not isinstance(store, (str, os.PathLike)):
        raise TypeError(f"store: expected the path of a folder, such as 'results.zarr', found {store!r}")
    path = Path(store)
    ledger_path = path.with_name(path.name + ".sqlite") if path.name else path
    if not ledger_path.is_file():
        raise ValueError(f"store: expected a store of a sweep, found none at {path}")
    with told(ledger_path), contextlib.closing(Ledger(ledger_path, _for_reading(ledger_path))) as ledger:
        yield ledger


def _for_reading(path: Path) -> sqlite3.Connection:
    """The database at ``path``, of somebody else perhaps, in a folder where nothing may be written."""
    address = path.resolve().as_uri()
    database = sqlite3.connect(f"{address}?mode=ro", uri=True)
    try:
        database.execute("select 1 from sqlite_master").fetchall()
    except sqlite3.OperationalError as error:
        database.close()
        behind = path.with_name(path.name + "-wal")
        if _kind(error) not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY) or behind.exists():
            raise
        # The file that readers share cannot be made there; and nobody writes, so that the database is as it stands.
        database = sqlite3.connect(f"{address}?immutable=1", uri=True)
    tables = {name for (name,) in database.execute("select name from sqlite_master")}
    if not tables:  # it is about to be made
        database.close()
        database = sqlite3.connect(":memory:")
        database.executescript(_TABLES)
    elif not {"facts", "runs", "commits"} <= tables:
        database.close()
        raise ValueError(f"store: expected the ledger of a sweep, found another database at {path}")
    return database


def _kind(error: sqlite3.Error) -> int:
    """What went wrong, without the details that SQLite adds in the upper bits."""
    return error.sqlite_errorcode & 0xFF


@contextlib.contextmanager
def told(path: Path) -> Iterator[None]:
    """Inside, what SQLite says of a ledger is an error of a store.

    Raises OSError where it cannot be read or written, ValueError where it is damaged or no ledger.
    """
    try:
        yield
    except sqlite3.OperationalError as error:
        raise OSError(f"store: {path} cannot be read or written ({error})") from error
    except sqlite3.DatabaseError as error:
        raise ValueError(
            f"store: {path} is damaged, or no ledger of a sweep ({error}); xarray.open_zarr reads what is beside it, "
            "but it cannot be added to: name another store"
        ) from error


def being_written(store: str | os.PathLike[str]) -> bool:
    """Whether a process is inside of `only_writer`."""
    path = _lock_of(Path(store))
    if not path.is_file():
        return False
    try:
        with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=0)) as lock:
            lock.execute("select * from sqlite_master").fetchall()
    except sqlite3.OperationalError as error:
        return _kind(error) == sqlite3.SQLITE_BUSY  # and not that it may not be read
    return False


def _lock_of(store: Path) -> Path:
    return store.with_name(store.name + ".lock")


def only_writer(store: Path) -> contextlib.AbstractContextManager[None]:
    """Inside, nobody else writes a store.

    Raises ValueError where somebody does, OSError where nobody can.
    """
    return held(
        _lock_of(store), f"store: {store} is being written by another process; wait for it, or name another store"
    )


@contextlib.contextmanager
def held(path: Path, otherwise: str) -> Iterator[None]:
    """Inside, nobody else has the lock at ``path``; it is the process's own, and goes with it however it ends.

    Raises ValueError with the words of ``otherwise`` where somebody has it, OSError where the file cannot be written.
    """
    try:
        lock = sqlite3.connect(path, isolation_level=None, timeout=LOOK)
        try:
            lock.execute("begin exclusive")
        except BaseException:
            lock.close()
            raise
    except sqlite3.OperationalError as error:
        if _kind(error) == sqlite3.SQLITE_BUSY:
            raise ValueError(otherwise) from error
        raise OSError(f"{path} cannot be written ({error}); expected a folder that can be written to") from error
    with contextlib.closing(lock):
        yield
