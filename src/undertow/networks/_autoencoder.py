"""Networks as parameterizations: w is what a network makes of a data set, row by row.

``Reconstruction`` is what they are trained for: rows of w near those of the data. It asks ``entries`` for the rows of
a mini-batch, so that everything that trains, watches, sweeps and resumes matrices does so for networks.
"""

import abc
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .._programs import filter_jit
from .._validation import Numbers
from ..linalg import axes_of
from ..parameterizations import Parameterization
from ..parameterizations._base import Indices, check_scale
from ..problems._chunked_rows import ChunkedRows, Rows, alike
from ..problems._reconstruction import as_rows, check_range, piece_of, rows_of
from ._architectures import OUTPUTS, Architecture
from ._linear import Matrices
from ._pieces import by_pieces, dtype_of, encode_rows


class Weights(NamedTuple):
    """The trained parameters of an autoencoder.

    Parameters
    ----------
    encoder, decoder
        The floating arrays of the networks, as ``equinox.partition`` leaves them.
    linear
        Square matrices between them, the first applied first; none but for ``IRMAE``.
    """

    encoder: Any
    decoder: Any
    linear: Matrices = ()


class Autoencoder(Parameterization):
    """A network that maps each row of a data set to a code, and the code to a row of w.

    Law: row i of ``self(params)`` is ``decode(params, encode(params, X[i : i + 1]))[0]``, whatever rows are asked for.
    """

    architecture: eqx.AbstractVar[Architecture]
    X: eqx.AbstractVar[Rows]
    networks: eqx.AbstractVar[Weights]  # all of them but the arrays

    @abc.abstractmethod
    def code_of(self, params: Weights, row: Array) -> Float[Array, " n"]:
        """The code of one row, of the architecture's shape."""

    def features_of(self, params: Weights, row: Array) -> Float[Array, " n"]:
        """What the encoder makes of one row, before anything follows."""
        return self.network(params, "encoder")(row)

    def network(self, params: Weights, name: str) -> Callable[[Array], Array]:
        """The encoder or the decoder with these weights: a module of equinox, for one row or one code."""
        return eqx.combine(getattr(params, name), getattr(self.networks, name))

    def row_of(self, params: Weights, code: Float[Array, " n"]) -> Array:
        """What is decoded from one code, of the shape of a row of the data."""
        return self.network(params, "decoder")(code).reshape(self.shape[1:])

    def rows(self, positions: Any, dtype: Any = None) -> Float[Array, "m ..."]:
        """Rows of the data as the encoder takes them."""
        return self.shaped(rows_of(self.X, positions, dtype))

    def shaped(self, rows: Array) -> Array:
        """Rows in the architecture's shape."""
        return rows.reshape(-1, *self.architecture.shape)

    def init(self, key: Array, scale: ArrayLike) -> Weights:
        """Weights as the architecture draws them, times ``scale``: 1 is the papers' start.

        For networks ``scale`` is no size of w, which the last layer may bound.
        """
        scale = jnp.asarray(check_scale(scale), dtype=jnp.result_type(float))
        drawn = eqx.filter(self.draw(key), eqx.is_inexact_array)
        return jax.tree.map(lambda x: scale * x, drawn)

    @abc.abstractmethod
    def draw(self, key: Array) -> Weights:
        """The networks with weights, as drawn."""

    def __call__(self, params: Weights) -> Float[Array, "..."]:
        return self.entries(params, (jnp.arange(self.shape[0], dtype=jnp.int32),))

    def entries(self, params: Weights, indices: Indices) -> Float[Array, "m ..."]:
        positions, *rest = axes_of(indices)

        def of(positions: Array) -> Array:
            rows = self.rows(positions, dtype_of(params))
            return jax.vmap(lambda row: self.row_of(params, self.code_of(params, row)))(rows)

        w = by_pieces(of, positions, piece_of(self.shape))
        return w[(jnp.arange(len(positions), dtype=jnp.int32), *rest)] if rest else w

    def lift(self, w: Numbers) -> Weights:
        raise NotImplementedError("lift: a network has no known inverse; give params by hand")

    def encode(self, params: Weights, X: Numbers | Rows) -> Float[Array, "m n"]:
        """The codes of rows, of the data or others: what is decoded, all linear layers included; of a VAE its means.

        Raises
        ------
        TypeError, ValueError
            If ``X`` is not finite, or its rows have another shape than the data.
        """
        return _encode(self, params, self.check_rows("X", X), "code_of")

    def features(self, params: Weights, X: Numbers | Rows) -> Float[Array, "m n"]:
        """What the encoder makes of rows, before linear layers, or before a mean and a variance are told apart.

        Raises
        ------
        TypeError, ValueError
            If ``X`` is not finite, or its rows have another shape than the data.
        """
        return _encode(self, params, self.check_rows("X", X), "features_of")

    def decode(self, params: Weights, codes: Numbers) -> Float[Array, "m ..."]:
        """Rows from codes.

        Raises
        ------
        TypeError, ValueError
            If ``codes`` are not finite, or of another size than the architecture's.
        """
        array = as_rows("codes", codes)
        if array.shape[1:] != (self.architecture.code_size,):
            raise ValueError(f"codes: expected rows of {self.architecture.code_size} numbers, found {array.shape}")
        return _decode(self, params, array)

    def reconstruct(self, params: Weights, X: Numbers | Rows) -> Float[Array, "m ..."]:
        """What the network makes of rows, of the data or others.

        Raises
        ------
        TypeError, ValueError
            If ``X`` is not finite, or its rows have another shape than the data.
        """
        return _decode(self, params, self.encode(params, X))

    def check_rows(self, name: str, X: Numbers | Rows) -> Rows:
        """Other data, if the network can take it."""
        array = as_rows(name, X)
        _check_row_shape(name, array, self.architecture)
        if array.shape[1:] != self.shape[1:]:
            raise ValueError(f"{name}: expected rows of shape {self.shape[1:]}, found {array.shape[1:]}")
        if (limits := OUTPUTS[self.architecture.output][1]) is not None:
            check_range(name, array, *limits)
        return array


