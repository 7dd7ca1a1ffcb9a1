"""Colors that mean the same everywhere and can be read; labels that do not overlap; whole files."""

import itertools
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import matplotlib as mpl
import matplotlib.dates
import matplotlib.style
import numpy as np
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from undertow import plotting

NAMES = [
    "identity", "exponential", "polar", "gradient flow", "gradient descent", "mirror descent", "mirror flow",
    "ink", "muted", "truth", "theory", "baseline", "optimum", "train", "test",
    *(f"depth {depth}" for depth in (0.1, 0.2, 0.25, 0.5, 1, 1.5, 2, 3, 4, 6, 10, 50, "inf")),
]  # fmt: skip


def luminance(color: str) -> float:
    """Relative luminance, as WCAG 2.2 defines it."""
    channels = np.array(to_rgb(color))
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", NAMES)
def test_every_color_stands_out_from_the_background(theme, name):
    with plotting.theme(theme):
        assert contrast(plotting.color_of(name), plotting.style()["figure.facecolor"]) >= 3.0


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_primer_depths_stay_apart_without_hue(theme):
    """Within each ladder, contrast with the background rises with the distance from the identity."""
    with plotting.theme(theme):
        background = plotting.style()["figure.facecolor"]
        for ladder in ((2, 3, 4, 6, float("inf")), (0.5, 0.25, 0.2)):
            steps = [contrast(plotting.color_of(depth), background) for depth in ladder]
            assert all(far > 1.1 * near for near, far in itertools.pairwise(steps))


@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("Power(depth=2)", 2),
        ("anti-deep 0.5", 0.5),
        ("deep_4", 4.0),
        ("Exponential", "deep inf"),
        ("depth 1", "identity"),
        ("GradientFlow", "gradient flow"),
        ("SignedPower(3)", "depth 3"),
        ("Identity", 1),
        ("DeepMatrix(depth=2)", 2),
    ],
)
def test_one_thing_has_one_color(name, same):
    assert plotting.color_of(name) == plotting.color_of(same)


@pytest.mark.parametrize("bad", ["gradient flwo", "depth", "deep -2", "", "depth 0", 0, -1.0, float("nan")])
def test_unknown_names_are_refused(bad):
    with pytest.raises(ValueError, match="name: "):
        plotting.color_of(bad)


def test_nearest_name_is_offered():
    with pytest.raises(ValueError, match="did you mean 'gradient flow'"):
        plotting.color_of("gradient flwo")


@hypothesis.given(st.lists(st.floats(0, 1), min_size=1, max_size=9), st.floats(0.001, 0.12))
def test_spread_keeps_distance_order_and_bounds(wanted, gap):
    placed = plotting.spread(np.array(wanted), gap, 0.0, 1.0)
    assert placed.min() >= -1e-12
    assert placed.max() <= 1 + 1e-12
    assert (np.diff(np.sort(placed)) >= gap - 1e-9).all()
    order = np.argsort(wanted, kind="stable")
    assert (np.diff(placed[order]) > 0).all()


def test_spread_leaves_free_places_alone():
    wanted = np.array([0.9, 0.1, 0.5])
    np.testing.assert_allclose(plotting.spread(wanted, 0.1, 0.0, 1.0), wanted, rtol=0, atol=1e-15)


