"""The Python snippets of CONTRIBUTING.md run as they stand."""

import pathlib
import re

import pytest

TEXT = (pathlib.Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")


def snippets() -> dict[str, str]:
    """The Python snippets of each section, one after the other, each on the lines it has in the document."""
    found: dict[str, str] = {}
    section = ""
    for match in re.finditer(
        r"^## (?P<section>[^\n]*)$|^```python\n(?P<code>.*?)^```$", TEXT, re.DOTALL | re.MULTILINE
    ):
        if match["section"]:
            section = match["section"]
        else:
            earlier = found.get(section, "")
            blank = TEXT.count("\n", 0, match.start("code")) - earlier.count("\n")
            found[section] = earlier + "\n" * blank + match["code"]
    return found


SNIPPETS = snippets()


def execute(section: str) -> dict[str, object]:
    namespace: dict[str, object] = {"__name__": "contributing"}
    exec(compile(SNIPPETS[section], "CONTRIBUTING.md", "exec"), namespace)
    return namespace


def test_sections_with_snippets():
    assert list(SNIPPETS) == ["How to add a parameterization", "How to add a probe", "How to add a study"]


@pytest.mark.parametrize("section", ["How to add a parameterization", "How to add a probe"])
def test_snippets_run(section):
    assert "assert" in SNIPPETS[section]
    execute(section)


def test_study_runs_and_its_check_holds(getkey):
    namespace = execute("How to add a study")
    study = namespace["STUDY"]
    data = study.run("smoke", getkey(), lambda fraction, message: None)
    assert [verdict.verdict for verdict in study.judge(data)] == ["holds"]
    assert study.plot(data).keys() == {"loss"}