class AE(Autoencoder):
    """An autoencoder: encoder and decoder, and nothing between.

    Parameters
    ----------
    architecture
        The networks: ``MNIST32``, ``Dense``, or others.
    X
        The data, rows of the architecture's shape (one channel may be left out); bytes stand for their 255th parts. An
        array of JAX's is shared, not copied; one on a disk is read chunk by chunk, as ``Reconstruction`` does. It is no
        part of what is trained.

    Raises
    ------
    TypeError, ValueError
        If ``architecture`` is none; if ``X`` is of another shape, has a single row, is the same in all rows, is not
        finite or outside of what the networks can give (from -1 to 1 for "tanh", 0 to 1 for "sigmoid"); if a code
        would be larger than a row; by ``lift`` always.

    Examples
    --------
    >>> import undertow as ut
    >>> X = ut.datasets.load_digits_matrix()[:100]
    >>> phi = ut.networks.AE(ut.networks.Dense(64, code_size=8, hidden=(32,)), X)
    >>> descent = ut.dynamics.GradientDescent(ut.optimizers.make("adam", 1e-3), batch_size=20)
    >>> stop = ut.Stop(loss=None, steps=200)
    >>> run = ut.train(ut.problems.Reconstruction(X), phi, descent, key=0, scale=1.0, stop=stop, samples=2)
    >>> bool(run["loss"][-1] < run["loss"][0] / 2), phi.encode(run.params, X).shape
    (True, (100, 8))
    """

    shape: tuple[int, ...] = eqx.field(static=True)
    architecture: Architecture
    X: Rows
    networks: Weights

    def __init__(self, architecture: Any, X: Numbers | Rows):
        self.architecture, self.X = check_data(architecture, X)
        self.shape = self.X.shape
        self.networks = without_arrays(self.draw)

    def draw(self, key: Array) -> Weights:
        return draw_pair(self.architecture, self.architecture.code_size, key)

    def code_of(self, params: Weights, row: Array) -> Float[Array, " n"]:
        return self.features_of(params, row)


def check_data(architecture: Any, X: Numbers | Rows) -> tuple[Architecture, Rows]:
    """Networks and the data to train them with, if they fit."""
    if not isinstance(architecture, Architecture):
        found = f"the class {architecture.__name__} itself: call it" if isinstance(architecture, type) else architecture
        raise TypeError(f"architecture: expected an undertow.networks.Architecture, found {found!r}")
    array = as_rows("X", X)
    _check_row_shape("X", array, architecture)
    size = math.prod(architecture.shape)
    if architecture.code_size > size:
        raise ValueError(
            f"code_size: expected at most {size}, as many numbers as a row has, found {architecture.code_size}"
        )
    if len(array) == 1:
        raise ValueError("X: expected two rows at least, found one")
    if (limits := OUTPUTS[architecture.output][1]) is not None:
        check_range("X", array, *limits)
    if alike(array):
        raise ValueError(f"X: expected rows that differ, found {len(array)} times the same")
    return architecture, array


def _check_row_shape(name: str, X: Rows, architecture: Architecture) -> None:
    shape, row = architecture.shape, X.shape[1:]
    if shape not in (row, (*row, 1)):
        small = len(row) >= 2 and len(shape) >= 2 and row[:2] == (28, 28) and shape[:2] == (32, 32)
        hint = "; undertow.datasets.pad_images adds a margin" if small else ""
        if X.shape in (shape, shape[:-1]):
            hint = "; a single one needs a first axis of length 1"
        raise ValueError(
            f"{name}: expected rows of shape {shape}, as {type(architecture).__name__} takes them, found {row}{hint}"
        )


def draw_pair(architecture: Architecture, outputs: int, key: Array) -> Weights:
    """Encoder and decoder; those of one key are the same, whatever is put between them."""
    of_encoder, of_decoder = jax.random.split(key)
    return Weights(architecture.encoder(outputs, of_encoder), architecture.decoder(of_decoder))


def without_arrays(draw: Callable[[Array], Weights]) -> Weights:
    """What networks have beside their arrays, which are never made."""
    shapes = eqx.filter_eval_shape(draw, jax.random.key(0))
    for leaf in jax.tree.leaves(shapes):
        if isinstance(leaf, jax.ShapeDtypeStruct) and not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise TypeError(f"architecture: expected networks of floating arrays, found one of {leaf.dtype}")
    return jax.tree.map(lambda x: None if isinstance(x, jax.ShapeDtypeStruct) else x, shapes)


def _encode(phi: Autoencoder, params: Weights, X: Rows, name: str) -> Array:
    codes = _encoded(phi, params, X, name)
    # What reads from a disk must be done as long as what it reads is there.
    return jax.block_until_ready(codes) if isinstance(X, ChunkedRows) else codes


@filter_jit
def _encoded(phi: Autoencoder, params: Weights, X: Rows, name: str) -> Array:
    return encode_rows(phi, params, X, name)


@filter_jit
def _decode(phi: Autoencoder, params: Weights, codes: Array) -> Array:
    codes = codes.astype(dtype_of(params))
    return by_pieces(
        lambda positions: jax.vmap(lambda code: phi.row_of(params, code))(codes[positions]),
        jnp.arange(len(codes), dtype=jnp.int32),
        piece_of(phi.shape),
    )
