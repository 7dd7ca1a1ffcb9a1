"""The orthogonal part of a matrix."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from optax import contrib

from .._validation import Numbers, check_array, check_choice, check_number

POLAR_METHODS = ("svd", "newton_schulz")


def polar_factor(matrix: Numbers, method: str = "svd", rtol: float | None = None) -> Float[Array, "m n"]:
    r"""The partial isometry :math:`U V^T` of a matrix :math:`U S V^T`, over the nonzero singular values.

    Of all matrices of spectral norm 1 it has the largest inner product with the matrix: their sum of singular values.
    Where one is zero, others have it too, and this is the one of least rank; zero for the zero matrix.

    Parameters
    ----------
    matrix
        Of any shape (m, n); more of them by ``vmap``. Its scale has no say, be it huge or tiny.
    method
        "svd": by the singular value decomposition. The singular values of the result are 0 and 1 to rounding; the
        result itself is as well determined as the smallest nonzero singular value: its error is of the order of
        rounding times the largest over the smallest.
        "newton_schulz": as Muon does it, by 15 matrix products, in five steps of
        :math:`X \leftarrow 3.4445 X - 4.775 X X^T X + 2.0315 (X X^T)^2 X` from :math:`X = M / |M|_F`; fast where such
        products are. U and V stay the same, and a singular value becomes a number from 0.68 to 1.21 where it is at
        least 1/500 of the Frobenius norm, and at most 485 times its share of that below.
    rtol
        For "svd": singular values of at most rtol times the largest count as zero. Left out: 10 max(m, n) times the
        rounding unit of the dtype (2e-14 for 10 x 10 in float64). Fields whose last singular value is zero but for
        rounding, as for softmax losses, would else be given a direction that is rounding alone.

    Returns
    -------
    An array of the shape of the matrix.

    Raises
    ------
    TypeError, ValueError
        If ``matrix`` is not a matrix of finite real numbers, the method is unknown, or ``rtol`` is not a number of at
        least 0, or given where it has no say.

    References
    ----------
    Higham. Functions of Matrices. SIAM 2008, chapter 8 (the polar decomposition).
    Jordan, Jin, Boza, You, Cesista, Newhouse, Bernstein. Muon: an optimizer for hidden layers in neural networks. 2024
    (the five steps and their coefficients, which are those of ``optax.contrib.muon``).

    Examples
    --------
    >>> polar_factor([[0.0, 3.0], [0.0, 0.0]]).tolist()
    [[0.0, 1.0], [0.0, 0.0]]
    """
    check_choice("method", method, POLAR_METHODS)
    matrix = check_array("matrix", matrix, dimensions=2)
    if rtol is not None:
        if method != "svd":
            raise ValueError(f"rtol: expected none for {method!r}, which cuts no singular value off, found {rtol!r}")
        rtol = check_number("rtol", rtol, 0)
    return polar_factor_of(matrix, method, rtol)


def polar_factor_of(matrix: Float[Array, "m n"], method: str, rtol: float | None = None) -> Float[Array, "m n"]:
    """The same, of what is checked."""
    if matrix.size == 0:
        return matrix
    matrix = of_order_one(matrix)
    if method == "svd":
        return _by_svd(matrix, 10 * max(matrix.shape) * float(jnp.finfo(matrix.dtype).eps) if rtol is None else rtol)
    # Without momentum, what optax scales by is the orthogonalization alone.
    orthogonalize = contrib.scale_by_muon(beta=0.0, nesterov=False)
    # optax counts in integers and mixes them with numbers.
    with jax.numpy_dtype_promotion("standard"):
        factor, _ = orthogonalize.update(matrix, orthogonalize.init(matrix))
    return jnp.asarray(factor, matrix.dtype)


def of_order_one(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """``x`` over its largest entry, so that no square of an entry is lost; zero stays zero."""
    largest = jnp.max(jnp.abs(x))
    return x / jnp.where(largest > 0, largest, 1)


def _by_svd(matrix: Float[Array, "m n"], rtol: float) -> Float[Array, "m n"]:
    u, s, vt = jnp.linalg.svd(matrix, full_matrices=False)
    kept = (s > rtol * s[0]).astype(matrix.dtype)
    return (u * kept[None, :]) @ vt
