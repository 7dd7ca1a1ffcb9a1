"""Verdicts: what holds, what fails, and that nothing holds for want of a result. The list of studies."""

import dataclasses
import json
import math
import re
import sys
import types
from importlib import import_module
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import pytest
import xarray as xr

import undertow.studies
from undertow.studies import AtLeast, AtMost, Between, Chapter, Close, Study, all_studies, chapters, find
from undertow.studies._files import studies_of
from undertow.studies._registry import BUILT_IN

DATA = xr.Dataset({"x": 2.0, "holes": ("t", [1.0, math.nan]), "empty": ("nothing", [])})


def x(dataset):
    return dataset["x"]


def study(**changes):
    fields = {
        "id": "a-study",
        "chapter": "primer",
        "standing": "as published",
        "title": "One",
        "source": "A paper",
        "claim": "It is so.",
        "run": lambda _budget, _key, _progress: DATA,
        "checks": (Close("x", x, 2.0, 0.1),),
        "plot": lambda _dataset: {},
        "example": "print(2)  # 2",
    }
    return Study(**(fields | changes))


@pytest.mark.parametrize(
    ("check", "verdict"),
    [
        (Close("c", x, 2.05, 0.1), "holds"),
        (Close("c", x, 2.0, 0.0), "holds"),
        (Close("c", x, 2.2, 0.1), "fails"),
        (Close("c", x, 1.8, 0.1), "fails"),
        (AtMost("c", x, 2.0), "holds"),
        (AtMost("c", x, 1.99), "fails"),
        (AtLeast("c", x, 2.0), "holds"),
        (AtLeast("c", x, 2.01), "fails"),
        (Between("c", x, 2.0, 3.0), "holds"),
        (Between("c", x, 1.0, 2.0), "holds"),
        (Between("c", x, 2.1, 3.0), "fails"),
        (Between("c", x, 0.0, 1.9), "fails"),
    ],
)
def test_comparison(check, verdict):
    judged = check.judge(DATA)
    assert judged.verdict == verdict
    assert judged.measured == 2.0
    assert "measured 2, expected" in judged.reason


KINDS = {
    "Close": lambda measure: Close("c", measure, 0.0, 1e300),
    "AtMost": lambda measure: AtMost("c", measure, 1e300),
    "AtLeast": lambda measure: AtLeast("c", measure, -1e300),
    "Between": lambda measure: Between("c", measure, -1e300, 1e300),
}
ABSENT = {
    "missing variable": (lambda d: d["y"], "missing from the result: .*'y'"),
    "missing attribute": (lambda d: d.attrs["seed"], "missing from the result: seed"),
    "missing member": (lambda d: d.y, "could not be measured: AttributeError"),
    "nan": (lambda d: d["holes"][1], "measured nan, which is not a finite number"),
    "hole in a reduction": (lambda d: d["holes"].max(skipna=False), "nan"),
    "infinity": (lambda _d: math.inf, "measured inf"),
    "minus infinity": (lambda _d: -math.inf, "measured -inf"),
    "mean of nothing": (lambda d: d["empty"].sum(min_count=1), "nan"),
    "maximum of nothing": (lambda d: d["empty"].max(), "could not be measured: ValueError"),
    "nothing": (lambda _d: None, "could not be measured: TypeError"),
    "text": (lambda _d: "small", "could not be measured: ValueError"),
    "more than one number": (lambda d: d["holes"], "could not be measured: TypeError"),
    "division by zero": (lambda _d: 1 / 0, "could not be measured: ZeroDivisionError"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("absence", ABSENT)
def test_nothing_holds_without_a_result(kind, absence):
    measure, reason = ABSENT[absence]
    judged = KINDS[kind](measure).judge(DATA)
    assert judged.verdict == "fails"
    assert judged.measured is None
    assert re.search(reason, judged.reason)
    json.dumps(judged.to_dict(), allow_nan=False)


finite = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e12, max_value=1e12)


@hypothesis.given(st.floats(), finite, finite)
def test_every_kind_agrees_with_its_definition(measured, one, other):
    low, high = sorted((one, other))
    number = math.isfinite(measured)
    expected = {
        Close("c", lambda _d: measured, one, abs(other)): abs(measured - one) <= abs(other),
        AtMost("c", lambda _d: measured, one): measured <= one,
        AtLeast("c", lambda _d: measured, one): measured >= one,
        Between("c", lambda _d: measured, low, high): low <= measured <= high,
    }
    for check, holds in expected.items():
        assert (check.judge(DATA).verdict == "holds") is (number and holds)


def test_a_near_miss_does_not_read_as_a_hit():
    judged = AtMost("c", lambda _d: 0.91700000001, 0.917).judge(DATA)
    assert judged.verdict == "fails"
    assert judged.reason == "measured 0.91700000001, expected at most 0.917"


def test_what_a_verdict_says():
    assert Between("gap", x, 1.0, 4.0).judge(DATA).to_dict() == {
        "name": "gap",
        "verdict": "holds",
        "measured": 2.0,
        "expected": 2.5,
        "tolerance": 1.5,
        "reason": "measured 2, expected from 1 to 4",
    }
    assert AtMost("gap", x, 3.0).not_run("no data").to_dict() == {
        "name": "gap",
        "verdict": "not run",
        "measured": None,
        "expected": 3.0,
        "tolerance": None,
        "reason": "no data",
    }


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Close("c", x, math.nan, 0.1), "expected: expected a finite number"),
        (lambda: Close("c", x, 1.0, -0.1), "tolerance: expected at least 0"),
        (lambda: AtMost(" ", x, 1.0), "name: "),
        (lambda: AtLeast("c", x, math.inf), "bound: "),
        (lambda: Between("c", x, 2.0, 1.0), "low: expected at most high"),
        (lambda: study(id="One Claim"), "id: .*'One Claim'"),
        (lambda: study(id="a--b"), "id: "),
        (lambda: study(id="../up"), "id: "),
        (lambda: study(title=" "), "title: "),
        (lambda: study(source=""), "source: "),
        (lambda: study(claim=""), "claim: "),
        (lambda: study(checks=()), "checks: expected at least one"),
        (lambda: study(checks=(AtMost("c", x, 1.0), AtMost("c", x, 2.0))), "checks: .*twice: c"),
    ],
)
def test_malformed_parts_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_studies_and_checks_do_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        study().id = "other"


