"""A training step of the paper's network for MNIST: undertow's, JAX's with native convolutions, and PyTorch's."""

import statistics
from collections.abc import Callable
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import optax

import undertow as ut
from undertow.dynamics._batches import Batches

from ._base import Benchmark, Outcome, Scope, timed

BATCH, RATE, CODE, LAYERS = 32, 1e-4, 128, 8
IMAGES = 128
ROUNDS = 3
# Steps of a short and of a long run, the difference of whose times is that of steps alone; of native convolutions.
FULL, QUICK = (8, 72, 8), (2, 4, 2)

Setting = tuple[Any, Any, np.ndarray]
"""The parameterization, its start, and the batch of every step."""


def draw(seed: int, steps: int) -> Setting:
    """Smooth random images, which are as much work as any, the start, and the batches that the key of the run draws."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(size=(IMAGES, 8, 8)).astype(np.float32)
    images = np.kron(coarse, np.ones((1, 4, 4), np.float32))
    phi = ut.networks.IRMAE(ut.networks.MNIST32(CODE), jnp.asarray(images), LAYERS)
    batches, key = Batches(BATCH, IMAGES, replacement=False), jax.random.fold_in(jax.random.key(seed), 1)
    orders = [batches.order(key, jnp.asarray(epoch)) for epoch in range(-(-steps // batches.per_epoch))]
    chosen = np.concatenate([np.asarray(order) for order in orders]).reshape(-1, BATCH)[:steps]
    return phi, phi.init(jax.random.key(seed), 1.0), chosen


def by_undertow(setting: Setting, seed: int, steps: tuple[int, int, int]) -> tuple[float, float]:
    """Seconds of a step, the least of some rounds, and the loss of all images after the long run."""
    phi, start, _ = setting
    problem = ut.problems.Reconstruction(phi.X)

    def run(steps: int) -> Any:
        descent = ut.dynamics.GradientDescent(ut.optimizers.make("adam", RATE), batch_size=BATCH)
        stop = ut.Stop(loss=None, steps=steps)
        return ut.train(problem, phi, descent, params=start, key=seed, stop=stop, samples=2)

    run(1)  # compiles
    seconds: dict[int, list[float]] = {count: [] for count in steps[:2]}
    found = None
    for count in steps[:2] * ROUNDS:
        with timed() as clock:
            found = run(count)
        seconds[count].append(clock.seconds)
    assert found is not None
    short, long = (min(of) for of in seconds.values())
    return (long - short) / (steps[1] - steps[0]), float(found["loss"][-1])


def natively(setting: Setting, seed: int, steps: tuple[int, int, int]) -> tuple[float, float]:
    """The same network with XLA's own convolutions, in a loop as one would write it; too slow to be run to the end."""
    del seed
    phi, params, chosen = setting
    optimizer = optax.adam(RATE)
    state = optimizer.init(params)

    @jax.jit
    def step(params: Any, state: Any, rows: Any) -> Any:
        def loss(params: Any) -> Any:
            return jnp.mean((phi.entries(params, (rows,)) - phi.X[rows]) ** 2)

        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    seconds = []
    with mock.patch("undertow.networks._convolution.by_platform", lambda patches, native, *args: native(*args)):
        for rows in chosen[: steps[2] + 1]:
            with timed() as clock:
                params, state = jax.block_until_ready(step(params, state, jnp.asarray(rows)))
            seconds.append(clock.seconds)
    return min(seconds[1:]), float("nan")


def by_torch(setting: Setting, seed: int, steps: tuple[int, int, int]) -> tuple[float, float]:
    """The same in PyTorch: the same start, the same batches; seconds as the mean over the best round of steps."""
    import torch

    del seed
    phi, params, chosen = setting
    images = torch.tensor(np.asarray(phi.X))[:, None]
    network = _in_torch(phi, params)
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
    seconds = []
    for rows in chosen[: steps[1]]:
        x = images[torch.tensor(rows).long()]
        with timed() as clock:
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(network(x), x).backward()
            optimizer.step()
        seconds.append(clock.seconds)
    with torch.no_grad():
        loss = float(torch.nn.functional.mse_loss(network(images), images))
    rounds = np.array_split(np.array(seconds[steps[0] :]), ROUNDS)
    return float(min(of.mean() for of in rounds)), loss


