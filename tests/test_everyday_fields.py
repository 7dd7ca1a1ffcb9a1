"""A field of two weights with paths on it, and a sweep with error bars: what is drawn, and what is refused.

What is refused is asked of the functions themselves, without the run-time types that tests put around them.
"""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from matplotlib.collections import LineCollection, PolyCollection

import undertow as ut
from undertow import plotting

LINE = ut.problems.LineTarget(-1.0, -2.0, 15.0)
POINT = ut.problems.PointTarget([3.0, 6.0])
DEEP = ut.parameterizations.Power(2, depth=2)
BOX = ((0.0, 10.0), (0.0, 10.0))


def own_loss(w):
    return (w[0] * w[1] - 1) ** 2


def own_map(u):
    return jnp.sinh(u) + u**3


def paths_of(ax) -> list[np.ndarray]:
    """The lines with a rim: paths and lines of zero error."""
    return [line.get_xydata() for line in ax.get_lines() if line.get_path_effects() and len(line.get_xdata()) > 1]


@pytest.mark.long
def test_a_field_with_paths_that_end_on_the_line():
    starts = [(0.4, 0.4), (4.6, 0.6)]
    (ax,) = plotting.field(LINE, DEEP, starts=starts, limits=BOX, cells=12, density=0.5).axes
    line, *paths = paths_of(ax)
    np.testing.assert_allclose(line @ [-1.0, -2.0], -15.0, atol=1e-9)
    for start, path in zip(starts, paths, strict=True):
        np.testing.assert_allclose(path[0], start, rtol=1e-9)
        assert path[-1] @ [-1.0, -2.0] + 15 == pytest.approx(0, abs=1e-2)
        end = ut.theory.limit(LINE, DEEP, DEEP.lift(start))
        np.testing.assert_allclose(path[-1], end, atol=1e-2)
    assert (ax.get_xlim(), ax.get_ylim()) == BOX
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["path, from its start", "zero error"]
    (streams,) = [c for c in ax.collections if isinstance(c, LineCollection)]
    assert {tuple(color) for color in streams.get_colors()} == {
        tuple(c) for c in LineCollection([], colors=plotting.color_of("depth 2")).get_colors()
    }


@pytest.mark.parametrize("limits", [BOX, ((-2, 2), (-2, 2)), ((0, 20), (0, 10))])
def test_all_of_a_field_is_within_the_figure(limits):
    made = plotting.field(
        LINE, ut.parameterizations.Identity(2), paths=[[(1.0, 1.0), (1.5, 1.5)]], limits=limits, cells=6, density=0.3
    )
    made.draw_without_rendering()
    drawn = made.axes[0].get_tightbbox()
    assert 0 < drawn.x0 < drawn.x1 < made.bbox.x1
    assert 0 < drawn.y0 < drawn.y1 < made.bbox.y1


def test_streamlines_run_along_the_velocity():
    (ax,) = plotting.field(POINT, DEEP, limits=((1, 9), (1, 9)), cells=40, density=0.4).axes
    (streams,) = [c for c in ax.collections if isinstance(c, LineCollection)]
    here = np.concatenate([line[:-1] for line in streams.get_segments()])
    step = np.concatenate([np.diff(line, axis=0) for line in streams.get_segments()])
    v = np.asarray(jax.vmap(lambda w: ut.velocity(POINT, DEEP, DEEP.lift(w)))(jnp.asarray(here + step / 2)))
    moving = (np.linalg.norm(v, axis=1) > 1) & (np.linalg.norm(step, axis=1) > 1e-6)
    v, step = v[moving], step[moving]
    assert len(v) > 50
    cosines = np.sum(v * step, axis=1) / np.linalg.norm(v, axis=1) / np.linalg.norm(step, axis=1)
    assert np.quantile(cosines, 0.05) > 0.99  # the field between the centers of cells is interpolated
    assert any(isinstance(c, PolyCollection) for c in ax.collections)


@pytest.mark.long
def test_a_map_and_a_loss_of_ones_own():
    made = plotting.field(own_loss, own_map, starts=[(0.5, 0.1)], params=[0.1, 0.1], limits=((-2, 2), (-2, 2)), cells=8)
    (path,) = paths_of(made.axes[0])
    np.testing.assert_allclose(path[0], [0.5, 0.1], atol=1e-6)
    assert np.prod(path[-1]) == pytest.approx(1, abs=1e-2)
    (end,) = [line for line in made.axes[0].get_lines() if line.get_color() == plotting.color_of("optimum")]
    np.testing.assert_array_equal(end.get_xydata()[0], path[-1])
    assert made.axes[0].get_legend().get_texts()[1].get_text() == "end of a path"


