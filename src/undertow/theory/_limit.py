"""Where gradient flow ends, predicted without running it."""

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


def limit(problem: Problem, parameterization: Parameterization, params: Params) -> Float[np.ndarray, "..."]:
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

    Returns
    -------
    w of the shape of the problem, NumPy float64.

    Raises
    ------
    TypeError, ValueError
        If the points of zero error of the problem are not known to be an affine set, or shapes do not fit; if an
        entry of w cannot move from ``params``.
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

    Examples
    --------
    >>> import undertow as ut
    >>> phi = ut.parameterizations.Power(2, depth=2)
    >>> limit(ut.problems.LineTarget(-1.0, -2.0, 15.0), phi, phi.lift([0.01, 0.01])).round(4).tolist()
    [0.2714, 7.3643]
    """
    Objective(problem, parameterization)  # checks that the shapes fit
    equations = affine_set(problem)
    potential = implied_potential(parameterization, params)
    with jax.enable_x64(True):
        # The gradient of the implied potential is zero at w(0).
        return project_from_dual(equations, potential, np.zeros(equations.shape))
