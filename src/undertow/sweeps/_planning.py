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
"""Most runs in a batch where each goes alone; fewer, so that there are so many batches for the workers to share."""
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
    in_turn = min(max(len(alone) // SHARES, 1), IN_TURN)
    sized = [*((some, share(len(some), workers)) for some in groups), (alone, in_turn)]
    batches = [[points[i] for i in some[k : k + most]] for some, most in sized for k in range(0, len(some), most)]
    return Planning(batches, list(shapes.values()), len(shapes) + len(alone), waiting.runs)


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
