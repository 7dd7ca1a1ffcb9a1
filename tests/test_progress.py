"""Where progress is shown: on a terminal, in a notebook, nowhere else."""

import io
import sys
from types import ModuleType, SimpleNamespace

import pytest
import xarray as xr
from matplotlib.figure import Figure

from undertow import gallery
from undertow.studies import AtMost, Study
from undertow.training import _progress


class Handle:
    """What a notebook's ``display`` gives back."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def update(self, data: dict[str, str], *, raw: bool) -> None:
        assert raw
        self.texts.append(data["text/plain"])


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Handle:
    handle, ipython, display = Handle(), ModuleType("IPython"), ModuleType("IPython.display")

    def show(data: dict[str, str], *, raw: bool, display_id: bool) -> Handle:
        assert display_id
        handle.update(data, raw=raw)
        return handle

    ipython.__dict__["get_ipython"] = lambda: SimpleNamespace(kernel=None)
    display.__dict__["display"] = show
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    return handle


def report_all(progress=True) -> None:
    with _progress.reporter(progress) as report:
        for fraction in (0.0, 0.25, 1.0):
            report(fraction, f"loss {fraction}")


def test_a_notebook_shows_one_line_that_changes(notebook: Handle, monkeypatch) -> None:
    times = iter([100.0, 100.0, 110.0, 140.0])
    monkeypatch.setattr(_progress, "time", SimpleNamespace(monotonic=lambda: next(times)))
    report_all()
    assert notebook.texts == [
        "training",
        "loss 0.0  0 %, 0:00:00",
        "loss 0.25  25 %, 0:00:10, 0:00:30 left",
        "loss 1.0  100 %, 0:00:40, 0:00:00 left",
    ]


def test_a_notebook_is_not_flooded(notebook: Handle, monkeypatch) -> None:
    monkeypatch.setattr(_progress, "time", SimpleNamespace(monotonic=lambda: 100.0))
    with _progress.reporter(progress=True) as report:
        for step in range(100):
            report(step / 99, "loss")
    assert len(notebook.texts) == 3  # the first, the one at 0, and the last


def test_nothing_is_shown_elsewhere(monkeypatch, capsys) -> None:
    shell = ModuleType("IPython")
    shell.__dict__["get_ipython"] = lambda: None  # imported by some package, in a script
    monkeypatch.setitem(sys.modules, "IPython", shell)
    report_all()
    report_all(progress=False)
    assert capsys.readouterr() == ("", "")
    seen = []
    report_all(lambda fraction, message: seen.append((fraction, message)))
    assert seen[-1] == (1.0, "loss 1.0")


def test_a_terminal_shows_a_bar(monkeypatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", Terminal())
    report_all()
    assert "loss 1.0" in sys.stderr.getvalue()


def test_a_gallery_run_in_a_notebook(notebook: Handle, monkeypatch, capsys) -> None:
    times = iter([100.0, 100.0, 110.0, 120.0, 130.0])  # when it begins, and at each line
    monkeypatch.setattr(_progress, "time", SimpleNamespace(monotonic=lambda: next(times)))
    check = AtMost("size", lambda data: 1.0, 2.0)
    verdict = check.judge(xr.Dataset())

    def study(name: str) -> Study:
        about = {"title": name, "source": "A paper, 2020", "claim": "A value is small.", "chapter": "primer"}
        about |= {"standing": "as published", "example": "print(2)  # 2"}
        return Study(id=name, run=lambda *_: xr.Dataset(), checks=(check,), plot=lambda _: Figure(), **about)

    one, other = study("one"), study("other")

    def record(study: Study, reused: bool) -> gallery.Record:
        return gallery.Record(study, "finished", 12.0, (verdict,), {}, reused=reused)

    with gallery.display_on(total=2) as shown:
        assert isinstance(shown, gallery.Notebook)
        shown.begin(one)
        shown.move(one, 0.5, "loss 1e-3")
        shown.end(record(one, reused=False))
        shown.end(record(other, reused=True))  # found finished: it never began
    assert notebook.texts == [
        "training",
        "one: started  0 %, 0:00:00",
        "one: loss 1e-3  25 %, 0:00:10, 0:00:30 left",
        "one: holds (1 of 1 checks)  50 %, 0:00:20, 0:00:20 left",
        "other: holds (1 of 1 checks)  100 %, 0:00:30, 0:00:00 left",
    ]
    out, error = capsys.readouterr()
    assert out.splitlines() == [
        "one: holds (1 of 1 checks), 12 s",
        "other: holds (1 of 1 checks), reused from an earlier run",
    ]
    assert error == ""
    assert isinstance(gallery.display_on(io.StringIO(), total=2), gallery.Lines)  # a stream of one's own
