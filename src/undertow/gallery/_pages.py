"""The pages: an index by chapter, and a page a study. They open from disk, need no network and run no script."""

import base64
import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import jinja2
from markupsafe import Markup

from undertow.gallery import _code, _files, _tally, _words
from undertow.gallery._illustration import illustration
from undertow.gallery._record import KINDS, THEMES, Kind, Picture, Record
from undertow.gallery._run import DATA, LOG, PAGE, VERDICTS
from undertow.gallery._thumbnail import thumbnail
from undertow.studies import Chapter, Study

State = Literal["under way", "interrupted", "finished"]

# A page shows the SVG of a figure up to this many bytes; of a denser drawing the pixels, which open faster.
_LARGEST_SVG = 300_000

_BUDGETS = {
    "smoke": "a smoke run of seconds, which shows that the machinery works and says little about the claims",
    "quick": "a quick run, smaller than the sources' own experiments",
    "full": "a full run, at the sources' own scale",
}
_MARKS = {"holds": "✓", "fails": "✗", "not run": "○", "refuted": "✗"}
_STANDINGS = {
    "as published": ("As published", "the sentence of the source"),
    "amended": ("Amended", "the sentence of the source did not hold and was changed"),
    "our own": ("Our own", "a claim that no source makes"),
}


@dataclass(frozen=True)
class Pages:
    """The pages of a gallery.

    Parameters
    ----------
    out : pathlib.Path
        The folder of the index; a study's page lies in the folder of the study.
    chapters : sequence of (Chapter, sequence of Study)
        All that the index shows, in order.
    budget : str
    """

    out: Path
    chapters: Sequence[tuple[Chapter, Sequence[Study]]]
    budget: str

    def write(self, records: Mapping[str, Record], state: State, changed: Sequence[str]) -> None:
        """Write the index, and the pages of the studies that changed, each file in one step.

        Parameters
        ----------
        records : mapping of str to Record
            Of every study, by its id.
        state : "under way", "interrupted" or "finished"
            How far the call that makes them is; the index says so.
        changed : sequence of str
            Ids of studies.
        """
        order = [(chapter, study) for chapter, members in self.chapters for study in members]
        for place, (chapter, study) in enumerate(order):
            if study.id in changed:
                before = order[place - 1][1] if place else None
                after = order[place + 1][1] if place + 1 < len(order) else None
                folder = self.out / study.id
                folder.mkdir(exist_ok=True)
                _files.write_text(folder / PAGE, self._page(records[study.id], chapter, before, after))
        _files.write_text(self.out / PAGE, self._index(records, state))

    def _index(self, records: Mapping[str, Record], state: State) -> str:
        shown = list(records.values())
        refutations = [record.refutation for record in shown if record.refutation]
        verdicts = [_words.verdict_on(record) for record in shown]
        return _template("index.html").render(
            records=records,
            chapters=self.chapters,
            budget=_BUDGETS[self.budget],
            state=state,
            counts={kind: verdicts.count(kind) for kind in _tally.OUTCOMES},
            tally=_tally.of_studies(shown),
            checks=_tally.of_checks(shown),
            refuted=sum(refutation.verdict == "refuted" for refutation in refutations),
            refutations=len(refutations),
            seconds=sum(record.seconds for record in shown),
            illustration=_illustration(),
            thumbnail=thumbnail,
        )

    def _page(self, record: Record, chapter: Chapter, before: Study | None, after: Study | None) -> str:
        checks = (*record.study.checks, *((record.study.refutation,) if record.study.refutation else ()))
        return _template("study.html").render(
            record=record,
            study=record.study,
            chapter=chapter,
            before=before,
            after=after,
            expectations={check.name: check.expectation().in_words for check in checks},
            shown=functools.partial(_shown, self.out / record.study.id),
            example=_code.marked(record.study.example.strip("\n")),
            data=DATA,
            verdicts=VERDICTS,
            log=LOG,
            has_log=(self.out / record.study.id / LOG).is_file(),
            kinds=[(theme, kind) for theme in THEMES for kind in KINDS],
        )


@functools.cache
def _template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("undertow.gallery"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"duration": _words.duration, "number": _words.number, "unbroken": _words.unbroken}
    environment.globals |= {
        # The style sheet is ours; everything else is escaped.
        "css": Markup(files("undertow.gallery").joinpath("templates/page.css").read_text(encoding="utf-8")),
        "marks": _MARKS,
        "standings": _STANDINGS,
        "page": PAGE,
        "verdict_on": _words.verdict_on,
        "count": _words.count,
    }
    return environment.get_template(name)


def _shown(folder: Path, picture: Picture) -> dict[str, Any]:
    """The files of a figure by theme, and its ``width`` and ``height`` in CSS pixels."""
    drawing = (folder / picture.file("light", "svg")).read_bytes()
    kind: Kind = "svg" if len(drawing) <= _LARGEST_SVG else "png"
    width, height = _pixels(drawing)
    return {theme: picture.file(theme, kind) for theme in THEMES} | {"width": width, "height": height}


def _pixels(drawing: bytes) -> tuple[int, int]:
    """The size that an SVG of matplotlib states in points, of which three are four CSS pixels."""
    match = re.search(rb'<svg[^>]*? width="([0-9.]+)pt" height="([0-9.]+)pt"', drawing)
    if match is None:
        raise ValueError("found an SVG that does not state its size in points")
    return round(float(match[1]) * 4 / 3), round(float(match[2]) * 4 / 3)


@functools.cache
def _illustration() -> dict[str, str]:
    """The picture of the opening as data URIs by theme."""
    kind = "data:image/svg+xml;base64,"
    return {theme: kind + base64.b64encode(illustration(theme)).decode("ascii") for theme in THEMES}
