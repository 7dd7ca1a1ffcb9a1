"""A run before it runs: everything checked, nothing computed."""

import dataclasses
from typing import Any

import equinox as eqx
import numpy as np

from .._programs import Program, outcome
from .._validation import check_number
from ..dynamics import Dynamics, Stop
from ..objective import Objective, check_shapes
from ..parameterizations._base import Params
from ..probes import Probe


class Setup(eqx.Module):
    """What is compiled and, for many runs at once, mapped over."""

    objective: Objective
    dynamics: Dynamics
    stop: Stop
    params: Params

    @property
    def samples_by(self) -> str:
        """What samples are counted in: "steps", "time" or "log_time"."""
        return "log_time" if self.dynamics.in_log_time(self.objective) else self.dynamics.samples_by


@dataclasses.dataclass(frozen=True)
class EarlyStopping:
    """Stop a run when a probe no longer falls, and keep the parameters at its lowest sample.

    Parameters
    ----------
    monitor
        Name of the watched probe, one number a sample; smaller is better.
    patience
        The run ends ("stopped") after this many samples in a row without a new lowest value.
    loss_share
        Patience counts only while the loss is below this share of its start. From small initialization nothing moves
        for a while, and nothing can be told from it; 0.9 waits for the first mode. 1: count from the start.

    Raises
    ------
    TypeError, ValueError
        If ``patience`` is not a positive integer or ``loss_share`` not in (0, 1]; by ``train``, if no such
        probe is watched.

    Examples
    --------
    >>> EarlyStopping("test_error", patience=10).patience
    10
    """

    monitor: str
    patience: int = 20
    loss_share: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.monitor, str):
            raise TypeError(f"monitor: expected the name of a probe, found {self.monitor!r}")
        if not isinstance(self.patience, int) or isinstance(self.patience, bool) or self.patience < 1:
            raise ValueError(f"patience: expected a positive integer, found {self.patience!r}")
        check_number("loss_share", self.loss_share, 0, exclusive=True, maximum=1)


@dataclasses.dataclass(frozen=True)
class Plan:
    """One run: its setup, what is watched, and what the host needs to know."""

    setup: Setup
    probes: tuple[Probe, ...]
    samples: int | np.ndarray
    early_stopping: EarlyStopping | None
    program: Program = dataclasses.field(init=False)
    """What it compiles to: taken when the plan is made, and the same for plans that differ in arrays only."""
    watching: Program = dataclasses.field(init=False)
    """The same of the probes: runs that are watched by others still share the program of the path."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "program", Program(self.setup))
        object.__setattr__(self, "watching", Program(self.probes))

    def check(self) -> None:
        """Raise where parameters and objective do not fit each other and the dynamics."""
        outcome(_check_shapes, self.program)
        self.setup.dynamics.check(self.setup.objective, self.setup.params)

    def probe_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of one sample of each probe, by its name."""
        measured = outcome(_measured, self.program, self.watching)
        shapes = {probe.name: found.shape for probe, found in zip(self.probes, measured, strict=True)}
        if self.setup.dynamics.tells:
            shapes |= {name: found.shape for name, found in outcome(_told, self.program).items()}
        return shapes

    @property
    def kind(self) -> tuple[Any, ...]:
        """Equal for plans that can run side by side."""
        samples = self.samples if isinstance(self.samples, int) else self.samples.tobytes()
        return self.program.digest, self.watching.digest, samples, self.early_stopping

    def check_unchanged(self) -> None:
        """Raise where a function would no longer do what it did when the plan was made."""
        before = [(self.setup, self.program), (self.probes, self.watching)]
        now = [(Program(tree), program) for tree, program in before if not program.fixed]
        if any(a.digest != b.digest and not a.unseen for a, b in now):
            raise ValueError(
                "run: a value that a function of a run reads (a global, an attribute, an array) was changed after its "
                "train was called, and runs of a sweep start when all are known; give every run functions of its own "
                "that bind the value, as by a default argument"
            )


def _check_shapes(setup: Setup) -> None:
    check_shapes(setup.objective.parameterization, setup.params)
    setup.objective.check(setup.params)


def _measured(setup: Setup, probes: tuple[Probe, ...]) -> list[Any]:
    return [probe.measure(setup.objective, setup.params) for probe in probes]


def _told(setup: Setup) -> dict[str, Any]:
    return setup.dynamics.start(setup.objective, setup.params, setup.stop).told
