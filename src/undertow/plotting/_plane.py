"""The field in the plane that a map and a problem make together, with paths through it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .._validation import check_integer
from ..objective import velocity
from ..parameterizations import Function, Parameterization
from ..problems import Problem
from ..training import Trajectory
from ._axes import axes_or_figure, style_of
from ._colors import color_of
from ._fields import path, stream
from ._labels import label_lines

Map = Parameterization | Callable[[Any], Array]
Loss = Problem | Callable[[Any], Any]


class _Plain(Problem):
    """A function of two weights as a problem."""

    shape: tuple[int, ...] = eqx.field(static=True)
    f: Callable[[Any], Any] = eqx.field(static=True)

    def loss(self, w: Float[Array, "..."]) -> Float[Array, ""]:
        return self.f(w)


def field(
    problem: Loss,
    parameterization: Map,
    paths: Sequence[Any] | Mapping[str, Any] = (),
    *,
    xlim: tuple[float, float] | None = None,
    ylim: tuple[float, float] | None = None,
    lift: Callable[[Any], Any] | None = None,
    points: int = 40,
    density: float = 1.5,
    ax: Axes | None = None,
) -> Figure:
    r"""The field :math:`\dot w = -J J^T \nabla \ell(w)` of gradient flow in the plane of two weights, with paths on it.

    Parameters
    ----------
    problem
        What is fit: an ``undertow.problems.Problem`` of two entries, or a function of an array of shape (2,), written
        with jax.numpy.
    parameterization
        How w is written: an ``undertow.parameterizations.Parameterization``, or a function of the parameters.
    paths
        Paths of w: arrays of shape (n, 2), or trajectories that watched w, by a probe
        ``undertow.probes.Function("w", lambda w: w)`` or one ``Entry`` for each of its entries. With names as keys,
        they stand at their ends; a circle marks the start.
    xlim, ylim
        What is shown of the first and the second weight. Left out: what the paths take, and some more.
    lift
        Parameters that give w, where the parameterization does not know them.
    points
        Of the grid, a side.
    density
        Of the streamlines.
    ax
        Where to draw; left out: a figure of its own.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    TypeError, ValueError
        If a part is of the wrong kind or has not two entries, limits are missing or are no interval, no lift is known,
        or the map does not reach every w within the limits.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> import undertow as ut
    >>> made = ut.plotting.field(
    ...     lambda w: (w[0] * w[1] - 1) ** 2, lambda u: u**3, lift=jnp.cbrt, xlim=(0.1, 3), ylim=(0.1, 3)
    ... )
    >>> made.axes[0].get_xlim()
    (0.1, 3.0)
    """
    problem, parameterization, shape = _parts(problem, parameterization)
    lift = parameterization.lift if lift is None else lift
    if not callable(lift):
        raise TypeError(f"lift: expected a function w -> params, found {type(lift).__name__}")
    named = _named_paths(paths)
    across, up = _limits("xlim", xlim, named, 0), _limits("ylim", ylim, named, 1)
    points = check_integer("points", points, 2)
    x, y = np.linspace(*across, points), np.linspace(*up, points)
    moved = _velocities(problem, parameterization, lift, shape, x, y)
    with axes_or_figure(ax, "Gradient flow in the plane of two weights.", width=7.2, height=6.0) as (made, one):
        stream(one, x, y, moved, color=color_of("muted"), density=density)
        drawn = []
        for number, (name, at) in enumerate(named.items()):
            color = style_of(name, number)["color"]
            drawn.append(path(one, at, color=color, label=name, zorder=4))
            one.plot(*at[0], "o", color=color, markersize=6, label=f"_start of {name}", zorder=4.5)
        one.set(xlim=across, ylim=up, xlabel="$w_1$", ylabel="$w_2$")
        one.grid(visible=False)
        label_lines(one, drawn)
    return made


def _parts(problem: Any, parameterization: Any) -> tuple[Problem, Parameterization, tuple[int, ...]]:
    """Both as parts, functions wrapped, if they have two entries and the same shape."""
    known = [part.shape for part in (problem, parameterization) if isinstance(part, Problem | Parameterization)]
    shape = known[0] if known else (2,)
    if not isinstance(problem, Problem):
        if isinstance(problem, type) or not callable(problem):
            raise TypeError(f"problem: expected a Problem or a function of w, found {problem!r}")
        problem = _Plain(shape, problem)
    if not isinstance(parameterization, Parameterization):
        if isinstance(parameterization, type) or not callable(parameterization):
            raise TypeError(
                f"parameterization: expected a Parameterization or a function of parameters, found {parameterization!r}"
            )
        phi: Callable[[Any], Array] = parameterization  # pyright: ignore[reportAssignmentType] (seen to be callable)
        parameterization = Function(phi, shape=shape)
    for name, part in (("problem", problem), ("parameterization", parameterization)):
        if np.prod(part.shape) != 2:
            raise ValueError(f"{name}: expected w with two entries, found shape {part.shape}")
    if problem.shape != parameterization.shape:
        raise ValueError(f"parameterization: expected shape {problem.shape}, found {parameterization.shape}")
    return problem, parameterization, shape


def _named_paths(paths: Any) -> dict[str, np.ndarray]:
    if isinstance(paths, Trajectory) or (hasattr(paths, "ndim") and paths.ndim == 2):
        raise TypeError("paths: expected a sequence of paths, found a single one; write [path]")
    items = paths.items() if isinstance(paths, Mapping) else ((f"_{i}", at) for i, at in enumerate(paths))
    return {str(name): _points(at) for name, at in items}


def _points(at: Any) -> np.ndarray:
    if isinstance(at, Trajectory):
        entries = [name for name in at.records if name.startswith("entry_")]
        if "w" in at.records:
            at = at["w"].reshape(len(at.times), -1)
        elif len(entries) == 2:
            at = np.stack([at[name] for name in sorted(entries)], axis=1)
        else:
            raise ValueError(
                f"paths: the run did not watch w, but {', '.join(at.records)}; add the probe "
                'undertow.probes.Function("w", lambda w: w)'
            )
    found = np.asarray(at, float)
    if found.ndim != 2 or found.shape[1] != 2 or len(found) == 0:
        raise ValueError(f"paths: expected arrays of shape (n, 2), found {found.shape}")
    if not np.isfinite(found).all():
        raise ValueError("paths: expected finite numbers, found NaN or infinity")
    return found


def _limits(name: str, given: Any, paths: Mapping[str, np.ndarray], axis: int) -> tuple[float, float]:
    if given is not None:
        if np.shape(given) != (2,):
            raise ValueError(f"{name}: expected two numbers, found {given!r}")
        low, high = (float(x) for x in given)
        if not (np.isfinite([low, high]).all() and low < high):
            raise ValueError(f"{name}: expected two finite numbers, the lower one first, found {given!r}")
        return low, high
    if not paths:
        raise ValueError(f"{name}: expected the limits of the figure, since there are no paths to take them from")
    taken = np.concatenate([at[:, axis] for at in paths.values()])
    low, high = float(taken.min()), float(taken.max())
    margin = 0.15 * (high - low) or max(abs(high), 1.0) / 2
    # Where all is positive it stays so: many maps reach nothing else.
    return (max(low - margin, low / 2) if low > 0 else low - margin), high + margin


def _velocities(
    problem: Problem,
    parameterization: Parameterization,
    lift: Any,
    shape: tuple[int, ...],
    x: np.ndarray,
    y: np.ndarray,
) -> np.ndarray:
    """The field on the grid, shape (len(y), len(x), 2)."""
    grid = jnp.asarray(np.stack(np.meshgrid(x, y), axis=-1))

    def at(w: Array) -> tuple[Array, Array]:
        params = lift(w.reshape(shape))
        moved = velocity(problem, parameterization, params)
        return moved.reshape(2), parameterization(params).reshape(2)

    try:
        found, reached = (np.asarray(x, float) for x in jax.jit(jax.vmap(jax.vmap(at)))(grid))
    except NotImplementedError as error:
        raise ValueError(
            f"lift: {type(parameterization).__name__} knows no parameters that give w; give a function w -> params"
        ) from error
    # A lift may give numbers where there are no parameters: what they give is another w.
    slack = np.sqrt(np.finfo(grid.dtype).eps) * max(np.ptp(x), np.ptp(y), np.abs(x).max(), np.abs(y).max())
    missed = ~(np.abs(reached - np.asarray(grid, float)) <= slack).all(axis=-1)
    bad = missed | ~np.isfinite(found).all(axis=-1)
    if bad.any():
        i, j = np.argwhere(bad)[0]
        raise ValueError(
            f"xlim, ylim: expected limits within which the map reaches every w; there is no field at "
            f"({x[j]:.6g}, {y[i]:.6g})"
        )
    return found
