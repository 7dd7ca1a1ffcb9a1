"""A run, its singular values, a field with paths, a sweep: what is drawn, in both themes, and what is refused."""

import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

import undertow as ut
from undertow import plotting

LINE = ut.problems.LineTarget(-1.0, -2.0, 15.0)
POINT = ut.problems.PointTarget([3.0, 6.0])
DEEP = ut.parameterizations.Power(2, depth=2)
FLOW = ut.dynamics.GradientFlow()
W = ut.probes.Function("w", lambda w: w)


@pytest.fixture(scope="module")
def run():
    return ut.train(LINE, DEEP, FLOW, params=jnp.array([0.5, 0.7]), probes=[W])


def made_run(status="converged", times=(0.0, 1.0, 10.0, 100.0), chosen=None, **records):
    """A trajectory with these records, as a run would leave it."""
    n = len(times)
    times = np.asarray(times)
    with np.errstate(divide="ignore"):
        logs = np.log(times)
    records = {name: np.asarray(values, float) for name, values in records.items()}
    return ut.Trajectory(
        params=jnp.ones(2), parameterization=DEEP, times=times, log_times=logs, steps=np.arange(n), records=records,
        status=status, gradient_evaluations=n, seconds=0.0, chosen=n - 1 if chosen is None else chosen,
        interrupted=False,
    )  # fmt: skip


def texts(ax) -> list[str]:
    return [text.get_text() for text in ax.texts]


def test_a_run_is_its_probes_over_time(run):
    made = plotting.trajectory(run)
    assert isinstance(made, Figure)
    assert [ax.get_ylabel() for ax in made.axes] == ["loss", "w"]
    loss, w = made.axes
    np.testing.assert_array_equal(loss.get_lines()[0].get_xydata(), np.stack([run.times, run["loss"]], axis=1))
    for i in range(2):
        np.testing.assert_array_equal(w.get_lines()[i].get_ydata(), run["w"][:, i])
    assert (loss.get_xscale(), loss.get_yscale(), w.get_yscale()) == ("log", "log", "linear")
    assert texts(w) == ["[0]", "[1]"]
    assert texts(loss) == []
    assert loss.get_title(loc="left") == f"converged after {run.steps[-1]} steps"
    assert w.get_xlabel() == "time"


def test_a_stored_run_is_drawn_as_the_run_itself(run, tmp_path):
    run.to_xarray().to_netcdf(tmp_path / "run.nc")
    stored = xr.load_dataset(tmp_path / "run.nc")
    one, other = plotting.trajectory(run, "w", x="step"), plotting.trajectory(stored, "w", x="step")
    for mine, theirs in zip(one.axes[0].get_lines(), other.axes[0].get_lines(), strict=True):
        np.testing.assert_array_equal(mine.get_xydata(), theirs.get_xydata())
    assert one.axes[0].get_title(loc="left") == other.axes[0].get_title(loc="left")
    assert one.axes[0].get_xlabel() == "steps"


def test_runs_side_by_side_have_their_own_colors_and_labels():
    runs = {"depth 2": made_run(loss=[1, 0.5, 0.1, 0.01]), "mine": made_run(loss=[1, 0.9, 0.2, 0.1])}
    (ax,) = plotting.trajectory(runs).axes
    assert texts(ax) == ["depth 2", "mine"]
    assert ax.get_lines()[0].get_color() == plotting.color_of("depth 2")
    assert ax.get_title(loc="left") == ""


def test_how_a_run_ended_is_seen():
    (ax,) = plotting.trajectory(made_run("diverged", loss=[1, 2, 3, np.nan], chosen=1)).axes
    assert ax.get_title(loc="left") == "diverged after 3 steps, sample 1 chosen"
    cross = next(line for line in ax.get_lines() if line.get_marker() == "x")
    np.testing.assert_array_equal(cross.get_xydata(), [[10.0, 3.0]])
    assert any(list(line.get_xdata()) == [1.0, 1.0] for line in ax.get_lines())


def test_times_beyond_all_numbers_are_drawn_by_their_logarithms():
    run = made_run(times=[0.0, 1.0, 1e300, np.inf], loss=[1, 1e-2, 0, 0], log_loss=[0.0, -4.6, -800.0, -1200.0])
    (ax,) = plotting.trajectory(run).axes
    assert (ax.get_ylabel(), ax.get_xlabel()) == ("log loss", "natural logarithm of time")
    assert (ax.get_xscale(), ax.get_yscale()) == ("linear", "linear")
    np.testing.assert_array_equal(ax.get_lines()[0].get_ydata(), run["log_loss"])


@pytest.mark.long
def test_a_run_in_log_time_is_drawn():
    class Exponential(ut.problems.Problem):
        shape: tuple[int, ...] = (1,)

        def loss(self, w):
            return jnp.exp(-w[0])

        def log_loss(self, w):
            return -w[0]

    run = ut.train(
        Exponential(),
        ut.parameterizations.Identity(1),
        FLOW,
        params=jnp.zeros(1),
        stop=ut.Stop(loss=None, log_time=2000.0),
    )
    (ax,) = plotting.trajectory(run).axes
    assert ax.get_xlabel() == "natural logarithm of time"
    x, y = ax.get_lines()[0].get_xydata()[-1]
    assert x == pytest.approx(2000)
    assert y == pytest.approx(-2000, rel=1e-2)  # d w / dt = exp(-w), so w = log(1 + t)


