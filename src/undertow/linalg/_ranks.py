"""Soft counts of the singular values that matter."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .._validation import check_number


def effective_rank(singular_values: Float[Array, " r"]) -> Float[Array, ""]:
    r"""Effective rank :math:`\exp(-\sum_i p_i \log p_i)` with :math:`p_i = \sigma_i / \sum_j \sigma_j`.

    Between 1 (one nonzero singular value) and r (all equal); entropy in nats; 0 for the zero matrix.

    Parameters
    ----------
    singular_values
        Nonnegative, in any order.

    References
    ----------
    Roy, Vetterli. The effective rank: a measure of effective dimensionality. EUSIPCO 2007.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> round(float(effective_rank(jnp.array([2.0, 2.0, 0.0]))), 6)
    2.0
    """
    total = jnp.sum(singular_values)
    p = singular_values / jnp.where(total > 0, total, 1)
    entropy = -jnp.sum(jnp.where(p > 0, p * jnp.log(jnp.where(p > 0, p, 1)), 0))
    return jnp.where(total > 0, jnp.exp(entropy), 0)


def stable_rank(singular_values: Float[Array, " r"]) -> Float[Array, ""]:
    r"""Stable rank :math:`\sum_i \sigma_i^2 / \max_i \sigma_i^2`; 0 for the zero matrix.

    Parameters
    ----------
    singular_values
        Nonnegative, in any order.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> float(stable_rank(jnp.array([2.0, 1.0, 0.0])))
    1.25
    """
    largest = jnp.max(singular_values)
    scaled = singular_values / jnp.where(largest > 0, largest, 1)
    return jnp.sum(scaled**2)


def numerical_rank(singular_values: Float[Array, " r"], threshold: float) -> Int[Array, ""]:
    """How many exceed a share of the largest; 0 for the zero matrix.

    Parameters
    ----------
    singular_values
        Nonnegative, in any order.
    threshold
        The share, from 0 to 1. Of variances it is the square of that of the lengths.

    Raises
    ------
    TypeError, ValueError
        If ``threshold`` is not from 0 to 1.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> int(numerical_rank(jnp.array([2.0, 0.5, 0.01]), 0.1))
    2
    """
    check_number("threshold", threshold, 0, maximum=1)
    return jnp.sum(singular_values > threshold * jnp.max(singular_values))


def participation_ratio(singular_values: Float[Array, " r"]) -> Float[Array, ""]:
    r"""Participation ratio :math:`(\sum_i \sigma_i)^2 / \sum_i \sigma_i^2`; 0 for the zero matrix.

    Between 1 (one nonzero singular value) and r (all equal).

    Parameters
    ----------
    singular_values
        Nonnegative, in any order; of codes, their variances.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> float(participation_ratio(jnp.array([1.0, 1.0, 0.0])))
    2.0
    """
    largest = jnp.max(singular_values)
    scaled = singular_values / jnp.where(largest > 0, largest, 1)
    return jnp.sum(scaled) ** 2 / jnp.where(largest > 0, jnp.sum(scaled**2), 1)
