"""A study: a published claim, the run that tests it, the checks that judge it, the figures that show it.

The run returns one dataset, the complete record: checks measure it and figures draw it, after it
has been written to a file and read back, so nothing can be judged that is not kept. A check never
passes for want of a result: what is missing, raises, or is not finite makes it fail, with the reason.
"""

import abc
import math
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple, get_args

import jax
import xarray as xr
from matplotlib.figure import Figure

Budget = Literal["smoke", "quick", "full"]
BUDGETS: tuple[str, ...] = get_args(Budget)
Outcome = Literal["holds", "fails", "not run"]
Standing = Literal["as published", "amended", "our own"]
STANDINGS: tuple[str, ...] = get_args(Standing)

_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True)
class Verdict:
    """What came out of one check.

    Parameters
    ----------
    name : str
        The check.
    verdict : "holds", "fails" or "not run"
    measured : float or None
        None where there is no finite measurement; the reason then says why.
    expected : float
        The expected number; the bound of a one-sided check, the middle of an interval.
    tolerance : float or None
        How far the measured number may be from the expected one; None for a one-sided check.
    reason : str
        In words, always: what was compared with what, or why there is no comparison.
    """

    name: str
    verdict: Outcome
    measured: float | None
    expected: float
    tolerance: float | None
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """The fields by name, ready for JSON: no NaN and no infinity among them."""
        return asdict(self)


class Expectation(NamedTuple):
    """What a check expects: two numbers for `Verdict`, and the same ``in_words``."""

    expected: float
    tolerance: float | None
    in_words: str


@dataclass(frozen=True)
class AbstractCheck(abc.ABC):
    """A number measured on the record of a study, compared with an expected one.

    Law: ``judge`` gives ``"holds"`` only for a finite measurement that ``accepts`` takes.

    Parameters
    ----------
    name : str
        What is checked, in a few words; unique within its study.
    measure : Callable
        From the dataset to one number. xarray's reductions pass over NaN: write ``.max(skipna=False)``
        where a hole in the data must not go unnoticed.
    """

    name: str
    measure: Callable[[xr.Dataset], Any]

    @abc.abstractmethod
    def expectation(self) -> Expectation:
        """The expected number and its tolerance."""

    @abc.abstractmethod
    def accepts(self, measured: float) -> bool:
        """Whether a finite measurement is as expected."""

    def judge(self, dataset: xr.Dataset) -> Verdict:
        """Measure and compare; whatever goes wrong on the way is a verdict ``"fails"`` that says so."""
        try:
            measured = float(self.measure(dataset))
        except KeyError as error:
            return self._without_result("fails", f"missing from the result: {error.args[0] if error.args else error}")
        except Exception as error:  # noqa: BLE001 - a measure is foreign code; its failure is the verdict
            return self._without_result("fails", f"could not be measured: {describe(error)}")
        if not math.isfinite(measured):
            return self._without_result("fails", f"measured {measured}, which is not a finite number")
        expected, tolerance, words = self.expectation()
        holds = self.accepts(measured)
        number = self._text_of(measured, holds=holds)
        reason = f"measured {number}, expected {words}"
        return Verdict(self.name, "holds" if holds else "fails", measured, expected, tolerance, reason)

    def _text_of(self, measured: float, *, holds: bool) -> str:
        """The measurement, rounded no further than to where its text would be judged differently."""
        texts = (f"{measured:.{digits}g}" for digits in (6, 9, 12, 17))
        return next(text for text in texts if self.accepts(float(text)) is holds)

    def not_run(self, reason: str) -> Verdict:
        """The verdict of a check whose study could not run."""
        return self._without_result("not run", reason)

    def failed(self, reason: str) -> Verdict:
        """The verdict of a check whose study broke."""
        return self._without_result("fails", reason)

    def _without_result(self, verdict: Outcome, reason: str) -> Verdict:
        expected, tolerance, _ = self.expectation()
        return Verdict(self.name, verdict, None, expected, tolerance, reason)

    def _check_fields(self, **numbers: float) -> None:
        if not isinstance(self.name, str) or not self.name.strip():
            raise ValueError(f"name: expected a few words, found {self.name!r}")
        if not callable(self.measure):
            raise TypeError(f"measure: expected a function of the dataset, found {self.measure!r}")
        for argument, number in numbers.items():
            if not math.isfinite(number):
                raise ValueError(f"{argument}: expected a finite number, found {number}")


