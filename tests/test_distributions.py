"""The source distribution and the wheel: what is in them, and that the command runs from where they are installed.

Nothing is fetched: the environment is empty but for Undertow, and borrows what it depends on from the one of the tests.
"""

import json
import os
import pathlib
import subprocess
import sys
import sysconfig
import tarfile
import zipfile

import numpy as np
import pytest

import undertow

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[1]
SOURCE = ROOT / "src" / "undertow"
VERSION = undertow.__version__


def run(*command: object, **options: object) -> str:
    """What a command prints; its errors are shown where it fails."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300, check=False, **options)
    assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def source_distribution(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sdist")
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", folder, cwd=ROOT)
    return folder / f"undertow-{VERSION}.tar.gz"


@pytest.fixture(scope="module")
def wheel(source_distribution, tmp_path_factory):
    """Built from the source distribution, so that this one is whole."""
    folder = tmp_path_factory.mktemp("wheel")
    with tarfile.open(source_distribution) as archive:
        archive.extractall(folder, filter="data")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=folder / f"undertow-{VERSION}")
    return folder / f"undertow-{VERSION}-py3-none-any.whl"


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The folder of the commands of an environment with the wheel in it."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", folder)
    commands = folder / ("Scripts" if os.name == "nt" else "bin")
    options = ("--quiet", "--disable-pip-version-check", "--no-index", "--no-deps")
    run(commands / "python", "-m", "pip", "install", *options, wheel)
    (site,) = json.loads(run(commands / "python", "-c", "import json, site; print(json.dumps(site.getsitepackages()))"))
    # The lines of a file of paths are added behind the environment's own; the files of paths in there, and with them
    # this checkout, are not read.
    pathlib.Path(site, "borrowed.pth").write_text(sysconfig.get_paths()["purelib"] + "\n", encoding="utf-8")
    return commands


def files_of_the_package() -> set[str]:
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", "src/undertow", cwd=ROOT).splitlines()
    return {name.removeprefix("src/") for name in listed if (ROOT / name).exists()}


def test_the_wheel_has_the_whole_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    information = f"undertow-{VERSION}.dist-info/"
    assert {name for name in names if not name.startswith(information)} == files_of_the_package()
    assert {"undertow/py.typed", "undertow/plotting/light.mplstyle"} <= names
    assert information + "licenses/LICENSE" in names


def test_the_source_distribution_has_what_it_takes_to_test_and_to_document(source_distribution):
    with tarfile.open(source_distribution) as archive:
        names = {name.removeprefix(f"undertow-{VERSION}/") for name in archive.getnames()}
    wanted = {"README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "Makefile", "constraints.txt"}
    wanted |= {"tests/conftest.py", "docs/conf.py", "docs/index.md", "benchmarks/__main__.py"}
    assert wanted <= names
    assert not [
        name for name in names if name.startswith(("docs/generated", "build", ".venv")) or "__pycache__" in name
    ]


def test_the_command_runs_from_there(installed, tmp_path):
    code = "import undertow; print(undertow.__file__)"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    options = {"cwd": tmp_path, "env": environment}
    assert str(installed.parent) in run(installed / "python", "-c", code, **options)
    assert run(installed / "undertow", "--version", **options) == f"undertow {VERSION}\n"
    studies = run(installed / "undertow", "studies", **options)
    assert "minimum-norm" in studies

    table = np.outer(np.arange(1.0, 9.0), np.arange(1.0, 7.0))
    table[0, 0] = np.nan
    np.save(tmp_path / "table.npy", table)
    run(installed / "undertow", "complete", "table.npy", **options)
    assert np.isfinite(np.load(tmp_path / "table-completed.npy")).all()

    # Templates, styles and what else of a page is no code.
    options |= {"env": environment | {"JAX_PLATFORMS": "cpu"}}
    run(installed / "undertow", "reproduce", "primer-rich-get-richer", "--budget", "smoke", "--out", "page", **options)
    assert (tmp_path / "page" / "index.html").stat().st_size > 10_000