def test_spread_squeezes_what_does_not_fit():
    placed = plotting.spread(np.full(5, 0.5), 0.6, 0.0, 1.0)
    np.testing.assert_allclose(placed, [0, 0.25, 0.5, 0.75, 1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_labels_do_not_overlap(scale):
    with plotting.figure() as (made, ax):
        for level in (1.0, 1.01, 1.02, 3.0):
            ax.plot([1, 2, 3], [0.5, 0.7, level], label=f"level {level}", color=plotting.color_of(2))
        ax.plot([1, 2], [0.1, 0.1])  # no label, so none is written
        ax.plot([1, 2], [np.nan, np.nan], label="nowhere to be seen")
        ax.set_yscale(scale)
        labels = plotting.label_lines(ax)
    assert [label.get_text() for label in labels] == ["level 1.0", "level 1.01", "level 1.02", "level 3.0"]
    made.draw_without_rendering()
    boxes = [mpl.text.Text.get_window_extent(label) for label in labels]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    assert all(box.x0 >= ax.get_window_extent().x1 for box in boxes)
    assert all(box.x1 <= made.bbox.x1 for box in boxes)


def test_labels_of_several_axes_are_those_one_by_one():
    def drawn():
        with plotting.figure(2, 1) as (made, axes):
            for k, ax in enumerate(axes):
                for level in (0.5, 0.51, 2.0):
                    ax.plot([1, 2], [k, level], label=f"{k}, {level}")
        return made, axes

    _, axes = drawn()
    together = plotting.label_lines(axes)
    _, others = drawn()
    apart = [label for ax in others for label in plotting.label_lines(ax)]
    assert [label.get_text() for label in together] == [label.get_text() for label in apart]
    places = [[(label.axes is axes[0], *label.xyann) for label in together]]
    places.append([(label.axes is others[0], *label.xyann) for label in apart])
    np.testing.assert_allclose(*places, rtol=0, atol=0.01)
    with pytest.raises(ValueError, match="axes: expected axes of one figure, found those of 2"):
        plotting.label_lines([axes[0], others[0]])
    axes[1].remove()
    with pytest.raises(ValueError, match="axes: expected axes of one figure, found those of 0"):
        plotting.label_lines(axes[1])


def test_nothing_outside_a_figure_changes():
    before = dict(mpl.rcParams)
    with plotting.theme("dark"), plotting.figure() as (made, ax):
        ax.plot([0, 1])
        assert plotting.current_theme() == "dark"
    assert isinstance(made, Figure)
    assert dict(mpl.rcParams) == before
    assert plotting.current_theme() == "light"


@pytest.mark.parametrize("kind", ["png", "svg", "pdf", "PNG"])
def test_saving_is_whole_and_repeatable(tmp_path, kind):
    contents = []
    for name in ("one", "two"):
        with plotting.figure(1, 2, caption="Two.") as (made, axes):
            axes[0].plot([0, 1])
        plotting.save(made, tmp_path / f"{name}.{kind}")
        contents.append((tmp_path / f"{name}.{kind}").read_bytes())
    assert contents[0] == contents[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"one.{kind}", f"two.{kind}"]


def drawn(path: Path) -> bytes:
    with plotting.figure() as (made, ax):
        plotting.label_lines(ax, ax.plot([1, 2], [1, 3], label="a $x^2$"))
    plotting.save(made, path)
    return path.read_bytes()


def test_the_users_own_settings_change_nothing(tmp_path):
    expected = drawn(tmp_path / "a.svg")
    mine = {"text.usetex": True, "lines.marker": "o", "axes.unicode_minus": False, "svg.fonttype": "none"}
    with mpl.rc_context(mine):
        assert drawn(tmp_path / "b.svg") == expected
        with plotting.theme("light"):
            assert drawn(tmp_path / "c.svg") == expected
        assert mpl.rcParams["lines.marker"] == "o"


def test_saving_through_a_link(tmp_path):
    (tmp_path / "b.png").symlink_to(tmp_path / "a.png")
    content = drawn(tmp_path / "b.png")
    assert (tmp_path / "b.png").is_symlink()
    assert (tmp_path / "a.png").read_bytes() == content


def test_labels_stand_beside_what_is_seen():
    dates = np.array(["2020-01-01", "2020-01-02", "2020-01-03"], "datetime64[D]")
    with plotting.figure() as (_, ax):
        line = ax.plot(dates, np.ma.masked_greater([1.0, 2.0, 99.0], 50), label="a")
        (label,) = plotting.label_lines(ax, line)
    x, y = ax.transAxes.transform(label.xy)
    assert ax.transData.inverted().transform((x, y)) == pytest.approx([mpl.dates.date2num(dates[1]), 2])


def test_a_save_that_fails_leaves_nothing(tmp_path):
    with plotting.figure() as (made, ax):
        ax.set_title(r"$\notamacro$")
    with pytest.raises(ValueError, match="notamacro"):
        plotting.save(made, tmp_path / "x.svg")
    with pytest.raises(ValueError, match=r"\.png, \.svg, \.pdf, found 'x.tiff'"):
        plotting.save(made, tmp_path / "x.tiff")
    assert list(tmp_path.iterdir()) == []


def test_unknown_theme_is_refused():
    with pytest.raises(ValueError, match="unknown theme 'sepia'"):
        plotting._theme.check_theme("sepia")


def test_style_files_serve_pyplot_too():
    """By their dotted names, and the dark one on top of the light one."""
    for names, background in (
        (["undertow.plotting.light"], "#ffffff"),
        (["undertow.plotting.light", "undertow.plotting.dark"], "#14181d"),
    ):
        with matplotlib.style.context(names):
            assert to_hex(mpl.rcParams["figure.facecolor"]) == background
            assert mpl.rcParams["font.size"] == 15.0


def test_stream_draws_curves_of_the_field_with_arrows_along_it():
    x = np.linspace(0, 1, 20)
    field = 0.5 - np.stack(np.meshgrid(x, x), axis=-1)
    with plotting.figure() as (_, ax):
        lines = plotting.stream(ax, x, x, field, color="#000000", density=0.5).get_segments()
        (arrows,) = [c for c in ax.collections if isinstance(c, PolyCollection)]
    assert len(lines) > 10
    for line in lines:  # all run to the middle
        assert np.all(np.diff(np.linalg.norm(line - 0.5, axis=1)) < 1e-9)
    for triangle in arrows.get_paths():
        tip, *base = triangle.vertices[:3]
        middle = np.mean(base, axis=0)
        assert (tip - middle) @ (0.5 - middle) > 0.99 * np.linalg.norm(tip - middle) * np.linalg.norm(0.5 - middle)


def test_stream_refuses_what_does_not_fit():
    x = np.linspace(0, 1, 5)
    with plotting.figure() as (_, ax):
        with pytest.raises(ValueError, match=r"velocity: expected shape \(5, 5, 2\), found \(5, 4, 2\)"):
            plotting.stream(ax, x, x, np.zeros((5, 4, 2)), color="#000000")
        with pytest.raises(ValueError, match="velocity: expected finite numbers"):
            plotting.stream(ax, x, x, np.full((5, 5, 2), np.nan), color="#000000")


def test_a_path_has_a_rim_of_the_background():
    with plotting.theme("dark"), plotting.figure() as (_, ax):
        line = plotting.path(ax, [[0.0, 0.0], [1.0, 1.0]], color="#ffffff", linewidth=2.0)
        (rim,) = line.get_path_effects()
        assert rim._gc["foreground"] == plotting.style()["axes.facecolor"]
        assert rim._gc["linewidth"] > line.get_linewidth()
