"""Saved estimators: what is read back is what was written, to the bit, and nothing else is read."""

import datetime as dt
import decimal
import json
import pathlib
import uuid

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import KFold
from sklearn.utils.validation import check_is_fitted

from undertow.estimators import (
    LowRankImputer,
    RankMinimizingAutoencoder,
    RatingPredictor,
    SparseRegressor,
    TensorCompleter,
    load,
    save,
)

DRAWS = np.random.default_rng(0)
TABLE = np.where(DRAWS.random((12, 4)) < 0.2, np.nan, DRAWS.standard_normal((12, 4)))
PAIRS = [[f"u{k % 5}", f"i{k % 4}"] for k in range(20)]
TENSOR = np.where(DRAWS.random((4, 4, 4)) < 0.3, np.nan, DRAWS.standard_normal((4, 4, 4)))

FITTED = {
    "ratings": (
        lambda: RatingPredictor(members=1, max_iter=2).fit(PAIRS, DRAWS.integers(1, 6, 20)),
        lambda model: (model.predict(PAIRS, return_std=True), model.recommend("u1"), model.users_),
    ),
    "imputer": (
        lambda: LowRankImputer(max_iter=2, add_indicator=True).fit(TABLE),
        lambda model: (model.transform(TABLE), model.get_feature_names_out()),
    ),
    "imputer of a frame, answering in frames": (
        lambda: (
            LowRankImputer(max_iter=2, random_state=np.random.RandomState(1))
            .set_output(transform="pandas")
            .fit(pd.DataFrame(TABLE, columns=list("abcd")))
        ),
        lambda model: (
            model.transform(pd.DataFrame(TABLE, columns=list("abcd"))),
            model.feature_names_in_,
            model.random_state.rand(),
        ),
    ),
    "sparse": (
        lambda: SparseRegressor(cv=KFold(3), repeats=1, max_iter=20).fit(
            DRAWS.standard_normal((12, 3)), DRAWS.standard_normal(12)
        ),
        lambda model: (model.predict(np.ones((2, 3))), model.coef_),
    ),
    "autoencoder": (
        lambda: RankMinimizingAutoencoder(hidden=(4,), layers=1, max_epochs=1).fit(np.nan_to_num(TABLE)),
        lambda model: (model.transform(np.nan_to_num(TABLE)), model.singular_values_, model.sample(2, random_state=0)),
    ),
    "tensor": (
        lambda: TensorCompleter(members=1, max_iter=2).fit(TENSOR),
        lambda model: (model.predict([[0, 0, 0], [1, 2, 3]]), model.components_, model.rank_),
    ),
}


def equal(one, other):
    assert type(one) is type(other)
    if isinstance(one, (tuple, list)):
        assert len(one) == len(other)
        for x, y in zip(one, other, strict=True):
            equal(x, y)
    elif isinstance(one, pd.DataFrame):
        pd.testing.assert_frame_equal(one, other, check_exact=True)
    else:
        np.testing.assert_array_equal(one, other)


@pytest.mark.long
@pytest.mark.parametrize("name", FITTED)
def test_read_back_to_the_bit(name, tmp_path):
    make, ask = FITTED[name]
    model = make()
    save(model, tmp_path / "model.npz")
    again = load(str(tmp_path / "model.npz"))
    check_is_fitted(again)
    assert type(again) is type(model)
    assert repr(again).partition(" at 0x")[0] == repr(model).partition(" at 0x")[0]  # a RandomState shows its address
    assert sorted(vars(again)) == sorted(vars(model))
    equal(ask(again), ask(model))
    again.fit  # noqa: B018 - and it can be fitted anew, with the parameters that it had
    assert list(tmp_path.iterdir()) == [tmp_path / "model.npz"]


IDS = {
    "integers": [1, 2**40],
    "strings": ["a", "é\x00b"],
    "UUIDs": [uuid.UUID(int=1), uuid.UUID(int=2)],
    "decimals": [decimal.Decimal("0.1"), decimal.Decimal("0.30")],
    "tuples": [("a", 1), ("b", 2)],
}


@pytest.mark.parametrize("kind", IDS)
def test_ids_of_every_kind(kind, tmp_path):
    a, b = IDS[kind]
    pairs = np.empty((4, 2), object)
    for row, (one, other) in enumerate([(a, a), (a, b), (b, a), (b, b)]):
        pairs[row, 0], pairs[row, 1] = one, other
    model = RatingPredictor(members=1, max_iter=1).fit(pairs, [1, 2, 3, 5])
    save(model, tmp_path / "model")
    again = load(tmp_path / "model")
    assert [(type(x), x) for x in again.users_.tolist()] == [(type(x), x) for x in model.users_.tolist()]
    equal(again.predict(pairs), model.predict(pairs))