def install(folder, monkeypatch, entry_points, code):
    """A package of a third party, as an installer would leave it."""
    information = folder / "thirdparty-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: thirdparty\nVersion: 1.0\n")
    lines = "\n".join(f"{name} = {value}" for name, value in entry_points.items())
    (information / "entry_points.txt").write_text(f"[undertow.studies]\n{lines}\n")
    (folder / "thirdparty_studies.py").write_text(code)
    monkeypatch.delitem(sys.modules, "thirdparty_studies", raising=False)
    monkeypatch.syspath_prepend(folder)


CODE = """
import xarray
from undertow.studies import AtMost, Chapter, Study
def make(id, chapter="theirs"):
    return Study(id=id, title="T", source="S", claim="C", chapter=chapter, standing="our own",
                 run=lambda b, k, p: xarray.Dataset({"x": 1.0}), checks=(AtMost("x", lambda d: d["x"], 2.0),),
                 plot=lambda d: {}, example="print(2)  # 2")
alone, several, number = make("theirs"), (make("theirs-a"), make("theirs-b")), 3
taken = make("flow-versus-descent")
added = make("theirs-c", "norms")
chapter = Chapter("theirs", "Of theirs", "What they found.", (make("theirs-d"),))
more = [chapter, make("theirs-e")]
same = Chapter("norms", "N", "S")
"""


def test_third_parties_are_found(tmp_path, monkeypatch):
    built_in = [found.id for found in all_studies()]
    entry_points = {"a": "thirdparty_studies:alone", "b": "thirdparty_studies:several"}
    install(tmp_path, monkeypatch, entry_points, CODE)
    assert [found.id for found in all_studies()] == [*built_in, "theirs", "theirs-a", "theirs-b"]
    assert [found.id for found in find(["theirs-b", "theirs", "theirs-b"])] == ["theirs-b", "theirs"]


def test_third_parties_are_found_by_other_entry_points_too(monkeypatch):
    """Where anything has imported importlib_metadata, entry points are of its class, not of the standard library's."""
    mine = dataclasses.replace(study(), id="mine")
    point = types.SimpleNamespace(name="a", dist=None, load=lambda: mine)
    monkeypatch.setattr("undertow.studies._registry.entry_points", lambda group: [point])
    assert "mine" in [found.id for found in all_studies()]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("thirdparty_studies:absent", "could not be loaded: AttributeError"),
        ("no_such_module:alone", "could not be loaded: ModuleNotFoundError"),
        ("thirdparty_studies:number", "expected a Study, a Chapter or a sequence of them, found int"),
    ],
)
def test_a_broken_package_takes_no_other_with_it(tmp_path, monkeypatch, value, reason):
    built_in = [found.id for found in all_studies()]
    install(tmp_path, monkeypatch, {"broken": value}, CODE)
    with pytest.warns(RuntimeWarning, match=f"broken of thirdparty: {reason}"):
        assert [found.id for found in all_studies()] == built_in


