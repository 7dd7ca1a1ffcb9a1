"""Tensor sensing: fit linear measurements of a tensor; what they leave open is what the bias decides."""

from collections.abc import Sequence

import equinox as eqx

from .._validation import Numbers, check_array
from ._sensing import RankOne, Sensing, rank_one


class TensorSensing(Sensing):
    r"""Sensing of a tensor by inner products: loss :math:`\frac1m \sum_i (\langle A_i, W \rangle - y_i)^2`.

    Parameters
    ----------
    measurements
        The tensors A_i, shape (m, n_1, ..., n_N) for a tensor W of N axes, two at least. Where all are of rank one,
        ``TensorSensing.rank_one`` takes their factors instead.
    values
        The measured y_i, m of them.
    truth
        The whole tensor where it is known; used by probes only, never by the loss.
    normalization
        "mean" (the default, as written above), "half_mean", "sum" or "half_sum" over the m measurements.

    Raises
    ------
    TypeError, ValueError
        If there is no measurement, W has fewer than two axes, shapes do not fit, an entry is not finite, or
        ``normalization`` is unknown.

    References
    ----------
    Razin, Maman, Cohen. Implicit Regularization in Tensor Factorization. ICML 2021.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> total = TensorSensing(jnp.ones((1, 2, 2, 2)), [6.0])
    >>> float(total.loss(jnp.ones((2, 2, 2))))
    4.0
    >>> entry = TensorSensing.rank_one([[[1.0, 0.0]], [[0.0, 1.0]], [[0.0, 1.0]]], [3.0])
    >>> float(entry.loss(jnp.zeros((2, 2, 2)).at[0, 1, 1].set(3.0)))
    0.0
    """

    shape: tuple[int, ...] = eqx.field(static=True)

    def __init__(
        self,
        measurements: Numbers | RankOne,
        values: Numbers,
        truth: Numbers | None = None,
        normalization: str = "mean",
    ):
        if not isinstance(measurements, RankOne):
            measurements = check_array("measurements", measurements)
            if measurements.ndim < 3:
                raise ValueError(
                    f"measurements: expected tensors of at least 2 axes, found shape {measurements.shape} of all"
                )
        super().__init__(measurements, values, truth, normalization, "tensor")

    @classmethod
    def rank_one(
        cls, factors: Sequence[Numbers], values: Numbers, truth: Numbers | None = None, normalization: str = "mean"
    ) -> "TensorSensing":
        r"""Measurements :math:`A_i = a_i^1 \circ \dots \circ a_i^N` with a_i^n row i of ``factors[n]``, never formed.

        The tensor W itself is formed, so that it has to fit into memory.

        Raises
        ------
        TypeError, ValueError
            As the class does; by a run, if W has more entries than memory can hold.
        """
        if len(factors) < 2:
            raise ValueError(f"factors: expected at least 2, one for each axis, found {len(factors)}")
        named = {f"factors[{n}]": factor for n, factor in enumerate(factors)}
        return cls(rank_one(**named), values, truth, normalization)