def test_values_that_json_lacks(tmp_path):
    model = LowRankImputer(max_iter=1).fit(TABLE)
    model.note_ = {
        "a": np.inf,
        "day": dt.date(2020, 1, 1),
        "time": dt.datetime(2020, 1, 1, 3, tzinfo=dt.UTC),
        1: [np.float32(0.1), 1 + 2j, (np.datetime64("2020-01-01"), None)],
        "nan": float("nan"),
    }
    save(model, tmp_path / "model")
    assert repr(load(tmp_path / "model").note_) == repr(model.note_)


class Own:
    pass


def test_what_cannot_be_written_is_named(tmp_path):
    model = LowRankImputer(max_iter=1).fit(TABLE)
    model.hook_ = [lambda: 0]
    with pytest.raises(TypeError, match=r"estimator: hook_\[0\] is of .*function"):
        save(model, tmp_path / "model")
    model.hook_ = Own()
    with pytest.raises(TypeError, match=r"hook_ is of .*Own"):
        save(model, tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_only_fitted_estimators_of_the_package(tmp_path):
    with pytest.raises(NotFittedError):
        save(LowRankImputer(), tmp_path / "model")
    with pytest.raises(TypeError, match=r"estimator: expected one of undertow\.estimators, found PCA"):
        save(PCA().fit(np.eye(3)), tmp_path / "model")

    class LowRankImputer2(LowRankImputer):
        pass

    with pytest.raises(TypeError, match=r"found .*LowRankImputer2"):
        save(LowRankImputer2(max_iter=1).fit(TABLE), tmp_path / "model")


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("models") / "model"
    save(LowRankImputer(max_iter=1).fit(TABLE), path)
    return path.read_bytes()


def test_flipped_bits_are_found_or_change_nothing(written, tmp_path):
    """Of all bytes some; the rest of a ZIP file's are of no account (times of members, for one)."""
    path = tmp_path / "model"
    path.write_bytes(written)
    right = load(path).transform(TABLE)
    found = 0
    for place in range(0, len(written), 41):
        flipped = bytearray(written)
        flipped[place] ^= 4
        path.write_bytes(flipped)
        try:
            answer = load(path).transform(TABLE)
        except ValueError as error:
            assert str(error).startswith("path: ")  # noqa: PT017 - one of two ends
            found += 1
        else:
            np.testing.assert_array_equal(answer, right)
    assert found > len(written) / 41 / 2


@pytest.mark.parametrize("content", [b"", b"PK", b"text", "half"])
def test_damaged_files(content, written, tmp_path):
    path = tmp_path / "model"
    path.write_bytes(written[: len(written) // 2] if content == "half" else content)
    with pytest.raises(ValueError, match=r"path: .* is damaged, or no estimator of undertow"):
        load(path)


def test_other_files(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.ones(2))
    with pytest.raises(ValueError, match="damaged, or no estimator"):
        load(tmp_path / "a.npz")
    with pytest.raises(FileNotFoundError, match="path: "):
        load(tmp_path / "none")


HEADER = {"format": 2, "estimator": "LowRankImputer"}


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ('{"format": 1, "estimator": "LowRankImputer", "state": {}}', "format 1, expected 2"),
        ('{"format": 2, "estimator": "Path", "state": {}}', "does not know"),
        ('{"format": 2, "estimator": "save", "state": {}}', "does not know"),
        ('{"format": 2, "estimator": "LowRankImputer", "state": {"x": {"what": 1}}}', "kind 'what'"),
        ('{"format": 2, "estimator": "LowRankImputer", "state": {"x": {"array": "a9"}}}', "a9"),
        *(
            (json.dumps({**HEADER, "state": {"x": {"object": name, "fields": {}}}}), "does not know")
            for name in (
                "os:_Environ",
                "subprocess:Popen",
                "undertow.nothing:A",
                "sklearn.base:clone",
                "undertow._replacing:os",
            )
        ),
    ],
)
def test_nothing_but_values_is_read(changed, word, tmp_path):
    np.savez(tmp_path / "a.npz", header=np.frombuffer(changed.encode(), np.uint8))
    with pytest.raises(ValueError, match=word):
        load(tmp_path / "a.npz")


def test_a_failed_write_leaves_what_was_there(written, tmp_path, monkeypatch):
    path = tmp_path / "model"
    path.write_bytes(written)

    def full(self: pathlib.Path, target: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pathlib.Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        save(LowRankImputer(max_iter=1).fit(TABLE), path)
    assert path.read_bytes() == written
    assert list(tmp_path.iterdir()) == [path]
