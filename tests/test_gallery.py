"""From studies to a page: records, reuse, interruption, workers, and a page that is safe and whole."""

import html.parser
import io
import itertools
import json
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
import xarray as xr

from undertow import _programs, gallery, plotting
from undertow.datasets import DataNotFound
from undertow.gallery import _files, _memory, _pages, _run
from undertow.gallery._words import duration
from undertow.studies import AtLeast, AtMost, Study


class Quiet:
    """A display that keeps what it is told."""

    def __init__(self):
        self.events = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def begin(self, study):
        self.events.append(("begin", study.id))

    def move(self, study, fraction, message):
        self.events.append(("move", study.id, fraction, message))

    def end(self, record):
        self.events.append(("end", record.study.id, record.reused))


def draw(dataset):
    with plotting.figure(width=2.0, height=2.0, caption="The value & its <limit>.") as (made, ax):
        ax.plot([0.0, float(dataset["x"])], color=plotting.color_of("deep 2"))
    return {"the-value": made}


def compute(_budget, key, progress):
    progress(0.5, "half")
    value = float(jax.random.uniform(key))
    return xr.Dataset({"x": value, "steps": ("run", np.arange(3))}, attrs={"rtol": 1e-6, "solver": "exact", "seed": 7})


SMALL = (AtMost("value", lambda d: d["x"], 1.0), AtLeast("last step", lambda d: d["steps"][-1], 2.0))


def study(**changes):
    fields = {
        "id": "small",
        "title": "Small",
        "source": "A paper, 2020",
        "claim": "A value is small.",
        "chapter": "primer",
        "standing": "as published",
        "example": "print(1)",
    }
    fields |= {"run": compute, "checks": SMALL, "plot": draw}
    return Study(**(fields | changes))


def reproduce(studies, out, **options):
    return gallery.reproduce(studies, out, "smoke", display=options.pop("display", Quiet()), **options)


def counted(folder, **changes):
    """A study that leaves one file for every time it runs."""

    def run(budget, key, progress):
        (folder / f"run-{len(list(folder.glob('run-*')))}").touch()
        return compute(budget, key, progress)

    return study(run=run, **changes), lambda: len(list(folder.glob("run-*")))


def raising(error):
    def run(_budget, _key, _progress):
        raise error

    return run


def full(_dataset):
    raise OSError("disk full")


# --- one study ----------------------------------------------------------------------------------


def test_a_study_leaves_its_folder(tmp_path):
    seen = []
    record = gallery.run(study(), tmp_path, "smoke", progress=lambda *what: seen.append(what))
    assert [verdict.verdict for verdict in record.checks] == ["holds", "holds"]
    assert seen == [(0.5, "half")]
    assert sorted(file.name for file in (tmp_path / "small").iterdir()) == [
        "data.nc",
        "the-value-dark.png",
        "the-value-dark.svg",
        "the-value.png",
        "the-value.svg",
        "thumbnail_dark.png",
        "thumbnail_light.png",
        "verdicts.json",
    ]
    kept = xr.load_dataset(tmp_path / "small" / "data.nc", engine="scipy")
    assert float(kept["x"]) == record.checks[0].measured
    assert kept.attrs["solver"] == "exact"
    light, dark = ((tmp_path / "small" / name).read_bytes() for name in ("the-value.svg", "the-value-dark.svg"))
    assert light != dark
    content = json.loads((tmp_path / "small" / "verdicts.json").read_text())
    assert content["made"]["versions"]["jax"] == jax.__version__
    assert content["settings"] == {"rtol": 1e-6, "solver": "exact", "seed": 7}


@pytest.mark.long
def test_keys_depend_on_the_id_and_the_seed_only(tmp_path):
    alone = reproduce([study()], tmp_path / "one")
    among = reproduce([study(id="other"), study()], tmp_path / "two")
    assert alone.records[0].checks == among.records[1].checks
    assert among.records[0].checks[0].measured != among.records[1].checks[0].measured
    other = reproduce([study()], tmp_path / "three", seed=1)
    assert other.records[0].checks[0].measured != alone.records[0].checks[0].measured
    # sha256("small") begins with these four bytes. Another derivation would change every published number.
    expected = jax.random.fold_in(jax.random.key(0), 0x81DB8EBB)
    assert bool((gallery.key_for("small") == expected).all())


