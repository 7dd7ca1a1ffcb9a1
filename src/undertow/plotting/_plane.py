"""The field that a map of two weights makes of a loss, with the paths that training takes on it."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .._validation import as_numpy, check_integer, check_number
from ..parameterizations import Parameterization
from ..problems import Problem
from ..training import Trajectory
from ._axes import axes_for
from ._colors import color_of
from ._fields import draw_stream, path
from ._plane_field import as_map, as_problem, field_at, lift, trained_path
from ._theme import style

Limits = Sequence[Sequence[float]]


def field(
    problem: Problem | Callable[..., Any],
    parameterization: Parameterization | Callable[..., Any],
    *,
    starts: Any = (),
    paths: Iterable[Any] = (),
    limits: Any = None,
    params: Any = None,
    cells: int = 60,
    density: float = 1.5,
    color: str | None = None,
    ax: Any = None,
) -> Figure:
    r"""The induced field :math:`\dot w = -J J^T \nabla \ell(w)` of two weights, with paths of training on it.

    Where the points of zero error are known, a line or a point, they are red; and so is where else a path ended.

    Parameters
    ----------
    problem
        What is fit, of shape (2,); or a loss of one's own, ``loss(w) -> scalar``, written with jax.numpy.
    parameterization
        How w is written, of shape (2,); or a map of one's own, ``phi(u) -> w`` from two parameters.
    starts
        Points w, shape (n, 2), from which gradient flow is run and drawn.
    paths
        Paths to draw besides: arrays of shape (n, 2), or trajectories with a probe of two entries, as
        ``probes.Function("w", lambda w: w)``.
    limits
        ``((left, right), (bottom, top))``. Where left out: what holds the starts and the paths.
    params
        For a map with no ``lift``: parameters, two numbers in all. From there the parameters of other w are found by
        following the map's inverse (Newton's method along a line to w). No field is drawn where it cannot be followed.
    cells
        The field is computed at the centers of cells x cells.
    density
        Of the streamlines; 1 is about 30 across.
    color
        Of the streamlines; by default that of the parameterization.
    ax
        Axes to draw into; by default those of a new figure.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    TypeError, ValueError
        If problem or parameterization is neither, or not of shape (2,); if a map has no ``lift`` and ``params`` is left
        out, or is not two numbers; if ``starts``, ``paths`` or ``limits`` are not as above, or a start has no
        parameters; if the field is finite nowhere, or ``ax`` is not one pair of axes.

    References
    ----------
    Gissin. A Primer on Implicit Regularization. 2020 (the fields).

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> def loss(w):
    ...     return (w[0] * w[1] - 1) ** 2
    >>> made = field(loss, jnp.sinh, starts=[(0.5, 0.1)], params=[1.0, 1.0], limits=((0, 2), (0, 2)))
    >>> made.axes[0].get_xlabel()
    '$w_1$'
    """
    fit, phi = as_problem(problem), as_map(parameterization)
    check_integer("cells", cells, 2)
    check_number("density", density, 0, exclusive=True)
    points = _points("starts", starts)
    given = [_path(i, each) for i, each in enumerate(paths)]
    flows = [trained_path(fit, phi, lift(phi, point[None], params, f"starts[{i}]")) for i, point in enumerate(points)]
    drawn = [*given, *(each.points for each in flows)]
    (left, right), (bottom, top) = _limits(limits, drawn)
    across, up = (low + (np.arange(cells) + 0.5) * (high - low) / cells for low, high in ((left, right), (bottom, top)))
    velocity = field_at(fit, phi, np.stack(np.meshgrid(across, up), axis=-1), params)
    with axes_for(ax, width=9.4, height=6.2) as (made, (panel,)):
        draw_stream(panel, across, up, velocity, color or _color(phi), density)
        known = _draw_optimum(panel, fit, (left, right), (bottom, top))
        for points in drawn:
            path(panel, points, color=color_of("ink"), linewidth=2.6, zorder=4)
            panel.plot(*points[0], "o", color=color_of("ink"), markersize=7, zorder=5)
        ended = [each.points[-1] for each in flows if each.converged and not known]
        for end in ended:
            _dot(panel, end)
        panel.set(xlim=(left, right), ylim=(bottom, top), xlabel="$w_1$", ylabel="$w_2$")
        panel.grid(False)
        if 0.4 <= (right - left) / (top - bottom) <= 2.5:
            panel.set_aspect("equal")
        _key(panel, bool(drawn), known or ("end of a path" if ended else ""))
    return made


def _points(name: str, value: Any) -> np.ndarray:
    points = as_numpy(name, value)
    if points.size == 0:
        return np.empty((0, 2))
    if points.ndim != 2 or points.shape[1] != 2 or points.dtype.kind not in "fiu":
        raise ValueError(f"{name}: expected points of two numbers, shape (n, 2), found shape {points.shape}")
    if not np.isfinite(points).all():
        raise ValueError(f"{name}: expected finite numbers, found NaN or infinity")
    return points.astype(float)


def _path(i: int, value: Any) -> np.ndarray:
    """The points of a path, from an array or from the probe of a trajectory that has two entries."""
    name = f"paths[{i}]"
    if isinstance(value, Trajectory):
        planar = [probe for probe, values in value.records.items() if values.shape[1:] == (2,)]
        chosen = ["w"] if "w" in planar else planar
        if len(chosen) != 1:
            raise ValueError(
                f"{name}: expected a trajectory with one probe of two entries, as "
                f"undertow.probes.Function('w', lambda w: w), found {', '.join(planar) or 'none'}"
            )
        value = value[chosen[0]]
    points = _points(name, value)
    if not len(points):
        raise ValueError(f"{name}: expected at least one point, found none")
    return points


def _limits(limits: Any, paths: list[np.ndarray]) -> Any:
    if limits is None:
        if not paths:
            raise ValueError("limits: expected ((left, right), (bottom, top)) where there is no path, found None")
        points = np.concatenate(paths)
        middle, half = (points.max(axis=0) + points.min(axis=0)) / 2, (points.max(axis=0) - points.min(axis=0)) / 2
        half = 1.15 * np.maximum(half, 0.1 * half.max() or 0.5)
        return np.stack([middle - half, middle + half], axis=1)
    found = as_numpy("limits", limits)
    if found.shape != (2, 2) or found.dtype.kind not in "fiu" or not np.isfinite(found).all():
        raise ValueError(f"limits: expected ((left, right), (bottom, top)), found {limits!r}")
    if not (found[:, 0] < found[:, 1]).all():
        raise ValueError(f"limits: expected left < right and bottom < top, found {limits!r}")
    return found.astype(float)


def _color(phi: Parameterization) -> str:
    """That of the parameterization, by its depth or its name; else one of no meaning."""
    for name in (getattr(phi, "depth", None), type(phi).__name__):
        try:
            return color_of(name)  # pyright: ignore[reportArgumentType] - what is no name is refused
        except (TypeError, ValueError):
            continue
    return color_of("muted")


def _draw_optimum(ax: Axes, problem: Problem, across: Any, up: Any) -> str:
    """The points of zero error where the problem knows them; what they are called, or nothing."""
    equations = problem.equations()
    if equations is None:
        return ""
    matrix: Any = equations.matrix
    A = np.asarray(matrix.toarray() if hasattr(matrix, "toarray") else matrix, float)
    b = np.asarray(equations.b, float)
    point, _, rank, _ = np.linalg.lstsq(A, b)
    if rank == 2:
        _dot(ax, point)
    elif rank == 1:
        along = np.linalg.svd(A)[2][-1]  # the null space
        reach = np.hypot(*np.ptp([across, up], axis=1)) + np.abs([across, up]).max() + np.abs(point).max()
        line = point + np.array([[-reach], [reach]]) * along
        path(ax, line, color=color_of("optimum"), linewidth=3.2, zorder=3.5)
    else:
        return ""
    return "zero error"


def _dot(ax: Axes, point: np.ndarray) -> None:
    rim = style()["axes.facecolor"]
    ax.plot(*point, "o", color=color_of("optimum"), markersize=12, markeredgecolor=rim, markeredgewidth=2, zorder=6)


def _key(ax: Axes, paths: bool, optimum: str) -> None:
    """What the marks are, beside the axes."""
    marks = []
    if paths:
        marks.append(Line2D([], [], color=color_of("ink"), marker="o", markevery=[0], label="path, from its start"))
    if optimum:
        marks.append(Line2D([], [], color=color_of("optimum"), marker="o", label=optimum))
    if marks:
        ax.legend(handles=marks, loc="upper left", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.5)
