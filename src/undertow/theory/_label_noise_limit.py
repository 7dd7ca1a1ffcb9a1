"""Where descent with label noise goes: the smallest weighted l1 norm, or another power beyond two layers."""

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float

from .._validation import check_number
from ..potentials import PNorm
from ..problems import Problem
from ..problems._equations import Equations
from ._affine_set import affine_set
from ._basis_pursuit import basis_pursuit
from ._bregman_projection import bregman_projection
from ._errors import NotUnique


def label_noise_limit(problem: Problem, nonnegative: bool = False, depth: float = 2) -> Float[np.ndarray, "..."]:
    r"""Where label noise takes :math:`w = u^2 - v^2`: :math:`\arg\min \{ \sum_j |A_j|^2 |w_j| : A w = b \}`.

    :math:`A_j` are the columns of A. For a loss :math:`\frac{c}{2} |A w - b|^2` the trace of the Hessian over u and v
    is :math:`4 c \sum_j |A_j|^2 (u_j^2 + v_j^2)` at every fit, and the least of it at a given w is 4 c times that sum.
    Noise in the labels moves descent to fits of smaller trace, from any start (``dynamics.LabelNoiseFlow``). Where
    columns have the same norm it is the least l1 norm; else entries with short columns are the cheap ones. A linear
    program, that of ``basis_pursuit`` with columns of other units.

    For :math:`w = u^N - v^N`, N > 2, the trace is :math:`c N^2 \sum_j |A_j|^2 (u_j^{2N-2} + v_j^{2N-2})`, the least
    of it at a given w has u or v zero in each entry, and what is smallest is the strictly convex
    :math:`\sum_j |A_j|^2 |w_j|^{2 - 2/N}`: the deeper, the less sparse. Where u or v is zero the flow of the trace
    rests too, but it leaves a zero that is not optimal: it ends here from starts with no entry of u or v zero.

    Parameters
    ----------
    problem
        One whose points of zero error are an affine set, by its ``equations``, and whose loss weighs these alike.
    nonnegative
        Whether w is confined to nonnegative entries, as for :math:`w = u^2`; at depth 2 only.
    depth
        N, at least 2. (Below 2 the least power of w that the trace asks for is not convex.)

    Returns
    -------
    w of the shape of the problem, NumPy float64.

    Raises
    ------
    TypeError, ValueError
        If the points of zero error of the problem are not known to be an affine set; if an entry of w is in none of its
        equations, so that noise does not move it; if ``depth`` is below 2, or above with ``nonnegative``.
    Infeasible, NotUnique, Unsolved
        As ``basis_pursuit``, ties never broken; beyond depth 2 as ``bregman_projection``.

    References
    ----------
    HaoChen, Wei, Lee, Ma. Shape Matters: Understanding the Implicit Bias of the Noise Covariance. COLT 2021.
    Li, Wang, Arora. What Happens after SGD Reaches Zero Loss? A Mathematical Framework. ICLR 2022, section 6.
    Beyond depth 2: derived here, from the trace.

    Examples
    --------
    >>> import undertow as ut
    >>> problem = ut.problems.LeastSquares([[1.0, 2.0]], [2.0])
    >>> label_noise_limit(problem).round(6).tolist(), ut.theory.basis_pursuit(problem).round(6).tolist()
    ([2.0, 0.0], [0.0, 1.0])
    """
    N = float(check_number("depth", depth, 2))
    if N > 2 and nonnegative:
        raise ValueError(
            f"nonnegative: expected False beyond depth 2, found True at depth {N:g}; no program is known here"
        )
    equations = affine_set(problem)
    matrix = equations.dense
    largest = np.max(np.abs(matrix), axis=0, initial=0)
    if np.any(largest == 0):
        entry = np.unravel_index(int(np.flatnonzero(largest == 0)[0]), equations.shape)
        raise ValueError(
            f"problem: expected every entry of w in some equation, found none for {tuple(map(int, entry))}; label "
            "noise does not move it"
        )
    cost = np.sum(matrix**2, axis=0)
    if N > 2:
        power = 2 - 2 / N
        unit = cost ** (1 / power)
        powers = _Rescaled(equations.shape, matrix / unit, equations.b)
        return bregman_projection(powers, PNorm(power), np.zeros(equations.shape)) / unit.reshape(equations.shape)
    other_units = _Rescaled(equations.shape, matrix / cost, equations.b)
    cost = cost.reshape(equations.shape)
    try:
        return basis_pursuit(other_units, nonnegative) / cost
    except NotUnique as error:
        first, second = error.points
        raise NotUnique(
            "problem: the smallest weighted l1 norm is attained by more than one w", (first / cost, second / cost)
        ) from None


class _Rescaled(Problem):
    """The same equations for w times the costs of its entries."""

    shape: tuple[int, ...] = eqx.field(static=True)
    matrix: Float[np.ndarray, "m d"]
    b: Float[np.ndarray, " m"]

    def loss(self, w: Float[Array, "..."]) -> Float[Array, ""]:
        raise NotImplementedError("only its equations are asked for")

    def equations(self) -> Equations:
        return Equations(self.matrix, self.b)
