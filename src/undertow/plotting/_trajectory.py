"""A run at a glance: its loss and its probes over time."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ._axes import axes_for, palette, spans_decades, words
from ._colors import color_of
from ._labels import label_lines
from ._samples import Samples, clock_for, samples_of, set_clock

LINES = 64
"""Most entries of a probe that are drawn, a line each."""
LABELS = 8
"""Most lines of a run that are labelled one by one."""


def trajectory(run: Any, probes: str | Sequence[str] | None = None, *, x: str | None = None, ax: Any = None) -> Figure:
    """The loss and the probes of a run over time, a panel each; or of several runs, to compare them.

    Numbers above zero that span decades get a logarithmic axis. Time is logarithmic too, so that the start, at time 0,
    is left of the figure. A probe with several entries is a line for each. The sample that early stopping has chosen is
    marked, and a cross stands where a run diverged.

    Parameters
    ----------
    run
        A `Trajectory`, what its ``to_xarray`` gives, or a mapping from labels to several of these. A label that
        `color_of` knows ("depth 3") gets its color.
    probes
        Names of what is drawn. Where left out: all that every run watched and that have at most 64 entries, with the
        logarithm of the loss in place of the loss where that was watched.
    x
        "time", "step" or "log_time". Where left out: time, or its logarithm where a run went beyond the largest number.
    ax
        Axes to draw into, one for each probe; by default those of a new figure.

    Returns
    -------
    matplotlib.figure.Figure
        Its ``axes`` are the panels, in the order of the probes.

    Raises
    ------
    TypeError, ValueError
        If ``run`` is neither, holds several runs, or watched no such probe; if a probe has more than 64 entries, ``x``
        is unknown, or ``ax`` is not a panel for each probe.

    Examples
    --------
    >>> import undertow as ut
    >>> phi = ut.parameterizations.Power(2, depth=2)
    >>> flow = ut.dynamics.GradientFlow()
    >>> run = ut.train(ut.problems.PointTarget([3.0, 6.0]), phi, flow, key=0, scale=1e-2)
    >>> [panel.get_ylabel() for panel in trajectory(run).axes]
    ['loss']
    """
    runs = _named(run)
    names = _names(list(runs.values()), probes)
    clock = clock_for(list(runs.values()), x)
    height = 5.0 if len(names) == 1 else 2.9 * len(names)
    with axes_for(ax, len(names), height=height, width=8.0, sharex=True) as (made, panels):
        for panel, name in zip(panels, names, strict=True):
            _panel(panel, name, runs, clock)
        set_clock(panels, clock, list(runs.values()))
        if list(runs) == [""]:
            panels[0].set_title(_outcome(runs[""]))
        label_lines(panels)
    return made


def _named(run: Any) -> dict[str, Samples]:
    """Runs by their labels; one alone has none."""
    if not isinstance(run, Mapping) or hasattr(run, "data_vars"):  # a dataset is a mapping, of its variables
        return {"": samples_of("run", run)}
    if not run:
        raise ValueError("run: expected at least one run, found an empty mapping")
    return {str(label): samples_of(f"run[{label!r}]", each) for label, each in run.items()}


def _names(runs: list[Samples], probes: str | Sequence[str] | None) -> list[str]:
    if probes is None:
        names = [name for name in runs[0].records if all(_drawable(run, name) for run in runs)]
        if "log_loss" in names and "loss" in names:
            names.remove("loss")
        if not names:
            raise ValueError("probes: expected one that every run watched, found none that can be drawn")
        return names
    names = [probes] if isinstance(probes, str) else list(probes)
    if not names:
        raise ValueError("probes: expected at least one name, found none")
    for name in names:
        for run in runs:
            entries = run.record(name)[0].size
            if not _drawable(run, name):
                raise ValueError(f"probes: expected at most {LINES} entries a sample, found {entries} of {name!r}")
    return names


def _drawable(run: Samples, name: str) -> bool:
    return name in run.records and run.records[name][0].size <= LINES


def _panel(ax: Axes, name: str, runs: Mapping[str, Samples], clock: str) -> None:
    colors = dict(zip(runs, palette(len(runs)), strict=True))
    for label, run in runs.items():
        values = run.record(name)
        lines = values.reshape(len(values), -1)
        alone = [color_of("ink")] if lines.shape[1] == 1 else palette(lines.shape[1])
        for i, line in enumerate(lines.T):
            (drawn,) = ax.plot(
                run.clocks[clock],
                line,
                color=_color(label, colors[label]) if label else alone[i],
                label=_label(label, run, values.shape[1:], i),
            )
            if run.status == "diverged":
                last = np.flatnonzero(np.isfinite(line))[-1:]
                ax.plot(run.clocks[clock][last], line[last], "x", color=drawn.get_color(), markeredgewidth=2.5)
        if run.chosen != len(values) - 1:
            ax.axvline(run.clocks[clock][run.chosen], color=color_of("muted"), linewidth=1.2, linestyle="--")
    if spans_decades(np.concatenate([run.record(name).ravel() for run in runs.values()])):
        ax.set_yscale("log")
    ax.set_ylabel(words(name))


def _color(label: str, otherwise: str) -> str:
    try:
        return color_of(label)
    except ValueError:
        return otherwise


def _label(label: str, run: Samples, shape: tuple[int, ...], i: int) -> str:
    """Beside a line: the run where there are several, else the entry; nothing where there are too many."""
    if label:
        return label if i == 0 else ""
    size = int(np.prod(shape))
    if size == 1 or size > LABELS:
        return ""
    return "[" + ", ".join(str(int(k)) for k in np.unravel_index(i, shape)) + "]"


def _outcome(run: Samples) -> str:
    """How the run ended, as a title."""
    steps = int(run.clocks["step"][-1])
    outcome = f"{run.status or 'ran'} after {steps:,} step{'' if steps == 1 else 's'}"
    return outcome + (f", sample {run.chosen} chosen" if run.chosen != len(run.clocks["step"]) - 1 else "")
