"""Where descent on a diagonal network ends, whatever the sizes of its steps and the rows they look at."""

from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from .._validation import Numbers, check_array
from ..objective import Objective
from ..parameterizations import Parameterization, SignedPower
from ..parameterizations._base import Params
from ..potentials import HyperbolicEntropy
from ..problems import Problem
from ._bregman_projection import bregman_projection


def discrete_limit(
    problem: Problem, parameterization: Parameterization, params: Params, gradients: Numbers, step_size: Any
) -> Float[np.ndarray, "..."]:
    r"""Where (stochastic) gradient descent on :math:`w = u^2 - v^2` ends, from the gradients that it saw.

    A step multiplies u by :math:`1 - x` and v by :math:`1 + x`, with :math:`x = 2 \eta_k g_k` and :math:`g_k` the
    gradient in w. The sum of all x is in the row space of A, and what else the factors make of the start is

    .. math:: a = u_0^2\, e^{-\sum_k q(x_k)}, \quad c = v_0^2\, e^{-\sum_k q(-x_k)}, \quad q(x) = -2 x - \ln (1 - x)^2.

    So the end is the Bregman projection on :math:`\{A w = b\}` of :math:`a - c` in the hyperbolic entropy of scale
    :math:`2 \sqrt{a c}`: that of the gradient flow from another start. All of what steps and their noise do is in
    a and c; small steps leave both as they were, since :math:`q(x) = x^2 + O(x^3)`.

    The gradients are those of a run and are not computed here: nothing is trained. What is predicted is the end, by the
    optimality of a convex program, from the sum of q over the run, which says nothing of where it went. A prediction
    before the run it is not; it says which bias the steps of that run amount to.

    Parameters
    ----------
    problem
        One whose points of zero error are an affine set: it has ``equations``.
    parameterization
        ``SignedPower`` of depth 2.
    params
        (u, v) at the start, none of it zero.
    gradients
        Of the loss in w, a row for each step, at the w before it and of the rows that it looked at
        (``GradientDescent.batches``): (steps, d).
    step_size
        :math:`\eta`: a number, or one for each step.

    Returns
    -------
    w of the shape of the problem, NumPy float64.

    Raises
    ------
    TypeError, ValueError
        If shapes do not fit, the parameterization is another, a number is not finite, or a step took an entry
        of u or v to zero, from where it does not come back.
    Infeasible, Unsolved
        As ``bregman_projection``.

    References
    ----------
    Even, Pesme, Gunasekar, Flammarion. (S)GD over Diagonal Linear Networks: Implicit Regularisation, Large Stepsizes
    and Edge of Stability. NeurIPS 2023, Theorem 1.

    Examples
    --------
    >>> import numpy as np
    >>> import undertow as ut
    >>> problem, phi = ut.problems.LineTarget(-1.0, -2.0, 15.0), ut.parameterizations.SignedPower(2, 2)
    >>> start = np.full(2, 0.1), np.full(2, 0.1)
    >>> ut.theory.discrete_limit(problem, phi, start, np.zeros((0, 2)), 0.1).round(4).tolist()  # that of the flow
    [0.271, 7.3645]
    """
    Objective(problem, parameterization)  # checks that the shapes fit
    if not isinstance(parameterization, SignedPower) or parameterization.depth != 2:
        raise ValueError(f"parameterization: expected SignedPower of depth 2, found {parameterization!r}")
    with jax.enable_x64(True):
        u, v = (np.asarray(check_array("params", x), np.float64) for x in params)
        steps = np.asarray(check_array("gradients", gradients), np.float64)
        sizes = np.asarray(check_array("step_size", step_size), np.float64)
    if u.shape != problem.shape or v.shape != problem.shape or steps.shape[1:] != problem.shape:
        raise ValueError(
            f"gradients: expected shape (steps, {', '.join(map(str, problem.shape))}) with u and v of shape "
            f"{problem.shape}, found {steps.shape} with {u.shape} and {v.shape}"
        )
    if sizes.shape not in ((), steps.shape[:1]):
        raise ValueError(f"step_size: expected a number, or one for each of {len(steps)} steps, found {sizes.shape}")
    if np.any(sizes < 0):
        raise ValueError(f"step_size: expected numbers of at least 0, found {sizes.min():g}")
    x = 2 * steps * (sizes if sizes.ndim == 0 else sizes.reshape(-1, *[1] * (steps.ndim - 1)))
    if np.any(u == 0) or np.any(v == 0) or np.any(np.abs(x) == 1):
        raise ValueError("params: expected u and v that are nowhere zero, and that no step takes there; found a zero")
    plus, minus = (s**2 * np.exp(-np.sum(_q(y), axis=0)) for s, y in ((u, x), (v, -x)))
    return bregman_projection(problem, HyperbolicEntropy(b=2 * np.sqrt(plus * minus)), plus - minus)


def _q(x: Float[np.ndarray, "steps ..."]) -> Float[np.ndarray, "steps ..."]:
    return -2 * x - 2 * np.log(np.abs(1 - x))