@pytest.mark.parametrize(
    ("changes", "verdict", "reason"),
    [
        ({"run": raising(DataNotFound("no MovieLens here"))}, "not run", "^no MovieLens here$"),
        ({"run": raising(ValueError("bad\n  depth"))}, "fails", "^ValueError: bad depth$"),
        ({"run": raising(FileNotFoundError("other file"))}, "fails", "^FileNotFoundError: other file$"),
        ({"run": raising(SystemExit(0))}, "fails", "^SystemExit: 0$"),
        ({"run": lambda *_: None}, "fails", "run returned NoneType, expected an xarray.Dataset"),
        ({"run": lambda *_: xr.Dataset(attrs={"when": object()})}, "fails", "attribute 'when': expected text"),
        ({"run": lambda *_: xr.Dataset({"z": 1j})}, "fails", "complex"),
        ({"run": lambda *_: xr.Dataset()}, "fails", "missing from the result|could not be drawn"),
        ({"plot": lambda _: {}}, "fails", "figures could not be drawn: TypeError: .*at least one figure"),
        ({"plot": lambda _: {"../up": None}}, "fails", "could not be drawn: ValueError: .*'../up'"),
        ({"plot": lambda _: {"x-dark": None}}, "fails", "could not be drawn: ValueError: .*'x-dark'"),
        ({"plot": lambda _: {"x": "y"}}, "fails", "could not be drawn: TypeError: .*found str"),
        ({"plot": full}, "fails", "could not be drawn: OSError: disk full"),
    ],
)
def test_what_goes_wrong_is_a_verdict(tmp_path, changes, verdict, reason):
    report = reproduce([study(**changes), study(id="after")], tmp_path)
    broken, after = report.records
    assert {check.verdict for check in broken.checks} == {verdict}
    for check in broken.checks:
        assert re.search(reason, check.reason), check.reason
    assert {check.verdict for check in after.checks} == {"holds"}
    assert report.exit_status == (1 if verdict == "fails" else 0)
    log = tmp_path / "small" / "log.txt"
    assert log.exists() == (verdict == "fails" and broken.state == "broken")
    if log.exists():
        assert "Traceback" in log.read_text()
    assert not list(tmp_path.rglob("*.partial"))


def test_figures_that_fail_keep_the_numbers(tmp_path):
    report = reproduce([study(plot=lambda _: {})], tmp_path)
    assert all(check.verdict == "fails" for check in report.records[0].checks)
    assert 0 < report.records[0].checks[0].measured < 1


def test_checks_judge_what_was_written(tmp_path):
    """Not what the study holds in memory: the list of its attributes has become an array."""

    def run(*_):
        return xr.Dataset({"x": np.float64(0.5), "steps": ("run", [1, 2])}, attrs={"steps": [1, 2], "on": True})

    seen = []
    check = AtMost("type", lambda d: seen.append(type(d.attrs["steps"])) or d["x"], 1.0)
    reproduce([study(run=run, checks=(check,))], tmp_path)
    assert seen == [np.ndarray]


def test_dataset_survives_its_file(tmp_path):
    dataset = xr.Dataset(
        {"w": (("depth", "t"), np.random.default_rng(0).normal(size=(3, 4))), "on": ("depth", [True, False, True])},
        coords={"depth": [1.0, 2.0, np.inf], "name": ("depth", ["a", "ü", "ccc"])},
        attrs={"count": 3, "large": 2**40, "rate": 1e-4, "text": "é", "many": [1, 2], "flag": True},
    )
    _files.write_dataset(tmp_path / "d.nc", dataset)
    back = _files.read_dataset(tmp_path / "d.nc")
    xr.testing.assert_equal(back, dataset)
    expected = {"count": 3, "large": 2.0**40, "rate": 1e-4, "text": "é", "many": [1.0, 2.0], "flag": 1}
    assert _files.settings_of(back) == expected
    with pytest.raises(ValueError, match="does not fit"):
        _files.write_dataset(tmp_path / "e.nc", dataset.assign_attrs(big=2**60 + 1))
    assert [file.name for file in tmp_path.iterdir()] == ["d.nc"]