@dataclass(frozen=True)
class Close(AbstractCheck):
    """Holds where ``|measured - expected| <= tolerance``.

    Examples
    --------
    >>> check = Close("rank", lambda dataset: dataset["rank"], expected=5, tolerance=0.5)
    >>> check.judge(xr.Dataset({"rank": 5.2})).reason
    'measured 5.2, expected 5 ± 0.5'
    >>> check.judge(xr.Dataset()).verdict
    'fails'
    """

    expected: float
    tolerance: float

    def __post_init__(self) -> None:
        self._check_fields(expected=self.expected, tolerance=self.tolerance)
        if self.tolerance < 0:
            raise ValueError(f"tolerance: expected at least 0, found {self.tolerance}")

    def expectation(self) -> Expectation:
        """The number and the tolerance as given."""
        words = f"{self.expected:.6g} ± {self.tolerance:.3g}"
        return Expectation(self.expected, self.tolerance, words)

    def accepts(self, measured: float) -> bool:
        """Whether the measurement is within the tolerance, ends included."""
        return abs(measured - self.expected) <= self.tolerance


@dataclass(frozen=True)
class AtMost(AbstractCheck):
    """Holds where ``measured <= bound``.

    Examples
    --------
    >>> check = AtMost("test error", lambda dataset: dataset["error"], bound=0.1)
    >>> check.judge(xr.Dataset({"error": 0.3})).reason
    'measured 0.3, expected at most 0.1'
    """

    bound: float

    def __post_init__(self) -> None:
        self._check_fields(bound=self.bound)

    def expectation(self) -> Expectation:
        """The bound; one-sided, so without a tolerance."""
        return Expectation(self.bound, None, f"at most {self.bound:.6g}")

    def accepts(self, measured: float) -> bool:
        """Whether the measurement is at most the bound."""
        return measured <= self.bound


@dataclass(frozen=True)
class AtLeast(AbstractCheck):
    """Holds where ``measured >= bound``.

    Examples
    --------
    >>> check = AtLeast("speed-up", lambda dataset: dataset["steps"][0] / dataset["steps"][1], bound=100)
    >>> check.judge(xr.Dataset({"steps": ("method", [31_000, 199])})).verdict
    'holds'
    """

    bound: float

    def __post_init__(self) -> None:
        self._check_fields(bound=self.bound)

    def expectation(self) -> Expectation:
        """The bound; one-sided, so without a tolerance."""
        return Expectation(self.bound, None, f"at least {self.bound:.6g}")

    def accepts(self, measured: float) -> bool:
        """Whether the measurement is at least the bound."""
        return measured >= self.bound


