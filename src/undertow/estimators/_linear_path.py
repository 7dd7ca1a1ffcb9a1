"""Networks with a linear path beside their layers, so that principal components are among what they can write."""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..networks import MNIST32, Architecture, Autoencoder, Color64, Dense, Shapes32, Weights
from ..networks._autoencoder import draw_pair, without_arrays
from ..networks._linear import draw_matrices, through
from ..networks._pieces import dtype_of
from ..problems._chunked_rows import Rows

SIZES = "28 x 28, 32 x 32, 32 x 32 x 3 and 64 x 64 x 3"
"""Of images that there are convolutional networks for."""
MARGIN = 2
"""Pixels that make 32 x 32 of 28 x 28."""


class TwoPaths(eqx.Module):
    """The sum of a linear map, with bias, and of layers."""

    linear: eqx.nn.Linear
    layers: Any
    shape: tuple[int, ...] = eqx.field(static=True)

    def __call__(self, x: Array, share: Any = None) -> Array:
        straight = self.linear(jnp.ravel(x)).reshape(self.shape)
        return (straight if share is None else share * straight) + self.layers(x).reshape(self.shape)


class WithLinearPath(Architecture):
    """Dense or convolutional networks, each with a linear map beside its layers.

    Parameters
    ----------
    shape
        Of a row: (p,), or (height, width, channels).
    code_size
        Numbers in a code.
    hidden
        Sizes of dense layers; None: the papers' convolutions for images of this shape.
    """

    shape: tuple[int, ...] = eqx.field(static=True)
    code_size: int = eqx.field(static=True)
    hidden: tuple[int, ...] | None = eqx.field(static=True)
    output: str = eqx.field(static=True, default="identity")

    @property
    def layers(self) -> Architecture:
        """What is beside the linear maps."""
        if self.hidden is not None:
            return Dense(self.shape, self.code_size, self.hidden)
        architecture = convolutional(self.shape)
        assert architecture is not None  # as fit sees to
        return architecture(self.code_size, output="identity")

    @property
    def _margin(self) -> int:
        return MARGIN if self.hidden is None and self.shape[0] == 28 else 0

    def encoder(self, outputs: int, key: Array) -> Any:
        keys = jax.random.split(key)
        linear = eqx.nn.Linear(math.prod(self.shape), outputs, key=keys[0])
        layers = self.layers.encoder(outputs, keys[1])
        if margin := self._margin:
            padding = eqx.nn.Lambda(lambda x: jnp.pad(x, [(margin, margin)] * 2 + [(0, 0)]))
            layers = eqx.nn.Sequential([padding, *layers.layers])
        return TwoPaths(linear, layers, (outputs,))

    def decoder(self, key: Array) -> Any:
        keys = jax.random.split(key)
        linear = eqx.nn.Linear(self.code_size, math.prod(self.shape), key=keys[0])
        layers = self.layers.decoder(keys[1])
        if margin := self._margin:
            cut = eqx.nn.Lambda(lambda x: x[margin:-margin, margin:-margin])
            layers = eqx.nn.Sequential([*layers.layers, cut])
        return TwoPaths(linear, layers, self.shape)


def convolutional(shape: tuple[int, ...]) -> Any:
    """The papers' architecture for images of this shape; None if there is none."""
    if shape in ((28, 28, 1), (32, 32, 1)):
        return MNIST32
    by_shape: dict[tuple[int, ...], Any] = {(32, 32, 3): Shapes32, (64, 64, 3): Color64}
    return by_shape.get(shape)


