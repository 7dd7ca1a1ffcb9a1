"""Parts of pages that are made as these are read: the theory map, and sections of CONTRIBUTING.md as live code.

A page asks for one by a comment: ``<!-- made: theory map -->``, or ``<!-- made: How to add a probe -->``.
"""

import re
from pathlib import Path
from typing import Any

from uses import uses

from undertow import studies

CONTRIBUTING = Path(__file__).parents[2] / "CONTRIBUTING.md"
MARK = re.compile(r"^<!-- made: (.*) -->$", re.MULTILINE)


def contributed(heading: str) -> str:
    """A section of CONTRIBUTING.md, with its Python as cells to be executed."""
    text = CONTRIBUTING.read_text(encoding="utf-8")
    found = re.search(rf"^## {re.escape(heading)}$.*?(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    if found is None:
        raise ValueError(f"CONTRIBUTING.md has no section {heading!r}")
    return found[0].replace("```python\n", "```{code-cell}\n")


def theory_map() -> str:
    """Chapter by chapter, each claim with its study and its functions."""
    all_studies = studies.all_studies()
    lines = []
    for chapter in dict.fromkeys(study.chapter for study in all_studies):
        lines += [f"## {_title(chapter)}", ""]
        for study in (study for study in all_studies if study.chapter == chapter):
            used = ", ".join(f"{{py:obj}}`{name.removeprefix('undertow.')} <{name}>`" for name in uses(study))
            standing = "" if study.standing == "as published" else f" *({study.standing})*"
            lines += [f"### {_plain(study.title)}", "", f"{_plain(study.claim)}{standing}", ""]
            lines += [f"- Published: {_plain(study.published)}"] if study.published else []
            lines += [f"- Source: {_plain(study.source)}", f"- Study: `undertow reproduce {study.id}`"]
            lines += [f"- Uses: {used}"] if used else []
            lines += [""]
    return "\n".join(lines)


def _title(chapter: str) -> str:
    known = {each.id: each.title for each in getattr(studies, "chapters", tuple)()}
    return known.get(chapter, chapter.capitalize())


def _plain(text: str) -> str:
    """Text in which Markdown finds nothing to read."""
    return re.sub(r"([\\`*_{}\[\]<>$|^~])", r"\\\1", " ".join(text.split()))


def _made(match: re.Match[str]) -> str:
    return theory_map() if match[1] == "theory map" else contributed(match[1])


def _fill(app: Any, docname: str, source: list[str]) -> None:
    source[0] = MARK.sub(_made, source[0])


def setup(app: Any) -> dict[str, Any]:
    """Fill pages as they are read."""
    app.connect("source-read", _fill)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
