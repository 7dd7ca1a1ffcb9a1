"""The implicit rank-minimizing autoencoder: linear layers between encoder and decoder."""

from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, Float

from .._validation import Numbers, as_key, check_choice, check_integer
from ..problems._chunked_rows import Rows
from ._architectures import Architecture
from ._autoencoder import Autoencoder, Weights, check_data, draw_pair, without_arrays
from ._linear import INITIALIZATIONS, KINDS, Matrices, draw_matrices, product, through


class IRMAE(Autoencoder):
    r"""The implicit rank-minimizing autoencoder: the code is :math:`z = W_l \cdots W_1 E(x)`, decoded by D.

    The square matrices, without biases, add nothing to what can be written; descent keeps the rank of their product,
    and with it the number of directions in which codes vary, low.

    Parameters
    ----------
    architecture, X
        As of ``AE``.
    layers
        l, the number of matrices; 0 is the plain autoencoder.
    kind
        - "free" (the default): l matrices, all trained.
        - "shared": one trained matrix, applied l times.
        - "fixed": l matrices that stay as they are drawn, from ``key``; they are no parameters.
        - "nonlinear": l trained matrices, with ReLU between each two: no product any more.
    initialization
        How each matrix is drawn, as of one layer of n inputs.

        - "uniform" (the default): entries from :math:`U(-1/\sqrt n, 1/\sqrt n)`, as the papers' framework does. Every
          matrix makes codes :math:`\sqrt 3` times shorter on average, all of them :math:`3^{l/2}` times: a small
          start, which is a part of the effect.
        - "lecun": normal entries of variance 1/n. Lengths are kept on average.
        - "orthogonal": a random orthogonal matrix. Lengths are kept.
    key
        Of the "fixed" matrices; for no others.

    Raises
    ------
    TypeError, ValueError
        As of ``AE``; if ``layers`` is not an integer of at least 0, ``kind`` or ``initialization`` is unknown, or there
        is a ``key`` where none is needed, or none where one is.

    References
    ----------
    Jing, Zbontar, LeCun. Implicit Rank-Minimizing Autoencoder. NeurIPS 2020.

    Examples
    --------
    >>> import jax
    >>> import undertow as ut
    >>> X = ut.datasets.load_digits_matrix()[:100]
    >>> phi = ut.networks.IRMAE(ut.networks.Dense(64, code_size=8), X, layers=4)
    >>> params = phi.init(jax.random.key(0), 1.0)
    >>> [matrix.shape for matrix in params.linear]
    [(8, 8), (8, 8), (8, 8), (8, 8)]
    >>> short, its_params = phi.collapse(params)
    >>> len(its_params.linear), bool(abs(short(its_params) - phi(params)).max() < 1e-5)
    (1, True)
    """

    shape: tuple[int, ...] = eqx.field(static=True)
    architecture: Architecture
    X: Rows
    networks: Weights
    layers: int = eqx.field(static=True)
    kind: str = eqx.field(static=True)
    initialization: str = eqx.field(static=True)
    fixed: Matrices

    def __init__(
        self,
        architecture: Any,
        X: Numbers | Rows,
        layers: int = 4,
        kind: str = "free",
        initialization: str = "uniform",
        key: Any = None,
    ):
        self.layers = check_integer("layers", layers, 0)
        self.kind = check_choice("kind", kind, KINDS)
        self.initialization = check_choice("initialization", initialization, INITIALIZATIONS)
        if (key is None) is (kind == "fixed"):
            wanted = "a random key or a seed" if kind == "fixed" else "None"
            raise ValueError(f"key: expected {wanted} for kind {kind!r}, found {key!r}")
        self.architecture, self.X = check_data(architecture, X)
        self.shape = self.X.shape
        size = self.architecture.code_size
        self.fixed = () if key is None else draw_matrices(as_key(key), size, self.layers, initialization)
        self.networks = without_arrays(self.draw)

    def draw(self, key: Array) -> Weights:
        pair = draw_pair(self.architecture, self.architecture.code_size, key)
        count = {"shared": min(self.layers, 1), "fixed": 0}.get(self.kind, self.layers)
        of_linear = jax.random.fold_in(key, 2)
        return pair._replace(linear=draw_matrices(of_linear, self.architecture.code_size, count, self.initialization))

    def code_of(self, params: Weights, row: Array) -> Float[Array, " n"]:
        return through(self.matrices(params), self.features_of(params, row), self.kind)

    def matrices(self, params: Weights) -> Matrices:
        """:math:`W_1, ..., W_l`, each as often as it is applied."""
        if self.kind == "fixed":
            return self.fixed
        return params.linear * self.layers if self.kind == "shared" else params.linear

    def collapse(self, params: Weights) -> "tuple[IRMAE, Weights]":
        """The same autoencoder with the product of its matrices as the only one, and its parameters.

        Raises
        ------
        ValueError
            If there is no product: of kind "nonlinear" with two layers at least.
        """
        if self.kind == "nonlinear" and self.layers > 1:
            raise ValueError("kind: expected linear layers, whose product can be formed, found 'nonlinear'")
        matrices = self.matrices(params)
        linear = (product(matrices),) if matrices else ()
        short = IRMAE(self.architecture, self.X, len(linear), "free", self.initialization)
        return short, params._replace(linear=linear)
