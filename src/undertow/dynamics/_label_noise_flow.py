"""The slow flow of descent with label noise, along the manifold of fits."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from .._programs import filter_jit
from ..objective import Objective
from ..parameterizations._base import Params
from ._flow import Flow
from ._gradient_flow import GradientFlow

ATTRACTION = 10.0
"""How much faster errors of the fit fall than the trace of the Hessian moves the parameters."""


class LabelNoiseFlow(Flow):
    r"""The flow of the trace of the Hessian on the manifold of fits, which descent with label noise follows.

    Once the fit is exact, noise in the labels shakes descent across the manifold of fits, and over many more steps it
    drifts along it, to where the loss is flatter:

    .. math:: \dot u = -P(u)\, \nabla \operatorname{tr} \nabla^2 L(u), \qquad L(u) = \ell(\phi(u)) = \frac12 |r(u)|^2,

    with P(u) the projection onto the tangent space of :math:`\{r = 0\}`, on which the trace is :math:`|J|^2` with J the
    Jacobian of r. For :math:`w = u^2 - v^2` and :math:`\ell = \frac{1}{2n} |X w - y|^2` it goes to the smallest
    :math:`\sum_j |X_j|^2 |w_j|`, with :math:`X_j` the columns, from any start (``theory.label_noise_limit``).

    Parameters
    ----------
    solver, rtol, atol
        As for ``GradientFlow``.

    Raises
    ------
    TypeError, ValueError
        As ``GradientFlow`` raises; at the start of a run, if the problem does not say what its residuals are
        (``Problem.residuals``), there are more of them than parameters or some follow from others (rows that repeat,
        or parameters that are zero), or there is a penalty.

    Notes
    -----
    Time is that of the equation. Gradient descent of rate :math:`\eta` whose labels have noise of standard deviation
    :math:`\sigma` (``GradientDescent(label_noise=...)``) takes :math:`\eta^2 \sigma^2 / (4 B)` of it a step with
    batches of B rows and the loss above, all n of them included, as :math:`\eta \to 0`.

    The flow starts where you are: first fit, by ``GradientFlow``. What is left of a residual falls on the way,
    :math:`\dot r = -\kappa r`, which keeps the path on the manifold too; :math:`\kappa` is ten times the size of the
    gradient of the trace over that of the parameters. The velocity is a QR decomposition of the Jacobian, formed
    as a dense matrix: residuals times parameters. It counts as three gradients for each residual.

    A fit stays one, so that ``Stop(loss=...)`` ends a run before it begins: give ``Stop(loss=None, ...)`` with a time
    or ``gradient``, which here looks at the norm of the velocity.

    References
    ----------
    Blanc, Gupta, Valiant, Valiant. Implicit Regularization for Deep Neural Networks Driven by an Ornstein-Uhlenbeck
    Like Process. COLT 2020.
    Damian, Ma, Lee. Label Noise SGD Provably Prefers Flat Global Minimizers. NeurIPS 2021.
    Li, Wang, Arora. What Happens after SGD Reaches Zero Loss? A Mathematical Framework. ICLR 2022, corollary 5.2.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> import undertow as ut
    >>> problem, phi = ut.problems.LeastSquares([[1.0, 2.0]], [2.0]), ut.parameterizations.Power(2, 2)
    >>> fitted = jnp.sqrt(jnp.array([1.0, 0.5]))
    >>> stop = ut.Stop(loss=None, time=0.2)
    >>> ut.train(problem, phi, LabelNoiseFlow(), params=fitted, stop=stop).w.round(1).tolist()
    [2.0, 0.0]
    """

    solver: str = eqx.field(static=True)
    rtol: float = eqx.field(static=True)
    atol: float | None = eqx.field(static=True)

    def __init__(self, solver: str = "auto", rtol: float = 1e-5, atol: float | None = None):
        self.solver, self.rtol, self.atol = solver, rtol, atol
        GradientFlow(solver, rtol, atol)  # checks them

    def check(self, objective: Objective, params: Params) -> None:
        name = type(objective.problem).__name__
        residuals = jax.eval_shape(lambda p: _residuals(objective, p), params)
        if residuals is None:
            raise ValueError(
                f"problem: expected one whose loss is half a sum of squares and that says of what (Problem.residuals), "
                f"found {name}"
            )
        size = sum(x.size for x in jax.tree.leaves(params))
        if residuals.size > size:
            raise ValueError(
                f"problem: expected at most as many residuals as the {size} parameters, found {residuals.size} of "
                f"{name}; fits are then no manifold to move on"
            )
        if objective.penalty is not None:
            raise ValueError("penalty: expected None, since a penalized loss is not zero on any manifold; found one")
        slopes = np.asarray(_jacobian(objective, params))
        rank = int(np.linalg.matrix_rank(slopes)) if np.isfinite(slopes).all() else len(slopes)
        if rank < len(slopes):
            raise ValueError(
                f"params: expected a start at which the {len(slopes)} residuals of {name} can all change, found that "
                f"{rank} of them say how the rest do; leave out equations that repeat others, and start away from "
                "parameters that are zero"
            )

    def field(self, objective: Objective, params: Params) -> Params:
        flat, unravel = ravel_pytree(params)

        def residuals(x: Float[Array, " n"]) -> Any:
            return _residuals(objective, unravel(x))

        def jacobian(x: Float[Array, " n"]) -> Float[Array, "m n"]:
            return jax.jacrev(residuals)(x)

        # Off the manifold this is the trace but for what the residuals add, whose gradient on it is normal to it.
        uphill = jax.grad(lambda x: jnp.sum(jacobian(x) ** 2))(flat)
        Q, R = jnp.linalg.qr(jacobian(flat).T)
        along = uphill - Q @ (Q.T @ uphill)
        back = Q @ jax.scipy.linalg.solve_triangular(R.T, residuals(flat), lower=True)
        size = jnp.linalg.norm(flat)
        pace = ATTRACTION * jnp.linalg.norm(uphill) / jnp.where(size > 0, size, 1)
        return unravel(-along - pace * back)

    @property
    def descends(self) -> bool:
        return False

    def gradients(self, objective: Objective) -> int:
        w = jax.ShapeDtypeStruct(objective.problem.shape, jnp.result_type(float))
        residuals: Any = jax.eval_shape(objective.problem.residuals, w)
        return 3 * residuals.size


def _residuals(objective: Objective, params: Params) -> Any:
    return objective.problem.residuals(objective.parameterization(params))


@filter_jit
def _jacobian(objective: Objective, params: Params) -> Float[Array, "m n"]:
    flat, unravel = ravel_pytree(params)
    return jax.jacrev(lambda x: _residuals(objective, unravel(x)))(flat)
