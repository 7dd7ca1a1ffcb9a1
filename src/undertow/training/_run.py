"""The one loop: planned runs, chunk by chunk, whatever moves them.

The host asks the dynamics to advance, takes the samples, measures the probes on them, and decides about early
stopping, progress, checkpoints and Ctrl-C.
"""

import contextlib
import dataclasses
import signal
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np

from .._arrays import placed
from ..dynamics._base import CONVERGED, RUNNING, STATUSES, STOPPED, Stop
from ..problems._sources import failures_told
from . import _checkpoint
from ._batch import Batch
from ._origin import origin_of
from ._pace import Pace
from ._plan import Plan
from ._progress import Report
from ._samples import Grid, Records
from ._trajectory import Trajectory

CHUNK_SECONDS = 0.4
"""How long a chunk should take: in between, the host listens to Ctrl-C and draws progress."""
READING_SECONDS = 2.0
"""The same where each begins by reading from a disk, for some hundredths of a second."""
CHECKPOINT_SECONDS = 10.0
BLOCK = 32
"""Most samples of one chunk."""
BLOCK_BYTES = 2**26
"""Memory for the samples of one chunk."""


@dataclasses.dataclass
class Member:
    """One of the runs that share a program, and all that the host knows of it."""

    plan: Plan
    records: Records
    grid: Grid
    first_log_loss: float
    stop: dict[str, float]
    """The limits as numbers of the host, which are looked at after every chunk."""


def _limits(stop: Stop) -> dict[str, float]:
    return {name: float(getattr(stop, name)) for name in ("steps", "time", "log_time", "log_loss")}


