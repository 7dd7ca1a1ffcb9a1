"""``train``: the arguments of one run, checked and handed over."""

import functools
import os
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from .._validation import as_key, as_numpy, check_integer, nearest
from ..dynamics import Dynamics, Stop
from ..dynamics._batches import drawing_key
from ..objective import Objective, as_params
from ..parameterizations import Parameterization
from ..parameterizations._base import Params
from ..penalties import Penalty
from ..probes import LogLoss, Loss, Probe
from ..problems import Problem
from . import _checkpoint
from ._pending import Pending, is_sweeping
from ._plan import EarlyStopping, Plan, Setup
from ._progress import Report, reporter
from ._run import execute
from ._samples import LogTimes
from ._trajectory import SAMPLED, Trajectory


def train(
    problem: Problem,
    parameterization: Parameterization,
    dynamics: Dynamics,
    *,
    params: Params | None = None,
    key: Any = None,
    scale: Any = None,
    penalty: Penalty | Callable[..., Any] | None = None,
    probes: Sequence[Probe] = (),
    stop: Stop | None = None,
    early_stopping: EarlyStopping | None = None,
    samples: int | Sequence[float] | np.ndarray | LogTimes = 256,
    progress: bool | Report = False,
    checkpoint: str | os.PathLike[str] | None = None,
) -> Trajectory:
    r"""Run an experiment: fit ``problem``, written as ``parameterization`` says, moved by ``dynamics``.

    Parameters
    ----------
    problem, parameterization
        What is fit, and how it is written; of the same shape.
    dynamics
        How the parameters move: ``GradientFlow``, ``GradientDescent``, ...
    params
        Initial parameters. Left out: drawn by ``parameterization.init(key, scale)``.
    key, scale
        A random key or an integer seed, and the root-mean-square size of the entries of w(0); both or, where ``params``
        is given, no scale. What a run draws on its way (mini-batches) follows from the key as well.
    penalty
        What is added to the loss that is minimized: a sum of ``undertow.penalties``, or a function of w. "loss" is
        recorded without it.
    probes
        What is watched; "loss" always is, and "log_loss" where a flow is followed in log time, or a steepest descent
        by the gradient of it.
    stop
        When the run ends; ``Stop()``, that is loss 1e-6, where left out.
    early_stopping
        End the run by a probe, and keep the parameters at its lowest sample.
    samples
        How many samples to keep at most (at least half as many for a run that is long enough), evenly spaced in the
        steps of gradient descent and in the logarithm of flow time; or the increasing steps or times to sample at, or
        the logarithms of times, as ``undertow.LogTimes``.
        The start and the end are always sampled.
    progress
        True: loss and time left, as a bar on a terminal and a line in a notebook; silent elsewhere. Or a function
        ``(fraction done, message)``.
    checkpoint
        A file. The run is saved there about every ten seconds, on Ctrl-C and at its end, and goes on from there if the
        file exists: bit for bit as if it had never been interrupted. Only the limits of ``stop`` may have changed.

    Returns
    -------
    Trajectory
        Also after Ctrl-C, with what was reached by then; press it twice to interrupt at once.

    Raises
    ------
    TypeError, ValueError
        For arguments that are wrong or do not fit, before any work.

    Notes
    -----
    Numbers are float32 unless JAX is told ``jax.config.update("jax_enable_x64", True)``. A second call with the same
    shapes and the same static values compiles nothing.

    Examples
    --------
    >>> import undertow as ut
    >>> trajectory = ut.train(
    ...     ut.problems.LineTarget(-1.0, -2.0, 15.0),
    ...     ut.parameterizations.Identity(2),
    ...     ut.dynamics.GradientFlow(),
    ...     key=0,
    ...     scale=1e-3,
    ...     stop=ut.Stop(loss=1e-10),
    ... )
    >>> trajectory.status, [round(float(x), 2) for x in trajectory.w]
    ('converged', [3.0, 6.0])
    """
    plan = _plan(
        problem,
        parameterization,
        dynamics,
        params,
        key,
        scale,
        penalty,
        probes,
        stop,
        early_stopping,
        samples,
    )
    path = None if checkpoint is None else _checkpoint.check_path(checkpoint)
    if is_sweeping():
        if path is not None:
            raise ValueError("checkpoint: expected none in a sweep, whose runs share a program, found one")
        return Pending(plan)
    with reporter(progress) as report:
        (trajectory,) = execute([plan], report, path, alone=True)
    return trajectory


