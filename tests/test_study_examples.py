"""The "do it yourself" of each study runs as it stands, and prints what stands beside it."""

import ast

import jax.numpy as jnp
import pytest
from study_examples import printed_beside, run, same

from undertow.datasets import DataNotFound
from undertow.studies import Study, all_studies

ROOMS = {"jax", "jax.numpy", "numpy", "sklearn.datasets", "undertow"}


def cases() -> list:
    """Each study; those of film ratings, which ask for data and for more time, marked so."""
    marks = {False: (), True: (pytest.mark.slow, pytest.mark.data)}
    return [pytest.param(s, id=s.id, marks=marks["load_movielens" in s.example]) for s in all_studies()]


@pytest.mark.long
@pytest.mark.parametrize("study", cases())
def test_an_example_prints_what_stands_beside_it(study: Study):
    expected = printed_beside(study.example)
    assert expected, "no print with its result beside it"
    try:
        found = run(study.example, study.id)
    except DataNotFound as missing:
        pytest.skip(str(missing))
    assert [a for a, b in zip(found, expected, strict=False) if not same(a, b)] == []
    assert len(found) == len(expected)


@pytest.mark.parametrize("study", all_studies(), ids=lambda study: study.id)
def test_an_example_is_short_and_of_public_names(study: Study):
    tree = ast.parse(study.example)
    written = [line for line in study.example.splitlines() if line.strip() and not line.startswith("#")]
    assert 5 <= len(written) <= 20
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert "undertow" in imported <= ROOMS
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not [name for name in attributes if name.startswith("_") and name != "__name__"]


def test_what_counts_as_the_same():
    assert same("a 1.2346 b [0.5 3]", "a 1.235 b [ 0.5  3]")
    assert same("gap 3.1e-09", "gap 3e-09")
    assert not same("gap 3.1e-08", "gap 3e-09")
    assert not same("a 1.24", "a 1.22")
    assert not same("a -1.2", "a 1.2")
    assert not same("3 steps", "4 steps")
    assert not same("a 1.5", "b 1.5")
    assert not same("a 1.5 2.0", "a 1.5")
    assert not same("a nan", "a 1.5")
    assert same("inf", "inf")
    assert not same("-inf", "inf")
    assert same("[3.999 0.749]", "[4.    0.749]")
    assert not same("[3.9 0.749]", "[4.    0.749]")
    assert not same("[3.9 2.]", "[4. 2.]")


CODE = """
# before
for x in (1, 2):  # two
    print(x)
# 1
# 2
print(2.5)  # 2.5

# between
print(
    3,
)  # 3
y = 4  # not printed
"""


def test_what_stands_beside_a_print():
    assert printed_beside(CODE) == run(CODE, "code") == ["1", "2", "2.5", "3"]


def test_an_example_runs_with_the_defaults_of_jax():
    code = "import jax, jax.numpy as jnp\nprint(jnp.ones(2).dtype)\njax.config.update('jax_enable_x64', True)"
    for _ in range(2):
        assert run(code, "code") == ["float32"]
    assert jnp.ones(2).dtype == jnp.float64
