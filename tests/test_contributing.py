"""The Python snippets of CONTRIBUTING.md run as they stand."""

import pathlib
import re

import jax.numpy as jnp
import numpy as np
import pytest
from study_examples import printed_beside, run, same

import undertow as ut

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
PARTS = ("parameterization", "problem", "dynamics", "probe")


def execute(section: str) -> dict[str, object]:
    namespace: dict[str, object] = {"__name__": "contributing"}
    exec(compile(SNIPPETS[section], "CONTRIBUTING.md", "exec"), namespace)
    return namespace


def test_sections_with_snippets():
    assert list(SNIPPETS) == [*(f"How to add a {part}" for part in PARTS), "How to add a study"]


@pytest.mark.parametrize("section", [f"How to add a {part}" for part in PARTS])
def test_snippets_run(section):
    assert "assert" in SNIPPETS[section]
    execute(section)


def test_a_dynamics_from_outside_resumes_and_sweeps(tmp_path):
    """What every dynamics has, whoever wrote it: to the bit, whatever the chunks."""
    namespace = execute("How to add a dynamics")
    descent, problem = namespace["SignDescent"], namespace["problem"]

    def run(step_size, steps=900, **options):
        return ut.train(
            problem,
            ut.parameterizations.Identity(2),
            descent(step_size),
            params=jnp.zeros(2),
            stop=ut.Stop(loss=None, steps=steps),
            **options,
        )

    path = tmp_path / "run.npz"
    for steps in (17, 900):
        resumed = run(1e-3, steps, checkpoint=path)
    np.testing.assert_array_equal(resumed.params, run(1e-3).params)
    swept = ut.sweep(run, over={"step_size": [1e-3, 2e-3]})
    np.testing.assert_allclose(swept["final_loss"], [run(h)["loss"][-1] for h in (1e-3, 2e-3)], rtol=1e-12)


@pytest.mark.long
def test_study_runs_and_its_check_holds(getkey):
    namespace = execute("How to add a study")
    study = namespace["study"]
    data = study.run("smoke", getkey(), lambda fraction, message: None)
    assert [verdict.verdict for verdict in study.judge(data)] == ["holds"]
    assert study.plot(data).keys() == {"loss"}
    (found,), (expected,) = run(study.example, study.id), printed_beside(study.example)
    assert same(found, expected)
