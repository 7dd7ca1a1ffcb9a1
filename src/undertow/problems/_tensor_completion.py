"""Tensor completion: fit the observed entries of a tensor of any order; the others are what the bias decides."""

from collections.abc import Sequence

import equinox as eqx

from .._validation import Numbers, check_shape, is_traced
from ._completion import Completion


class TensorCompletion(Completion):
    r"""Completion of a tensor from some of its entries: loss :math:`\frac1m \sum_i (W_i - T_i)^2` over positions i.

    Time and memory of the loss grow with the m observed entries, not with the size of the tensor; by a
    parameterization that has entries of its own, such as ``CPTensor``, the tensor is never made.

    Parameters
    ----------
    shape
        Of the tensor; two axes at least.
    indices
        Where the observed entries are, counted from 0; none twice. One vector of m integers for each axis, as
        ``numpy.nonzero`` gives them (of one row for each entry, as ``numpy.argwhere`` does, pass the transpose).
    values
        The observed entries. They are kept in the order of the first index, then the second, and so on.
    truth
        The whole tensor where it is known; used by probes only, never by the loss.
    normalization
        "mean" (the default, as written above), "half_mean", "sum" or "half_sum" over the m observed entries.

    Raises
    ------
    TypeError, ValueError
        If there are fewer than two axes or one is empty, there is no observed entry, lengths differ, an index is out
        of range, a position stands twice, a value is not finite, ``truth`` does not have the given shape, or
        ``normalization`` is unknown.

    References
    ----------
    Razin, Maman, Cohen. Implicit Regularization in Tensor Factorization. ICML 2021.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> problem = TensorCompletion((2, 2, 2), ([0, 1], [1, 0], [1, 1]), values=[1.0, 3.0])
    >>> float(problem.loss(jnp.zeros((2, 2, 2))))
    5.0
    """

    shape: tuple[int, ...] = eqx.field(static=True)

    def __init__(
        self,
        shape: tuple[int, ...],
        indices: Sequence[Numbers] | Numbers,
        values: Numbers,
        truth: Numbers | None = None,
        normalization: str = "mean",
    ):
        shape = check_shape("shape", shape, least_dimensions=2)
        super().__init__(shape, _by_axis(indices, len(shape)), values, truth, normalization)


def _by_axis(indices: Sequence[Numbers] | Numbers, order: int) -> dict[str, Numbers]:
    """The vectors of indices, each under its name."""
    if is_traced(indices):
        raise TypeError("indices: expected known integers, found an array that JAX is tracing")
    shape = getattr(indices, "shape", None)
    if shape is None and not isinstance(indices, (tuple, list)):
        raise TypeError(f"indices: expected {order} vectors of integers, one for each axis, found {indices!r}")
    if (shape is not None and len(shape) != 2) or len(indices) != order:  # pyright: ignore[reportArgumentType]
        found = f"an array of shape {tuple(shape)}" if shape is not None else f"{len(indices)}"  # pyright: ignore[reportArgumentType]
        hint = "; transpose it" if shape is not None and len(shape) == 2 and shape[1] == order else ""
        raise ValueError(f"indices: expected {order} vectors of integers, one for each axis, found {found}{hint}")
    return {f"indices[{n}]": axis for n, axis in enumerate(indices)}  # pyright: ignore[reportArgumentType]
