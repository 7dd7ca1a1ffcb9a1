"""How long a sweep would take in this process, by some of its runs, which are not kept."""

import time
from collections.abc import Callable
from typing import Any

from ._engines import computed
from ._planning import Planning
from ._points import Point, key_of

LONGEST = 10.0
"""Seconds after which a batch is cut short, and the rest of it is inferred from how far it has come."""


class _Enough(BaseException):
    """It has taken long enough; no error of a run's."""


def trial(run: Callable[..., Any], plans: Planning) -> float | None:
    """The seconds that planned runs would take one batch after the other; None where the first one raises.

    The largest batch is run: twice where it is short, so that compiling, which each program takes once, is told from
    running. Others are taken to run as long as this one, in proportion to their number of runs.
    """
    batch = max(plans.batches, key=lambda batch: (key_of(batch[0]) in plans.waiting, len(batch)))
    alone = key_of(batch[0]) not in plans.waiting  # as runs of two trainings, of which none says how far it is
    some, runs = batch[:1] if alone else batch, sum(map(len, plans.batches))
    first, whole = _once(run, some, plans)
    if first is None:
        return None
    again = _once(run, some, plans)[0] if whole else None
    if again is None:
        return first * runs / len(some)
    return max(first - again, 0.0) * (1 if alone else plans.programs) + again * runs / len(some)


def _once(run: Callable[..., Any], points: list[Point], plans: Planning) -> tuple[float | None, bool]:
    """The seconds of a batch, and whether it came to its end in them."""
    began, reached = time.perf_counter(), 0.0

    def report(fraction: float, message: str) -> None:
        nonlocal reached
        reached = fraction
        if time.perf_counter() - began > LONGEST and fraction > 0:
            raise _Enough

    try:
        computed(run, points, False, None, report, dict(plans.waiting), raising=True)
    except _Enough:
        return (time.perf_counter() - began) / reached, False
    except Exception:  # noqa: BLE001 - what a run raises, its row will say
        return None, False
    return time.perf_counter() - began, True
