"""The central flow of a small network through the edge of stability, beside the authors' JAX code.

The other side is the package ``central_flows_jax`` by an author of the paper, under that name on GitHub, with cvxpy and
cvxopt, which it needs: none comes with Undertow, and what is not importable is not run. Put it on the path.
"""

import dataclasses
import importlib.util
import statistics
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import undertow as ut

from ._base import Benchmark, Outcome, Scope, timed

POINTS, INPUTS, WIDTH = 128, 8, 16
DIRECTIONS, SUBSTEPS = 6, 4
THEIRS = "central_flows_jax"
NEEDED = (THEIRS, "cvxpy", "cvxopt")


@dataclasses.dataclass(frozen=True)
class Setting:
    """Where the run is, and steps of what size and how many."""

    name: str
    rate: float
    steps: int


FULL = (Setting("below the edge", 0.1, 100), Setting("one direction", 0.3, 60), Setting("several", 0.3, 200))
QUICK = (Setting("several", 0.3, 50),)


class Network:
    """Two hidden layers of tanh at Gaussian points with Gaussian labels; mean square error. All parameters flat."""

    def __init__(self, seed: int):
        rng = np.random.default_rng(seed)
        self.x, self.y = rng.standard_normal((POINTS, INPUTS)), rng.standard_normal(POINTS)
        self.shapes = ((INPUTS, WIDTH), (WIDTH, WIDTH), (WIDTH, 1))
        parts = [(rng.standard_normal(shape) / np.sqrt(shape[0]), np.zeros(shape[1])) for shape in self.shapes]
        self.start = jnp.asarray(np.concatenate([part.ravel() for layer in parts for part in layer]))

    def outputs(self, params: Any) -> Any:
        """The values at all points."""
        x, at = jnp.asarray(self.x), 0
        for i, (rows, columns) in enumerate(self.shapes):
            weights = params[at : at + rows * columns].reshape(rows, columns)
            at += rows * columns
            x = x @ weights + params[at : at + columns][None]
            at += columns
            x = jnp.tanh(x) if i + 1 < len(self.shapes) else x
        return x[:, 0]

    def loss(self, params: Any) -> Any:
        """Mean square."""
        return jnp.mean((self.outputs(params) - self.y) ** 2)


def in_undertow(network: Network, setting: Setting) -> tuple[np.ndarray, np.ndarray]:
    """Parameters and largest eigenvalues over the edge, after every step."""
    root = (2 / POINTS) ** 0.5
    trajectory = ut.train(
        ut.problems.PointTarget(root * network.y),
        ut.parameterizations.Function(lambda params: root * network.outputs(params), shape=POINTS),
        ut.dynamics.CentralFlow(ut.optimizers.make("gd", setting.rate), DIRECTIONS, SUBSTEPS),
        params=network.start,
        probes=[ut.probes.Function("position", lambda params: params, of="params")],
        stop=ut.Stop(loss=None, steps=setting.steps),
        samples=np.arange(setting.steps + 1),
    )
    return np.asarray(trajectory["position"][1:]), np.asarray(trajectory["stability"][1:])


def in_theirs(network: Network, setting: Setting) -> tuple[np.ndarray, np.ndarray]:
    """The same by their public functions, as their example calls them."""
    import central_flows_jax as theirs  # pyright: ignore[reportMissingImports]

    optimizer = theirs.GradientDescent(lr=setting.rate)
    state, flow = optimizer.init(network.start), theirs.Flow(network.loss, optimizer)
    near = jnp.asarray(np.random.default_rng(0).standard_normal((network.start.size, DIRECTIONS)))
    at, positions, values = (network.start, state, near), [], []
    for _ in range(setting.steps):
        at, told = flow.central(*at, substeps=SUBSTEPS)
        positions.append(at[0])
        values.append(told["eigs"] / 2)
    return np.stack(jax.device_get(positions)), np.stack(jax.device_get(values))


WAYS = {"undertow": in_undertow, THEIRS: in_theirs}


def run(scope: Scope) -> Outcome:
    """All of it in double precision, set for all threads: those of their callbacks do not see it otherwise."""
    before = jax.config.read("jax_enable_x64")
    jax.config.update("jax_enable_x64", True)
    try:
        return _run(scope)
    finally:
        jax.config.update("jax_enable_x64", before)


