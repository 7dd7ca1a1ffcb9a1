"""What parts and runs look like at a prompt and in a notebook: short, whole, without a computation."""

import dataclasses
import xml.etree.ElementTree as ET

import contract
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import undertow as ut
from undertow.studies import AtMost, Study
from undertow.training import _trajectory

CASES = [
    *contract.PARAMETERIZATIONS,
    *contract.PROBLEMS,
    *contract.CLASSIFICATIONS,
    *contract.PROBES,
    *contract.DYNAMICS,
]


@pytest.mark.parametrize("case", CASES, ids=[f"{i}-{case.id}" for i, case in enumerate(CASES)])
def test_a_part_is_one_short_line_that_compiles_nothing(case):
    with contract.compilations() as count:
        text = repr(case.instance)
    assert count.programs == 0
    assert text.startswith(f"{type(case.instance).__name__}(")
    assert "\n" not in text
    assert len(text) < 120
    assert "Array(" not in text
    assert "array(" not in text


@pytest.mark.parametrize(
    ("part", "text"),
    [
        (ut.parameterizations.Power(2, 3), "Power(shape=(2,), depth=3)"),
        (ut.parameterizations.Gram(3, 5), "Gram(shape=(3, 3), width=5)"),
        (ut.penalties.L1(0.1) + ut.penalties.L2(2.0), "L1(weight=0.1) + L2(weight=2)"),
        (ut.dynamics.GradientFlow(rtol=1e-3), "GradientFlow(rtol=0.001)"),
        (ut.optimizers.make("sgd", 0.5, momentum=0.9), "Optimizer(name='sgd', learning_rate=0.5, momentum=0.9)"),
        (
            ut.problems.Classification([[1.0], [-1.0]], [1, -1], loss="logistic"),
            "Classification(X=f64[2,1], y=i32[2], loss='logistic', separation='complete')",
        ),
        (ut.Stop(), "Stop(loss=1e-06, steps=1000000)"),
        (ut.Stop(loss=None, steps=3, time=2.0, gradient=0.25), "Stop(steps=3, time=2, gradient=0.25)"),
        (ut.Stop(log_loss=-2000.0, log_time=5000.0), "Stop(log_loss=-2000, steps=1000000, log_time=5000)"),
        (contract.completion(), "MatrixCompletion(shape=(4, 3), values=f64[5], truth=f64[4,3])"),
        (
            ut.Objective(ut.problems.PointTarget([1.0, 2.0]), ut.parameterizations.Polar()),
            "Objective(problem=PointTarget(target=f64[2]), parameterization=Polar())",
        ),
    ],
)
def test_a_part_reads_as_the_call_that_makes_it(part, text):
    assert repr(part) == text


def test_parts_are_shown_while_they_are_traced():
    texts = []

    def look(x):
        texts.append((repr(ut.problems.PointTarget(jnp.stack([x, x]))), repr(ut.penalties.L1(x))))
        assert "time=f64[]" in repr(ut.Stop(time=x))
        return x

    jax.vmap(look)(jnp.ones(3))
    jax.jit(look)(1.0)
    jax.grad(look)(1.0)
    assert texts == [("PointTarget(target=f64[2])", "L1(weight=f64[])")] * 3


def test_a_part_of_somebody_else_and_one_half_made():
    class Ring(ut.problems.Problem):
        shape: tuple[int, ...]
        radii: list[float]

        def loss(self, w):
            return jnp.sum(w**2)

    assert repr(Ring((2,), [0.5] * 9)) == "Ring(shape=(2,), radii=[0.5, 0.5, 0.5, 0.5, ...])"
    assert repr(object.__new__(Ring)) == "Ring()"
    gone = ut.penalties.L1(jnp.asarray(2.0))
    eqx.tree_at(lambda p: p.weight, gone, replace_fn=lambda x: x.delete() or x)
    assert repr(gone) == "L1(weight=f64[])"


def ids(*names):
    return np.array(names, dtype=object)


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (
            ut.datasets.Ratings(np.array([0, 1]), np.array([1, 0]), np.array([4.0, 2.5]), ids("a", "b"), ids("x", "y")),
            (
                "Ratings(users=i64[2](numpy), items=i64[2](numpy), ratings=f64[2](numpy), user_ids=object[2](numpy), "
                "item_ids=object[2](numpy))"
            ),
        ),
        (ut.datasets.Matrix(np.ones((3, 2))), "Matrix(values=f64[3,2](numpy))"),
        (
            ut.estimators.Effects(3.5, np.ones(4), np.ones(3)),
            "Effects(mean=3.5, rows=f64[4](numpy), columns=f64[3](numpy))",
        ),
        (
            ut.problems.LineTarget(-1.0, -2.0, 15.0).equations(),
            "Equations(matrix=f64[1,2](numpy), b=f64[1](numpy), weight=0.2)",
        ),
        (ut.linalg.EntryPattern([0, 1], [2, 0], (2, 3)), "EntryPattern(rows=i32[2], columns=i32[2], shape=(2, 3))"),
        (
            ut.theory.saddle_to_saddle(ut.problems.LeastSquares(np.eye(2), np.ones(2))),
            "SaddlePath(times=f64[2](numpy), points=f64[2,2](numpy))",
        ),
        (
            ut.theory.greedy_low_rank_learning(ut.problems.PointTarget(np.diag([2.0, 1.0])), max_rank=1),
            "GreedyPath(points=f64[2,2,2](numpy), losses=f64[2](numpy), rates=f64[2](numpy), ended='max_rank')",
        ),
    ],
)
def test_what_is_read_or_found_is_one_line(result, text):
    assert repr(result) == text