class Run:
    """Runs that share a program."""

    def __init__(self, plans: Sequence[Plan], fingerprint: str | None):
        self.began = time.perf_counter()
        self.fingerprint = fingerprint
        self.batch = Batch(plans)
        self.names = (*(probe.name for probe in plans[0].probes), *self.batch.dynamics.tells)
        self.members = self._make_members(plans)
        self.interrupted = False

    def _make_members(self, plans: Sequence[Plan]) -> list[Member]:
        state, by = self.batch.state, self.batch.samples_by
        size = sum(x.nbytes for x in jax.tree.leaves(state.params))
        length = int(np.clip(BLOCK_BYTES // max(size, 1), 1, BLOCK))
        if reads_from_disk(plans):  # of a block all are taken, and each is a look at all rows, before they are thinned
            asked = [plan.samples for plan in plans if isinstance(plan.samples, int)]
            length = min([length, *(max(1, samples // 2) for samples in asked)])
        patience = [plan.early_stopping.patience for plan in plans if plan.early_stopping is not None]
        if patience:
            length = min(length, max(1, min(patience) // 4))  # early stopping looks once a block
        self.slots = length
        members: list[Member] = []
        limits: dict[int, dict[str, float]] = {}  # of stops, which runs often share
        log_losses = self.batch.numbers(state.log_loss)
        for plan, first, log_loss in zip(plans, self.batch.first_samples, log_losses, strict=True):
            if isinstance(plan.samples, np.ndarray):
                grid = Grid(by, length, 0, plan.samples[plan.samples > (-np.inf if by == "log_time" else 0)])
            else:
                # A run of ten factors e of time fills the records; a longer one is thinned as it grows.
                spacing = 1.0 if by == "steps" else 10 / plan.samples
                start = float(np.log(first) if by == "log_time" else first)
                grid = Grid(by, length, plan.samples, first=start, spacing=spacing)
            stop = plan.setup.stop
            if id(stop) not in limits:
                limits[id(stop)] = _limits(stop)
            members.append(Member(plan, Records(self.names), grid, float(log_loss), limits[id(stop)]))
        return members

    def begin(self) -> None:
        """Measure the start."""
        runs = range(len(self.members))
        start = np.full((len(runs), 1), -np.inf if self.batch.samples_by == "log_time" else 0.0)
        self._add(*self.batch.present(self.slots), [(run, 0) for run in runs], start, np.zeros((len(runs), 1), int))

    def check_start(self) -> None:
        """Raise where a run alone cannot begin; among others it is its own "diverged"."""
        loss, norm = (self.batch.numbers(x) for x in (self.batch.state.loss, self.batch.state.gradient_norm))
        if not (np.isfinite(loss).all() and np.isfinite(norm).all()):
            raise ValueError(
                f"params: expected a finite loss and gradient at the start, found loss {loss} and gradient norm {norm}"
            )

    def _add(
        self, params: Any, told: dict[str, Any], pairs: list[tuple[int, int]], times: np.ndarray, steps: np.ndarray
    ) -> None:
        if not pairs:
            return
        runs, slots = (np.array(x) for x in zip(*pairs, strict=True))
        columns = self.batch.measure(params, told, runs, slots)
        ends = [*(np.flatnonzero(np.diff(runs)) + 1).tolist(), len(runs)]
        for first, end in zip([0, *ends], ends, strict=False):  # the samples of a run follow each other
            run, taken = int(runs[first]), slots[first:end]
            member = self.members[run]
            record, early = member.records, member.plan.early_stopping
            found = zip(
                times[run, taken].tolist(), steps[run, taken].tolist(), *(x[first:end] for x in columns), strict=True
            )
            for slot, (at, step, *values) in zip(taken.tolist(), found, strict=True):
                if record.closed:
                    break
                record.add(at, step, tuple(values))
                if early is not None and record.watch(early, self.names):
                    record.best_params = jax.tree.map(lambda x, run=run, slot=slot: x[run, slot], params)

    def advance(self, limit: int) -> None:
        """One chunk: go on, take the samples, thin them, stop early."""
        batch = self.batch
        running = batch.numbers(batch.state.status) == RUNNING
        mode = int(np.bincount(batch.numbers(batch.state.mode)[running]).argmax())  # the one most runs wait for
        blocks = [member.grid.block() for member in self.members]
        targets, passed = np.stack([block for block, _ in blocks]), np.array([count for _, count in blocks])
        samples = batch.advance(batch.dynamics.modes[mode], targets, passed, limit)
        taken = np.asarray(samples.taken)
        pairs = [(int(run), int(slot)) for run, slot in np.argwhere(taken)]
        self._add(samples.params, samples.told, pairs, np.asarray(samples.time), np.asarray(samples.steps))
        for member, count in zip(self.members, taken.sum(axis=1), strict=True):
            grid, record = member.grid, member.records
            grid.passed(int(count))
            if grid.full(len(record.times)) and not record.closed:
                grid.thin(record.steps[-1] if grid.by == "steps" else record.times[-1])
                record.thin()
        self._stop_early()

    def _stop_early(self) -> None:
        """Stop the runs that lost patience; how far beyond it their chunk took them has no say in what is kept."""
        closed = [member.records.closed for member in self.members]
        if any(closed):
            status = self.batch.numbers(self.batch.state.status).copy()
            status[closed] = STOPPED
            self._set_status(status)

    def _set_status(self, status: np.ndarray) -> None:
        old = self.batch.state.status
        self.batch.state = eqx.tree_at(
            lambda s: s.status, self.batch.state, placed(status.reshape(old.shape), old.dtype)
        )

    @property
    def steps(self) -> np.ndarray:
        """How many each run has taken."""
        return np.array(self.batch.numbers(self.batch.state.steps))

    @property
    def running(self) -> bool:
        """Whether any run goes on."""
        return bool((self.batch.numbers(self.batch.state.status) == RUNNING).any())

    def progress(self) -> tuple[float, str]:
        """How much of the way is done, by whichever limit is nearest, and a line for the user."""
        state = self.batch.state
        log_loss, steps, times = (self.batch.numbers(x) for x in (state.log_loss, state.steps, state.time))
        status = self.batch.numbers(state.status)
        log_times = self.batch.times()
        done = []
        for run, member in enumerate(self.members):
            if status[run] != RUNNING:
                done.append(1.0)
                continue
            stop, first = member.stop, member.first_log_loss
            shares = [steps[run] / stop["steps"]]
            if self.batch.samples_by == "log_time":
                shares.append(log_times[run] / max(stop["log_time"], 1.0))
            else:
                shares.append(times[run] / stop["time"])
            if -np.inf < stop["log_loss"] < first < np.inf and np.isfinite(log_loss[run]):
                shares.append((first - log_loss[run]) / (first - stop["log_loss"]))
            done.append(min(max(float(max(shares)), 0.0), 1.0))
        runs = f"{int((status != RUNNING).sum())}/{len(status)} runs, " if len(status) > 1 else ""
        sound = log_loss[~np.isnan(log_loss)]
        typical = float(np.median(sound)) if sound.size else np.nan
        beyond = -700 < typical < -80 or 700 < typical < np.inf
        loss = f"log loss {typical:.1f}" if beyond else f"loss {np.exp(typical):.2e}"
        return float(np.mean(done)), f"{runs}{loss}, {int(steps.max())} steps"

    def end(self) -> list[Trajectory]:
        """Measure the ends, and give the trajectories."""
        state = self.batch.state
        steps, times = self.batch.numbers(state.steps), self.batch.times()
        # By time too: within the last step of a flow there may be a sample that has its number.
        fresh = [
            (run, 0)
            for run, member in enumerate(self.members)
            if (member.records.steps[-1], member.records.times[-1]) != (steps[run], times[run])
        ]
        self._add(*self.batch.present(self.slots), fresh, times[:, None], steps[:, None])
        return [self._trajectory(run, params) for run, params in enumerate(self.batch.params())]

    def _trajectory(self, run: int, params: Any) -> Trajectory:
        member, state = self.members[run], self.batch.state
        record, plan = member.records, member.plan
        if isinstance(plan.samples, int):
            record.fit(plan.samples)
        early, counted = plan.early_stopping is not None, np.array(record.times)
        with np.errstate(divide="ignore", over="ignore"):  # the start, and times beyond all numbers
            logarithms = self.batch.samples_by == "log_time"
            times, log_times = (np.exp(counted), counted) if logarithms else (counted, np.log(counted))
        status = int(self.batch.numbers(state.status)[run])
        found = getattr(state, "atol", None)  # of a flow, where it may hang on the start
        atol = None if found is None else float(self.batch.numbers(found)[run])
        return Trajectory(
            params=record.best_params if early else params,
            parameterization=plan.setup.objective.parameterization,
            times=times,
            log_times=log_times,
            steps=np.array(record.steps),
            records={name: record.column(name) for name in self.names},
            status=STATUSES[STOPPED if status == RUNNING else status],
            gradient_evaluations=int(self.batch.numbers(state.gradient_evaluations)[run]),
            seconds=time.perf_counter() - self.began,
            chosen=record.best if early else len(record.times) - 1,
            interrupted=self.interrupted,
            origin=origin_of(plan.setup.dynamics, state.params, atol),
        )

    def save(self, path: Path) -> None:
        """Write all that it takes to go on; where that fails, say so, and go on without."""
        arrays = {f"state{name}": x for name, x in _checkpoint.leaves(self.batch.state).items()}
        members = []
        for run, member in enumerate(self.members):
            record, grid = member.records, member.grid
            arrays[f"times.{run}"] = np.array(record.times)
            arrays[f"steps.{run}"] = np.array(record.steps)
            arrays |= {f"probe.{run}.{name}": record.column(name) for name in self.names}
            arrays |= {f"best.{run}{name}": x for name, x in _checkpoint.leaves(record.best_params).items()}
            members.append(
                {
                    "grid": [grid.spacing, grid.done, grid.origin, grid.first],
                    "best": record.best,
                    "closed": record.closed,
                }
            )
        header = {"fingerprint": self.fingerprint, "undertow": version("undertow"), "members": members}
        try:
            _checkpoint.save(path, header, arrays)
        except OSError as error:
            warnings.warn(
                f"checkpoint: {path} could not be written ({error}); the run goes on, and what it finds is "
                "returned, but nothing is kept if it is interrupted",
                stacklevel=4,
            )

    def restore(self, path: Path) -> None:
        """Go on from what ``save`` wrote; ValueError if that was another run."""
        header, arrays = _checkpoint.load(path)
        if header.get("fingerprint") != self.fingerprint:
            raise ValueError(
                f"checkpoint: {path} belongs to another run (problem, parameterization, dynamics, initial parameters, "
                "probes, samples or early stopping differ, or a value that one of their functions reads); give another "
                "path, or remove it"
            )

        def below(prefix: str) -> dict[str, np.ndarray]:
            return {name.removeprefix(prefix): x for name, x in arrays.items() if name.startswith(prefix)}

        self.batch.state = _checkpoint.put_back(self.batch.state, below("state"))
        for run, (member, kept) in enumerate(zip(self.members, header["members"], strict=True)):
            record, grid = member.records, member.grid
            record.times, record.steps = arrays[f"times.{run}"].tolist(), arrays[f"steps.{run}"].tolist()
            columns = [arrays[f"probe.{run}.{name}"] for name in self.names]
            record.values = list(zip(*columns, strict=True))
            record.best, record.closed = kept["best"], kept["closed"]
            if best := below(f"best.{run}"):
                record.best_params = _checkpoint.put_back(member.plan.setup.params, best)
            grid.spacing, grid.done, grid.origin, grid.first = kept["grid"]
        self._continue_past_old_limits()

    def _continue_past_old_limits(self) -> None:
        state, status = self.batch.state, []
        for run, (member, old) in enumerate(zip(self.members, self.batch.numbers(state.status), strict=True)):
            setup = member.plan.setup
            now = self.batch.state_of(run).ended(setup.stop, setup.objective.problem.attained)
            status.append(int(now) if old in (RUNNING, STOPPED, CONVERGED) else int(old))
        self._set_status(np.array(status))
        self._stop_early()


def _fingerprint(plans: Sequence[Plan]) -> str:
    """By what programs were when the plans were made, since functions of the user's may keep count of their calls."""
    # Without the limits, so that a run can be taken further than it was first meant to go.
    values = [
        jax.tree.leaves(eqx.filter((p.setup.objective, p.setup.dynamics, p.setup.params, p.probes), eqx.is_array))
        for p in plans
    ]
    programs = [program for p in plans for program in (p.program, p.watching)]
    unseen = [what for program in programs for what in program.unseen]
    digests, samples = [program.digest for program in programs], [(p.samples, p.early_stopping) for p in plans]
    return _checkpoint.fingerprint(digests, values, samples, unseen=unseen)


def reads_from_disk(plans: Sequence[Plan]) -> bool:
    """Whether what these runs are trained with is read from a disk, chunk by chunk."""
    return any(plan.setup.dynamics.reads(plan.setup.objective) for plan in plans)


@failures_told()
def execute(
    plans: Sequence[Plan], report: Report, checkpoint: Path | None = None, *, alone: bool = False
) -> list[Trajectory]:
    """Run plans that share a program, from the start or from a checkpoint, to their ends or Ctrl-C.

    A run that cannot start is "diverged", or an error if it is ``alone``.
    """
    run = Run(plans, None if checkpoint is None else _fingerprint(plans))
    if checkpoint is not None and checkpoint.exists():
        run.restore(checkpoint)
    else:
        if alone:
            run.check_start()
        run.begin()
    pace, saved = Pace(READING_SECONDS if reads_from_disk(plans) else CHUNK_SECONDS), time.perf_counter()
    with _listening() as pressed:
        while run.running and not pressed.is_set():
            chunk, before = time.perf_counter(), run.steps
            run.advance(pace.steps)
            pace.took(time.perf_counter() - chunk, int((run.steps - before).max()))
            report(*run.progress())
            if checkpoint is not None and time.perf_counter() - saved > CHECKPOINT_SECONDS:
                run.save(checkpoint)
                saved = time.perf_counter()
        run.interrupted = pressed.is_set()
        if checkpoint is not None:
            run.save(checkpoint)  # before the end is measured: a longer run does not sample it
    trajectories = run.end()
    if len(plans) == 1:
        trajectories[0].keep_w()
    return trajectories


@contextlib.contextmanager
def _listening() -> Iterator[threading.Event]:
    """An event that Ctrl-C sets. A second Ctrl-C interrupts at once; a handler of the caller's own is left in place."""
    pressed = threading.Event()
    default = signal.default_int_handler
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) is not default:
        yield pressed
        return

    def handler(number: int, frame: Any) -> None:
        if pressed.is_set():
            default(number, frame)
        pressed.set()

    signal.signal(signal.SIGINT, handler)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, default)
