"""What came out for the published sentence of an amended claim: refuted, or not."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import xarray as xr

from undertow.studies import AbstractCheck

Word = Literal["refuted", "fails", "not run"]


@dataclass(frozen=True)
class Refutation:
    """What came out of the check that a published sentence asks for.

    Parameters
    ----------
    name : str
        The check.
    verdict : "refuted", "fails" or "not run"
        ``"refuted"`` only for a number that was measured and is not as the sentence has it. Where it is, the amendment
        has no ground, and where there is no number, nothing is shown: both are ``"fails"``.
    measured : float or None
    expected : float
        As the published sentence has it.
    tolerance : float or None
    reason : str
        In words, always.
    """

    name: str
    verdict: Word
    measured: float | None
    expected: float
    tolerance: float | None
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """The fields by name, ready for JSON."""
        return asdict(self)


def judge(check: AbstractCheck | None, dataset: xr.Dataset) -> Refutation | None:
    """Measure what the published sentence says; None where there is no such sentence."""
    if check is None:
        return None
    found = check.judge(dataset)
    if found.measured is None:
        return without_number(check, "fails", found.reason)
    if found.verdict == "holds":
        return Refutation(
            check.name,
            "fails",
            found.measured,
            found.expected,
            found.tolerance,
            f"the published sentence holds after all: {found.reason}",
        )
    return Refutation(check.name, "refuted", found.measured, found.expected, found.tolerance, found.reason)


def without_number(check: AbstractCheck | None, verdict: Literal["fails", "not run"], reason: str) -> Refutation | None:
    """The outcome where nothing was measured, because the study broke or did not run."""
    if check is None:
        return None
    expected, tolerance, _ = check.expectation()
    return Refutation(check.name, verdict, None, expected, tolerance, reason)