def test_the_inverse_that_is_followed_gives_the_field_of_a_map_that_is_known():
    grid = np.stack(np.meshgrid([0.5, 2.0, 7.0], [0.2, 3.0]), axis=-1)
    known = plotting._plane_field.field_at(LINE, DEEP, grid, None)
    same = ut.parameterizations.Function(lambda u: u**2, shape=2)
    np.testing.assert_allclose(plotting._plane_field.field_at(LINE, same, grid, [1.0, 1.0]), known, rtol=1e-8)


def test_no_field_where_the_map_does_not_reach():
    grid = np.stack(np.meshgrid([-1.0, 2.0], [3.0]), axis=-1)
    for phi, params in ((DEEP, None), (ut.parameterizations.Function(lambda u: u**2, shape=2), [1.0, 1.0])):
        finite = np.isfinite(plotting._plane_field.field_at(LINE, phi, grid, params))
        assert finite.tolist() == [[[False, False], [True, True]]]


def test_paths_of_runs_and_of_points_give_the_limits():
    watched = [ut.probes.Function("both", lambda w: w)]
    run = ut.train(POINT, DEEP, ut.dynamics.GradientFlow(), params=jnp.array([1.0, 1.0]), probes=watched)
    points = np.array([[2.0, 8.0], [3.0, 7.0]])
    (ax,) = plotting.field(POINT, DEEP, paths=[run, points], cells=6, density=0.3).axes
    first, second = paths_of(ax)
    np.testing.assert_array_equal(first, run["both"])
    np.testing.assert_array_equal(second, points)
    left, right = ax.get_xlim()
    bottom, top = ax.get_ylim()
    assert left < 1
    assert right > 3
    assert bottom < 1
    assert top > 8


BLIND = ut.train(POINT, DEEP, ut.dynamics.GradientFlow(), params=jnp.ones(2), stop=ut.Stop(steps=1))


