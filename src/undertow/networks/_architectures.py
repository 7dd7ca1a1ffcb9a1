"""Encoders and decoders: the ones of the papers, and a dense pair for tables."""

import abc
import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from .._repr import shown
from .._validation import check_choice, check_integer, check_shape
from ._convolution import Convolution, TransposedConvolution

Network = Callable[[Array], Array]
"""An ``equinox.Module`` that maps one row, or one code."""

OUTPUTS: dict[str, tuple[Callable[[Array], Array] | None, tuple[float, float] | None]] = {
    "tanh": (jnp.tanh, (-1.0, 1.0)),
    "sigmoid": (jax.nn.sigmoid, (0.0, 1.0)),
    "identity": (None, None),
}
"""What the last layer of a decoder is followed by, and the range that leaves it."""


class Architecture(eqx.Module):
    """An encoder and a decoder for rows of one shape: drawn anew for every key, and without weights of its own.

    Law: ``encoder(outputs, key)`` maps an array of shape ``shape`` to one of (outputs,), ``decoder(key)`` one of
    (code_size,) to one of ``shape``; both are modules of equinox whose arrays are floating.
    """

    shape: eqx.AbstractVar[tuple[int, ...]]
    code_size: eqx.AbstractVar[int]
    output: eqx.AbstractVar[str]

    def __repr__(self) -> str:
        return shown(self)

    @abc.abstractmethod
    def encoder(self, outputs: int, key: Array) -> Any:
        """From a row to so many numbers: a code, or twice as many where it is the mean and variance of one."""

    @abc.abstractmethod
    def decoder(self, key: Array) -> Any:
        """From a code to a row."""


class Dense(Architecture):
    r"""Dense layers with ReLU between, the decoder mirroring the encoder: for tables, and for small images.

    Weights and biases are drawn from :math:`U(-1/\sqrt f, 1/\sqrt f)`, f = inputs of the layer.

    Parameters
    ----------
    shape
        Of a row.
    code_size
        Numbers in a code.
    hidden
        Sizes of the layers between row and code; none: encoder and decoder are linear, with biases.
    output
        What the last layer is followed by: "identity" (the default), "tanh" or "sigmoid".

    Raises
    ------
    TypeError, ValueError
        If a size is not a positive integer, or ``output`` is unknown.

    Examples
    --------
    >>> import jax
    >>> import jax.numpy as jnp
    >>> table = Dense(64, code_size=8, hidden=(32,))
    >>> table.encoder(8, jax.random.key(0))(jnp.zeros(64)).shape
    (8,)
    """

    shape: tuple[int, ...] = eqx.field(static=True)
    code_size: int = eqx.field(static=True)
    hidden: tuple[int, ...] = eqx.field(static=True)
    output: str = eqx.field(static=True)

    def __init__(
        self,
        shape: int | tuple[int, ...],
        code_size: int,
        hidden: Sequence[int] = (128, 64),
        output: str = "identity",
    ):
        self.shape = check_shape("shape", shape, least_dimensions=1)
        self.code_size = check_integer("code_size", code_size, 1)
        if not isinstance(hidden, tuple | list):
            raise TypeError(f"hidden: expected a sequence of sizes, found {hidden!r}")
        self.hidden = tuple(check_integer("hidden", size, 1) for size in hidden)
        self.output = check_choice("output", output, tuple(OUTPUTS))

    def encoder(self, outputs: int, key: Array) -> Any:
        layers = _dense([math.prod(self.shape), *self.hidden, outputs], key)
        return eqx.nn.Sequential([eqx.nn.Lambda(jnp.ravel), *layers])

    def decoder(self, key: Array) -> Any:
        layers = _dense([self.code_size, *self.hidden[::-1], math.prod(self.shape)], key)
        return eqx.nn.Sequential([*layers, _reshape(*self.shape), *_last(self.output)])


class _Images(Architecture):
    """For images of one size: what the papers' architectures check."""

    def __check_init__(self) -> None:
        check_integer("code_size", self.code_size, 1)
        check_choice("output", self.output, tuple(OUTPUTS))


