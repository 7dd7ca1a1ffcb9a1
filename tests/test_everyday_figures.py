"""The everyday figures draw what they are given, in the style, wherever they are asked to; bad input is named."""

import inspect
import itertools
from types import SimpleNamespace

import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

import undertow as ut
from undertow import plotting

TIMES = np.array([0.0, 0.1, 1.0, 10.0, 100.0])
VALUES = np.array([[9.0, 9.0], [1.0, 0.5], [1.5, 0.4], [2.0, 0.3], [2.5, 0.2]])


def run(**more) -> xr.Dataset:
    records = {"loss": TIMES[::-1] + 1, "entry_0": TIMES - 5, **more}
    variables = {name: ("sample", values) for name, values in records.items()}
    variables["singular_values"] = (("sample", "singular_values_0"), VALUES)
    return xr.Dataset(variables, coords={"time": ("sample", TIMES), "step": ("sample", np.arange(5))})


def sweep() -> xr.Dataset:
    values = np.arange(2 * 3 * 5.0).reshape(2, 3, 5) + 1
    values[0, 0, 0] = np.nan
    return xr.Dataset(
        {"final_loss": (("depth", "scale", "key"), values), "status": (("depth", "scale", "key"), values.astype(str))},
        coords={"depth": [1, 2], "scale": [0.01, 0.1, 1.0]},
    )


def line(ax, label):
    (found,) = (line for line in ax.get_lines() if line.get_label() == label)
    return found


def texts(ax):
    return {text.get_text() for text in ax.texts}


def test_loss_and_probes_over_time():
    loss, probes = plotting.trajectory(run()).axes
    np.testing.assert_array_equal(line(loss, "loss").get_xydata(), np.stack([TIMES, TIMES[::-1] + 1], axis=1)[1:])
    np.testing.assert_array_equal(line(probes, "entry_0").get_ydata(), TIMES[1:] - 5)
    assert (loss.get_xscale(), loss.get_yscale(), probes.get_yscale()) == ("log", "log", "linear")
    assert (probes.get_xlabel(), loss.get_ylabel(), probes.get_ylabel()) == ("time", "loss", "probes")
    assert (texts(loss), texts(probes)) == ({"loss"}, {"entry_0"})
    (only,) = plotting.trajectory(run(), ["entry_0"]).axes
    assert texts(only) == {"entry_0"}


def test_times_beyond_all_numbers_are_shown_by_their_logarithms():
    logs = np.array([-np.inf, 10.0, 100.0, 1000.0, 5000.0])
    far = run(loss=np.zeros(5), log_loss=-logs).assign_coords(
        time=("sample", np.array([0, 1, 10, np.inf, np.inf])), log_time=("sample", logs)
    )
    top = plotting.trajectory(far).axes[0]
    np.testing.assert_allclose(line(top, "log_loss").get_xdata(), logs[1:] / np.log(10), rtol=1e-15)
    assert top.get_yscale() == "linear"


def test_singular_values_over_time():
    (ax,) = plotting.singular_values(run(), truth=[2.5, 0.2], labeled=1).axes
    np.testing.assert_array_equal(line(ax, r"$\sigma_{1}$").get_ydata(), VALUES[1:, 0])
    np.testing.assert_array_equal(line(ax, "_2").get_ydata(), VALUES[1:, 1])
    assert texts(ax) == {r"$\sigma_{1}$"}
    assert len(ax.get_lines()) == 4
    assert plotting.singular_values(run(), yscale="log").axes[0].get_yscale() == "log"


def test_a_sweep_with_its_spread():
    data = sweep()
    (ax,) = plotting.sweep(data, "final_loss", "scale", lines="depth").axes
    expected = np.nanmedian(data.final_loss.values, axis=-1)
    for depth, middle in zip((1, 2), expected, strict=True):
        drawn = line(ax, f"depth {depth}")
        np.testing.assert_array_equal(drawn.get_xydata(), np.stack([data.scale, middle], axis=1))
    bars = ax.containers[1].lines[2][0].get_segments()
    np.testing.assert_allclose(bars[0][:, 1], np.quantile(data.final_loss.values[1, 0], [0.16, 0.84]), rtol=1e-12)
    assert (ax.get_xscale(), ax.get_yscale(), ax.get_xlabel()) == ("log", "log", "scale")
    named = data.isel(depth=0, key=0).assign_coords(scale=["a", "b", "c"])
    (ax,) = plotting.sweep(named, "final_loss", "scale").axes
    assert [label.get_text() for label in ax.get_xticklabels()] == ["a", "b", "c"]
    assert not ax.containers


