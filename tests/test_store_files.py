"""The files of a store: all that should be there is, and a folder that cannot be written or read says so."""

import contextlib
import os
import sqlite3
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import store_runs
import xarray as xr

import undertow as ut
from undertow.sweeps import _store, status

OVER = {"scale": [0.5, 1.0], "seed": [0, 1, 2]}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "results.zarr"


def failing(steps):
    if steps < 0:
        raise RuntimeError("is bad")
    return store_runs.line(1.0, 0, steps)


def test_every_array_has_every_row_and_a_file_for_it(store, monkeypatch):
    """Files of two rows; runs fail before any that does not, in the middle, and at the end."""
    monkeypatch.setattr(_store, "CHUNK", 1)
    monkeypatch.setattr(_store, "FILE", 2)
    monkeypatch.setattr("undertow.sweeps._planning.CHUNK", 2)
    grown: list[int] = []
    for steps in ([-1, -2], [1, 2], [-3, -4], [4, 3], [-5, -6]):
        grown += steps
        kept = ut.sweep(failing, {"steps": grown}, store=store)
    with xr.open_zarr(store) as data:  # which wants all of one length
        assert data.sizes["run"] == 10
        np.testing.assert_array_equal(data["status"] == "failed", data["steps"] < 0)
    np.testing.assert_array_equal(kept["final_loss"].isnull(), np.array(grown) < 0)
    found = kept.sel(steps=[1, 2, 4, 3])
    np.testing.assert_array_equal(found["loss"], ut.sweep(failing, {"steps": [1, 2, 4, 3]})["loss"])
    files = [path for path in (store / "loss" / "c").rglob("*") if path.is_file()]
    assert len(files) == 5 * 2  # of three samples, and of those that came with longer runs
    for file in files:
        content = file.read_bytes()
        file.unlink()
        with pytest.raises(ValueError, match=r"store: .*loss.*is missing.*repair=True"):
            ut.sweep(failing, {"steps": grown}, store=store)
        file.write_bytes(content)
    ut.sweep(failing, {"steps": grown}, store=store)


class Killed(BaseException):
    pass


def test_a_process_that_dies_while_columns_are_added_has_lost_nothing(store, monkeypatch):
    monkeypatch.setattr(_store, "CHUNK", 1)
    monkeypatch.setattr(_store, "FILE", 1)
    ut.sweep(store_runs.line, {"steps": [1, 2]}, store=store)

    def dying(self):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(_store.Store, "_complete", dying)
        with pytest.raises(Killed):
            ut.sweep(store_runs.line, {"steps": [1, 2, 4]}, store=store)
    kept = ut.sweep(store_runs.line, {"steps": [1, 2, 4]}, store=store)
    np.testing.assert_array_equal(kept["loss"], ut.sweep(store_runs.line, {"steps": [1, 2, 4]})["loss"])


def test_an_axis_that_is_called_as_the_rows_are(store):
    def seeded(run, scale):
        return store_runs.line(scale, run)

    over = {"run": [3, 0, 1], "scale": [0.5, 1.0]}
    kept = ut.sweep(seeded, over, store=store)
    np.testing.assert_array_equal(kept["loss"], ut.sweep(seeded, over)["loss"])
    with xr.open_zarr(store) as data:
        assert data.sizes["run"] == 6
        assert data["run"].values.tolist() == [3, 3, 0, 0, 1, 1]
        found = data["final_loss"].sel(run=0).values.tolist()
    assert found == kept["final_loss"].sel(run=0).values.tolist()


# What cannot be read or written ------------------------------------------------------------------


def test_ledgers_that_are_none(store):
    ut.sweep(store_runs.line, OVER, store=store)
    ledger = Path(f"{store}.sqlite")
    content = ledger.read_bytes()
    ledger.write_bytes(b"no database " * 1000)
    for look in (status, lambda path: ut.sweep(store_runs.line, OVER, store=path)):
        with pytest.raises(ValueError, match=r"^store: .*sqlite is damaged, or no ledger of a sweep"):
            look(store)
    ledger.unlink()
    with contextlib.closing(sqlite3.connect(ledger)) as other:
        other.execute("create table songs (name text)")
    with pytest.raises(ValueError, match="expected the ledger of a sweep, found another database"):
        status(store)
    ledger.write_bytes(content)
    assert status(store).done == 6


@pytest.fixture
def folder_to_close() -> Any:
    """A folder, and what makes it one in which this process may not write, whoever runs it."""
    me = os.geteuid()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        @contextlib.contextmanager
        def closed():
            for path in (folder, *folder.rglob("*")):
                path.chmod(0o555 if path.is_dir() else 0o444)
            if me == 0:
                os.seteuid(65534)  # root may write everywhere
            try:
                yield
            finally:
                if me == 0:
                    os.seteuid(0)
                for path in (folder, *folder.rglob("*")):
                    path.chmod(0o755 if path.is_dir() else 0o644)

        yield folder, closed


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions of POSIX")
def test_folders_that_cannot_be_written(folder_to_close):
    """A store there can be looked at, and not added to."""
    folder, closed = folder_to_close
    store = folder / "a.zarr"
    with closed(), pytest.raises(OSError, match=r"a\.zarr\.lock cannot be written"):
        ut.sweep(store_runs.line, OVER, store=store)
    assert not list(folder.iterdir())
    ut.sweep(store_runs.line, OVER, store=store)
    with closed():
        now = status(store)
        assert (now.done, now.left, now.running) == (6, 0, False)
        with pytest.raises(OSError, match=r"^store: .*a\.zarr\.sqlite cannot be read or written"):
            ut.sweep(store_runs.line, OVER, store=store)
