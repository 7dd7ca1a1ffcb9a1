"""The margin's growth beside the test error on real data: the widest margin is not the best."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from sklearn.datasets import load_breast_cancer

from ... import plotting
from ...dynamics import GradientFlow, Stop
from ...parameterizations import Identity
from ...problems import Classification
from ...sweeps import sweep
from ...theory import maximum_margin
from ...training import LogTimes, train
from .._base import AtLeast, AtMost, Budget, Study
from .._shared import W, generator

SPLITS = {"smoke": 8, "quick": 40, "full": 400}
TRAINING = 200
LOG_TIMES = np.arange(0.0, 41.0)


def _run(budget: Budget, key: jax.Array, progress: Callable[[float, str], None]) -> xr.Dataset:
    X, y = map(np.asarray, load_breast_cancer(return_X_y=True))
    labels = 2 * y - 1
    rng = generator(key)
    orders = [rng.permutation(len(y)) for _ in range(SPLITS[budget])]
    with jax.enable_x64(True):
        progress(0.0, "are the points separable?")
        problems, points = [], []
        for order in orders:
            seen = order[:TRAINING]
            scaled = (X - X[seen].mean(axis=0)) / X[seen].std(axis=0) / np.sqrt(X.shape[1])
            problem = Classification(scaled[seen], labels[seen], "logistic", intercept=True)
            if problem.separation == "complete":
                problems.append(problem)
                points.append((np.column_stack([scaled, np.ones(len(y))])[order[TRAINING:]], labels[order[TRAINING:]]))
        progress(0.2, "gradient flow")
        w = _paths(problems)
        progress(0.8, "maximum margins")
        widest = np.array([maximum_margin(problem) for problem in problems])
        margins = np.array(
            [[np.min(p.margins(jnp.asarray(v))) for v in path] for p, path in zip(problems, w, strict=True)]
        )
    norms = np.linalg.norm(w, axis=-1)
    errors = [[_error(v, *held_out) for v in path] for path, held_out in zip(w, points, strict=True)]
    return xr.Dataset(
        {
            "margin": (("split", "log_time"), margins / np.where(norms > 0, norms, 1)),
            "error": (("split", "log_time"), np.array(errors)),
            "widest_margin": ("split", 1 / np.linalg.norm(widest, axis=-1)),
            "widest_error": ("split", [_error(v, *held_out) for v, held_out in zip(widest, points, strict=True)]),
        },
        coords={"log_time": LOG_TIMES},
        attrs={
            "data": f"breast cancer (Wisconsin), 30 features, standardized; {TRAINING} of 569 rows to train, the "
            "others to test",
            "splits": f"{SPLITS[budget]} drawn, {len(problems)} of them separable",
            "problem": "logistic loss with an intercept, which counts in the norm",
            "flow": "stabilized solver, relative tolerance 1e-6, in log time from zero",
            "precision": "float64",
        },
    )


def _paths(problems: list[Classification]) -> np.ndarray:
    """Where gradient flow from zero is at the log times, split by split."""
    phi = Identity(problems[0].shape)
    found = sweep(
        lambda split: train(
            problems[split],
            phi,
            GradientFlow("stabilized"),
            params=jnp.zeros(phi.shape),
            stop=Stop(loss=None, log_time=LOG_TIMES[-1]),
            samples=LogTimes(LOG_TIMES[:-1]),
            probes=[W],
        ),
        over={"split": range(len(problems))},
        side_by_side=1,  # together all would take as many stages as the stiffest of them: three times the work
    )
    # The start comes first: at time zero, of which there is no logarithm.
    return found["w"].transpose("split", "sample", ...).values[:, 1:]


def _error(w: np.ndarray, X: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean(labels * (X @ w) <= 0))


def _excess(data: xr.Dataset) -> np.ndarray:
    """By how much the error of the widest margin is above that of an early stop, on one half of the splits.

    When to stop is learned on the other half.
    """
    when = data["error"][::2].mean("split").argmin("log_time")
    return (data["widest_error"] - data["error"].isel(log_time=int(when)))[1::2].values


def _in_standard_errors(excess: np.ndarray) -> float:
    return float(excess.mean() / (excess.std(ddof=1) / np.sqrt(len(excess))))


def _ratio(data: xr.Dataset) -> xr.DataArray:
    return data["margin"] / data["widest_margin"]


def _plot(data: xr.Dataset) -> dict[str, Figure]:
    with plotting.figure(
        columns=2,
        width=11,
        height=5.4,
        caption="Gradient flow of the logistic loss over log time; mean over the splits, and the middle 80% of them. "
        "Left: the margin, as a share of the widest there is, grows all the way. Right: the error on the rows that "
        "training does not see is lowest early. Dashed: that of the widest margin.",
    ) as (made, (left, right)):
        for ax, values, color in (
            (left, _ratio(data), plotting.color_of("train")),
            (right, data["error"], plotting.color_of("test")),
        ):
            low, high = values.quantile([0.1, 0.9], "split")
            ax.fill_between(data["log_time"], low, high, color=color, alpha=0.2, linewidth=0)
            ax.plot(data["log_time"], values.mean("split"), color=color)
        left.axhline(1, color=plotting.color_of("theory"), linestyle="--", linewidth=1.4)
        right.axhline(
            float(data["widest_error"].mean()), color=plotting.color_of("theory"), linestyle="--", linewidth=1.4
        )
        left.set(xlabel="log t", ylabel="margin over the widest", ylim=(-1, 1.1))
        right.set(xlabel="log t", ylabel="test error", ylim=(0, None))
    return {"margin-and-error": made}


EXAMPLE = """
import jax
import numpy as np
import sklearn.datasets
import undertow as ut

