"""Networks by pieces: as many rows at once as memory allows, from a disk a chunk at a time."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..problems._chunked_rows import ChunkedRows, Rows
from ..problems._reconstruction import piece_of, rows_of


def dtype_of(params: Any) -> Any:
    """The type of the numbers of a network."""
    return jnp.result_type(*jax.tree.leaves(params))


def by_pieces(f: Callable[[Array], Array], positions: Array, piece: int) -> Array:
    """``f`` of many positions, in pieces of so many; the last is filled up with the last position."""
    count = len(positions)
    if count <= piece:
        return f(positions)
    filled = jnp.pad(positions, (0, -count % piece), mode="edge")
    pieces = jax.lax.map(f, filled.reshape(-1, piece))
    return pieces.reshape(-1, *pieces.shape[2:])[:count]


def encode_rows(phi: Any, params: Any, X: Rows, name: str = "code_of") -> Array:
    """What an autoencoder's function of this name makes of the rows of ``X``, by pieces."""

    def of(X: Rows) -> Callable[[Array], Array]:
        def some(positions: Array) -> Array:
            rows = phi.shaped(rows_of(X, positions, dtype_of(params)))
            return jax.vmap(lambda row: getattr(phi, name)(params, row))(rows)

        return some

    piece, count = piece_of(X.shape), len(X)
    if not isinstance(X, ChunkedRows):
        return by_pieces(of(X), jnp.arange(count, dtype=jnp.int32), piece)
    size = max(1, X.chunk // piece) * piece

    def of_chunk(number: Array) -> Array:
        first = number * size
        return by_pieces(of(X.window(first, size)), first + jnp.arange(size, dtype=jnp.int32), piece)

    codes = jax.lax.map(of_chunk, jnp.arange(math.ceil(count / size), dtype=jnp.int32))
    return codes.reshape(-1, *codes.shape[2:])[:count]
