"""Where gradient flow ends, predicted without running it."""

from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from ..objective import Objective
from ..parameterizations import Parameterization
from ..parameterizations._base import Params
from ..problems import Problem
from ._affine_set import affine_set
from ._bregman_projection import project_from_dual
from ._implied_potential import implied_potential


def limit(
    problem: Problem, parameterization: Parameterization, params: Params, *, decay: Any = 0.0
) -> Float[np.ndarray, "..."]:
    r"""Where gradient flow from ``params`` ends: :math:`\arg\min \{ R(w) : A w = b \}`, R the implied potential.

    The prediction takes a convex program in as many unknowns as there are equations, and no training. It holds for
    every loss that is least where :math:`A w = b` and nowhere else, and says nothing of the time it takes.

    Parameters
    ----------
    problem
        One whose points of zero error are an affine set: it has ``equations``.
    parameterization
        How w is written; its shape is that of the problem.
    params
        Where the flow starts.
    decay
        :math:`\Lambda`, the integral over time of the rate of weight decay that the flow had for a while, and has no
        more: at least 0. The end is that from :math:`e^{-\Lambda}` params, for maps that are homogeneous
        (``implied_potential``): of :math:`u^2 - v^2` from alpha that from :math:`e^{-\Lambda} \alpha`. When it was on,
        and how far the loss had come, is of no consequence.

    Returns
    -------
    w of the shape of the problem, NumPy float64.

    Raises
    ------
    TypeError, ValueError
        If the points of zero error of the problem are not known to be an affine set, or shapes do not fit; if an
        entry of w cannot move from ``params``; if ``decay`` is not a finite number of at least 0, or not 0 for a map
        that is not homogeneous.
    NotAMirrorFlow
        If the parameterization implies no potential.
    Infeasible
        If the flow cannot reach zero error: the equations contradict each other, or no solution lies where the
        parameterization can bring w (the square map with no nonnegative solution).
    Unsolved
        If the equations are not solved to 1e-10 although they may have a solution.

    References
    ----------
    Gunasekar, Lee, Soudry, Srebro. Characterizing Implicit Bias in Terms of Optimization Geometry. ICML 2018.
    Li, Wang, Lee, Arora. Implicit Bias of Gradient Descent on Reparametrized Models: On Equivalence to Mirror Descent.
    NeurIPS 2022, Theorem 4.14.
    Jacobs, Burkholz. Mask in the Mirror: Implicit Sparsification. ICLR 2025 (decay of products of two factors; for any
    degree derived here).

    Examples
    --------
    >>> import numpy as np
    >>> import undertow as ut
    >>> phi = ut.parameterizations.Power(2, depth=2)
    >>> limit(ut.problems.LineTarget(-1.0, -2.0, 15.0), phi, phi.lift([0.01, 0.01])).round(4).tolist()
    [0.2714, 7.3643]
    >>> limit(ut.problems.LineTarget(-1.0, -2.0, 15.0), phi, phi.lift([1.0, 1.0]), decay=np.log(10)).round(4).tolist()
    [0.2714, 7.3643]
    """
    Objective(problem, parameterization)  # checks that the shapes fit
    equations = affine_set(problem)
    potential = implied_potential(parameterization, params, decay=decay)
    with jax.enable_x64(True):
        # The gradient of the implied potential is zero at w(0).
        return project_from_dual(equations, potential, np.zeros(equations.shape))
