"""A study at the full budget that was interrupted goes on inside of its sweeps, and ends with the same numbers."""

import signal
import time
from pathlib import Path

import jax
import pytest
import store_runs
import xarray as xr
from matplotlib.figure import Figure

import undertow as ut
from undertow import gallery
from undertow.studies import AtLeast, Study
from undertow.sweeps import _engines
from undertow.sweeps._kept_in import kept_in

OVER = {"scale": [0.5, 1.0], "seed": [0, 1, 2]}


def run(budget, key, progress):
    """Two sweeps, of functions that reach the key of the study."""

    def plain(scale, seed):
        return ut.train(
            store_runs.LINE,
            store_runs.PHI,
            store_runs.DESCENT,
            key=jax.random.fold_in(key, seed),
            scale=scale,
            stop=ut.Stop(loss=0, steps=4),
            samples=4,
        )

    def first(scale, seed):
        return plain(scale, seed)

    def second(scale, seed):
        return plain(2 * scale, seed)

    found = [ut.sweep(each, OVER, progress=progress) for each in (first, second)]
    return xr.concat(found, "part", combine_attrs="drop")


def drawn(data):
    return {"nothing": Figure()}


def study(of=run):
    return Study(
        id="resumed",
        title="Resumed",
        source="A paper, 2020",
        claim="It goes on.",
        chapter="primer",
        standing="our own",
        example="print(1)",
        run=of,
        checks=(AtLeast("loss", lambda data: data["final_loss"].min(skipna=False), 0.0),),
        plot=drawn,
    )


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of batches of at most two that were computed; Ctrl-C comes with the fifth, in the second sweep."""
    monkeypatch.setattr("undertow.sweeps._planning.CHUNK", 2)
    sizes: list[int] = []
    whole = _engines.computed

    def counting(run, points, *rest):
        sizes.append(len(points))
        if len(sizes) == 5:
            signal.raise_signal(signal.SIGINT)
        return whole(run, points, *rest)

    monkeypatch.setattr(_engines, "computed", counting)
    return sizes


def data_of(out: Path) -> xr.Dataset:
    with xr.open_dataset(out / "resumed" / "data.nc") as data:
        return data.load()


@pytest.mark.long
def test_it_goes_on_inside_of_a_sweep(tmp_path, batches):
    out, runs = tmp_path / "out", tmp_path / "out" / "resumed" / "runs"
    assert gallery.reproduce([study()], out, "full").interrupted
    assert len(list(runs.glob("*.zarr"))) == 2
    report = gallery.reproduce([study()], out, "full")
    assert report.exit_status == 0
    assert batches == [2] * 7  # six that there are, and the one that was interrupted
    assert not runs.exists()
    gallery.reproduce([study()], tmp_path / "whole", "full")
    assert len(batches) == 13
    xr.testing.assert_identical(data_of(out), data_of(tmp_path / "whole"))
    with pytest.MonkeyPatch.context() as patch:  # and those of sweeps without a store
        patch.setattr("undertow.sweeps._kept_in.implied_store", lambda run, over: None)
        gallery.reproduce([study()], tmp_path / "plain", "full")
    assert len(batches) == 13
    xr.testing.assert_identical(data_of(out), data_of(tmp_path / "plain"))


@pytest.mark.long
def test_fresh_and_other_seeds_take_nothing_over(tmp_path, batches):
    assert gallery.reproduce([study()], tmp_path, "full").interrupted
    gallery.reproduce([study()], tmp_path, "full", seed=1)
    assert len(batches) == 5 + 6
    batches.clear()
    assert gallery.reproduce([study()], tmp_path, "full", fresh=True).interrupted
    gallery.reproduce([study()], tmp_path, "full", fresh=True)
    assert len(batches) == 5 + 6


def test_smaller_budgets_keep_no_runs(tmp_path, batches):
    gallery.reproduce([study()], tmp_path, "quick")
    assert not batches


@pytest.mark.long
def test_a_run_that_raises_breaks_the_study_and_is_not_kept(tmp_path):
    def raising(scale, seed):
        if seed == 2:
            raise RuntimeError("seed 2 is bad")
        return store_runs.line(scale, seed)

    def late(scale, seed):
        first = store_runs.line(scale, seed)
        if float(first.w[0]) < 1e9:
            raise RuntimeError("w is bad")
        return first

    for bad, words in ((raising, "seed 2 is bad"), (late, "w is bad")):
        with kept_in(tmp_path), pytest.raises(RuntimeError, match=words):
            ut.sweep(bad, OVER)
    for path in tmp_path.glob("*.zarr"):
        assert ut.sweeps.status(path).failed == 0


def test_what_a_store_cannot_know_again_goes_on_without(tmp_path):
    def unseen(scale, seed):
        time.monotonic()  # of a module that nothing can be told of
        return store_runs.line(scale, seed)

    keys = [jax.random.key(0), jax.random.key(1)]
    with kept_in(tmp_path):
        found = ut.sweep(unseen, OVER)
        ut.sweep(lambda key: store_runs.line(1.0, key), {"key": keys})
        ut.sweep(lambda seconds: store_runs.line(1.0, seconds), {"seconds": [0, 1]})
    assert not list(tmp_path.iterdir())
    assert found.attrs["dynamics"]


def test_axes_that_are_called_as_the_rows_of_a_store_are_kept_too(tmp_path):
    over = {"run": [0, 1]}
    plain = ut.sweep(lambda run: store_runs.line(1.0, run), over)
    with kept_in(tmp_path):
        found = [ut.sweep(lambda run: store_runs.line(1.0, run), over) for _ in range(2)]
    (path,) = tmp_path.glob("*.zarr")
    assert ut.sweeps.status(path).done == 2
    xr.testing.assert_identical(found[0], found[1])
    xr.testing.assert_equal(found[0], plain)


def test_one_call_at_a_time_writes_a_folder(tmp_path):
    """The second is refused before it touches anything, and what the first wrote is whole."""

    def second(budget, key, progress):
        files = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != ".lock"]
        before = [path.read_bytes() for path in files]
        with pytest.raises(ValueError, match=r"^out: .* is being written by another call of reproduce"):
            gallery.reproduce([study()], tmp_path, "quick")
        assert before == [path.read_bytes() for path in files]
        return run(budget, key, progress)

    for _ in range(2):
        assert gallery.reproduce([study(second)], tmp_path, "quick", fresh=True).exit_status == 0