def _run(scope: Scope) -> Outcome:
    """Every setting and seed, one side after the other; each is compiled on a few steps before it is timed."""
    missing = [package for package in NEEDED if importlib.util.find_spec(package) is None]
    ways = {name: way for name, way in WAYS.items() if name != THEIRS or not missing}
    runs: list[dict[str, Any]] = []
    summary: list[dict[str, Any]] = []
    for setting in QUICK if scope.quick else FULL:
        found = []
        for seed in range(scope.seeds):
            network, result, paths = Network(seed), {"setting": setting.name, "seed": seed}, {}
            for name, way in ways.items():
                scope.report(f"{setting.name}, seed {seed}: {name}")
                with timed() as first:
                    way(network, dataclasses.replace(setting, steps=2))
                if name == "undertow":  # its program knows the number of samples
                    with timed() as first:
                        way(network, setting)
                with timed() as clock:
                    paths[name], values = way(network, setting)
                result[name] = {
                    "seconds": clock.seconds,
                    "processor_seconds": clock.processor_seconds,
                    "first_call_processor_seconds": first.processor_seconds,
                    "at_the_edge": int(np.max(np.sum(values > 1 - 1e-3, axis=1))),
                }
            if not missing:
                ours, theirs = paths["undertow"], paths[THEIRS]
                moved = np.linalg.norm(ours[-1] - network.start)
                result["apart"] = float(np.max(np.linalg.norm(ours - theirs, axis=1)) / moved)
            found.append(result)
        runs += found
        summary.append(_summary(setting, found, missing))
    settings = {
        "network": f"{INPUTS} inputs, two hidden layers of {WIDTH} tanh, {POINTS} Gaussian points and labels",
        "directions": DIRECTIONS,
        "substeps": SUBSTEPS,
        "precision": "float64",
        "rates and steps": {setting.name: [setting.rate, setting.steps] for setting in FULL},
    }
    notes = [NOTE] if not missing else [f"not run: {THEIRS}, for want of {', '.join(missing)}"]
    return Outcome(settings, runs, summary, COLUMNS, tuple(notes))


def _summary(setting: Setting, found: list[dict[str, Any]], missing: list[str]) -> dict[str, Any]:
    def median(name: str, field: str) -> float:
        return statistics.median(result[name][field] for result in found)

    row = dataclasses.asdict(setting) | {"at_the_edge": max(result["undertow"]["at_the_edge"] for result in found)}
    row["undertow"] = median("undertow", "processor_seconds")
    if missing:
        return row
    ratios = [
        [result[THEIRS][field] / result["undertow"][field] for result in found]
        for field in ("processor_seconds", "seconds")
    ]
    return row | {
        "theirs": median(THEIRS, "processor_seconds"),
        "ratio": statistics.median(ratios[0]),
        "ratio_of_seconds": statistics.median(ratios[1]),
        "apart": max(result["apart"] for result in found),
    }


NOTE = (
    "Processor seconds, programs compiled before. Apart: the largest distance of the parameters after the same step, "
    "over the way of the flow."
)
COLUMNS = {
    "": lambda row: row["name"],
    "rate": lambda row: f"{row['rate']:g}",
    "steps": lambda row: str(row["steps"]),
    "at the edge, at most": lambda row: str(row["at_the_edge"]),
    "undertow, s": lambda row: f"{row['undertow']:.2f}",
    "authors' code, s": lambda row: f"{row['theirs']:.1f}" if "theirs" in row else "not run",
    "ratio": lambda row: f"{row['ratio']:.1f}" if "ratio" in row else "",
    "ratio of wall time": lambda row: f"{row['ratio_of_seconds']:.1f}" if "ratio" in row else "",
    "apart": lambda row: f"{row['apart']:.1e}" if "apart" in row else "",
}

central_flow = Benchmark(
    name="central-flow",
    title="The central flow of a small network through the edge of stability, beside the authors' JAX code",
    packages=(),  # the authors' code is in no registry: where it is not on the path it is left out, and said so
    run=run,
)