def test_a_study_and_what_came_out_of_a_gallery_run_are_one_line(tmp_path):
    check = AtMost("size", lambda data: 1.0, 2.0)
    about = {"title": "Small", "source": "A paper, 2020", "claim": "A value is small.", "chapter": "primer"}
    about |= {"standing": "as published", "example": "print(2)  # 2"}
    study = Study(id="small", run=lambda *_: xr.Dataset(), checks=(check,), plot=lambda _: {}, **about)
    assert repr(study) == "Study('small', chapter='primer', standing='as published')"
    verdicts = (check.judge(xr.Dataset()), check.not_run("no data"))
    record = ut.gallery.Record(study, "finished", 1.0, verdicts, {})
    report = ut.gallery.Report((record,), tmp_path / "index.html")
    assert repr(report) == f"Report(studies=1, holds=1, fails=0, not_run=1, page='{tmp_path / 'index.html'}')"


SHORT = (ut.dynamics.State, ut.dynamics.Snapshots)
"""Parts of a run under way, which equinox shows: kinds and shapes of their arrays, a line each."""


def test_nothing_public_prints_its_arrays():
    """Of all rooms: modules, and data classes with an array among their fields, are shown as above."""
    rooms = [ut, *(getattr(ut, name) for name in dir(ut))]
    public = [getattr(room, name) for room in rooms for name in getattr(room, "__all__", ())]
    seen = set()
    for cls in (cls for cls in public if isinstance(cls, type) and dataclasses.is_dataclass(cls)):
        if issubclass(cls, eqx.Module):
            assert cls.__repr__ is not eqx.Module.__repr__ or issubclass(cls, SHORT), cls
            seen.add(cls.__name__)
        elif any("ndarray" in str(field.type) for field in dataclasses.fields(cls)):
            assert "<locals>" not in cls.__repr__.__qualname__, cls  # where the decorator wrote it
            seen.add(cls.__name__)
    assert {"Ratings", "Matrix", "Effects", "Completion", "Trajectory", "Entropy", "L1", "Stop"} <= seen


@pytest.fixture(scope="module")
def run() -> ut.Trajectory:
    problem, phi = contract.completion(), ut.parameterizations.DeepMatrix((4, 3), 2)
    return ut.train(problem, phi, ut.dynamics.GradientFlow(), key=0, scale=0.1, probes=[ut.probes.SingularValues()])


def test_a_trajectory_is_one_line(run):
    text = repr(run)
    assert text.startswith(f"Trajectory(status='converged', steps={run.steps[-1]}, time={run.times[-1]:.6g}, loss=")
    assert text.endswith("probes=['loss', 'singular_values'], DeepMatrix(shape=(4, 3), depth=2, width=3))")
    assert "\n" not in text
    assert str(run) == text


def test_a_trajectory_in_a_notebook(run):
    page = run._repr_html_()
    tree = ET.fromstring(page)  # every element is closed
    assert "".join(tree.itertext()).startswith("Trajectory, converged")
    assert "script" not in page
    assert "#" not in page  # no color of its own: light and dark
    assert "color:inherit" in page  # which tables do not do by themselves in every notebook
    assert len(page) < 8000
    (curve,) = tree.iter("polyline")
    points = np.array([point.split(",") for point in curve.attrib["points"].split()], float)
    assert len(points) == len(run.times) - 1  # the start has no logarithm of its time
    assert (np.diff(points[:, 0]) >= 0).all()
    assert points[-1, 1] == points[:, 1].max()  # the loss at the end is the lowest, and y points down


def changed(run: ut.Trajectory, **values) -> ut.Trajectory:
    return _trajectory.Trajectory(**{**{f: getattr(run, f) for f in run.__dataclass_fields__}, **values})


def test_a_trajectory_without_a_curve(run):
    for records in ({}, {"loss": np.full(len(run.times), np.nan)}, {"loss": np.zeros(len(run.times))}):
        other = changed(run, records=records)
        assert "<svg" not in other._repr_html_()
        ET.fromstring(other._repr_html_())
        assert repr(other).startswith("Trajectory(status=")
    flat = changed(run, records={"loss": np.ones(len(run.times))})
    assert "nan" not in flat._repr_html_()
    assert "&lt;b&gt;" in changed(run, records={"<b>": run.times})._repr_html_()


def test_a_trajectory_beyond_all_numbers(run):
    n = len(run.times)
    far = changed(
        run,
        times=np.full(n, np.inf),
        log_times=np.linspace(1, 5000, n),
        records={"loss": np.zeros(n), "log_loss": np.linspace(-1, -5000, n)},
    )
    assert "log_time=5000, loss=0," in repr(far)
    assert "exp(-5000)" in far._repr_html_()
    assert "<polyline" in far._repr_html_()


def test_a_run_that_waits_is_not_run_to_be_shown():
    texts = []

    def one(scale):
        t = ut.train(ut.problems.PointTarget([1.0]), ut.parameterizations.Identity(1), ut.dynamics.GradientFlow(),
                     key=0, scale=scale)  # fmt: skip
        texts.append((repr(t), t._repr_html_(), hasattr(t, "_repr_png_"), t.waits))
        return t

    ut.sweep(one, over={"scale": [0.1]})
    assert texts == [("Trajectory(not run yet)", "<code>Trajectory(not run yet)</code>", False, True)]
