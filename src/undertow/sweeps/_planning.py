"""What a sweep with a store is about to do: every run called once, and sorted by the programs that they need."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ..training import Trajectory
from ..training._pending import Asked, Pending, planning
from ..training._plan import Plan
from ._points import Point, key_of
from ._store import CHUNK
from ._sweep import group, run_of

IN_TURN, SHARES = 20, 200
"""Most parts, each of runs side by side, in one batch; fewer, so that so many batches are there for the workers."""
BYTES, PLAN_BYTES = 2**27, 2**14
"""Memory for planned runs, and what a plan takes beside its arrays; runs beyond are called a second time."""


@dataclasses.dataclass
class Planning:
    """Batches of runs that share a program.

    Attributes
    ----------
    batches
        Their points, at most as many together as share a chunk.
    shapes
        Of one run of each program: the shapes of its probes, by name.
    programs
        How many there are; runs that cannot be planned, as of two trainings, count as one each.
    waiting
        Runs that were called and have not run, by their keys, as far as there is room for them.
    """

    batches: list[list[Point]]
    shapes: list[dict[str, tuple[int, ...]]]
    programs: int
    waiting: dict[str, Trajectory]


def plan_runs(run: Callable[..., Any], points: Sequence[Point], side_by_side: int | None, workers: int = 1) -> Planning:
    """Call ``run`` at every point, and run nothing. Batches are so many that each of the workers has its share."""
    alone: list[int] = []
    shapes: dict[Any, dict[str, tuple[int, ...]]] = {}
    waiting = _Waiting()

    def plans() -> Iterator[tuple[int, Plan]]:
        for place, point in enumerate(points):
            try:
                with planning():
                    trajectory = run_of(run, point)
            except (Asked, Exception):  # noqa: BLE001 - two trainings in one run; or an error, which its row will say
                alone.append(place)
                continue
            if not (isinstance(trajectory, Pending) and trajectory.waits):
                alone.append(place)
                continue
            plan = trajectory.plan
            if plan.kind not in shapes:
                shapes[plan.kind] = plan.probe_shapes()
            waiting.keep(key_of(point), trajectory, plan)
            yield place, plan

    groups = group(plans(), side_by_side, len(points))
    parts = [[points[i] for i in part] for some in groups for part in _in_pieces(some, share(len(some), workers))]
    batches = list(_joined([*parts, *([points[i]] for i in alone)]))
    return Planning(batches, list(shapes.values()), len(shapes) + len(alone), waiting.runs)


def _in_pieces(some: list[Any], most: int) -> list[list[Any]]:
    return [some[k : k + most] for k in range(0, len(some), most)]


def _joined(parts: list[list[Point]]) -> Iterator[list[Point]]:
    """Batches: where there are many parts, some of them together, as long as they share a chunk."""
    for some in _in_pieces(parts, min(max(len(parts) // SHARES, 1), IN_TURN)):
        batch: list[Point] = []
        for part in some:
            if batch and len(batch) + len(part) > CHUNK:
                yield batch
                batch = []
            batch = [*batch, *part]
        yield batch


def share(count: int, workers: int) -> int:
    """Runs in a batch where so many share a program: equal ones for all workers, and no more than share a chunk."""
    rounds = -(-count // (CHUNK * workers))
    return -(-count // (rounds * workers))


class _Waiting:
    """The first runs, until their memory is used up; what they share counts once."""

    def __init__(self) -> None:
        self.runs: dict[str, Trajectory] = {}
        self._seen: set[int] = set()
        self._left = BYTES

    def keep(self, key: str, trajectory: Trajectory, plan: Plan) -> None:
        if self._left <= 0:
            return
        arrays = [x for x in (*plan.program.arrays, *plan.watching.arrays) if id(x) not in self._seen]
        self._left -= PLAN_BYTES + sum(x.nbytes for x in arrays)
        if self._left > 0:
            self.runs[key] = trajectory
            self._seen |= {id(x) for x in arrays}