# --- summary, reuse -----------------------------------------------------------------------------


def test_summary_has_exactly_the_promised_fields(tmp_path):
    report = reproduce([study(), study(id="gone", run=raising(DataNotFound("none")))], tmp_path)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary == report.summary()
    assert list(summary) == ["tally", "tally_of_checks", "studies"]
    names = ["id", "title", "source", "chapter", "standing", "published", "refutation", "seconds", "checks"]
    for row in summary["studies"]:
        assert list(row) == names
        assert row["published"] is row["refutation"] is None
        assert row["seconds"] >= 0
        for check in row["checks"]:
            assert list(check) == ["name", "verdict", "measured", "expected", "tolerance", "reason"]
    first, second = (row["checks"][0] for row in summary["studies"])
    assert first["verdict"] == "holds"
    assert second == {
        "name": "value",
        "verdict": "not run",
        "measured": None,
        "expected": 1.0,
        "tolerance": None,
        "reason": "none",
    }


def test_a_finished_study_is_reused(tmp_path):
    small, runs = counted(tmp_path)
    out = tmp_path / "out"
    first = reproduce([small], out)
    display = Quiet()
    again = reproduce([small], out, display=display)
    assert runs() == 1
    assert display.events == [("end", "small", True)]
    assert again.summary() == first.summary()
    assert "reused from an earlier run" in (out / "small" / "index.html").read_text()
    reproduce([small], out, fresh=True)
    assert runs() == 2


def without_refutation(verdicts):
    """As records were before they said what came out for the published sentence."""
    content = json.loads(verdicts.read_text())
    del content["refutation"]
    verdicts.write_text(json.dumps(content))


GONE = {"figure gone": "the-value-dark.svg", "data gone": "data.nc", "thumbnail gone": "thumbnail_dark.png"}


@pytest.mark.parametrize("change", ["budget", "seed", "version", "code", *GONE, "nonsense", "old layout"])
def test_nothing_else_is_reused(tmp_path, monkeypatch, change):
    from undertow.gallery import _provenance

    small, runs = counted(tmp_path)
    out = tmp_path / "out"
    reproduce([small], out)
    options = {}
    if change == "budget":
        gallery.reproduce([small], out, "quick", display=Quiet())
    elif change == "seed":
        options["seed"] = 1
    elif change == "version":
        monkeypatch.setattr(_provenance, "versions", lambda: {"undertow": "99"})
    elif change == "code":
        monkeypatch.setattr(_provenance, "_library_digest", lambda: b"other")
    elif change == "nonsense":
        (out / "small" / "verdicts.json").write_text('{"state": "finished"')
    elif change == "old layout":
        without_refutation(out / "small" / "verdicts.json")
    else:
        (out / "small" / GONE[change]).unlink()
    if change != "budget":
        reproduce([small], out, **options)
    assert runs() == 2


@pytest.mark.long
def test_what_a_study_compiled_is_let_go_where_it_is_much(tmp_path, monkeypatch):
    monkeypatch.setattr(_memory, "_MANY", 10)
    # Else a page of many studies ends in "Cannot allocate memory": programs hold memory maps, which are limited.
    programs = jax.devices()[0].client.live_executables
    functions = [jax.jit(lambda x, n=n: x + n) for n in range(20)]
    within = []

    def run(budget, key, progress):
        for function in functions:
            function(1.0)
        within.append(len(programs()))
        return compute(budget, key, progress)

    reproduce([study(run=run), study(id="other", run=run)], tmp_path)
    assert min(within) >= 20
    assert within[1] < within[0] + 20
    assert len(programs()) < 20


def test_what_a_study_compiled_serves_the_next_one(tmp_path):
    traced = []

    @jax.jit
    def double(x):
        traced.append(x)
        return 2 * x

    def run(budget, key, progress):
        double(1.0)
        return compute(budget, key, progress)

    reproduce([study(run=run), study(id="other", run=run)], tmp_path)
    assert len(traced) == 1


