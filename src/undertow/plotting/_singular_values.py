"""Singular values over time: how they are learned one after the other."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from .._validation import as_numpy, check_integer
from ._axes import axes_for, palette, spans_decades
from ._colors import color_of
from ._labels import label_lines
from ._samples import clock_for, samples_of, set_clock


def singular_values(run: Any, *, truth: Any = None, labels: int = 5, x: str | None = None, ax: Any = None) -> Figure:
    r"""The singular values of a run over time, the largest :math:`\sigma_1` first.

    Parameters
    ----------
    run
        A `Trajectory` that watched `undertow.probes.SingularValues`, or what its ``to_xarray`` gives.
    truth
        A matrix, or its singular values: drawn as level lines.
    labels
        How many of the largest are named and in color; the others are thin and gray.
    x
        "time", "step" or "log_time", as for `trajectory`.
    ax
        Axes to draw into; by default those of a new figure.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    TypeError, ValueError
        If ``run`` is none or did not watch the singular values, ``truth`` is neither a matrix nor a vector of finite
        numbers, ``labels`` is negative, ``x`` is unknown, or ``ax`` is not one pair of axes.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> import undertow as ut
    >>> target = jnp.diag(jnp.array([3.0, 1.0, 0.0]))
    >>> phi = ut.parameterizations.DeepMatrix((3, 3), depth=2)
    >>> watched = [ut.probes.SingularValues()]
    >>> fit = ut.problems.PointTarget(target)
    >>> run = ut.train(fit, phi, ut.dynamics.GradientFlow(), key=0, scale=1e-3, probes=watched)
    >>> [line.get_label() for line in singular_values(run).axes[0].get_lines()]
    ['$\\sigma_{1}$', '$\\sigma_{2}$', '$\\sigma_{3}$']
    """
    check_integer("labels", labels, 0)
    samples = samples_of("run", run)
    if "singular_values" not in samples.records:
        raise ValueError(
            "run: expected one that watched its singular values, with probes=[undertow.probes.SingularValues()], found "
            f"{', '.join(samples.records)} only"
        )
    values = samples.record("singular_values")
    levels = np.empty(0) if truth is None else _levels(truth)
    clock = clock_for([samples], x)
    colors = palette(min(labels, values.shape[1]))
    with axes_for(ax) as (made, (panel,)):
        for i, line in enumerate(values.T):
            named = i < len(colors)
            panel.plot(
                samples.clocks[clock],
                line,
                color=colors[i] if named else color_of("muted"),
                label=rf"$\sigma_{{{i + 1}}}$" if named else "",
                linewidth=None if named else 1.0,
                zorder=2.5 if named else 2,
            )
        for level in levels:
            panel.axhline(level, color=color_of("truth"), linewidth=1.2, linestyle=(0, (4, 3)), zorder=1.8)
        if levels.size:
            panel.annotate(
                "truth: dashed", (0.02, levels.max()), xycoords=("axes fraction", "data"), xytext=(0, 4),
                textcoords="offset points", color=color_of("truth"), fontsize=13, va="bottom",
            )  # fmt: skip
        if spans_decades(values):
            panel.set_yscale("log")
        set_clock([panel], clock, [samples])
        panel.set_ylabel("singular value")
        label_lines(panel)
    return made


def _levels(truth: Any) -> np.ndarray:
    """The singular values of a matrix, or those given, that are above rounding."""
    array = as_numpy("truth", truth)
    if array.ndim not in (1, 2) or array.size == 0 or array.dtype.kind not in "fiu":
        raise ValueError(
            f"truth: expected a matrix, or its singular values, found shape {array.shape} of {array.dtype}"
        )
    if not np.isfinite(array).all():
        raise ValueError("truth: expected finite numbers, found NaN or infinity")
    values = np.abs(array) if array.ndim == 1 else np.linalg.svd(array.astype(float), compute_uv=False)
    return values[values > 1e-6 * values.max()]
