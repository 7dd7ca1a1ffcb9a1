"""How the gallery says things: outcomes, times, numbers."""

import re

from undertow.gallery._record import Record
from undertow.studies import Outcome


def verdict_on(record: Record) -> Outcome:
    """One word for a study: it fails where one check fails, and holds where all were run and hold.

    The sentence that was published counts too, where the claim is an amended one: it has to be refuted.
    """
    if record.fails:
        return "fails"
    return "not run" if any(check.verdict == "not run" for check in record.checks) else "holds"


def outcome(record: Record) -> str:
    """What came out of a study, in words: ``"holds (3 of 3 checks)"``."""
    word = verdict_on(record)
    if word == "not run":
        return f"not run ({record.checks[0].reason})"
    if word == "fails" and not count(record, "fails"):
        return "fails (the published sentence is not refuted)"
    return f"{word} ({count(record, word)} of {len(record.checks)} checks)"


def count(record: Record, kind: Outcome) -> int:
    """How many checks of a study came out this way."""
    return sum(check.verdict == kind for check in record.checks)


def unbroken(text: str) -> str:
    r"""A text whose formulas do not break at their signs: the spaces around them are non-breaking ones.

    Examples
    --------
    >>> unbroken("flow on w = u² goes far").split()
    ['flow', 'on', 'w', '=', 'u²', 'goes', 'far']
    >>> unbroken("flow on w = u² goes far").split(" ")
    ['flow', 'on', 'w\xa0=\xa0u²', 'goes', 'far']
    """
    return re.sub(r"(?<=\S) ([=<>≤≥×+-]) (?=\S)", "\N{NO-BREAK SPACE}\\1\N{NO-BREAK SPACE}", text)


def duration(seconds: float) -> str:
    """A time in words.

    Examples
    --------
    >>> duration(0.25), duration(134), duration(7260)
    ('0.2 s', '2 min 14 s', '2 h 1 min')
    """
    if round(seconds, 1) < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def number(value: object) -> str:
    """A number for readers: six significant digits; other things as they are.

    Examples
    --------
    >>> number(0.1234567891), number(None), number([1.0, 0.5]), number("depth")
    ('0.123457', '–', '1, 0.5', 'depth')
    """
    if value is None:
        return "–"
    if isinstance(value, list):
        return ", ".join(number(item) for item in value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)
