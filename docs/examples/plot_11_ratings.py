"""
From a file of ratings to recommendations
=========================================

A file with a row for each rating: who, what, how much. It is read as it is, the error is measured on ratings that were
held out, and what a user would like best is asked. The file is made here, with tastes that the ratings show in part.
"""

import tempfile
from pathlib import Path

import numpy as np

from undertow import plotting
from undertow.datasets import Dialect, read_table
from undertow.estimators import RatingPredictor, load, rating_errors, save

rng = np.random.default_rng(0)
users, items = 300, 120
taste, kind = rng.standard_normal((users, 2)), rng.standard_normal((items, 2))
liked = 3.3 + 0.4 * rng.standard_normal((users, 1)) + 0.5 * rng.standard_normal(items) + 0.5 * taste @ kind.T
given = np.argwhere(rng.random(liked.shape) < 0.15)
stars = np.clip(np.rint(liked[tuple(given.T)] + 0.5 * rng.standard_normal(len(given))), 1, 5).astype(int)

# %%
# Files have their own ways: this one has a comment, semicolons, and a 99 where nobody answered.

folder = Path(tempfile.mkdtemp())
lines = [f"user{u:03};item{i:03};{s}" for (u, i), s in zip(given, stars, strict=True)]
lines[7] = lines[7].rpartition(";")[0] + ";99"
(folder / "ratings.csv").write_text("# a survey\nwho;what;stars\n" + "\n".join(lines) + "\n")
table = read_table(folder / "ratings.csv", dialect=Dialect(comment="#", missing=("99",)))
print(table.source.kind, table.shape, len(table), "ratings,", table.source.left_out, "left out")

# %%
# A tenth of the ratings is held out; the error on them stands beside the plain answers. On a shell, all of this page is
# ``undertow complete ratings.csv --comment '#' --missing 99``.

errors = rating_errors(RatingPredictor(), table.users, table.items, table.ratings)
print(f"the mean {errors.mean:.3f}, user and item biases {errors.biases:.3f}, the predictor {errors.predictor:.3f}")

# %%
# Then all ratings are fitted. A prediction has a standard deviation, which is small for those who rated much.

pairs = np.stack([table.user_ids[table.users], table.item_ids[table.items]], axis=1)
model = RatingPredictor().fit(pairs, table.ratings)
best, expected = model.recommend("user007", 3)
for item, rating in zip(best, expected, strict=True):
    print(f"user007 would give {item} {rating:.1f} stars")
answers, std = model.predict([["user007", "item004"], ["nobody", "item004"]], return_std=True)
print("a user and a stranger:", answers.round(2), "+-", std.round(2))

# %%
# New ratings, of a new user too, are taken in without a new fit. A model is kept in a file without pickle.

model.partial_fit([["newcomer", item] for item in best], [5, 5, 4])
save(model, folder / "model.npz")
print(load(folder / "model.npz").recommend("newcomer", 2)[0])

# %%
# What was found, against what was put in, for pairs that nobody rated:

known = np.zeros(liked.shape, bool)
known[tuple(given.T)] = True
u, i = np.argwhere(~known)[::40].T
found = model.predict(np.array([[f"user{a:03}", f"item{b:03}"] for a, b in zip(u, i, strict=True)], object))
with plotting.figure(1, 1, width=5.0, height=4.2) as (figure, ax):
    ax.plot([1, 5], [1, 5], color=plotting.color_of("optimum"))
    ax.plot(liked[u, i], found, ".", markersize=3)
    ax.set(xlabel="what the user would like, in stars", ylabel="prediction, in stars")
