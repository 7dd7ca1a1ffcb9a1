"""Gradient flow of small networks beside diffrax as one would call it: smooth units, and units with a kink."""

import itertools
import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

import undertow as ut

from ._base import Benchmark, Clock, Outcome, Scope, timed

UNITS: dict[str, Callable] = {"gelu": jax.nn.gelu, "softplus": jax.nn.softplus, "relu": jax.nn.relu}
SIZES = (5, 32, 32, 1)
POINTS = 64
TIME = 100.0
RTOL = 1e-5
"""Both take an absolute tolerance of a thousandth of it times the size of the start."""
REPEATS = 3
LIMIT = 2_000_000
"""Steps after which a solver has failed."""

Layers = list[tuple[jax.Array, jax.Array]]


def outputs(unit: Callable, X: jax.Array, layers: Layers) -> jax.Array:
    """What the network makes of the points."""
    for A, b in layers[:-1]:
        X = unit(X @ A + b)
    A, b = layers[-1]
    return (X @ A + b)[:, 0]


def draw(seed: int, sizes: tuple[int, ...], points: int) -> tuple[jax.Array, jax.Array, Layers]:
    """Points, the values of a wave there, and the weights to start from (He's)."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(points, sizes[0]))
    y = np.sin(2 * X[:, 0]) + X[:, 1] * X[:, 2]
    pairs = itertools.pairwise(sizes)
    layers = [(jnp.asarray(rng.normal(size=(m, n)) * (2 / m) ** 0.5), jnp.zeros(n)) for m, n in pairs]
    return jnp.asarray(X), jnp.asarray(y), layers


def size_of(layers: Layers) -> float:
    """The root mean square of the parameters."""
    flat = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(layers)])
    return float(np.sqrt(np.mean(flat**2)))


@partial(jax.jit, static_argnames="name")
def plain(name: str, X: jax.Array, y: jax.Array, layers: Layers, rtol: Any, atol: Any, time: Any) -> Any:
    """The flow to a time by Tsitouras' method, as the documentation of diffrax has it."""

    def velocity(t: Any, layers: Layers, args: Any) -> Layers:
        del t, args
        gradient = jax.grad(lambda layers: jnp.mean((outputs(UNITS[name], X, layers) - y) ** 2))(layers)
        return jax.tree.map(jnp.negative, gradient)

    return diffrax.diffeqsolve(
        diffrax.ODETerm(velocity),
        diffrax.Tsit5(),
        t0=0.0,
        t1=time,
        dt0=None,
        y0=layers,
        stepsize_controller=diffrax.PIDController(rtol=rtol, atol=atol),
        max_steps=LIMIT,
        adjoint=diffrax.ForwardMode(),
        throw=False,
    )


def compare(name: str, seed: int, time: float) -> list[dict[str, Any]]:
    """Undertow and diffrax from one start, and how far their ends are apart."""
    X, y, layers = draw(seed, SIZES, POINTS)
    atol = RTOL / 1000 * size_of(layers)
    phi = ut.parameterizations.Function(partial(outputs, UNITS[name], X), shape=POINTS)
    problem = ut.problems.LeastSquares(jnp.eye(POINTS), y, normalization="mean")
    stop = ut.Stop(loss=None, time=time, steps=LIMIT)

    def flow() -> tuple[np.ndarray, Any]:
        run = ut.train(problem, phi, ut.dynamics.GradientFlow(rtol=RTOL), params=layers, stop=stop, samples=2)
        return np.asarray(run.w), run

    flow()  # compiles
    w, run, spent = _least(flow)
    rows = [
        {"solver": "undertow", "ended": run.status == "stopped", "steps": int(run.steps[-1])}
        | {"gradients": run.gradient_evaluations}
        | spent
    ]
    arguments = (name, X, y, layers, RTOL, atol, time)
    jax.block_until_ready(plain(*arguments))
    solved, spent = _least(lambda: (jax.block_until_ready(plain(*arguments)),))
    end = outputs(UNITS[name], X, jax.tree.map(lambda leaf: leaf[-1], solved.ys))
    ended = bool(solved.result == diffrax.RESULTS.successful)
    steps = int(solved.stats["num_steps"])
    rows.append({"solver": "tsit5", "ended": ended, "steps": steps} | spent)
    apart = float(np.linalg.norm(w - np.asarray(end)) / np.linalg.norm(w))
    return [{"units": name, "seed": seed, "apart": apart} | row for row in rows]


def _least(call: Callable[[], tuple[Any, ...]]) -> tuple[Any, ...]:
    """What a call gives, and the least seconds of several."""
    clocks: list[Clock] = []
    found: tuple[Any, ...] = ()
    for _ in range(REPEATS):
        with timed() as clock:
            found = call()
        clocks.append(clock)
    seconds = min(clock.seconds for clock in clocks)
    return *found, {"seconds": seconds, "processor": min(clock.processor_seconds for clock in clocks)}


def run(scope: Scope) -> Outcome:
    """All units and draws, in double precision."""
    time = 1.0 if scope.quick else TIME
    runs: list[dict[str, Any]] = []
    with jax.enable_x64(True):
        for name in UNITS:
            scope.report(name)
            runs += [row for seed in range(scope.seeds) for row in compare(name, seed, time)]
    settings = {"network": SIZES, "points": POINTS, "time": time, "rtol": RTOL}
    summary = [_summary(name, [row for row in runs if row["units"] == name]) for name in UNITS]
    notes = (
        "Mean-square loss, one time for all; seconds without compilation (least of three); medians over the draws.",
        "Apart: the outputs at the end, relative; worst draw.",
    )
    return Outcome(settings, runs, summary, COLUMNS, notes)


def _summary(name: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    row: dict[str, Any] = {"units": name}
    for solver in dict.fromkeys(r["solver"] for r in runs):
        mine = [r for r in runs if r["solver"] == solver and r["ended"]]
        if mine:
            row[solver] = {field: statistics.median(r[field] for r in mine) for field in ("steps", "seconds")}
    row["apart"] = max(r["apart"] for r in runs)
    pairs = [[r for r in runs if r["seed"] == seed] for seed in {r["seed"] for r in runs}]
    row["ratios"] = sorted(pair[1]["processor"] / pair[0]["processor"] for pair in pairs)
    return row


def _cell(solver: str) -> Callable[[dict[str, Any]], str]:
    def cell(row: dict[str, Any]) -> str:
        if solver not in row:
            return "-"
        return f"{row[solver]['steps']:,.0f}; {row[solver]['seconds']:.2f} s"

    return cell


COLUMNS = {
    "units": lambda row: row["units"],
    "undertow: steps; seconds": _cell("undertow"),
    "diffrax, Tsit5": _cell("tsit5"),
    "apart": lambda row: f"{row['apart']:.0e}",
    "times faster (draws, processor time)": lambda row: ", ".join(f"{ratio:.1f}" for ratio in row["ratios"]),
}


network_flows = Benchmark(
    name="network-flows",
    title="Gradient flow of small networks beside plain diffrax",
    packages=(),
    run=run,
)
