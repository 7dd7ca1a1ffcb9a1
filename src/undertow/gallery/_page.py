"""The page: one HTML file with everything in it, which needs no network and runs no script."""

import base64
import functools
import io
import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import jinja2
from markupsafe import Markup
from PIL import Image

from undertow.gallery import _files, _words
from undertow.gallery._illustration import illustration
from undertow.gallery._run import DATA, LOG, THEMES, VERDICTS, Picture, Record

# An SVG up to this many bytes is embedded; a larger one only where its pixels take more.
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
    """A figure as data URIs by theme, and its ``width`` in inches."""
    folder = out / record.study.id
    found = {}
    for theme in THEMES:
        drawing = (folder / picture.file(theme, "svg")).read_bytes()
        found["width"] = _inches(drawing)
        if len(drawing) <= _LARGEST_SVG:
            found[theme] = _uri(drawing)
        else:
            pixels = (folder / picture.file(theme, "png")).read_bytes()
            found[theme] = _uri(min(_with_palette(pixels), drawing, key=len))
    return found


def _with_palette(pixels: bytes) -> bytes:
    """The same PNG in 256 colors: a third of the bytes for a dense drawing, and the same to the eye."""
    reduced = io.BytesIO()
    with Image.open(io.BytesIO(pixels)) as picture:
        picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(reduced, "PNG", optimize=True)
    return reduced.getvalue()


def _inches(drawing: bytes) -> str:
    """The width that an SVG of matplotlib states in points."""
    match = re.search(rb'<svg[^>]*? width="([0-9.]+)pt"', drawing)
    if match is None:
        raise ValueError("found an SVG that does not state its width in points")
    return f"{float(match[1]) / 72:.2f}"


@functools.cache
def _illustration() -> dict[str, str]:
    return {theme: _uri(illustration(theme)) for theme in THEMES}


def _uri(content: bytes) -> str:
    kind = "image/png" if content.startswith(b"\x89PNG") else "image/svg+xml"
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