@pytest.mark.long
def test_a_point_of_a_sweep_is_a_run():
    data = ut.sweep(
        lambda scale: ut.train(LINE, DEEP, FLOW, key=0, scale=scale, stop=ut.Stop(time=0.1)), {"scale": [0.01, 3.0]}
    )
    for i in range(2):
        (ax,) = plotting.trajectory(data.isel(scale=i)).axes
        assert len(ax.get_lines()[0].get_xdata()) == int(data["samples"][i])
        assert ax.get_title(loc="left").startswith("stopped after")
    with pytest.raises(ValueError, match=r"run: expected one run, found runs over 'scale'; choose one with \.sel"):
        plotting.trajectory(data)


def test_axes_of_ones_own_are_drawn_into(run):
    with plotting.figure(2, 2) as (made, axes):
        assert plotting.trajectory(run, ["w", "loss"], ax=axes[0]) is made
        assert plotting.trajectory(run, "loss", ax=axes[1, 0]) is made
    assert [ax.get_ylabel() for ax in made.axes] == ["w", "loss", "loss", ""]
    with pytest.raises(ValueError, match="ax: expected 2 of one figure, one a panel, found 1 of 1"):
        plotting.trajectory(run, ax=axes[0, 0])
    with pytest.raises(TypeError, match="ax: expected matplotlib axes, found 'here'"):
        plotting.trajectory(run, "loss", ax="here")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((None,), "run: expected a Trajectory, or the dataset of one, found NoneType"),
        (({},), "run: expected at least one run, found an empty mapping"),
        (({"a": 3},), r"run\['a'\]: expected a Trajectory, or the dataset of one, found int"),
        ((xr.Dataset(),), "run: expected what Trajectory.to_xarray gives, found no 'time'"),
        ((made_run(loss=np.ones(4)), "los"), r"probes: no 'los' was watched \(did you mean 'loss'\?\); there are loss"),
        ((made_run(loss=np.ones(4)), []), "probes: expected at least one name, found none"),
        ((made_run(W=np.ones((4, 9, 9))), "W"), "probes: expected at most 64 entries a sample, found 81 of 'W'"),
        ((made_run(W=np.ones((4, 9, 9))),), "probes: expected one that every run watched, found none"),
    ],
)
def test_what_is_no_run_is_refused(arguments, message):
    with pytest.raises((TypeError, ValueError), match=message):
        plotting.trajectory(*arguments)
    with pytest.raises(ValueError, match="x: unknown choice 'times'"):
        plotting.trajectory(made_run(loss=np.ones(4)), x="times")


def test_singular_values_with_the_largest_named_and_the_truth():
    values = np.geomspace(1e-3, 1, 4)[:, None] * np.array([3.0, 1.0, 0.1])
    run = made_run(loss=np.ones(4), singular_values=values)
    (ax,) = plotting.singular_values(run, truth=np.diag([3.0, 2.0, 0.0]), labels=2).axes
    drawn = [line for line in ax.get_lines() if len(line.get_xdata()) == 4]
    for line, wanted in zip(drawn, values.T, strict=True):
        np.testing.assert_array_equal(line.get_ydata(), wanted)
    assert to_hex(drawn[2].get_color()) == plotting.color_of("muted")
    levels = [line.get_ydata()[0] for line in ax.get_lines() if line.get_linestyle() == "--"]
    assert levels == pytest.approx([3.0, 2.0])  # the third is no singular value but zero
    assert texts(ax) == ["truth: dashed", r"$\sigma_{1}$", r"$\sigma_{2}$"]
    assert ax.get_yscale() == "log"


@pytest.mark.parametrize(
    ("run", "options", "message"),
    [
        (made_run(loss=np.ones(4)), {}, r"run: expected one that watched .*SingularValues\(\)\], found loss only"),
        (made_run(singular_values=np.ones((4, 2))), {"truth": np.ones((2, 2, 2))}, "truth: expected a matrix"),
        (made_run(singular_values=np.ones((4, 2))), {"truth": [np.inf]}, "truth: expected finite numbers"),
        (made_run(singular_values=np.ones((4, 2))), {"labels": -1}, "labels: expected an integer of at least 0"),
    ],
)
def test_singular_values_refuse(run, options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        plotting.singular_values(run, **options)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_figures_follow_the_theme_and_change_nothing_outside(run, theme):
    before = dict(mpl.rcParams)
    with plotting.theme(theme):
        made = plotting.trajectory(run, "loss")
        background = plotting.style()["figure.facecolor"]
        ink = plotting.color_of("ink")
    assert dict(mpl.rcParams) == before
    assert to_hex(made.get_facecolor()) == to_hex(background)
    assert made.axes[0].get_lines()[0].get_color() == ink


def test_a_notebook_shows_a_figure_in_the_theme_it_was_drawn_in(tmp_path):
    with plotting.theme("dark"), plotting.figure() as (made, _):
        pass
    data, size = made._repr_png_()
    (tmp_path / "shown.png").write_bytes(data)
    corner = mpl.image.imread(tmp_path / "shown.png")[0, 0, :3]
    assert to_hex(corner) == to_hex(made.get_facecolor()) == "#14181d"
    assert size == {"width": 640}
