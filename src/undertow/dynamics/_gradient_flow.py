"""Gradient flow."""

import equinox as eqx
import jax
import jax.numpy as jnp

from .._validation import check_choice, check_number
from ..objective import Objective
from ..parameterizations._base import Params
from ._choice import SOLVERS
from ._flow import Flow


class GradientFlow(Flow):
    r"""Gradient flow :math:`\dot u = -\nabla_u \ell(\phi(u))`, by adaptive solvers of diffrax.

    Parameters
    ----------
    solver
        "explicit" (Tsitouras 5(4)), "stabilized" (Runge-Kutta-Chebyshev 2, explicit, with as many stages as stability
        asks for), "implicit" (Kvaerno 5(4), L-stable, with the dense Hessian), or "auto": explicit until stability and
        not accuracy holds the steps back, then stabilized, and implicit where that takes longer than the linear
        algebra of an implicit step; back when it no longer pays. With more than 400 parameters "auto" is never
        implicit.
    rtol, atol
        Tolerances of the local error, relative and absolute, as a root mean square over the parameters. The default
        ``atol`` is ``rtol`` / 1000 times the root-mean-square size of the initial parameters, so that a small
        initialization is resolved, and from zero of a move that changes the loss by its own order. For stabilized steps
        both count three times, since the stiff part of a path forgets its errors (measured: the end point of "auto" is
        within ``rtol`` on completion, within 12 times that on sparse regression; of "stabilized" from the start on,
        within 5 and 21 times).

    Raises
    ------
    TypeError, ValueError
        If ``solver`` is unknown or a tolerance is not a positive number; at the start of a run, if "implicit" is asked
        for with more than 400 parameters.

    Notes
    -----
    Where a problem keeps the logarithm of its loss (``log_loss``, as for separable data, whose loss reaches zero at
    infinity only) and there is no penalty, the same flow is followed in the clock s = log(1 + t), as
    :math:`du/ds = -e^{s + \log \ell} \nabla \log \ell`: as far as ``Stop(log_time=..., log_loss=...)`` asks, and
    sampled at ``LogTimes``. All of it stays of order one, in float32 too.

    A step that raises the objective is never accepted, but for rounding, since no gradient flow does that. A run that
    stops at a loss lands on it: its last step is shortened until the loss is at most 0.1% below.
    ``gradient_evaluations`` is exact for explicit and stabilized steps, with what estimates the spectral radius; an
    implicit step counts as 24 for each parameter (12 Hessians: two in each of its six stages, which is about what its
    root finding takes).

    "stalled": the gradient is exactly zero; or over 256 accepted steps, in which time has at least doubled, the
    parameters moved less than the tolerance, no entry grew by a hundredth of its size, the way was not half as long
    again as in the 256 steps before, and the loss fell by less than a ten-thousandth; or only steps that are lost in
    rounding would be accepted. "diverged": the same, and what is beyond them is not finite, as where a solution leaves
    its domain; or the objective has fallen to -10^12 times its start (or 1). The parameters are the last sound ones.

    Examples
    --------
    >>> GradientFlow().solver
    'auto'
    """

    solver: str = eqx.field(static=True, default="auto")
    rtol: float = eqx.field(static=True, default=1e-5)
    atol: float | None = eqx.field(static=True, default=None)

    def __check_init__(self) -> None:
        check_choice("solver", self.solver, tuple(SOLVERS))
        check_number("rtol", self.rtol, 0, exclusive=True)
        if self.atol is not None:
            check_number("atol", self.atol, 0, exclusive=True)

    def field(self, objective: Objective, params: Params) -> Params:
        return jax.tree.map(jnp.negative, jax.grad(lambda params: objective(params)[0])(params))

    @property
    def descends(self) -> bool:
        return True

    @property
    def scales(self) -> bool:
        return True