def _in_torch(phi: Any, params: Any) -> Any:
    """The network with these weights: channels come first there, and kernels last."""
    from torch import nn

    encoder, decoder = (phi.network(params, name).layers for name in ("encoder", "decoder"))
    convolutions = [x for x in encoder if isinstance(x, ut.networks.Convolution)]
    transposed = [x for x in decoder if isinstance(x, ut.networks.TransposedConvolution)]
    to_code, from_code = encoder[-1], decoder[0]
    layers: list[Any] = []
    for layer in convolutions:
        inputs, outputs = layer.weight.shape[2:]
        layers += [_filled(nn.Conv2d(inputs, outputs, 4, 2, 1), layer.weight.transpose(3, 2, 0, 1), layer.bias)]
        layers += [nn.ReLU()]
    columns = to_code.weight.reshape(CODE, 2, 2, 256).transpose(0, 3, 1, 2).reshape(CODE, 1024)
    layers += [nn.Flatten(), _filled(nn.Linear(1024, CODE), columns, to_code.bias)]
    layers += [_filled(nn.Linear(CODE, CODE, bias=False), matrix) for matrix in params.linear]
    rows = from_code.weight.reshape(8, 8, 128, CODE).transpose(2, 0, 1, 3).reshape(8192, CODE)
    bias = from_code.bias.reshape(8, 8, 128).transpose(2, 0, 1).ravel()
    layers += [_filled(nn.Linear(CODE, 8192), rows, bias), nn.Unflatten(1, (128, 8, 8))]
    for layer in transposed:
        kernel, _, inputs, outputs = layer.weight.shape
        made = nn.ConvTranspose2d(inputs, outputs, kernel, layer.stride, layer.padding)
        layers += [nn.ReLU(), _filled(made, layer.weight.transpose(2, 3, 0, 1), layer.bias)]
    return nn.Sequential(*layers, nn.Tanh())


def _filled(layer: Any, weight: Any, bias: Any = None) -> Any:
    import torch

    with torch.no_grad():
        layer.weight.copy_(torch.tensor(np.asarray(weight)))
        if bias is not None:
            layer.bias.copy_(torch.tensor(np.asarray(bias)))
    return layer


WAYS: dict[str, Callable[[Setting, int, tuple[int, int, int]], tuple[float, float]]] = {
    "undertow": by_undertow,
    "JAX, native convolutions": natively,
    "PyTorch": by_torch,
}


def run(scope: Scope) -> Outcome:
    """Draw by draw, one way after the other; those that run to the end have to end at one loss."""
    steps, runs = QUICK if scope.quick else FULL, []
    for seed in range(scope.seeds):
        setting = draw(seed, steps[1])
        result: dict[str, Any] = {"seed": seed}
        losses = {}
        for name, way in WAYS.items():
            scope.report(f"draw {seed}, {name}")
            result[name], losses[name] = way(setting, seed, steps)
        if abs(losses["undertow"] / losses["PyTorch"] - 1) > 1e-3:
            raise RuntimeError(f"nothing to compare: the losses after {steps[1]} steps are {losses}")
        runs.append(result | {"loss": losses["undertow"], "loss of PyTorch": losses["PyTorch"]})
    summary = [{name: statistics.median(result[name] for result in runs) for name in (*WAYS, "loss")}]
    settings = {"batch": BATCH, "rate": RATE, "code": CODE, "layers": LAYERS, "steps": steps[1], "images": IMAGES}
    return Outcome(
        settings | {"precision": "float32", "device": jax.default_backend()}, runs, summary, COLUMNS, (NOTE,)
    )


NOTE = "Milliseconds of a step of Adam on 32 images: best rounds, medians over draws; both end at the same loss."
COLUMNS = {
    **{name: lambda row, name=name: f"{1e3 * row[name]:.3g}" for name in WAYS},
    "undertow / PyTorch": lambda row: f"{row['undertow'] / row['PyTorch']:.2f}",
    "loss": lambda row: f"{row['loss']:.4g}",
}

autoencoder_step = Benchmark(
    name="autoencoder-step",
    title="A training step of the rank-minimizing autoencoder for MNIST, by patches, natively and in PyTorch",
    packages=("torch",),
    run=run,
)
