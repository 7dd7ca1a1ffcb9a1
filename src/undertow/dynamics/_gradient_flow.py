"""Gradient flow, and the flow that descent with steps of a given size follows more closely."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._programs import filter_jit
from .._validation import check_choice, check_number
from ..objective import Objective
from ..parameterizations._base import Params
from ._base import tree_norm
from ._choice import SOLVERS
from ._flow import Flow
from ._numbers import as_number, as_rate, as_share, rate_at


class GradientFlow(Flow):
    r"""Gradient flow :math:`\dot u = -\nabla_u \ell(\phi(u))`, by adaptive solvers of diffrax.

    With a ``step_size`` it is the modified flow of gradient descent with steps of that size :math:`\eta`, which descent
    follows to second order in :math:`\eta` where it follows the gradient flow to first order: with
    :math:`L(u) = \ell(\phi(u))` that of :math:`L + \frac{\eta}{4} |\nabla L|^2`. With momentum too it is

    .. math:: (1 - \beta) \dot u = -\nabla \Big( L + \frac{\eta (1 + \beta)}{4 (1 - \beta)^2} |\nabla L|^2 \Big),

    and with Nesterov's, :math:`1 - \beta + 2 \beta^2` is in place of :math:`1 + \beta`: a step then adds up
    gradients by weights of mean age :math:`\beta^2 / (1 - \beta)`, instead of :math:`\beta / (1 - \beta)`.

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
        initialization is resolved, and from zero of a move that changes the loss by its own order. An entry that falls
        far below ``atol`` near a saddle and grows again is late by what is hidden there, and the run may be called
        "stalled" on the way (seen from starts of 1e-60 and below): give an ``atol`` below all that it becomes, as
        1e-100, and "explicit". For stabilized steps both count three times, since the stiff part of a path forgets its
        errors (measured: the end point of "auto" is within ``rtol`` on completion, within 12 times that on sparse
        regression; of "stabilized" from the start on, within 5 and 21 times).
    step_size
        :math:`\eta` of the descent, at least 0; left out: the gradient flow itself. Runs of a sweep over it share one
        compiled program.
    momentum
        :math:`\beta` in [0, 1) of heavy-ball descent, :math:`m \leftarrow \beta m + \nabla L`,
        :math:`u \leftarrow u - \eta m`; only with a ``step_size``, which may be 0.
    decay
        Rate of weight decay :math:`\lambda`, :math:`\dot u = -\nabla L - \lambda u`: a number of at least 0, or a
        function of the time that JAX can trace, for decay that changes or ends; not with a ``step_size``. A function is
        at least 0 at the start; where it falls below 0 later the parameters grow by it, as the equation says. Each step
        of the solver looks at 129 times; decay that begins and ends within a hundredth of a run may be missed. A rate
        that stays is also a penalty, ``OnParameters(L2(rate))``, which goes with everything.
    nesterov
        Whether the descent looks ahead, :math:`u \leftarrow u - \eta (\nabla L + \beta m)`; only with ``momentum``.

    Raises
    ------
    TypeError, ValueError
        If ``solver`` is unknown or a tolerance is not a positive number; if ``step_size``, ``momentum`` or ``decay`` is
        out of its bounds, ``momentum`` is given without ``step_size``, or ``decay`` with it; at the start of a run, if
        "implicit" is asked for with more than 400 parameters, or the curvature along the gradient is beyond what
        descent with the ``step_size`` is stable at (2 / step size; with momentum 1 + beta times that, with Nesterov's
        :math:`(1 + \beta) / (1 + 2 \beta)` times): descent swings or diverges there, and follows no flow.

    Notes
    -----
    Where a problem keeps the logarithm of its loss (``log_loss``, as for separable data, whose loss reaches zero at
    infinity only) and there is no penalty, the same flow is followed in the clock s = log(1 + t), as
    :math:`du/ds = -e^{s + \log \ell} \nabla \log \ell`: as far as ``Stop(log_time=..., log_loss=...)`` asks, and
    sampled at ``LogTimes``. All of it stays of order one, in float32 too. Margins are about the logarithm of time,
    though, whose rounding is an error of that share in the velocity: measured on three points, explicit steps in
    float32 go to a log time of some 10^4, implicit and "auto" to 10^7, with a direction exact to rounding and a
    constant beside log t that is off by 1e-2 at 10^6. Beyond 10^8 float32 cannot follow, and says so: "stalled" or
    "diverged", at the last sound parameters.

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

    With ``decay`` too the objective may rise, and ``Stop(gradient=...)`` looks at the velocity.

    With a ``step_size`` time is that of ``GradientDescent``, step size * steps. Each velocity takes a gradient and a
    product of the Hessian with it, and counts as three gradients. The objective itself may rise, and what
    ``Stop(gradient=...)`` looks at is the norm of the velocity. Descent whose m is 0 at the start gets up speed first,
    and is then on the path not from u(0) but, to second order, from
    :math:`u(0) + \frac{\eta \beta}{(1 - \beta)^2} \nabla L(u(0))` (Nesterov's: :math:`\beta^2` in place of
    :math:`\beta`): start the flow there to compare the two.
    The expansion asks for :math:`\eta` times the curvature (over :math:`1 - \beta`) to be small; near
    ``2 / step_size`` descent oscillates, which no such flow does.

    References
    ----------
    Barrett, Dherin. Implicit Gradient Regularization. ICLR 2021, equation (2).
    Ghosh, Lyu, Zhang, Wang. Implicit Regularization in Heavy-ball Momentum Accelerated Stochastic Gradient Descent.
    ICLR 2023, Theorem 4.1.
    Kovachki, Stuart. Continuous Time Analysis of Momentum Methods. JMLR 22, 2021 (both momenta; Nesterov's in this form
    derived here, by the same expansion).

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> import undertow as ut
    >>> problem, phi = ut.problems.PointTarget([1.0]), ut.parameterizations.Identity(1)
    >>> stop = ut.Stop(loss=None, time=1.0)
    >>> for flow in (GradientFlow(), GradientFlow(step_size=0.1)):  # ten steps of 0.1 end at 1 - 0.9^10 = 0.6513
    ...     print(ut.train(problem, phi, flow, params=jnp.zeros(1), stop=stop).w.round(4).tolist())
    [0.6321]
    [0.6501]
    """

    solver: str = eqx.field(static=True)
    rtol: float = eqx.field(static=True)
    atol: float | None = eqx.field(static=True)
    step_size: Float[Array, "..."] | None
    momentum: Float[Array, "..."] | None
    decay: Any
    nesterov: bool = eqx.field(static=True)

    def __init__(
        self,
        solver: str = "auto",
        rtol: float = 1e-5,
        atol: float | None = None,
        step_size: Any = None,
        momentum: Any = None,
        decay: Any = None,
        nesterov: bool = False,
    ):
        self.solver = check_choice("solver", solver, tuple(SOLVERS))
        check_number("rtol", rtol, 0, exclusive=True)
        if atol is not None:
            check_number("atol", atol, 0, exclusive=True)
        self.rtol, self.atol = rtol, atol
        if momentum is not None and step_size is None:
            raise ValueError(f"momentum: expected a step_size with it, since no flow has momentum; found {momentum}")
        self.step_size = None if step_size is None else as_number("step_size", step_size)
        self.momentum = None if momentum is None else as_share("momentum", momentum)
        if decay is not None and step_size is not None:
            raise ValueError(
                "decay: expected None with a step_size, which has to know its derivatives; a rate that stays is the "
                f"penalty OnParameters(L2(rate)); found {decay!r}"
            )
        self.decay = as_rate("decay", decay, 0.0)
        if not isinstance(nesterov, bool):
            raise TypeError(f"nesterov: expected True or False, found {nesterov!r}")
        if nesterov and momentum is None:
            raise ValueError("nesterov: expected a momentum with it, which is what looks ahead; found True alone")
        self.nesterov = nesterov

    def check(self, objective: Objective, params: Params) -> None:
        if self.step_size is None:
            return
        beta = 0.0 if self.momentum is None else float(self.momentum)
        edge = 2 * (1 + beta) / (1 + 2 * beta if self.nesterov else 1)
        curvature, step = float(_curvature(objective, params)), float(self.step_size)
        if step * curvature > edge:
            raise ValueError(
                f"step_size: expected at most {edge / curvature:.3g}, since the Hessian at the start stretches the "
                f"gradient {curvature:.3g} times, and with larger ones descent follows no flow; found {step:g}"
            )

    def field(self, objective: Objective, params: Params) -> Params:
        gradient = jax.grad(lambda params: objective(params)[0])
        if self.step_size is None:
            return jax.tree.map(jnp.negative, gradient(params))
        # Twice in reverse: sparse problems have a derivative of their own, which forward differentiation cannot enter.
        slope, pullback = jax.vjp(gradient, params)
        (bent,) = pullback(slope)
        beta = jnp.zeros(()) if self.momentum is None else self.momentum
        # Half a step, and the mean age of the gradients that a step adds up.
        age = beta**2 / (1 - beta) if self.nesterov else beta / (1 - beta)
        share = self.step_size * (1 / 2 + age) / (1 - beta)
        return jax.tree.map(lambda g, h: -(g + share.astype(g.dtype) * h) / (1 - beta).astype(g.dtype), slope, bent)

    def decay_at(self, time: Float[Array, ""]) -> Float[Array, ""] | None:
        return rate_at(self.decay, time)

    @property
    def may_begin_late(self) -> bool:
        return callable(self.decay)

    @property
    def descends(self) -> bool:
        return self.step_size is None and self.decay is None

    @property
    def scales(self) -> bool:
        return self.descends

    def gradients(self, objective: Objective) -> int:
        del objective
        return 1 if self.step_size is None else 3


@filter_jit
def _curvature(objective: Objective, params: Params) -> Float[Array, ""]:
    """How many times the gradient the Hessian makes of it: at most its largest eigenvalue in size."""
    slope, pullback = jax.vjp(jax.grad(lambda params: objective(params)[0]), params)
    (bent,) = pullback(slope)
    size = tree_norm(slope)
    return jnp.where(size > 0, tree_norm(bent) / jnp.where(size > 0, size, 1), 0)
