"""The variational autoencoder: codes with noise, and a divergence that is a part of what is fit."""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._validation import Numbers, check_number
from ..linalg import axes_of
from ..parameterizations._base import Indices
from ..problems._chunked_rows import Rows
from ._architectures import Architecture
from ._autoencoder import Autoencoder, Weights, check_data, draw_pair, without_arrays
from ._pieces import dtype_of


class VAE(Autoencoder):
    r"""A variational autoencoder: codes :math:`z = \mu + e^{\lambda/2} \epsilon`, their noise drawn anew each step.

    The encoder gives :math:`\mu` and :math:`\lambda`, the logarithm of a variance, for each number of a code. To the
    loss of ``Reconstruction`` (a mean over N rows of d numbers) training adds

    .. math:: \frac{\beta}{N d} \sum_i \mathrm{KL}_i, \quad
        \mathrm{KL}_i = \frac12 \sum_j (\mu_{ij}^2 + e^{\lambda_{ij}} - 1 - \lambda_{ij}) \text{ nats},

    weighed as the loss is normalized. Noise follows from the key of the run, the step and the number of the row. "loss"
    is recorded, and everything evaluated, without noise and without divergence: w is decoded from the means.

    Parameters
    ----------
    architecture, X
        As of ``AE``; the encoder is asked for twice the ``code_size``.
    beta
        Weight of the divergence, at least 0. With ``Reconstruction(X, "cross_entropy")`` and an architecture whose
        ``output`` is "sigmoid", 1 is the evidence bound. The source's number b, of means over code and pixels without
        the factor 1/2, is ``beta = 2 b d / code_size``: its 0.1 is 1.6 for MNIST with codes of 128.

    Raises
    ------
    TypeError, ValueError
        As of ``AE``; if ``beta`` is negative or not finite; before a run, if what is fit is no problem of entries, if
        what moves the parameters is no descent, or one with a line search, or if there is no key.

    References
    ----------
    Kingma, Welling. Auto-Encoding Variational Bayes. ICLR 2014, equation 10.
    Higgins et al. beta-VAE. ICLR 2017.

    Examples
    --------
    >>> import undertow as ut
    >>> X = ut.datasets.load_digits_matrix()[:100]
    >>> phi = ut.networks.VAE(ut.networks.Dense(64, code_size=8, output="sigmoid"), X, beta=1.0)
    >>> descent = ut.dynamics.GradientDescent(ut.optimizers.make("adam", 1e-3), batch_size=20)
    >>> problem, stop = ut.problems.Reconstruction(X, "cross_entropy"), ut.Stop(loss=None, steps=100)
    >>> run = ut.train(problem, phi, descent, key=0, scale=1.0, stop=stop, samples=2)
    >>> means, log_variances = phi.posterior(run.params, X)
    >>> means.shape, log_variances.shape
    ((100, 8), (100, 8))
    """

    shape: tuple[int, ...] = eqx.field(static=True)
    architecture: Architecture
    X: Rows
    networks: Weights
    beta: Float[Array, ""]

    def __init__(self, architecture: Any, X: Numbers | Rows, beta: Any = 1.0):
        self.beta = jnp.asarray(check_number("beta", beta, 0), dtype=jnp.result_type(float))
        self.architecture, self.X = check_data(architecture, X)
        self.shape = self.X.shape
        self.networks = without_arrays(self.draw)

    def draw(self, key: Array) -> Weights:
        return draw_pair(self.architecture, 2 * self.architecture.code_size, key)

    def code_of(self, params: Weights, row: Array) -> Float[Array, " n"]:
        return self.features_of(params, row)[: self.architecture.code_size]

    @property
    def draws(self) -> bool:
        return True

    def in_training(
        self, params: Weights, indices: Indices, key: Array | None
    ) -> tuple[Float[Array, "m ..."], Float[Array, " m"]]:
        dtype, size = dtype_of(params), self.architecture.code_size
        positions, *rest = axes_of(indices)
        if rest:
            raise ValueError("problem: expected one of whole rows, as Reconstruction, for VAE")

        def one(position: Array, row: Array) -> tuple[Array, Array]:
            mean, log_variance = jnp.split(self.features_of(params, row), 2)
            code = mean
            if key is not None:
                noise = jax.random.normal(jax.random.fold_in(key, position), (size,), dtype)
                code = mean + jnp.exp(log_variance / 2) * noise
            divergence = jnp.sum(mean**2 + jnp.exp(log_variance) - 1 - log_variance) / 2
            return self.row_of(params, code), divergence

        entries, divergences = jax.vmap(one)(positions, self.rows(positions, dtype))
        return entries, self.beta.astype(dtype) * divergences / math.prod(self.shape[1:])

    def posterior(self, params: Weights, X: Numbers | Rows) -> tuple[Float[Array, "m n"], Float[Array, "m n"]]:
        """The means of the codes of rows, and the logarithms of their variances.

        Raises
        ------
        TypeError, ValueError
            If ``X`` is not finite, or its rows have another shape than the data.
        """
        mean, log_variance = jnp.split(self.features(params, X), 2, axis=1)
        return mean, log_variance
