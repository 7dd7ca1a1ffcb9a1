"""What the study of the MovieLens tables is made of, on a table of made-up ratings."""

import numpy as np
import pytest

from undertow.studies.penalties import _movielens_methods as methods
from undertow.studies.penalties import _movielens_peers as peers
from undertow.studies.penalties import _movielens_rows as rows
from undertow.studies.penalties._movielens_published import OTHERS, SOURCE
from undertow.studies.penalties.movielens_100k_tables import PUBLISHED, _published


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    i, j = np.nonzero(rng.random((30, 20)) < 0.5)
    ratings = np.clip(np.round(3 + rng.normal(size=30)[i] + rng.normal(size=20)[j]), 1, 5)
    return methods.Table((30, 20), i, j, ratings)


def test_the_parts_of_a_split_are_all_ratings_once(table):
    split = methods.split_of(table, 0.8, seed=1)
    assert sorted(np.concatenate(split)) == list(range(len(table.ratings)))
    assert len(split.test) == len(table.ratings) - round(0.8 * len(table.ratings))
    assert not set(split.known) & set(split.test)


def test_the_most_active_part_keeps_ratings_in_their_places(table):
    part = table.most_active(10, 5)
    users = np.argsort(-np.bincount(table.rows), kind="stable")[:10]
    films = np.argsort(-np.bincount(table.columns), kind="stable")[:5]
    whole = {(i, j): r for i, j, r in zip(*table[1:], strict=True)}
    assert part.shape == (10, 5)
    found = [whole[users[i], films[j]] for i, j in zip(part.rows, part.columns, strict=True)]
    np.testing.assert_array_equal(found, part.ratings)


@pytest.mark.parametrize("base", ["nothing", "biases"])
def test_errors_of_a_run_are_those_of_its_predictions(table, base):
    """Without a penalty at depth 1 the end is known: what is not observed stays at the biases."""
    split = methods.split_of(table, 0.8, seed=1)
    method = rows.rows(thorough=False)[rows.PLAIN[1]]
    if base == "biases":
        method = method._replace(base=methods.biases)
    found = methods.descend(table, [split], method)
    expected = peers.by_biases(table, split)
    assert expected[1] < expected[0]  # clamping changes something
    np.testing.assert_allclose([found["error"][0], found["clamped"][0]], expected, rtol=1e-5)
    assert found["error"] == found["untrained"]


@pytest.mark.long
def test_the_choice_is_by_validation_ratings(table):
    """A weight so large that it ruins the fit is not chosen, and other test ratings choose the same."""
    splits = [methods.split_of(table, 0.8, seed) for seed in (1, 2)]
    method = rows.rows(thorough=False)[rows.BY_DESCENT]._replace(weights=(300.0, 0.1), samples=(0, 5, 10))
    found = methods.descend(table, splits, method)
    assert found["weight"] == [0.1, 0.1]
    shuffled = [split._replace(test=split.test[: len(split.test) // 2]) for split in splits]
    again = methods.descend(table, shuffled, method)
    assert (again["weight"], again["stop"]) == (found["weight"], found["stop"])


def test_rows_stand_beside_the_published_number_of_their_model():
    assert _published(rows.BY_DESCENT, 0.8) == SOURCE["depth 1, gradient descent + penalty"][PUBLISHED[0.8]] == 2.821
    assert _published(rows.PLAIN[2], 0.9) == 1.844
    assert np.isnan(_published("biases", 0.9))
    assert len({row.method for row in OTHERS}) == len(OTHERS)
    assert {row.confidence for row in OTHERS} <= {"A", "B", "C"}
