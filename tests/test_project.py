"""What holds for the project as a whole: its public names, its files, its version, its command, its links."""

import importlib
import importlib.metadata
import inspect
import pathlib
import pkgutil
import re
import subprocess
import sys
import tomllib

import pytest

import undertow

ROOT = pathlib.Path(__file__).parents[1]
SOURCE = ROOT / "src" / "undertow"
DOCUMENTS = sorted({*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").rglob("*.md")})
DOCUMENTS = [path for path in DOCUMENTS if "generated" not in path.parts]


def public_modules() -> list[str]:
    """Undertow, and every module of it with no underscore in its path."""
    found = [module.name for module in pkgutil.walk_packages([str(SOURCE)], "undertow.")]
    return ["undertow", *(name for name in found if "._" not in name)]


def public_names() -> list[tuple[str, str]]:
    """Every name that a public module lists in its ``__all__``."""
    modules = public_modules()
    return [(name, public) for name in modules for public in getattr(importlib.import_module(name), "__all__", [])]


def headings(document: pathlib.Path) -> set[str]:
    """The anchors of a document, as code hosts make them from its headings."""
    text = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    titles = re.findall(r"^#+ +(.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_these_tests_test_this_checkout():
    assert pathlib.Path(undertow.__file__).parent == SOURCE


@pytest.mark.parametrize("module", public_modules())
def test_module_has_docstring(module):
    assert inspect.getdoc(importlib.import_module(module))


@pytest.mark.parametrize(
    "package", sorted(path.parent.name for path in SOURCE.glob("*/__init__.py") if path.parent.name[0] != "_")
)
def test_package_lists_its_names(package):
    module = importlib.import_module(f"undertow.{package}")
    assert module.__all__
    assert len(set(module.__all__)) == len(module.__all__)


@pytest.mark.parametrize(("module", "name"), public_names())
def test_public_name_exists_and_has_docstring(module, name):
    value = getattr(importlib.import_module(module), name)
    # An object that is neither class, function nor module (a constant, a type alias) is told by its module.
    if inspect.isclass(value):
        assert value.__dict__.get("__doc__"), f"{module}.{name} has no docstring of its own"
    elif inspect.isroutine(value) or inspect.ismodule(value):
        assert inspect.getdoc(value), f"{module}.{name} has no docstring"


def test_there_are_public_names():
    assert len(public_names()) > 20


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_source_file_is_short(path):
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= 450, f"{path.name} has {lines} lines: which second idea has moved in?"


def test_version_is_the_same_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    cited = re.search(r'^version: "?([^"\n]+)"?$', (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)
    assert cited is not None
    assert project["version"] == undertow.__version__ == cited[1]


def test_changelog_tells_of_this_version_or_what_comes():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## \[(Unreleased|" + re.escape(undertow.__version__) + r")\]", changelog, re.MULTILINE)


def test_constraints_pin_every_direct_dependency():
    def normalized(requirement):
        return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement)[0]).lower()

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.+!-]+( *;.*)?", pin) for pin in pins), "exact versions, no addresses"
    extras = project["optional-dependencies"]
    wanted = {normalized(each) for each in project["dependencies"] + extras["dev"] + extras["docs"]}
    assert wanted <= {normalized(pin) for pin in pins}


def run_fresh(code: str) -> subprocess.CompletedProcess[str]:
    """Run code in an interpreter that has imported nothing yet."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)


def test_help_works_without_the_heavy_imports():
    code = """
import sys
from undertow.cli import main
sys.argv = ["undertow", "--help"]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
heavy = {"jax", "diffrax", "optax", "scipy", "sklearn", "matplotlib", "xarray", "pandas", "pyarrow"}
print("HEAVY:", *sorted(heavy & set(sys.modules)))
"""
    done = run_fresh(code)
    assert done.returncode == 0, done.stderr
    assert "reproduce" in done.stdout
    assert "complete" in done.stdout
    assert done.stdout.splitlines()[-1] == "HEAVY:"


def test_command_is_installed():
    (command,) = importlib.metadata.entry_points(group="console_scripts", name="undertow")
    assert command.value == "undertow.cli:main"
    assert callable(command.load())


def test_command_runs_as_a_module():
    found = subprocess.run(
        [sys.executable, "-m", "undertow", "--version"], capture_output=True, text=True, timeout=60, check=True
    )
    assert found.stdout == f"undertow {importlib.metadata.version('undertow')}\n"


def test_it_says_that_it_is_typed():
    assert (SOURCE / "py.typed").is_file()
    assert "Typing :: Typed" in importlib.metadata.metadata("undertow").get_all("Classifier", [])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_resolve(document):
    text = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    targets = re.findall(r"\]\(<?([^)>\s]+)>?(?: \"[^\"]*\")?\)", text)
    for target in targets:
        if re.match(r"[a-z][a-z0-9+.-]*:", target):  # an address elsewhere
            continue
        path, _, anchor = target.partition("#")
        if "generated" in path.split("/"):  # by `make docs`, which warns where it is not there
            continue
        linked = (document.parent / path) if path else document
        assert linked.exists(), f"{document.name} links to {target}, which does not exist"
        if anchor and linked.suffix == ".md":
            assert anchor in headings(linked), f"{document.name} links to {target}, a heading that does not exist"
