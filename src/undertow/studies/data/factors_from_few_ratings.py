"""How many ratings a user it takes until factors are found, beside the biases, and what is done before."""

from collections.abc import Callable

import jax
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ... import plotting
from .._base import AtLeast, AtMost, Budget, Study
from .._shared import generator

USERS = {"smoke": 200, "quick": 400, "full": 2000}
COUNTS = {"smoke": (2, 8, 32), "quick": (1, 2, 4, 8, 16, 32), "full": (1, 2, 4, 8, 16, 32, 64)}
DRAWS = {"smoke": 5, "quick": 8, "full": 8}
MANY = 32
"""Ratings a user at which factors are claimed to be found."""
BIASES, FACTORS, NOISE = 0.3, 0.5, 0.4
"""Variances: of users' and of items' biases, of the product of the factors, and of the noise."""
KINDS = ("two factors", "biases alone")


def _run(budget: Budget, key: jax.Array, progress: Callable[[float, str], None]) -> xr.Dataset:
    from ...estimators import RatingPredictor

    rng = generator(key)
    users, counts, draws = USERS[budget], COUNTS[budget], DRAWS[budget]
    items = users // 2
    predictor, biases = np.zeros((2, len(KINDS), len(counts), draws))
    for done, (k, c, draw) in enumerate(np.ndindex(predictor.shape)):
        progress(done / predictor.size, f"{counts[c]} ratings a user, {KINDS[k]}")
        size = np.sqrt(FACTORS / 2) * (KINDS[k] == "two factors")
        truth = 3 + np.sqrt(BIASES) * np.add.outer(rng.standard_normal(users), rng.standard_normal(items))
        truth += size * rng.standard_normal((users, 2)) @ rng.standard_normal((2, items))
        seen = rng.random(truth.shape) < counts[c] / items
        pairs = np.argwhere(seen)
        ratings = truth[seen] + np.sqrt(NOISE) * rng.standard_normal(len(pairs))
        model = RatingPredictor(clip=False, random_state=draw).fit(pairs, ratings)
        asked = np.argwhere(~seen)
        asked = asked[rng.permutation(len(asked))[:10_000]]
        wanted = truth[tuple(asked.T)]
        predictor[k, c, draw] = np.mean((model.predict(asked) - wanted) ** 2)
        i, j = model.codes(asked)
        effects = [np.append(effect, 0) for effect in (model.user_effects_, model.item_effects_)]
        biases[k, c, draw] = np.mean((model.mean_ + effects[0][i] + effects[1][j] - wanted) ** 2)
    axes = ("kind", "ratings", "draw")
    return xr.Dataset(
        {"predictor": (axes, predictor), "biases": (axes, biases)},
        coords={"kind": list(KINDS), "ratings": list(counts)},
        attrs={
            "data": f"{users} users, {items} items; each pair is rated by chance, so many a user on "
            "average; 3 + biases of users and items + product of two factors + noise, all Gaussian",
            "variances": f"biases {BIASES:g} each, product {FACTORS:g} (or none), noise {NOISE:g}",
            "error": "mean square over 10,000 pairs without a rating, of the expected rating: the noise is left out",
            "draws": f"{draws} tables each",
        },
    )


def _ratio(kind: str) -> Callable[[xr.Dataset], float]:
    """Largest root of the error over that of the biases, mean over the draws, over all numbers of ratings."""

    def of(data: xr.Dataset) -> float:
        some = data.sel(kind=kind).mean("draw", skipna=False)
        return float((some["predictor"] / some["biases"]).max(skipna=False)) ** 0.5

    return of


def _found(data: xr.Dataset) -> float:
    """The share of the variance of the factors' product that is explained, at many ratings a user."""
    some = data.sel(kind="two factors", ratings=MANY).mean("draw", skipna=False)
    return float((some["biases"] - some["predictor"]) / FACTORS)


def _plot(data: xr.Dataset) -> dict[str, Figure]:
    with plotting.figure(
        1,
        2,
        width=12.0,
        height=5.2,
        sharey=True,
        caption="Error of the expected rating against the number of ratings a user. Left: tables with two factors "
        "beside the biases. Right: tables of biases alone, in which there is nothing to find.",
    ) as (made, axes):
        for ax, kind in zip(axes, data["kind"].values.tolist(), strict=True):
            for name, label, color, line in (
                ("biases", "user and item biases", "muted", "s--"),
                ("predictor", "RatingPredictor", "gradient flow", "o-"),
            ):
                mean = np.sqrt(data[name].sel(kind=kind).mean("draw"))
                ax.plot(data["ratings"], mean, line, color=plotting.color_of(color), label=label)
            ax.set(title=kind, xlabel="ratings a user, on average", xscale="log")
            ax.set_xticks(data["ratings"].values, [str(n) for n in data["ratings"].values])
            ax.minorticks_off()
        axes[0].set_ylabel("error of the expected rating")
        axes[0].set_ylim(bottom=0)
        axes[0].legend(loc="lower left")
    return {"error": made}


EXAMPLE = """
import numpy as np
import undertow as ut

rng = np.random.default_rng(0)
truth = 3 + 0.5 * np.add.outer(rng.standard_normal(200), rng.standard_normal(100))
truth += 0.5 * rng.standard_normal((200, 2)) @ rng.standard_normal((2, 100))
for count in (4, 32):
    pairs = np.argwhere(rng.random(truth.shape) < count / 100)
    ratings = truth[tuple(pairs.T)] + 0.6 * rng.standard_normal(len(pairs))
    errors = ut.estimators.rating_errors(ut.estimators.RatingPredictor(), *pairs.T, ratings)
    print(f"{count} ratings a user: biases {errors.biases:.2f}, predictor {errors.predictor:.2f}")
# 4 ratings a user: biases 1.04, predictor 1.04
# 32 ratings a user: biases 0.94, predictor 0.67
"""

study = Study(
    id="factors-from-few-ratings",
    chapter="data",
    title="How many ratings a user until factors are found",
    source="this project; the method: Y. J. Lim, Y. W. Teh, Variational Bayesian approach to movie rating prediction, "
    "KDD Cup and Workshop 2007",
    claim="With 32 ratings a user RatingPredictor explains at least three quarters of what two factors add to the "
    "biases; with fewer it falls back on these, and is at no number of ratings worse than they are, nor where there "
    "are no factors to find.",
    standing="our own",
    run=_run,
    checks=(
        # Were the items' factors known, 32 ratings would leave noise / (noise + 32 x 0.5 / 2) = 5% of a user's.
        AtLeast(f"share of the factors' variance explained at {MANY} ratings a user", _found, bound=0.75),
        # One hundredth is what chance on the held-out ratings, by which it is chosen what is kept, may cost.
        AtMost("two factors: error over that of the biases, worst number of ratings", _ratio("two factors"), 1.01),
        AtMost("biases alone: error over that of the biases, worst number of ratings", _ratio("biases alone"), 1.01),
    ),
    plot=_plot,
    example=EXAMPLE,
    note="Bounds were set before the first run. With one table of each kind in the smoke run, where now there are "
    "five, one of three keys was 4% above the biases, on a table that has no factors: chance on the held-out ratings. "
    "The quick run took three then, and takes eight.",
)
