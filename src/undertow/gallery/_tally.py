"""How many claims, and how many checks, came out how: by what the claims stand for."""

from collections.abc import Iterable, Sequence

from undertow.gallery._record import Record
from undertow.gallery._words import verdict_on
from undertow.studies import Outcome
from undertow.studies._base import STANDINGS

OUTCOMES: tuple[Outcome, ...] = ("holds", "fails", "not run")
Tally = dict[str, dict[Outcome, int]]


def of_studies(records: Sequence[Record]) -> Tally:
    """Studies by standing and outcome; each standing and each outcome is there, with 0 where there is none."""
    return _count((record.study.standing, verdict_on(record)) for record in records)


def of_checks(records: Sequence[Record]) -> Tally:
    """Checks by the standing of their study and by outcome; refutations of published sentences are not among them."""
    return _count((record.study.standing, check.verdict) for record in records for check in record.checks)


def _count(outcomes: Iterable[tuple[str, Outcome]]) -> Tally:
    tally: Tally = {standing: dict.fromkeys(OUTCOMES, 0) for standing in STANDINGS}
    for standing, outcome in outcomes:
        tally[standing][outcome] += 1
    return tally
