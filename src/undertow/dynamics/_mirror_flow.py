"""Mirror flow."""

import equinox as eqx

from ..potentials import Potential
from ._gradient_flow import GradientFlow
from ._mirror import Mirror
from ._mirror_descent import check_potential


class MirrorFlow(Mirror):
    r"""Mirror flow :math:`\frac{d}{dt} \nabla\phi(w) = -\nabla \ell(w)`, by the solvers of ``GradientFlow``.

    The gradient flow of many parameterizations as w sees it: with ``Euclidean`` that of ``Identity``, with ``Burg``
    that of ``Exponential``, with ``Entropy`` at four times the speed that of ``Power(shape, 2)``, with
    ``HyperbolicEntropy(alpha)`` at four times the speed that of ``SignedPower(shape, 2)`` from u = v = alpha.

    Parameters
    ----------
    potential
        One of ``undertow.potentials``.
    solver, rtol, atol
        As for ``GradientFlow``, of the dual: with entropies an error of the dual is a relative error of w.

    Raises
    ------
    TypeError, ValueError
        If ``potential`` is none, or as ``GradientFlow`` raises; at the start of a run, if the parameters are not
        inside the domain of the potential.

    Notes
    -----
    The dual is the state, and w is computed from it: with entropy it stays positive, and underflows to 0 only where
    exp does. What moves is what the parameterization calls its parameters (w itself with ``Identity``); the potential
    of several arrays is the sum of theirs.

    Time is that of the equation above. "stalled": over 1000 accepted steps the loss fell by less than a ten-thousandth,
    and would by no more in a million if the dual went on in the same way; or ``GradientFlow`` says so of the dual.
    "diverged": as for ``GradientFlow``.

    References
    ----------
    Gunasekar, Woodworth, Srebro. Mirrorless Mirror Descent: A Natural Derivation of Mirror Descent. AISTATS 2021.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> import undertow as ut
    >>> from undertow.potentials import Entropy
    >>> problem = ut.problems.LeastSquares([[1.0, 2.0]], [1.0])
    >>> run = ut.train(problem, ut.parameterizations.Identity(2), MirrorFlow(Entropy()), params=1e-3 * jnp.ones(2))
    >>> run.status, run.w.round(2).tolist()
    ('converged', [0.02, 0.49])
    """

    potential: Potential
    solver: str = eqx.field(static=True)
    rtol: float = eqx.field(static=True)
    atol: float | None = eqx.field(static=True)

    def __init__(self, potential: Potential, solver: str = "auto", rtol: float = 1e-5, atol: float | None = None):
        self.potential = check_potential(potential)
        self.solver, self.rtol, self.atol = solver, rtol, atol
        GradientFlow(solver, rtol, atol)  # checks them

    @property
    def inner(self) -> GradientFlow:
        return GradientFlow(self.solver, self.rtol, self.atol)