def _plan(
    problem: Problem,
    parameterization: Parameterization,
    dynamics: Dynamics,
    params: Params | None,
    key: Any,
    scale: Any,
    penalty: Penalty | Callable[..., Any] | None,
    probes: Sequence[Probe],
    stop: Stop | None,
    early_stopping: EarlyStopping | None,
    samples: Any,
) -> Plan:
    if not isinstance(dynamics, Dynamics):
        found = (
            f"the class {dynamics.__name__} itself: call it" if isinstance(dynamics, type) else type(dynamics).__name__
        )
        raise TypeError(f"dynamics: expected an undertow.dynamics.Dynamics, found {found}")
    drawing = _drawing_key(parameterization, dynamics, key)
    objective = Objective(problem, parameterization, penalty, drawing)
    stop = _default_stop(jax.config.jax_enable_x64) if stop is None else stop  # pyright: ignore[reportAttributeAccessIssue]
    if not isinstance(stop, Stop):
        raise TypeError(f"stop: expected an undertow.Stop, found {type(stop).__name__}")
    logarithms = dynamics.keeps_log_loss(objective)
    watched = _check_probes(probes, problem, parameterization, early_stopping, logarithms, dynamics.tells)
    if params is None:
        if key is None or scale is None:
            raise ValueError("params: expected initial parameters, or key and scale to draw them; found neither")
        params = parameterization.init(as_key(key), scale)
    elif scale is not None:
        raise ValueError("params: expected either params, or key and scale; found both")
    params = as_params(params)
    for leaf in jax.tree.leaves(params):
        # In a sweep, such a run is its own "diverged", and the others go on.
        if not is_sweeping() and not np.isfinite(np.asarray(leaf)).all():
            raise ValueError("params: expected finite initial parameters, found NaN or infinity")
    setup = Setup(objective, dynamics, stop, params)
    plan = Plan(setup, watched, _check_samples(samples, setup.samples_by), early_stopping)
    plan.check()
    if early_stopping is not None and (shape := plan.probe_shapes()[early_stopping.monitor]):
        raise ValueError(f"monitor: expected one number a sample, found {early_stopping.monitor!r} of shape {shape}")
    return plan


@functools.cache
def _default_stop(double: bool) -> Stop:
    """One for all runs of a precision, because to make it takes as long as the rest of a small plan."""
    del double
    return Stop()


def _drawing_key(parameterization: Any, dynamics: Dynamics, key: Any) -> Any:
    """The key of what the run draws on its way; None where it draws nothing."""
    noisy = isinstance(parameterization, Parameterization) and parameterization.draws
    if noisy and not dynamics.takes_noise:
        raise ValueError(
            f"dynamics: expected a descent, as GradientDescent, for {type(parameterization).__name__}, which is "
            f"trained with noise; found {type(dynamics).__name__}"
        )
    if not (dynamics.draws or noisy):
        return None
    if key is None:
        drawer = type(dynamics if dynamics.draws else parameterization).__name__
        raise ValueError(f"key: expected a random key or a seed, by which {drawer} draws; found None")
    return drawing_key(key)


def _check_probes(
    probes: Any,
    problem: Problem,
    parameterization: Parameterization,
    early_stopping: EarlyStopping | None,
    logarithms: bool,
    tells: tuple[str, ...],
) -> tuple[Probe, ...]:
    if isinstance(probes, Probe) or not isinstance(probes, Sequence) or isinstance(probes, str):
        raise TypeError(f"probes: expected a sequence of undertow.probes, found {probes!r}")
    for probe in probes:
        if not isinstance(probe, Probe):
            raise TypeError(f"probes: expected undertow.probes, found {probe!r}")
        probe.check(problem, parameterization)
    always = (Loss(), LogLoss()) if logarithms else (Loss(),)
    watched = (*always, *(probe for probe in probes if not isinstance(probe, tuple(map(type, always)))))
    names = [*(probe.name for probe in watched), *tells]
    taken = [name for name in names if name in (*SAMPLED, "sample")]
    if taken:
        raise ValueError(f"probes: {taken[0]!r} is what a trajectory calls its samples; give the probe another name")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"probes: expected different names, found {', '.join(twice)} more than once")
    if early_stopping is not None:
        if not isinstance(early_stopping, EarlyStopping):
            raise TypeError(f"early_stopping: expected an undertow.EarlyStopping, found {early_stopping!r}")
        if early_stopping.monitor not in names:
            hint = nearest(early_stopping.monitor, names)
            raise ValueError(f"monitor: no probe {early_stopping.monitor!r}{hint}; watched are {', '.join(names)}")
    return watched


def _check_samples(samples: Any, by: str) -> int | np.ndarray:
    logarithms = isinstance(samples, LogTimes)
    expected = "a number of samples, or increasing " + (
        "steps from 0 on" if by == "steps" else "finite logarithms of times" if logarithms else "finite times from 0 on"
    )
    try:
        if not logarithms and np.ndim(samples) == 0:
            return check_integer("samples", samples, 2)
        grid = as_numpy("samples", samples.values if logarithms else samples).astype(float)
    except (TypeError, ValueError) as error:
        raise type(error)(f"samples: expected {expected}, found {samples!r} ({error})") from None
    least = -np.inf if logarithms else 0
    if grid.ndim != 1 or not np.isfinite(grid).all() or (grid < least).any() or (np.diff(grid) <= 0).any():
        raise ValueError(f"samples: expected {expected}, found {samples!r}")
    if logarithms and by == "steps":
        raise ValueError(f"samples: expected {expected}, found {samples!r}")
    if logarithms is not (by == "log_time"):
        with np.errstate(divide="ignore", over="ignore"):  # time 0 is the start; beyond all numbers is never reached
            grid = np.exp(grid) if logarithms else np.log(grid)
    if by == "steps" and ((grid % 1 != 0).any() or (grid >= 2**31).any()):
        raise ValueError(f"samples: expected {expected}, whole and below {2**31}, found {samples!r}")
    return grid
