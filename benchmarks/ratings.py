"""Tables of ratings: RatingPredictor beside other libraries, as each comes, on the same splits."""

import gzip
import importlib
import importlib.util
import io
import statistics
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from sklearn.preprocessing import OneHotEncoder

import undertow as ut
from undertow.datasets import _places

from ._base import Benchmark, Outcome, Scope, timed

TABLES = ("MovieLens-100K, 90:10", "MovieLens-100K, u1", "drawn, few a user", "drawn, half of all")


class Split(NamedTuple):
    """Pairs of a user and an item, and their ratings, to be fitted and to be predicted."""

    fitted: np.ndarray
    ratings: np.ndarray
    asked: np.ndarray
    truth: np.ndarray


def _ways() -> dict[str, tuple[str | None, Callable[[Split, int], np.ndarray]]]:
    """What predicts, with the package that it needs."""
    return {
        "RatingPredictor": (None, _ours),
        "biases, Surprise": ("surprise", lambda split, seed: _surprise("BaselineOnly", split, seed)),
        "SVD, Surprise": ("surprise", lambda split, seed: _surprise("SVD", split, seed)),
        "SVD++, Surprise": ("surprise", lambda split, seed: _surprise("SVDpp", split, seed)),
        "CMF, cmfrec": ("cmfrec", _cmfrec),
        "Bayesian, myFM": ("myfm", _myfm),
    }


def _ours(split: Split, seed: int) -> np.ndarray:
    model = ut.estimators.RatingPredictor(random_state=seed).fit(split.fitted, split.ratings)
    return np.asarray(model.predict(split.asked))


def _surprise(name: str, split: Split, seed: int) -> np.ndarray:
    surprise = importlib.import_module("surprise")
    scale = (float(split.ratings.min()), float(split.ratings.max()))
    data = surprise.Dataset(reader=surprise.Reader(rating_scale=scale)).construct_trainset(
        [
            (int(user), int(item), float(rating), None)
            for (user, item), rating in zip(split.fitted, split.ratings, strict=True)
        ]
    )
    options = {"verbose": False} | ({} if name == "BaselineOnly" else {"random_state": seed})
    model = getattr(surprise, name)(**options).fit(data)
    return np.array([model.predict(int(user), int(item)).est for user, item in split.asked])


def _cmfrec(split: Split, seed: int) -> np.ndarray:
    pandas, cmfrec = importlib.import_module("pandas"), importlib.import_module("cmfrec")
    table = pandas.DataFrame({"UserId": split.fitted[:, 0], "ItemId": split.fitted[:, 1], "Rating": split.ratings})
    model = cmfrec.CMF(verbose=False, random_state=seed + 1).fit(table)
    found = np.asarray(model.predict(user=split.asked[:, 0], item=split.asked[:, 1]), float)
    return np.where(np.isnan(found), split.ratings.mean(), found)


def _myfm(split: Split, seed: int) -> np.ndarray:
    encoder = OneHotEncoder(handle_unknown="ignore").fit(split.fitted)
    model = importlib.import_module("myfm").MyFMRegressor(rank=10, random_seed=seed + 1)
    model.fit(encoder.transform(split.fitted), split.ratings, n_iter=200)
    return model.predict(encoder.transform(split.asked))