def test_two_studies_with_one_id_are_refused(tmp_path, monkeypatch):
    install(tmp_path, monkeypatch, {"taken": "thirdparty_studies:taken"}, CODE)
    with pytest.raises(ValueError, match="'flow-versus-descent': one of undertow, one of thirdparty"):
        all_studies()


def test_third_parties_add_to_chapters_and_add_chapters(tmp_path, monkeypatch):
    built_in = [chapter.id for chapter in chapters()]
    install(tmp_path, monkeypatch, {"a": "thirdparty_studies:added", "b": "thirdparty_studies:more"}, CODE)
    found = chapters()
    assert [chapter.id for chapter in found] == [*built_in, "theirs"]
    assert found[built_in.index("norms")].studies[-1].id == "theirs-c"
    assert (found[-1].title, [one.id for one in found[-1].studies]) == ("Of theirs", ["theirs-d", "theirs-e"])


def test_a_chapter_that_nobody_described_is_titled_by_its_id(tmp_path, monkeypatch):
    install(tmp_path, monkeypatch, {"a": "thirdparty_studies:alone"}, CODE)
    assert (chapters()[-1].title, chapters()[-1].sentence) == ("theirs", "")


def test_two_chapters_with_one_id_are_refused(tmp_path, monkeypatch):
    install(tmp_path, monkeypatch, {"same": "thirdparty_studies:same"}, CODE)
    with pytest.raises(ValueError, match="two chapters are called 'norms': one of undertow, one of thirdparty"):
        chapters()


def test_a_chapter_has_its_own_studies_only():
    with pytest.raises(ValueError, match="studies: expected those of 'norms', found 'a-study' of 'primer'"):
        Chapter("norms", "N", "S", (study(),))


FOLDER = Path(undertow.studies.__file__).parent


def test_every_folder_is_a_chapter():
    assert {path.parent.name for path in FOLDER.glob("*/__init__.py")} == {chapter.id for chapter in BUILT_IN}


@pytest.mark.parametrize("chapter", BUILT_IN, ids=lambda chapter: chapter.id)
def test_a_file_is_a_study_and_is_called_so(chapter):
    files = {path.stem for path in (FOLDER / chapter.id).glob("[!_]*.py")}
    assert {one.id.replace("-", "_") for one in chapter.studies} == files
    for one in chapter.studies:
        module = import_module(f"undertow.studies.{chapter.id}.{one.id.replace('-', '_')}")
        assert module.study is one
    assert chapter.sentence


def test_a_file_that_is_called_otherwise_is_refused(tmp_path, monkeypatch):
    (tmp_path / "a_chapter").mkdir()
    (tmp_path / "a_chapter" / "one.py").write_text(
        "from types import SimpleNamespace\nstudy = SimpleNamespace(id='two')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="id: expected 'one', as the file in a_chapter is called, found 'two'"):
        studies_of("a_chapter", "one")
    with pytest.raises(ModuleNotFoundError, match=r"a_chapter\.no_such"):
        studies_of("a_chapter", "no-such")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"chapter": "The Primer"}, "chapter: expected lower-case words"),
        ({"standing": "amended"}, "published: expected something where the claim is amended"),
        ({"standing": "amended", "published": "P."}, "refutation: expected something where the claim is amended"),
        ({"published": "P."}, "published: expected nothing where the claim is as published"),
    ],
)
def test_what_a_claim_stands_for_is_whole(changes, message):
    with pytest.raises(ValueError, match=message):
        study(**changes)


def test_what_a_claim_stands_for_is_said():
    """No claim is "as published" by default."""
    (field,) = (field for field in dataclasses.fields(Study) if field.name == "standing")
    assert field.default is dataclasses.MISSING
    assert field.default_factory is dataclasses.MISSING


def test_unknown_ids_are_refused_with_the_nearest():
    with pytest.raises(ValueError, match=r"unknown study 'flow-vs-descent'; did you mean flow-versus-descent"):
        find(["flow-vs-descent"])
    with pytest.raises(ValueError, match=r"unknown study 'qqqq'; known: .*movielens"):
        find(["qqqq"])


def test_every_built_in_study_is_listed():
    ids = [found.id for found in find()]
    assert {"flow-versus-descent", "image-completion"} <= set(ids)
    assert len(set(ids)) == len(ids)