class Bottleneck(Autoencoder):
    r"""The rank-minimizing autoencoder, with codes in a subspace, :math:`z = P W_l \cdots W_1 E(x)`, if so wanted.

    P = I and a ``share`` of 0 of the linear paths: the autoencoder itself. With P a projection, one of fewer dimensions
    and of the same shapes, so that both share a compiled program, whatever the rank.
    """

    shape: tuple[int, ...] = eqx.field(static=True)
    architecture: WithLinearPath
    X: Rows
    networks: Weights
    layers: int = eqx.field(static=True)
    initialization: str = eqx.field(static=True)
    P: Float[Array, "n n"]
    share: Float[Array, ""]

    def __init__(self, architecture: WithLinearPath, X: Rows, layers: int, initialization: str):
        self.architecture, self.X, self.shape = architecture, X, X.shape  # pyright: ignore[reportIncompatibleVariableOverride] - never replaced
        self.layers, self.initialization = layers, initialization
        size, dtype = architecture.code_size, jnp.result_type(float)
        self.P, self.share = jnp.eye(size, dtype=dtype), jnp.zeros((), dtype)
        self.networks = without_arrays(self.draw)

    def draw(self, key: Array) -> Weights:
        of_encoder, of_decoder, of_linear = jax.random.split(key, 3)
        size = self.architecture.code_size
        return Weights(
            self.architecture.encoder(size, of_encoder),
            self.architecture.decoder(of_decoder),
            draw_matrices(of_linear, size, self.layers, self.initialization),
        )

    def code_of(self, params: Weights, row: Array) -> Float[Array, " n"]:
        return self.P @ through(params.linear, self.features_of(params, row), "free")

    def features_of(self, params: Weights, row: Array) -> Float[Array, " n"]:
        encoder: Any = self.network(params, "encoder")
        return encoder(row, self.share)

    def row_of(self, params: Weights, code: Float[Array, " n"]) -> Array:
        decoder: Any = self.network(params, "decoder")
        return decoder(code, self.share).reshape(self.shape[1:])

    def of_rank(self, rank: int) -> "Bottleneck":
        """The same with so many numbers in a code, the others being 0, and with linear paths."""
        values = jnp.diag((jnp.arange(len(self.P)) < rank).astype(self.P.dtype)), jnp.ones_like(self.share)
        return eqx.tree_at(lambda phi: (phi.P, phi.share), self, values)


def without_linear_paths(weights: Weights) -> Weights:
    """Weights of the linear paths that give 0, as a share of 0 does."""
    where = lambda w: [w.encoder.linear, w.decoder.linear]  # noqa: E731
    return eqx.tree_at(where, weights, [jax.tree.map(jnp.zeros_like, linear) for linear in where(weights)])


def principal_start(drawn: Weights, components: np.ndarray, mean: np.ndarray) -> Weights:
    """Weights at which these principal components are reconstructed: by the linear paths, all layers giving 0.

    Parameters
    ----------
    drawn
        Weights as drawn; all of their layers but the last keep them.
    components
        Orthonormal, one a row.
    mean
        What is taken off before, and added behind.
    """
    rank, dtype = len(components), dtype_of(drawn)
    size = drawn.encoder.linear.bias.shape[0]
    into = np.zeros((size, components.shape[1]))
    into[:rank] = components

    def set_linear(paths: Any, weight: np.ndarray, bias: np.ndarray) -> Any:
        values = jnp.asarray(weight, dtype), jnp.asarray(bias, dtype)
        paths = eqx.tree_at(lambda p: (p.linear.weight, p.linear.bias), paths, values)
        position = max(i for i, layer in enumerate(paths.layers.layers) if getattr(layer, "weight", None) is not None)
        last = lambda p: (p.layers.layers[position].weight, p.layers.layers[position].bias)  # noqa: E731
        return eqx.tree_at(last, paths, tuple(jnp.zeros_like(x) for x in last(paths)))

    return Weights(
        set_linear(drawn.encoder, into, -into @ mean),
        set_linear(drawn.decoder, into.T, mean),
        tuple(jnp.eye(size, dtype=dtype) for _ in drawn.linear),
    )


def by_name(weights: Any) -> dict[str, np.ndarray]:
    """The arrays of networks, by their places, in the order of the tree."""
    leaves = jax.tree_util.tree_flatten_with_path(weights)[0]
    return {jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(x) for path, x in leaves}


def from_names(architecture: Architecture, arrays: dict[str, np.ndarray]) -> Weights:
    """The weights of encoder and decoder whose arrays these are."""
    drawn = eqx.filter_eval_shape(lambda key: draw_pair(architecture, architecture.code_size, key), jax.random.key(0))
    places, structure = jax.tree_util.tree_flatten_with_path(eqx.filter(drawn, lambda x: hasattr(x, "dtype")))
    names = [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in places]
    return jax.tree.unflatten(structure, [jnp.asarray(arrays[name]) for name in names])