@pytest.mark.parametrize(
    ("problem", "phi", "options", "message"),
    [
        (3, DEEP, {"limits": BOX}, r"problem: expected a Problem of shape \(2,\), or a function w -> loss, found 3"),
        (LINE, None, {"limits": BOX}, r"parameterization: expected a Parameterization of shape \(2,\), or a map"),
        (ut.problems.PointTarget([1.0]), DEEP, {"limits": BOX}, r"problem: expected shape \(2,\), found \(1,\)"),
        (LINE, ut.parameterizations.Power(3, depth=2), {"limits": BOX}, r"parameterization: expected shape \(2,\)"),
        (LINE, own_map, {"limits": BOX}, "params: expected two numbers, parameters of Function from which its inverse"),
        (LINE, own_map, {"limits": BOX, "params": np.ones(3)}, "params: expected two numbers, .* found 3"),
        (LINE, DEEP, {}, r"limits: expected \(\(left, right\), \(bottom, top\)\) where there is no path, found None"),
        (LINE, DEEP, {"limits": (0, 10)}, r"limits: expected \(\(left, right\), \(bottom, top\)\), found \(0, 10\)"),
        (LINE, DEEP, {"limits": ((1, 0), (0, 1))}, "limits: expected left < right and bottom < top"),
        (
            LINE,
            DEEP,
            {"limits": ((-2, -1), (-2, -1))},
            "limits: expected a part of the plane where the field is finite",
        ),
        (LINE, DEEP, {"starts": [(1, 2, 3)]}, r"starts: expected points of two numbers, shape \(n, 2\), found"),
        (LINE, DEEP, {"starts": [(1, np.nan)]}, "starts: expected finite numbers"),
        (LINE, DEEP, {"starts": [(-1.0, 2.0)]}, r"starts\[0\]: expected a point that the parameterization reaches"),
        (LINE, DEEP, {"paths": [BLIND]}, r"paths\[0\]: expected a trajectory with one probe of two .* found none"),
        (LINE, DEEP, {"paths": [np.empty((0, 2))]}, r"paths\[0\]: expected at least one point, found none"),
        (LINE, DEEP, {"limits": BOX, "cells": 1}, "cells: expected an integer of at least 2, found 1"),
        (LINE, DEEP, {"limits": BOX, "density": 0.0}, "density: expected a finite number above 0"),
    ],
)
def test_a_field_refuses(problem, phi, options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        inspect.unwrap(plotting.field)(problem, phi, **options)


def grid(values, status=None, **coordinates) -> xr.Dataset:
    """What a sweep would give, with these values of "final_loss"."""
    dims = tuple(coordinates)
    values = np.asarray(values, float)
    status = np.full(values.shape, "converged") if status is None else np.asarray(status)
    return xr.Dataset(
        {
            "final_loss": (dims, values),
            "loss": ((*dims, "sample"), values[..., None]),
            "status": (dims, status),
        },
        coords=coordinates,
    )


def bars(ax) -> list[tuple[np.ndarray, np.ndarray]]:
    """Centers, and the two ends of the error bars, of each line."""
    found = []
    for container in ax.containers:
        line, _, (segments,) = container.lines
        found.append((line.get_ydata(), np.array([s[:, 1] for s in segments.get_segments()])))
    return found


DRAWS = np.array([[1.0, 2.0, 3.0, 6.0], [2.0, 2.0, 2.0, 2.0]])


@pytest.mark.parametrize(
    ("errorbar", "first", "ends"),
    [
        ("sd", 3.0, [3 - np.sqrt(14 / 3), 3 + np.sqrt(14 / 3)]),
        ("se", 3.0, [3 - np.sqrt(14 / 12), 3 + np.sqrt(14 / 12)]),
        ("quartiles", 2.5, [1.75, 3.75]),
        ("range", 2.5, [1.0, 6.0]),
    ],
)
def test_error_bars_are_over_draws(errorbar, first, ends):
    (ax,) = plotting.sweep(grid(DRAWS, depth=[1, 2], key=range(4)), "final_loss", errorbar=errorbar).axes
    ((centers, spreads),) = bars(ax)
    np.testing.assert_allclose(centers, [first, 2.0])
    np.testing.assert_allclose(spreads, [ends, [2.0, 2.0]])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("depth", "final loss")
    dots = next(line for line in ax.get_lines() if line.get_marker() == ".")
    np.testing.assert_array_equal(dots.get_ydata(), DRAWS.ravel())


def test_runs_that_diverged_do_not_count_and_are_counted():
    status = np.full((2, 4), "converged")
    status[0, 3] = "diverged"
    (ax,) = plotting.sweep(grid(DRAWS, status, depth=[1, 2], key=range(4)), "final_loss").axes
    ((centers, _),) = bars(ax)
    np.testing.assert_allclose(centers, [2.0, 2.0])
    assert [text.get_text() for text in ax.texts] == ["3 of 4"]


def test_lines_have_labels_and_the_colors_of_depths():
    values = np.arange(1.0, 13.0).reshape(2, 3, 2)
    data = grid(values, depth=[2, 3], scale=[1e-3, 1e-2, 1e-1], key=range(2))
    (ax,) = plotting.sweep(data, "final_loss", x="scale").axes
    assert [text.get_text() for text in ax.texts] == ["depth 2", "depth 3"]
    for i, container in enumerate(ax.containers):
        assert container.lines[0].get_color() == plotting.color_of(f"depth {i + 2}")
        np.testing.assert_allclose(container.lines[0].get_xdata(), [1e-3, 1e-2, 1e-1], rtol=0.05)
    assert ax.get_xscale() == "log"
    assert len(bars(ax)) == 2


def test_positions_are_sorted_and_names_stand_where_they_are():
    (ax,) = plotting.sweep(grid([3.0, 1.0, 2.0], size=[30, 10, 20]), "final_loss").axes
    np.testing.assert_array_equal(ax.containers[0].lines[0].get_xydata(), [[10, 1], [20, 2], [30, 3]])
    assert ax.get_xscale() == "linear"
    (ax,) = plotting.sweep(grid([3.0, 1.0], solver=["explicit", "auto"]), "final_loss").axes
    assert [label.get_text() for label in ax.get_xticklabels()] == ["explicit", "auto"]


CUBE = grid(np.ones((2, 2, 2)), depth=[1, 2], scale=[1.0, 2.0], width=[1, 2])


@pytest.mark.parametrize(
    ("data", "variable", "options", "message"),
    [
        ({}, "final_loss", {}, "data: expected an xarray.Dataset, as undertow.sweep gives, found dict"),
        (CUBE, "final_los", {}, r"variable: no 'final_los' in data \(did you mean 'final_loss'"),
        (CUBE, "status", {}, "variable: expected numbers, found 'status' of dtype <U9"),
        (CUBE, "loss", {}, "variable: expected one value a run, found 'loss' .*; 'final_loss' is its value at the end"),
        (CUBE, "final_loss", {}, r"x: expected one of the axes of 'final_loss' \(depth, scale, width\), found None"),
        (CUBE, "final_loss", {"x": "sclae"}, "x: 'final_loss' has no axis 'sclae'; it has depth, scale, width"),
        (CUBE, "final_loss", {"x": "scale", "hue": "scale"}, "x, hue, draws: expected different axes"),
        (CUBE, "final_loss", {"x": "scale", "hue": "depth"}, "draws: 'final_loss' has further axes 'width'"),
        (CUBE, "final_loss", {"x": "scale", "errorbar": "sem"}, "errorbar: unknown choice 'sem'"),
    ],
)
def test_a_sweep_refuses(data, variable, options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        inspect.unwrap(plotting.sweep)(data, variable, **options)