class Shapes32(_Images):
    """The paper's network for pictures of shapes, 32 x 32 x 3, of convolutions alone.

    Parameters
    ----------
    code_size
        Numbers in a code.
    output
        What the last layer is followed by: "tanh" (the default, as in the paper), "sigmoid" (as in its variational
        code) or "identity".

    Raises
    ------
    TypeError, ValueError
        If ``code_size`` is not a positive integer, or ``output`` is unknown.

    References
    ----------
    Jing, Zbontar, LeCun. Implicit Rank-Minimizing Autoencoder. NeurIPS 2020, and the authors' code.

    Examples
    --------
    >>> Shapes32(32).shape
    (32, 32, 3)
    """

    code_size: int = eqx.field(static=True, default=32)
    output: str = eqx.field(static=True, default="tanh")

    @property
    def shape(self) -> tuple[int, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return 32, 32, 3

    def encoder(self, outputs: int, key: Array) -> Any:
        keys = jax.random.split(key)
        last = Convolution(256, outputs, kernel=2, key=keys[1])
        return eqx.nn.Sequential([*_halving((3, 32, 64, 128, 256), keys[0]), last, eqx.nn.Lambda(jnp.ravel)])

    def decoder(self, key: Array) -> Any:
        keys = jax.random.split(key)
        first = TransposedConvolution(self.code_size, 256, kernel=2, key=keys[1])
        doubling = _doubling((256, 128, 64, 32, 3), keys[0])
        return eqx.nn.Sequential([_reshape(1, 1, self.code_size), first, _relu(), *doubling, *_last(self.output)])


class MNIST32(_Images):
    """The paper's network for gray images, 32 x 32 x 1: MNIST with a margin of 2 pixels (``datasets.pad_images``).

    Of code size 128 it has 820,320 parameters in the encoder and 1,220,737 in the decoder.

    Parameters
    ----------
    code_size
        Numbers in a code.
    output
        What the last layer is followed by: "tanh" (the default, as in the paper), "sigmoid" (as in its variational
        code) or "identity".

    Raises
    ------
    TypeError, ValueError
        If ``code_size`` is not a positive integer, or ``output`` is unknown.

    References
    ----------
    Jing, Zbontar, LeCun. Implicit Rank-Minimizing Autoencoder. NeurIPS 2020, and the authors' code.

    Examples
    --------
    >>> MNIST32(128).shape
    (32, 32, 1)
    """

    code_size: int = eqx.field(static=True, default=128)
    output: str = eqx.field(static=True, default="tanh")

    @property
    def shape(self) -> tuple[int, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return 32, 32, 1

    def encoder(self, outputs: int, key: Array) -> Any:
        keys = jax.random.split(key)
        last = eqx.nn.Linear(1024, outputs, key=keys[1])
        return eqx.nn.Sequential([*_halving((1, 32, 64, 128, 256), keys[0]), eqx.nn.Lambda(jnp.ravel), last])

    def decoder(self, key: Array) -> Any:
        keys = jax.random.split(key, 3)
        first = eqx.nn.Linear(self.code_size, 8192, key=keys[1])
        doubling = _doubling((128, 64, 32), keys[0])
        last = TransposedConvolution(32, 1, kernel=1, key=keys[2])
        return eqx.nn.Sequential([first, _relu(), _reshape(8, 8, 128), *doubling, _relu(), last, *_last(self.output)])


class Color64(_Images):
    """The paper's network for colour images, 64 x 64 x 3, as of faces.

    Parameters
    ----------
    code_size
        Numbers in a code.
    output
        What the last layer is followed by: "tanh" (the default, as in the paper), "sigmoid" (as in its variational
        code) or "identity".

    Raises
    ------
    TypeError, ValueError
        If ``code_size`` is not a positive integer, or ``output`` is unknown.

    References
    ----------
    Jing, Zbontar, LeCun. Implicit Rank-Minimizing Autoencoder. NeurIPS 2020, and the authors' code.

    Examples
    --------
    >>> Color64(512).shape
    (64, 64, 3)
    """

    code_size: int = eqx.field(static=True, default=512)
    output: str = eqx.field(static=True, default="tanh")

    @property
    def shape(self) -> tuple[int, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return 64, 64, 3

    def encoder(self, outputs: int, key: Array) -> Any:
        keys = jax.random.split(key)
        last = eqx.nn.Linear(16_384, outputs, key=keys[1])
        return eqx.nn.Sequential([*_halving((3, 128, 256, 512, 1024), keys[0]), eqx.nn.Lambda(jnp.ravel), last])

    def decoder(self, key: Array) -> Any:
        keys = jax.random.split(key, 3)
        first = eqx.nn.Linear(self.code_size, 65_536, key=keys[1])  # with no ReLU behind, as in the source
        doubling = _doubling((1024, 512, 256, 128), keys[0])
        last = TransposedConvolution(128, 3, kernel=1, key=keys[2])
        return eqx.nn.Sequential([first, _reshape(8, 8, 1024), *doubling, _relu(), last, *_last(self.output)])


def _relu() -> Any:
    return eqx.nn.Lambda(jax.nn.relu)


def _reshape(*shape: int) -> Any:
    return eqx.nn.Lambda(functools.partial(jnp.reshape, shape=shape))


def _last(output: str) -> list[Any]:
    function = OUTPUTS[output][0]
    return [] if function is None else [eqx.nn.Lambda(function)]


def _dense(sizes: Sequence[int], key: Array) -> list[Any]:
    """Dense layers of these sizes, with ReLU between."""
    keys = jax.random.split(key, len(sizes) - 1)
    layers = [eqx.nn.Linear(a, b, key=k) for (a, b), k in zip(itertools.pairwise(sizes), keys, strict=True)]
    return _with_relu(layers)


def _halving(channels: Sequence[int], key: Array) -> list[Any]:
    """Convolutions that halve both sides, each followed by ReLU."""
    return [*_with_relu(_by_two(Convolution, channels, key)), _relu()]


def _doubling(channels: Sequence[int], key: Array) -> list[Any]:
    """Transposed convolutions that double both sides, with ReLU between."""
    return _with_relu(_by_two(TransposedConvolution, channels, key))


def _by_two(layer: Any, channels: Sequence[int], key: Array) -> list[Any]:
    keys = jax.random.split(key, len(channels) - 1)
    pairs = zip(itertools.pairwise(channels), keys, strict=True)
    return [layer(a, b, kernel=4, stride=2, padding=1, key=k) for (a, b), k in pairs]


def _with_relu(layers: list[Any]) -> list[Any]:
    return [x for layer in layers for x in (layer, _relu())][:-1]
