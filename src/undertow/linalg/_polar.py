"""The orthogonal part of a matrix."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from optax import contrib

from .._validation import Numbers, check_array, check_choice, check_number

POLAR_METHODS = ("svd", "polar_express", "newton_schulz")
POLAR_EXPRESS = (
    (8.205160, -22.901929, 16.460725),
    *[(4.066395, -2.861154, 0.518398)] * 3,
    (3.909595, -2.823350, 0.525032),
    (3.285564, -2.415301, 0.485287),
    (2.277873, -1.619821, 0.398480),
    (1.872576, -1.230694, 0.358511),
    (1.875, -1.25, 0.375),
    (1.875, -1.25, 0.375),
)
"""Coefficients of odd polynomials of degree 5, best from 1e-3 to 1 one after another, with their margin of 1%.

The second comes two times more, which takes the 1e-3 down to 4e-5.
"""
FEW = 256
"""Rows or columns, up to which products are faster on a CPU than the decomposition."""


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
        "polar_express": by 30 matrix products, the polynomials of Polar Express. U and V stay the same; a singular
        value of at least 4e-5 of the Frobenius norm becomes 1 to 1e-6 (and rounding), and one below a number from 0 to
        1, at most 106,300 times its share: a subgradient of the sum of singular values, as the others are. Of what is
        zero but for rounding in float32, up to some hundredths are left.
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
    Amsel, Persson, Musco, Gower. The Polar Express: optimal matrix sign methods and their application to the Muon
    algorithm. 2025, arXiv:2505.16932 (the polynomials).
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
    chosen = {"ns_coeffs": POLAR_EXPRESS, "ns_steps": len(POLAR_EXPRESS)} if method == "polar_express" else {}
    # Without momentum, what optax scales by is the orthogonalization alone.
    orthogonalize = contrib.scale_by_muon(beta=0.0, nesterov=False, **chosen)
    # optax counts in integers and mixes them with numbers.
    with jax.numpy_dtype_promotion("standard"):
        factor, _ = orthogonalize.update(matrix, orthogonalize.init(matrix))
    return jnp.asarray(factor, matrix.dtype)


def quick_polar_factor(matrix: Float[Array, "m n"]) -> Float[Array, "m n"]:
    """By the method that is fastest where nothing is lost.

    In float64 none is as exact as the decomposition. In float32 products resolve all that it does: on a CPU they are
    faster for matrices of up to some hundred rows, and an accelerator is made for them. The eigenvectors of a Gram
    matrix, faster still for large ones, lose what is below 3e-4 of the largest, and descent with a penalty sees that.
    """
    by_svd = lambda m: polar_factor_of(m, "svd")  # noqa: E731
    by_products = lambda m: polar_factor_of(m, "polar_express")  # noqa: E731
    if matrix.dtype == jnp.float64:
        return by_svd(matrix)
    if min(matrix.shape) <= FEW:
        return by_products(matrix)
    return jax.lax.platform_dependent(matrix, cpu=by_svd, default=by_products)


def of_order_one(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """``x`` over its largest entry, so that no square of an entry is lost; zero stays zero."""
    largest = jnp.max(jnp.abs(x))
    return x / jnp.where(largest > 0, largest, 1)


def _by_svd(matrix: Float[Array, "m n"], rtol: float) -> Float[Array, "m n"]:
    u, s, vt = jnp.linalg.svd(matrix, full_matrices=False)
    kept = (s > rtol * s[0]).astype(matrix.dtype)
    return (u * kept[None, :]) @ vt
