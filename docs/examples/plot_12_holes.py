"""
From a table with holes to a completed one, with intervals
==========================================================

Thirteen measurements of 178 wines, each in its own unit, a third of them removed. A hole is filled by what the other
measurements of the wine say about it, and by the column's mean where they say nothing; how far off that may be is said.
"""

import numpy as np
from sklearn.datasets import load_wine

from undertow import plotting
from undertow.estimators import LowRankImputer, column_errors

wine = load_wine()
truth = wine.data
rng = np.random.default_rng(0)
holes = rng.random(truth.shape) < 0.3
given = np.where(holes, np.nan, truth)

# %%
# Before anything is filled: what is gained over the column's mean, column by column, each in its own unit? A tenth
# of the entries is held out for that.

errors = column_errors(LowRankImputer(), given)
for k, (name, mean, error) in enumerate(zip(wine.feature_names, errors.means, errors.columns, strict=True)):
    if k in (0, 6, 9, 12):
        print(f"{name:20} mean {mean:9.3g}   imputer {error:9.3g}")

# %%
# Fill, with a standard deviation for each hole: nine in ten lie within 1.645 of them.

imputer = LowRankImputer()
filled, std = imputer.fit_transform(given, return_std=True)
off = np.abs(filled - truth)[holes]
print(f"within the 90% interval: {np.mean(off < 1.645 * std[holes]):.0%}")
print(f"kept of what the other columns say: {imputer.shrinkage_:.0%}")

# %%
# A wine that was not in the table is filled without a new fit.

row = np.where(np.arange(13) == 6, np.nan, truth[:1])
print("flavanoids:", imputer.transform(row)[0, 6].round(2), "where it is", truth[0, 6])

# %%
column = wine.feature_names.index("flavanoids")
lost = np.flatnonzero(holes[:, column])
lost = lost[np.argsort(truth[lost, column])]
with plotting.figure(1, 1, width=7.0, height=3.6) as (figure, ax):
    places = np.arange(len(lost))
    ax.errorbar(
        places, filled[lost, column], 1.645 * std[lost, column], fmt=".", linewidth=1, label="filled, 90% interval"
    )
    ax.plot(places, truth[lost, column], ".", color=plotting.color_of("optimum"), label="what was removed")
    ax.axhline(np.nanmean(given[:, column]), linestyle="--", linewidth=1, label="mean of the column")
    ax.set(xlabel="wines whose entry was removed, in order", ylabel="flavanoids")
    ax.legend()
