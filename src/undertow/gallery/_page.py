"""The page: one HTML file with everything in it, which needs no network and runs no script."""

import base64
import functools
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import jinja2
from markupsafe import Markup

from undertow.gallery import _files, _words
from undertow.gallery._illustration import illustration
from undertow.gallery._run import DATA, LOG, THEMES, VERDICTS, Picture, Record

# An SVG up to this many bytes is always embedded; a larger one only where its PNG is larger still.
_LARGEST_SVG = 300_000

_BUDGETS = {
    "smoke": "a smoke run of seconds, which shows that the machinery works and says little about the claims",
    "quick": "a quick run, smaller than the sources' own experiments",
    "full": "a full run, at the sources' own scale",
}
_MARKS = {"holds": "✓", "fails": "✗", "not run": "○"}


def write_page(page: Path, records: Sequence[Record], *, budget: str, interrupted: bool) -> None:
    """Write the page for these records, whose folders lie beside it.

    Parameters
    ----------
    page : pathlib.Path
        The file to write, in one step.
    records : sequence of Record
    budget : str
    interrupted : bool
        Whether the call that made them was; the page then says so.
    """
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"duration": _words.duration, "number": _words.number}
    here = files("undertow.gallery")
    template = environment.from_string(here.joinpath("page.html").read_text(encoding="utf-8"))
    verdicts = [check.verdict for record in records for check in record.checks]
    text = template.render(
        # The style sheet is ours; everything else is escaped.
        css=Markup(here.joinpath("page.css").read_text(encoding="utf-8")),
        records=records,
        budget=_BUDGETS[budget],
        interrupted=interrupted,
        total=len(verdicts),
        counts={kind: verdicts.count(kind) for kind in _MARKS},
        seconds=sum(record.seconds for record in records),
        marks=_MARKS,
        verdict_on=_words.verdict_on,
        count=_words.count,
        expectations={
            record.study.id: {check.name: check.expectation().in_words for check in record.study.checks}
            for record in records
        },
        embed=functools.partial(_embed, page.parent),
        illustration=_illustration(),
        data=DATA,
        verdicts=VERDICTS,
        log=LOG,
    )
    _files.write_text(page, text)


def _embed(out: Path, record: Record, picture: Picture) -> dict[str, str]:
    """A figure as data URIs, by theme."""
    folder = out / record.study.id
    found = {}
    for theme in THEMES:
        drawing = (folder / picture.file(theme, "svg")).read_bytes()
        pixels = (folder / picture.file(theme, "png")).read_bytes()
        if len(drawing) <= max(_LARGEST_SVG, len(pixels)):
            found[theme] = _uri(drawing, "image/svg+xml")
        else:
            found[theme] = _uri(pixels, "image/png")
    return found


@functools.cache
def _illustration() -> dict[str, str]:
    return {theme: _uri(illustration(theme), "image/svg+xml") for theme in THEMES}


def _uri(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