@dataclass(frozen=True)
class Between(AbstractCheck):
    """Holds where ``low <= measured <= high``.

    Examples
    --------
    >>> check = Between("slope", lambda dataset: dataset["slope"], low=0.9, high=1.1)
    >>> check.judge(xr.Dataset({"slope": 1.0})).reason
    'measured 1, expected from 0.9 to 1.1'
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        self._check_fields(low=self.low, high=self.high)
        if self.low > self.high:
            raise ValueError(f"low: expected at most high = {self.high}, found {self.low}")

    def expectation(self) -> Expectation:
        """The middle of the interval and half its length."""
        middle, half = (self.low + self.high) / 2, (self.high - self.low) / 2
        return Expectation(middle, half, f"from {self.low:.6g} to {self.high:.6g}")

    def accepts(self, measured: float) -> bool:
        """Whether the measurement lies in the interval, ends included."""
        return self.low <= measured <= self.high


@dataclass(frozen=True, kw_only=True)
class Study:
    """A published claim, and all that is needed to test it and to show what came out.

    Parameters
    ----------
    id : str
        Lower-case words joined by hyphens; names the folder of the results and seeds the run.
    title : str
        A few words.
    source : str
        The citation: authors, title, venue, year, and the figure or theorem.
    claim : str
        One sentence, as the source means it.
    run : Callable
        ``run(budget, key, progress) -> xarray.Dataset``. ``budget`` is ``"smoke"`` (seconds, to see
        that it works), ``"quick"`` (on two cores, the whole gallery in minutes) or ``"full"`` (the
        source's own scale). ``key`` is a typed JAX key that depends on the id only.
        ``progress(fraction, message)`` may be called at any time with the share done, from 0 to 1.
        The dataset is the complete record; settings, seeds and tolerances go to its ``attrs`` as
        numbers and strings. A study that lacks its data raises `undertow.datasets.DataNotFound`.
    checks : tuple of AbstractCheck
        At least one; names are unique.
    plot : Callable
        ``plot(dataset) -> {name: Figure}``, at least one figure, drawn inside
        `undertow.plotting.figure`. Called once for each theme. The name becomes the file's name:
        lower-case words joined by hyphens.
    chapter : str
        The id of the `Chapter` it belongs to.
    standing : "as published", "amended" or "our own"
        What the claim stands for: the source's sentence, one that was changed because that did not hold, or ours. There
        is no default: no claim is "as published" without saying so.
    published : str
        For an amended claim, and only there: the sentence as it was published.
    refutation : AbstractCheck
        For an amended claim, and only there: the check that the published sentence asks for. The sentence is refuted
        where it fails on the record of the run; where it holds after all, the amendment has no ground, and that counts
        as a check that fails.
    example : str
        "Do it yourself": 5 to 20 lines of public API that give the heart of the result and print it, in seconds and
        without figures. What a ``print`` prints stands as a comment at its end or on the lines after it, and a test
        compares the two: words as they are, numbers to one unit in the last digit that stands there. Comments
        anywhere else explain.
    note : str
        What was amended and why, one paragraph, where the claim did not hold as published.

    Raises
    ------
    ValueError, TypeError
        If a field is malformed; the message names it.
    """

    id: str
    title: str
    source: str
    claim: str
    run: Callable[[Budget, jax.Array, Callable[[float, str], None]], xr.Dataset]
    checks: tuple[AbstractCheck, ...]
    plot: Callable[[xr.Dataset], dict[str, Figure]]
    chapter: str
    standing: Standing
    example: str
    published: str = ""
    refutation: AbstractCheck | None = None
    note: str = ""

    def __repr__(self) -> str:
        return f"Study({self.id!r}, chapter={self.chapter!r}, standing={self.standing!r})"

    def __post_init__(self) -> None:
        if not is_slug(self.id):
            raise ValueError(f"id: expected lower-case words joined by hyphens, found {self.id!r}")
        for field in ("title", "source", "claim", "example"):
            if not getattr(self, field).strip():
                raise ValueError(f"{field}: expected text, found {getattr(self, field)!r} (study {self.id})")
        for field in ("run", "plot"):
            if not callable(getattr(self, field)):
                raise TypeError(f"{field}: expected a function, found {getattr(self, field)!r} (study {self.id})")
        if not self.checks:
            raise ValueError(f"checks: expected at least one, found none (study {self.id})")
        names = [check.name for check in self.checks]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"checks: expected unique names, found twice: {', '.join(twice)} (study {self.id})")
        if not is_slug(self.chapter):
            raise ValueError(f"chapter: expected lower-case words joined by hyphens, found {self.chapter!r}")
        if self.standing not in STANDINGS:
            raise ValueError(f"standing: expected one of {', '.join(STANDINGS)}, found {self.standing!r}")
        amended = self.standing == "amended"
        for field, given in (("published", bool(self.published)), ("refutation", self.refutation is not None)):
            if given is not amended:
                expected = "something" if amended else "nothing"
                raise ValueError(f"{field}: expected {expected} where the claim is {self.standing} (study {self.id})")

    def judge(self, dataset: xr.Dataset) -> tuple[Verdict, ...]:
        """The verdict of every check on the record of a run, in order."""
        return tuple(check.judge(dataset) for check in self.checks)


@dataclass(frozen=True)
class Chapter:
    """A chapter of the gallery.

    Parameters
    ----------
    id : str
        Lower-case words joined by hyphens; what `Study.chapter` names.
    title : str
        A few words.
    sentence : str
        What it is about, in one sentence.
    studies : tuple of Study
        In the order in which they are shown; each names the chapter.

    Raises
    ------
    ValueError
        If the id is malformed, or a study belongs to another chapter.
    """

    id: str
    title: str
    sentence: str
    studies: tuple[Study, ...] = ()

    def __post_init__(self) -> None:
        if not is_slug(self.id):
            raise ValueError(f"id: expected lower-case words joined by hyphens, found {self.id!r}")
        for study in self.studies:
            if study.chapter != self.id:
                raise ValueError(f"studies: expected those of {self.id!r}, found {study.id!r} of {study.chapter!r}")


def is_slug(text: str) -> bool:
    """Whether the text is made of lower-case words and digits joined by single hyphens."""
    return _ID.fullmatch(text) is not None


def describe(error: BaseException) -> str:
    """An exception in one line: its type and its text.

    Examples
    --------
    >>> describe(ValueError("rank: expected at least 1, found 0"))
    'ValueError: rank: expected at least 1, found 0'
    """
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