def test_nobody_knows_how_much_is_compiled(tmp_path, monkeypatch):
    monkeypatch.setattr(_programs, "MAPS", tmp_path / "none")
    jax.jit(lambda x: x + 20)(1.0)
    reproduce([study()], tmp_path)
    assert len(jax.devices()[0].client.live_executables()) < 5


def test_a_study_without_source_is_never_reused(tmp_path):
    space = {}
    exec("def measure(dataset): return dataset['x']", space)
    small, runs = counted(tmp_path, checks=(AtMost("x", space["measure"], 1.0),))
    for _ in range(2):
        reproduce([small], tmp_path / "out")
    assert runs() == 2


@pytest.mark.parametrize("error", [DataNotFound("not yet"), ValueError("out of luck")])
def test_what_did_not_finish_runs_again(tmp_path, error):
    def run(*what):
        if not (tmp_path / "ready").exists():
            raise error
        return compute(*what)

    small = study(run=run)
    assert {check.verdict for check in reproduce([small], tmp_path / "out").records[0].checks} != {"holds"}
    (tmp_path / "ready").touch()
    report = reproduce([small], tmp_path / "out")
    assert {check.verdict for check in report.records[0].checks} == {"holds"}
    assert not (tmp_path / "out" / "small" / "log.txt").exists()


def test_files_of_others_stay(tmp_path):
    reproduce([study()], tmp_path)
    mine = tmp_path / "small" / "notes.png"
    mine.write_text("mine")
    (tmp_path / "small" / ".data.nc.partial").write_text("half")
    reproduce([study()], tmp_path, fresh=True)
    assert mine.read_text() == "mine"
    assert not (tmp_path / "small" / ".data.nc.partial").exists()


# --- Ctrl-C -------------------------------------------------------------------------------------


def interrupting(behavior):
    """A run in which the user presses Ctrl-C, and what the study makes of it."""

    def run(budget, key, progress):
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            return compute(budget, key, progress)  # as a trainer that keeps the result so far
        except BaseException as error:
            if behavior == "swallows":
                return compute(budget, key, progress)
            if behavior == "disguises":
                raise RuntimeError("callback failed") from error
            raise
        return compute(budget, key, progress)

    return run


@pytest.mark.parametrize("behavior", ["passes", "swallows", "disguises"])
def test_an_interrupt_keeps_what_is_finished(tmp_path, behavior):
    before = signal.getsignal(signal.SIGINT)
    first, runs = counted(tmp_path, id="first")
    studies = [first, study(id="second", run=interrupting(behavior)), study(id="third")]
    report = reproduce(studies, tmp_path / "out")
    assert signal.getsignal(signal.SIGINT) is before
    assert report.interrupted
    assert report.exit_status == 130
    assert [{check.verdict for check in record.checks} for record in report.records] == [
        {"holds"},
        {"not run"},
        {"not run"},
    ]
    assert report.records[1].checks[0].reason == "interrupted"
    assert "It was interrupted" in report.page.read_text()
    assert not (tmp_path / "out" / "second" / "verdicts.json").exists()

    again = reproduce([first, study(id="second"), study(id="third")], tmp_path / "out")
    assert [record.reused for record in again.records] == [True, False, False]
    assert again.exit_status == 0
    assert runs() == 1


def test_what_could_be_reused_counts_even_when_interrupted_before_it(tmp_path):
    last, _ = counted(tmp_path, id="last")
    reproduce([last], tmp_path / "out")
    report = reproduce([study(run=interrupting("passes")), last], tmp_path / "out")
    assert report.records[1].reused
    assert report.exit_status == 130