jax.config.update("jax_enable_x64", True)
X, y = sklearn.datasets.load_breast_cancer(return_X_y=True)
X = np.column_stack([(X - X[:200].mean(0)) / X[:200].std(0), np.ones(len(X))])
problem = ut.problems.Classification(X[:200], 2 * y[:200] - 1, "logistic")
print(f"some w classifies all: {problem.separation == 'complete'}")
# some w classifies all: True
widest, phi = ut.theory.maximum_margin(problem), ut.parameterizations.Identity(31)
for log_time in (2.0, 10.0, 40.0):
    stop = ut.Stop(loss=None, log_time=log_time)
    w = ut.train(problem, phi, ut.dynamics.GradientFlow(), params=np.zeros(31), stop=stop).w
    margin = problem.margins(w).min() / np.linalg.norm(w) * np.linalg.norm(widest)
    error = np.mean(np.sign(X[200:] @ w) != 2 * y[200:] - 1)
    print(f"log t = {log_time:2.0f}: {margin:5.2f} of the widest margin, test error {error:.3f}")
# log t =  2:  0.09 of the widest margin, test error 0.046
# log t = 10:  0.89 of the widest margin, test error 0.035
# log t = 40:  0.98 of the widest margin, test error 0.038
"""

study = Study(
    id="margin-and-test-error",
    chapter="margins",
    title="The widest margin is not the best",
    source="D. Soudry, E. Hoffer, M. Nacson, S. Gunasekar, N. Srebro, The Implicit Bias of Gradient Descent on "
    "Separable Data, JMLR 19, 2018 (Section 4 sees validation loss and error part ways); the data are W. Wolberg, O. "
    "Mangasarian, N. Street, W. Street, Breast Cancer Wisconsin (Diagnostic), 1995, as scikit-learn ships them",
    claim="On the breast-cancer data, training on for the margin does harm: the classifier of widest margin, to which "
    "gradient flow tends, makes more errors on unseen rows than the flow makes early.",
    standing="our own",
    run=_run,
    checks=(
        AtLeast(
            "log t = 40: margin over the widest, smallest of the splits",
            lambda data: float(_ratio(data)[:, -1].min(skipna=False)),
            bound=0.9,
        ),
        AtMost(
            "margin over the widest, largest of all (none is wider)",
            lambda data: float(_ratio(data).max(skipna=False)),
            bound=1 + 1e-6,
        ),
        AtLeast(
            "test error of the widest margin less that of an early stop, mean in standard errors",
            lambda data: _in_standard_errors(_excess(data)),
            bound=2.0,
        ),
    ),
    plot=_plot,
    example=EXAMPLE,
    note="When to stop early is learned on one half of the splits and judged on the other. The splits share their "
    "rows, so the standard error is that of drawing rows to train on, not of drawing new patients.",
)
