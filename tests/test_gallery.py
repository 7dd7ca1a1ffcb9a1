"""From studies to a page: records, reuse, interruption, workers, and a page that is safe and whole."""

import html.parser
import io
import json
import re
import signal

import jax
import numpy as np
import pytest
import xarray as xr

from undertow import gallery, plotting
from undertow.datasets import DataNotFound
from undertow.gallery import _files
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
    assert list(summary) == ["studies"]
    for row in summary["studies"]:
        assert list(row) == ["id", "title", "source", "seconds", "checks"]
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
    assert "reused from an earlier run" in (out / "index.html").read_text()
    reproduce([small], out, fresh=True)
    assert runs() == 2


@pytest.mark.parametrize("change", ["budget", "seed", "version", "code", "figure gone", "data gone", "nonsense"])
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
    else:
        (out / "small" / ("the-value-dark.svg" if change == "figure gone" else "data.nc")).unlink()
    if change != "budget":
        reproduce([small], out, **options)
    assert runs() == 2


def test_what_a_study_compiled_is_let_go(tmp_path):
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
    ],
)
def test_wrong_arguments_are_refused_before_any_work(tmp_path, call, message):
    with pytest.raises(ValueError, match=message):
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
def page(tmp_path_factory):
    def draw_evil(dataset):
        figures = draw(dataset)
        figures["the-value"].set_label(EVIL)
        return figures

    def run(*what):
        return compute(*what).assign_attrs({"the <b> & more": EVIL})

    out = tmp_path_factory.mktemp("page")
    missing = AtMost(EVIL, lambda d: d[EVIL], 1.0)
    texts = {"title": EVIL, "source": EVIL, "claim": EVIL, "note": EVIL}
    studies = [
        study(),
        study(id="evil", run=run, plot=draw_evil, checks=(*SMALL, missing), **texts),
        study(id="gone", run=raising(DataNotFound(EVIL))),
    ]
    return out, reproduce(studies, out).page.read_text()


def test_text_of_studies_cannot_become_code(page):
    tags = Tags(page[1])
    kinds = {tag for tag, _ in tags.tags}
    assert "script" not in kinds
    assert not any(name.startswith("on") for _, attributes in tags.tags for name in attributes)
    assert tags.text.count("<script>alert(1)</script>") >= 8


def test_the_page_needs_no_network(page):
    out, text = page
    tags = Tags(text)
    addresses = [
        attributes[name]
        for _, attributes in tags.tags
        for name in ("src", "href", "srcset", "action", "data")
        if name in attributes
    ]
    assert len(addresses) > 10
    for address in addresses:
        assert address.startswith(("data:", "#")) or (out / address).is_file(), address
    assert "url(" not in text
    assert "@import" not in text
    policy = next(a["content"] for tag, a in tags.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")


def test_the_page_says_what_came_out(page):
    text = " ".join(Tags(page[1]).text.split())
    assert text.index("implicit regularization") < text.index("What came out") < text.index("Settings")
    assert "3 claims, 7 checks: 4 hold, 1 fails, 2 not run" in text
    assert "✗ fails 1 of 3 checks" in text
    for words in ("at most 1", "1e-06", "exact", f"jax {jax.__version__}", "run time", "smoke"):
        assert words in text
    links = [attributes.get("href") for tag, attributes in Tags(page[1]).tags if tag == "a"]
    assert {"small/data.nc", "small/the-value.png", "small/the-value.svg", "#evil", "summary.json"} <= set(links)
    targets = {attributes.get("id") for _, attributes in Tags(page[1]).tags}
    assert {link[1:] for link in links if link.startswith("#")} <= targets


def test_pictures_have_words_and_both_themes(page):
    tags = Tags(page[1]).tags
    images = [attributes for tag, attributes in tags if tag == "img"]
    assert len(images) == 3
    assert all(image["alt"] and image["src"].startswith("data:image/") for image in images)
    sources = [attributes for tag, attributes in tags if tag == "source"]
    assert len(sources) == len(images)
    assert all("prefers-color-scheme: dark" in source["media"] for source in sources)


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