def test_a_field_of_ones_own_map_and_loss():
    at = np.array([[0.5, 1.0], [1.0, 1.5], [2.0, 2.0]])
    made = plotting.field(
        lambda w: jnp.sum(w**2) / 2, lambda u: 2 * u, {"inward": at}, lift=lambda w: w / 2, points=12, density=0.5
    )
    (ax,) = made.axes
    np.testing.assert_array_equal(line(ax, "inward").get_xydata(), at)
    np.testing.assert_allclose(ax.get_xlim(), (0.275, 2.225), rtol=1e-12)
    assert texts(ax) == {"inward"}
    for curve in ax.collections[-1].get_segments():  # dw/dt = -4 w: straight to the origin
        assert abs(np.linalg.det([curve[0], curve[-1]])) < 1e-3
        assert np.linalg.norm(curve[-1]) <= np.linalg.norm(curve[0])


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_figures_are_drawn_where_they_are_asked_for_and_touch_nothing_else(theme):
    before, backend = dict(mpl.rcParams), mpl.get_backend(auto_select=False)
    at = np.array([[1.0, 1.0], [2.0, 2.0]])
    target, phi = ut.problems.PointTarget([1.0, 2.0]), ut.parameterizations.Identity(2)
    with plotting.theme(theme):
        paper = to_hex(plotting.style()["figure.facecolor"])
    calls = (
        lambda ax: plotting.trajectory(run(), ax=ax),
        lambda ax: plotting.singular_values(run(), ax=ax),
        lambda ax: plotting.field(target, phi, [at], points=6, density=0.3, ax=ax),
        lambda ax: plotting.sweep(sweep(), "final_loss", "scale", lines="depth", ax=ax),
    )
    for draw, own in itertools.product(calls, (False, True)):
        mine = Figure().subplots() if own else None
        with plotting.theme(theme):
            made = draw(mine)
            assert isinstance(made, Figure)
            if mine is None:
                assert to_hex(made.get_facecolor()) == paper
                assert made._repr_png_().startswith(b"\x89PNG")
            else:
                assert made is mine.figure
                assert made.axes == [mine]
                assert mine.get_lines()
    assert dict(mpl.rcParams) == before
    assert mpl.get_backend(auto_select=False) == backend


# As users have them: here, shapes and types of all signatures are checked before.
PLAIN = SimpleNamespace(**{name: inspect.unwrap(getattr(plotting, name)) for name in plotting.__all__})
TARGET, PHI = ut.problems.PointTarget([1.0, 2.0]), ut.parameterizations.Power(2, 2)


@pytest.mark.parametrize(
    ("draw", "error", "message"),
    [
        (lambda: PLAIN.trajectory(3), TypeError, "run: expected a Trajectory or the Dataset"),
        (lambda: PLAIN.trajectory(sweep()), ValueError, "run: expected the dataset of one run"),
        (lambda: PLAIN.trajectory(run().isel(sample=[0, 1])), ValueError, "two samples after the start, found 1"),
        (lambda: PLAIN.trajectory(run(), "loss"), TypeError, r"write \['loss'\]"),
        (lambda: PLAIN.trajectory(run(), []), ValueError, "names: expected at least one"),
        (lambda: PLAIN.trajectory(run(), ["los"]), ValueError, "did you mean 'loss'"),
        (lambda: PLAIN.trajectory(run(), ax=3), TypeError, "ax: expected matplotlib axes, found int"),
        (lambda: PLAIN.singular_values(run(), name="sv"), ValueError, "name: no probe 'sv'"),
        (lambda: PLAIN.singular_values(run(), yscale="x"), ValueError, "yscale: expected 'linear' or 'log'"),
        (lambda: PLAIN.singular_values(run(), truth=[[1.0]]), ValueError, "truth: expected a vector"),
        (lambda: PLAIN.singular_values(run(), labeled=-1), ValueError, "labeled: expected"),
        (lambda: PLAIN.sweep(3, "a", "b"), TypeError, "data: expected the Dataset of a sweep"),
        (lambda: PLAIN.sweep(sweep(), "final_los", "scale"), ValueError, "did you mean 'final_loss'"),
        (lambda: PLAIN.sweep(sweep(), "status", "scale"), ValueError, "variable: expected numbers"),
        (lambda: PLAIN.sweep(sweep(), "final_loss", "rate"), ValueError, "axis: 'final_loss' has no axis 'rate'"),
        (lambda: PLAIN.sweep(sweep(), "final_loss", "scale"), ValueError, "has further axes, depth"),
        (lambda: PLAIN.sweep(sweep(), "final_loss", "key"), ValueError, "axis: expected different axes"),
        (lambda: PLAIN.field(TARGET, PHI), ValueError, "xlim: expected the limits"),
        (lambda: PLAIN.field(TARGET, PHI, xlim=(2, 1), ylim=(0, 1)), ValueError, "the lower one first"),
        (lambda: PLAIN.field(TARGET, PHI, xlim=(-1, 1), ylim=(0, 1)), ValueError, "there is no field at"),
        (lambda: PLAIN.field(TARGET, lambda u: u, xlim=(0, 1), ylim=(0, 1)), ValueError, "lift: Function knows no"),
        (lambda: PLAIN.field(TARGET, 3, xlim=(0, 1), ylim=(0, 1)), TypeError, "parameterization: expected a Param"),
        (lambda: PLAIN.field("x", PHI, xlim=(0, 1), ylim=(0, 1)), TypeError, "problem: expected a Problem"),
        (
            lambda: PLAIN.field(ut.problems.PointTarget([1.0]), ut.parameterizations.Power(1, 2)),
            ValueError,
            "problem: expected w with two entries",
        ),
        (lambda: PLAIN.field(TARGET, PHI, [np.ones(3)]), ValueError, r"paths: expected arrays of shape \(n, 2\)"),
        (lambda: PLAIN.field(TARGET, PHI, np.ones((3, 2))), TypeError, r"paths: .*write \[path\]"),
    ],
)
def test_wrong_input_is_named(draw, error, message):
    with pytest.raises(error, match=message):
        draw()
