"""What came out of a study, as it is kept and shown."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from undertow import plotting
from undertow.gallery._refutation import Refutation
from undertow.studies import Study, Verdict

State = Literal["finished", "broken", "not run"]
Kind = Literal["png", "svg"]
THEMES: tuple[plotting.Theme, ...] = ("light", "dark")
KINDS: tuple[Kind, ...] = ("png", "svg")


@dataclass(frozen=True)
class Picture:
    """A figure of a study: ``name`` gives its files, ``caption`` its line on the page."""

    name: str
    caption: str

    def file(self, theme: plotting.Theme, kind: Kind) -> str:
        """The name of one of its four files."""
        return f"{self.name}.{kind}" if theme == "light" else f"{self.name}-dark.{kind}"


@dataclass(frozen=True)
class Record:
    """What came out of a study, as it is kept in ``verdicts.json``.

    Parameters
    ----------
    study : Study
    state : "finished", "broken" or "not run"
        ``"finished"``: every check was measured and every figure drawn; only this is ever reused.
    seconds : float
        Of the run alone, without the figures.
    checks : tuple of Verdict
    made : dict
        What the result depends on: ``budget``, ``seed``, ``fingerprint``, ``versions``.
    refutation : Refutation or None
        What came out for the published sentence; None where the claim was not amended.
    hardware : dict
    settings : dict
        The attributes of the dataset.
    pictures : tuple of Picture
    reused : bool
        Whether it was found finished from an earlier call; not kept.
    """

    study: Study
    state: State
    seconds: float
    checks: tuple[Verdict, ...]
    made: dict[str, Any]
    refutation: Refutation | None = None
    hardware: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    pictures: tuple[Picture, ...] = ()
    reused: bool = False

    @property
    def fails(self) -> bool:
        """Whether a check fails, or the published sentence of an amended claim is not refuted by a number."""
        outcomes = [*self.checks, *([self.refutation] if self.refutation else [])]
        return any(outcome.verdict == "fails" for outcome in outcomes)

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {
            "id": self.study.id,
            "title": self.study.title,
            "source": self.study.source,
            "claim": self.study.claim,
            "chapter": self.study.chapter,
            "standing": self.study.standing,
            "published": self.study.published or None,
            "refutation": self.refutation.to_dict() if self.refutation else None,
            "note": self.study.note,
            "state": self.state,
            "seconds": round(self.seconds, 3),
            "checks": [verdict.to_dict() for verdict in self.checks],
            "settings": self.settings,
            "figures": [{"name": picture.name, "caption": picture.caption} for picture in self.pictures],
            "made": self.made,
            "hardware": self.hardware,
        }

    @classmethod
    def from_dict(cls, study: Study, content: Mapping[str, Any]) -> "Record":
        """The record of a study from what ``to_dict`` gave.

        Raises
        ------
        KeyError, TypeError, ValueError
            If something is missing or of another kind: the record of another version.
        """
        refutation = content["refutation"]
        return cls(
            study=study,
            state=content["state"],
            seconds=float(content["seconds"]),
            checks=tuple(Verdict(**verdict) for verdict in content["checks"]),
            made=content["made"],
            refutation=None if refutation is None else Refutation(**refutation),
            hardware=content["hardware"],
            settings=content["settings"],
            pictures=tuple(Picture(**picture) for picture in content["figures"]),
        )

    def summary(self) -> dict[str, Any]:
        """The part that goes into ``summary.json``."""
        whole = self.to_dict()
        names = ("id", "title", "source", "chapter", "standing", "published", "refutation", "seconds", "checks")
        return {name: whole[name] for name in names}
