"""Mirror descent."""

from typing import Any

import jax.numpy as jnp

from .._validation import check_number
from ..optimizers import make
from ..potentials import Potential
from ._gradient_descent import GradientDescent
from ._mirror import Mirror


class MirrorDescent(Mirror):
    r"""Discrete mirror descent :math:`\nabla\phi(w^+) = \nabla\phi(w) - \eta \nabla \ell(w)`.

    With ``Euclidean`` gradient descent, with ``Entropy`` exponentiated gradient. On underdetermined least squares it
    ends at the exact fit of smallest Bregman divergence from w(0), whatever the step sizes.

    Parameters
    ----------
    potential
        One of ``undertow.potentials``.
    step_size
        :math:`\eta`: a positive number, or an optax schedule (a function of the number of steps). Runs of a sweep over
        numbers share one compiled program. The loss falls at every step if it is at most 1 / M, where M phi minus the
        loss is convex; whether it is, is the caller's care.

    Raises
    ------
    TypeError, ValueError
        If ``potential`` is none or ``step_size`` is not a positive number or a function; at the start of a run, if the
        parameters are not inside the domain of the potential.

    Notes
    -----
    The dual is the state, and w is computed from it: with entropy it stays positive, and underflows to 0 only where
    exp does. What moves is what the parameterization calls its parameters (w itself with ``Identity``); the potential
    of several arrays is the sum of theirs.

    Time is step_size * steps (with a schedule the number of steps). "stalled": over 1000 steps the loss fell by less
    than a ten-thousandth, and would by no more in a million if the dual went on in the same way; or 1000 updates in a
    row were lost in the rounding of the dual. "diverged": as for ``GradientDescent``.

    References
    ----------
    Nemirovski, Yudin. Problem Complexity and Method Efficiency in Optimization. Wiley 1983.
    Gunasekar, Lee, Soudry, Srebro. Characterizing Implicit Bias in Terms of Optimization Geometry. ICML 2018,
    Theorem 1.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> import undertow as ut
    >>> from undertow.potentials import Entropy
    >>> problem = ut.problems.LeastSquares([[1.0, 2.0]], [1.0])
    >>> run = ut.train(
    ...     problem,
    ...     ut.parameterizations.Identity(2),
    ...     MirrorDescent(Entropy(), 0.1),
    ...     params=1e-3 * jnp.ones(2),
    ... )
    >>> run.status, run.w.round(2).tolist()
    ('converged', [0.02, 0.49])
    """

    potential: Potential
    step_size: Any

    def __init__(self, potential: Potential, step_size: Any):
        self.potential = check_potential(potential)
        if not callable(step_size):
            check_number("step_size", step_size, 0, exclusive=True)
            step_size = jnp.asarray(step_size, dtype=jnp.result_type(float))
        self.step_size = step_size

    @property
    def inner(self) -> GradientDescent:
        return GradientDescent(make("sgd", self.step_size))


def check_potential(potential: Any) -> Potential:
    """``potential`` if it is one."""
    if not isinstance(potential, Potential):
        raise TypeError(f"potential: expected an undertow.potentials.Potential, found {potential!r}")
    return potential