# --- wrong input --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda out: gallery.reproduce([], out), "studies: expected at least one"),
        (lambda out: gallery.reproduce([study(), study()], out), "found twice: small"),
        (lambda out: gallery.reproduce([study()], out, "fast"), "unknown budget 'fast'; expected one of smoke, quick"),
        (lambda out: gallery.reproduce([study()], out, jobs=0), "jobs: expected at least 1, found 0"),
        (lambda out: gallery.reproduce([study()], out, jobs=2), "has to be built in or installed, unlike small"),
        (lambda out: gallery.run(study(), out, "fast"), "unknown budget"),
        (lambda out: gallery.run(study(), out, seed=-1), "seed: expected a whole number from 0 to 4294967295"),
        (lambda out: gallery.reproduce([study()], out, seed=2**32), "seed: .*found 4294967296"),
        (lambda out: gallery.reproduce([study()], out, seed=True), "seed: expected a whole number, found True"),
    ],
)
def test_wrong_arguments_are_refused_before_any_work(tmp_path, call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_in_the_way_is_refused(tmp_path):
    (tmp_path / "file").write_text("precious")
    with pytest.raises(NotADirectoryError, match="out: expected a folder, found a file"):
        reproduce([study()], tmp_path / "file")
    (tmp_path / "small").write_text("precious")
    with pytest.raises(NotADirectoryError, match="small"):
        reproduce([study()], tmp_path)
    assert (tmp_path / "file").read_text() == (tmp_path / "small").read_text() == "precious"


# --- what claims stand for ----------------------------------------------------------------------


def amended(refutation, **changes):
    return study(standing="amended", published="Every value is < 0.", refutation=refutation, **changes)


@pytest.mark.parametrize(
    ("changes", "verdict", "reason", "status"),
    [
        ({"refutation": AtMost("value", lambda d: d["x"], 0.0)}, "refuted", "^measured 0.* at most 0$", 0),
        (
            {"refutation": AtMost("value", lambda d: d["x"], 1.0)},
            "fails",
            "holds after all: measured 0.* at most 1$",
            1,
        ),
        ({"refutation": AtMost("value", lambda d: d["y"], 0.0)}, "fails", "^missing from the result: .*y", 1),
        ({"refutation": AtMost("value", lambda d: np.nan, 0.0)}, "fails", "^measured nan, which is not a finite", 1),
        ({"run": raising(DataNotFound("none here"))}, "not run", "^none here$", 0),
        ({"run": raising(ValueError("bad"))}, "fails", "^ValueError: bad$", 1),
        ({"plot": full}, "fails", "figures could not be drawn: OSError", 1),
    ],
)
def test_a_published_sentence_is_refuted_by_a_number_or_it_fails(tmp_path, changes, verdict, reason, status):
    changes = {"refutation": AtMost("value", lambda d: d["x"], 0.0)} | changes
    report = reproduce([amended(**changes)], tmp_path)
    assert report.exit_status == status
    row = json.loads((tmp_path / "summary.json").read_text())["studies"][0]
    assert (row["standing"], row["published"]) == ("amended", "Every value is < 0.")
    found = row["refutation"]
    assert list(found) == ["name", "verdict", "measured", "expected", "tolerance", "reason"]
    assert found["verdict"] == verdict
    assert re.search(reason, found["reason"]), found["reason"]
    text = " ".join(Tags((tmp_path / "small" / "index.html").read_text()).text.split())
    assert "As published Every value is < 0." in text
    assert f"{verdict} value: " in text


def test_a_record_keeps_the_refutation(tmp_path):
    claim = amended(AtMost("value", lambda d: d["x"], 0.0))
    first, again = (reproduce([claim], tmp_path).records[0] for _ in range(2))
    assert again.reused
    assert again.refutation == first.refutation


def test_kinds_of_claims_are_counted_apart(tmp_path):
    low = AtMost("value", lambda d: d["x"], 0.0)
    studies = [
        study(),
        study(id="bad", checks=(low, *[AtLeast("last step", lambda d: d["steps"][-1], 2.0)])),
        amended(low, id="changed"),
        amended(AtMost("value", lambda d: d["x"], 1.0), id="after-all"),
        study(id="own", standing="our own", run=raising(DataNotFound("none"))),
    ]
    report = reproduce(studies, tmp_path)
    summary = report.summary()
    assert summary["tally"] == {
        "as published": {"holds": 1, "fails": 1, "not run": 0},
        "amended": {"holds": 1, "fails": 1, "not run": 0},
        "our own": {"holds": 0, "fails": 0, "not run": 1},
    }
    assert summary["tally_of_checks"] == {
        "as published": {"holds": 3, "fails": 1, "not run": 0},
        "amended": {"holds": 4, "fails": 0, "not run": 0},
        "our own": {"holds": 0, "fails": 0, "not run": 2},
    }
    assert report.exit_status == 1
    text = " ".join(Tags(report.page.read_text()).text.split())
    assert "5 claims: 2 hold, 2 fail, 1 not run" in text
    assert "As published the sentence of the source 1 1 0 3 of 4" in text
    assert "Of 2 published sentences that were amended, 1 is refuted" in text


# --- chapters, seeds ----------------------------------------------------------------------------


def test_pages_lead_from_study_to_study_by_chapter(tmp_path):
    studies = [study(id=name, chapter=chapter) for name, chapter in [("a", "one"), ("b", "two"), ("c", "one")]]
    page = reproduce(studies, tmp_path).page
    order = ["a", "c", "b"]
    index = Tags(page.read_text())
    assert [a["href"] for tag, a in index.tags if tag == "a" and a["href"].endswith("/index.html")] == [
        f"{name}/index.html" for name in order
    ]
    for place, name in enumerate(order):
        links = [a for tag, a in Tags((tmp_path / name / "index.html").read_text()).tags if tag == "a"]
        for rel, other in (("prev", place - 1), ("next", place + 1)):
            expected = f"../{order[other]}/index.html" if 0 <= other < 3 else None
            assert next((a["href"] for a in links if a.get("rel") == rel), None) == expected
        assert f"../index.html#study-{name}" in [a["href"] for a in links]


def test_an_index_of_sixty_studies_is_small(tmp_path):
    claim = "A sentence that says in some forty words what the source claims. " * 5
    studies = [study(id=f"study-{n}", title="A title of some words " * 4, claim=claim) for n in range(60)]
    records = {s.id: _run.not_run(s, "not reached yet", {}) for s in studies}
    pictures = (gallery.Picture("the-value", claim),)
    shown = {name: replace(record, pictures=pictures) for name, record in records.items()}
    _pages.Pages(tmp_path, gallery.by_chapter(studies), "smoke").write(shown, "finished", [])
    assert 100_000 < (tmp_path / "index.html").stat().st_size < 1_000_000


def test_pages_are_true_at_any_time(tmp_path):
    """While a study runs, the pages say what is known, also of a call that never comes back."""
    seen = {}

    def run(budget, key, progress):
        seen["index"] = Tags((tmp_path / "index.html").read_text()).text
        seen["own"] = Tags((tmp_path / "small" / "index.html").read_text()).text
        seen["summary"] = json.loads((tmp_path / "summary.json").read_text())
        return compute(budget, key, progress)

    reproduce([study(id="other")], tmp_path)
    reproduce([study(id="first"), study(run=run), study(id="other")], tmp_path)
    assert "It was under way when this was written" in seen["index"]
    assert "not reached yet" in seen["own"]
    assert [row["checks"][0]["verdict"] for row in seen["summary"]["studies"]] == ["holds", "not run", "holds"]
    assert "under way" not in (tmp_path / "index.html").read_text()
    # A run alone has no index to keep its page true.
    gallery.run(study(), tmp_path, "smoke")
    assert not (tmp_path / "small" / "index.html").exists()


def test_the_page_of_seeds_is_written_from_folders(tmp_path):
    script = Path(__file__).parents[1] / "docs" / "write_seeds.py"
    for seed in (2, 10):
        reproduce([study()], tmp_path / "runs" / str(seed), seed=seed)
    (tmp_path / "runs" / "10" / "summary.json").unlink()  # as while it runs
    (tmp_path / "runs" / "notes").mkdir()

    def write(runs):
        return subprocess.run(
            [sys.executable, script, tmp_path / runs, tmp_path / "seeds.md"],
            capture_output=True,
            text=True,
            check=False,
        )

    assert write("runs").stderr == ""
    text = (tmp_path / "seeds.md").read_text()
    assert "| study | seed 2 | seed 10 |\n| --- | --- | --- |\n| small | holds | holds |" in text
    assert "at the smoke budget" in text
    assert f"jax {jax.__version__}" in text
    assert re.search(r"Run on 20\d\d-\d\d-\d\d with undertow", text)
    (tmp_path / "empty").mkdir()
    ended = write("empty")
    assert ended.returncode == 1
    assert "expected folders named by a seed" in ended.stderr


def test_what_flips_under_other_seeds_is_told(tmp_path):
    def summary(seed):
        return reproduce(
            [study(checks=(AtMost("a|b", lambda d: d["x"], 0.5),))], tmp_path / str(seed), seed=seed
        ).summary()

    summaries = {seed: summary(seed) for seed in (0, 1, 2)}
    table = gallery.seeds_table(summaries)
    values = [summaries[seed]["studies"][0]["checks"][0]["measured"] for seed in (0, 1, 2)]
    words = ["holds" if value <= 0.5 else "1 of 1 fails" for value in values]
    assert len(set(words)) == 2  # else these seeds show nothing
    assert table.splitlines()[:3] == [
        "| study | seed 0 | seed 1 | seed 2 |",
        "| --- | --- | --- | --- |",
        f"| small | {' | '.join(words)} |",
    ]
    assert "1 study comes out otherwise" in table
    assert f"| small | a\\|b | {', '.join('holds' if v <= 0.5 else '**fails**' for v in values)} |" in table
    old = {1: {"studies": [{"id": "x", "checks": [{"name": "y", "verdict": "holds", "measured": 1.0, "reason": ""}]}]}}
    assert "1 of 1 runs hold; 0 studies come out otherwise" in gallery.seeds_table(old | {2: {"studies": []}})
    with pytest.raises(ValueError, match="expected at least one seed with at least one study"):
        gallery.seeds_table({1: {"studies": []}})


# --- the page -----------------------------------------------------------------------------------


class Tags(html.parser.HTMLParser):
    """Every start tag with its attributes, and the text outside style sheets."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.inside = [], "", []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "style":
            self.inside.append(tag)

    def handle_endtag(self, tag):
        if tag == "style":
            self.inside.pop()

    def handle_data(self, data):
        if not self.inside:
            self.text += data


EVIL = "<script>alert(1)</script>\"'><img src=http://evil.example/x onerror=alert(2)>&"


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The folder, and the text of all its pages by their place."""

    def draw_evil(dataset):
        figures = draw(dataset)
        figures["the-value"].set_label(EVIL)
        return figures

    def run(*what):
        return compute(*what).assign_attrs({"the <b> & more": EVIL})

    out = tmp_path_factory.mktemp("page")
    missing = AtMost(EVIL, lambda d: d[EVIL], 1.0)
    texts = {
        "title": EVIL,
        "source": EVIL,
        "claim": EVIL,
        "note": EVIL,
        "example": EVIL,
        "published": EVIL,
    }
    studies = [
        study(example="import undertow as ut\n\nprint(1 < 2)\n# True"),
        study(
            id="evil",
            run=run,
            plot=draw_evil,
            checks=(*SMALL, missing),
            standing="amended",
            refutation=missing,
            **texts,
        ),
        study(id="gone", run=raising(DataNotFound(EVIL))),
        study(id="broken", run=raising(ValueError(EVIL))),
    ]
    reproduce(studies, out)
    return out, {str(path.relative_to(out)): path.read_text() for path in out.rglob("*.html")}


def test_text_of_studies_cannot_become_code(pages):
    for place, text in pages[1].items():
        tags = Tags(text)
        assert "script" not in {tag for tag, _ in tags.tags}
        assert not any(name.startswith("on") for _, attributes in tags.tags for name in attributes)
        least = {"index.html": 3, "evil/index.html": 9, "gone/index.html": 2, "broken/index.html": 1}.get(place, 0)
        assert tags.text.count("<script>alert(1)</script>") >= least, place


def test_the_pages_need_no_network(pages):
    out, texts = pages
    assert set(texts) == {"index.html", *(f"{name}/index.html" for name in ("small", "evil", "gone", "broken"))}
    identifiers = {place: {attributes.get("id") for _, attributes in Tags(text).tags} for place, text in texts.items()}
    for place, text in texts.items():
        tags = Tags(text)
        addresses = [
            attributes[name]
            for _, attributes in tags.tags
            for name in ("src", "href", "srcset", "action", "data")
            if name in attributes
        ]
        assert len(addresses) > 5
        for address in addresses:
            if address.startswith("data:"):
                continue
            path, _, part = address.partition("#")
            target = (out / place).parent / path if path else out / place
            assert target.is_file(), (place, address)
            assert not part or part in identifiers[str(target.resolve().relative_to(out.resolve()))]
        assert "url(" not in text
        assert "@import" not in text
        policy = next(a["content"] for tag, a in tags.tags if a.get("http-equiv") == "Content-Security-Policy")
        assert policy.startswith("default-src 'none'")


def test_the_index_says_what_came_out(pages):
    text = " ".join(Tags(pages[1]["index.html"]).text.split())
    assert text.index("implicit regularization") < text.index("What came out") < text.index("A value is small.")
    assert "4 claims: 1 holds, 2 fail, 1 not run" in text
    assert "✗ fails 1 of 3 checks amended" in text
    assert "✓ holds 2 of 2 checks as published" in text


def test_the_page_of_a_study_has_its_numbers(pages):
    text = " ".join(Tags(pages[1]["small/index.html"]).text.split())
    for words in ("at most 1", "1e-06", "exact", f"jax {jax.__version__}", "run time", "smoke", "A paper, 2020"):
        assert words in text
    assert "Do it yourself" in text
    assert "import undertow as ut print(1 < 2) # True" in text
    tags = Tags(pages[1]["small/index.html"]).tags
    links = {attributes.get("href") for tag, attributes in tags if tag == "a"}
    assert {"data.nc", "the-value.png", "the-value.svg", "verdicts.json", "../index.html#study-small"} <= links


def test_a_study_without_result_has_a_page_that_says_so(pages):
    gone, broken = (" ".join(Tags(pages[1][f"{name}/index.html"]).text.split()) for name in ("gone", "broken"))
    assert "This study was not run: <script>" in gone
    assert "This study broke: ValueError: <script>" in broken
    assert "What went wrong (log)" in broken
    assert "All data" not in gone + broken


def test_pictures_have_words_and_both_themes(pages):
    for place, expected in (("index.html", 3), ("small/index.html", 1), ("evil/index.html", 1), ("gone/index.html", 0)):
        tags = Tags(pages[1][place]).tags
        images = [attributes for tag, attributes in tags if tag == "img"]
        assert len(images) == expected
        assert all(image["alt"] and image["src"] for image in images)
        sources = [attributes for tag, attributes in tags if tag == "source"]
        assert len(sources) == len(images)
        assert all("prefers-color-scheme: dark" in source["media"] for source in sources)
        assert {a["srcset"] for a in sources}.isdisjoint(a["src"] for a in images)


def test_headings_are_in_order(pages):
    for text in pages[1].values():
        levels = [int(tag[1]) for tag, _ in Tags(text).tags if re.fullmatch("h[1-6]", tag)]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_times_in_words():
    assert [duration(t) for t in (0.04, 9.94, 9.96, 59.7, 60, 134, 3599.7, 7260)] == [
        "0.0 s", "9.9 s", "10 s", "1 min 0 s", "1 min 0 s", "2 min 14 s", "1 h 0 min", "2 h 1 min"
    ]  # fmt: skip


def test_bars_on_a_terminal_and_lines_elsewhere(tmp_path):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal, file = Terminal(), io.StringIO()
    assert isinstance(gallery.display_on(terminal, total=2), gallery.Bars)
    studies = [study(), study(id="other", checks=(AtMost("value", lambda d: d["x"], -1.0),))]
    for stream in (terminal, file):
        reproduce(studies, tmp_path, fresh=True, display=gallery.display_on(stream, total=2))
    lines = file.getvalue().splitlines()
    assert lines[0] == "small: started"
    assert re.fullmatch(r"small: holds \(2 of 2 checks\), [\d.]+ s", lines[1])
    assert re.fullmatch(r"other: fails \(1 of 1 checks\), [\d.]+ s", lines[3])
    assert re.fullmatch(r" +value: measured 0\.\d+, expected at most -1", lines[4])
    shown = terminal.getvalue()
    assert "all studies" in shown
    assert "small: holds (2 of 2 checks)" in shown
    assert "value: measured" in shown