def _split(table: str, seed: int) -> Split:
    """Nine ratings of ten are fitted, the rest are asked for; u1 is the one that comes with the data."""
    if table.endswith("u1"):
        parts = [_lines(f"movielens-100k/u1.{part}.gz") for part in ("base", "test")]
        (fitted, ratings), (asked, truth) = ((part[:, :2], part[:, 2].astype(float)) for part in parts)
        return Split(fitted, ratings, asked, truth)
    if table.startswith("MovieLens"):
        movies = ut.datasets.load_movielens_100k()
        pairs, ratings = np.column_stack([movies.users, movies.items]).astype(int), np.asarray(movies.ratings, float)
    else:
        pairs, ratings = _drawn(table, np.random.default_rng(1000 + seed))
    order = np.random.default_rng(seed).permutation(len(ratings))
    first, last = order[len(order) // 10 :], order[: len(order) // 10]
    return Split(pairs[first], ratings[first], pairs[last], ratings[last])


def _lines(name: str) -> np.ndarray:
    for folder in _places.folders():
        if (folder / name).is_file():
            text = gzip.decompress((folder / name).read_bytes()).decode()
            return np.loadtxt(io.StringIO(text), dtype=int)
    raise ut.datasets.DataNotFound(f"{name}: not found in {', '.join(map(str, _places.folders()))}")


def _drawn(table: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Biases and a product of three factors, in noise; from 1 to 10 in whole steps, or from 0.5 to 5 in half ones."""
    few = table.endswith("few a user")
    users, items, count = (20_000, 2_000, 60_000) if few else (400, 300, 60_000)
    if few:  # some items have most of the ratings; no pair twice
        popular = rng.choice(items, count, p=rng.dirichlet(np.full(items, 0.3)))
        chosen = np.unique(rng.integers(users, size=count) * items + popular)
    else:
        chosen = rng.permutation(users * items)[:count]
    u, i = np.divmod(chosen, items)
    factors = rng.standard_normal((users, 3)), rng.standard_normal((items, 3))
    clean = rng.standard_normal(users)[u] + rng.standard_normal(items)[i] + (factors[0][u] * factors[1][i]).sum(1)
    noisy = clean / np.std(clean) + 0.8 * rng.standard_normal(len(chosen))
    if few:
        return np.column_stack([u, i]), np.clip(np.round(6 + 2 * noisy), 1, 10)
    return np.column_stack([u, i]), np.clip(np.round(6 + 2 * noisy) / 2, 0.5, 5.0)


def run(scope: Scope) -> Outcome:
    """Every table and split, the ways one after the other on the same ratings."""
    ways = {
        way: predict
        for way, (package, predict) in _ways().items()
        if package is None or importlib.util.find_spec(package) is not None
    }
    runs: list[dict[str, Any]] = []
    notes = [f"not run: {way}, not installed" for way in _ways() if way not in ways]
    for table in TABLES[3:] if scope.quick else TABLES:
        for seed in range(1 if table.endswith("u1") else scope.seeds):
            scope.report(f"{table}, draw {seed}")
            try:
                split = _split(table, seed)
            except ut.datasets.DataNotFound as missing:
                notes.append(f"not run: {table}: {missing}")
                break
            for way, predict in ways.items():
                with timed() as clock:
                    found = np.clip(predict(split, seed), split.ratings.min(), split.ratings.max())
                error = float(np.sqrt(np.mean((found - split.truth) ** 2)))
                runs.append({"table": table, "way": way, "seed": seed, "error": error, "s": clock.processor_seconds})
    summary = []
    for table, way in dict.fromkeys((row["table"], row["way"]) for row in runs):
        rows = [row for row in runs if (row["table"], row["way"]) == (table, way)]
        errors = [row["error"] for row in rows]
        spread = statistics.stdev(errors) if len(errors) > 1 else None
        seconds = statistics.median(row["s"] for row in rows)
        summary.append(
            {"table": table, "way": way, "error": statistics.fmean(errors), "spread": spread, "seconds": seconds}
        )
    notes.append("Root-mean-square error over the ratings asked for, clipped to the range seen; nothing is tuned.")
    return Outcome({"myFM": "rank 10, 200 iterations", "others": "as they come"}, runs, summary, COLUMNS, tuple(notes))


COLUMNS: dict[str, Callable[[dict[str, Any]], str]] = {
    "table": lambda row: row["table"],
    "way": lambda row: row["way"],
    "error": lambda row: f"{row['error']:.4f}",
    "standard deviation": lambda row: "-" if row["spread"] is None else f"{row['spread']:.4f}",
    "processor seconds": lambda row: f"{row['seconds']:.1f}",
}

ratings = Benchmark(
    name="ratings",
    title="Ratings: RatingPredictor beside Surprise, cmfrec and myFM",
    packages=(),  # peers that are not installed are left out, and said so
    run=run,
)
