"""The flow that Adam follows."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._programs import filter_jit
from ..objective import Objective
from ..parameterizations._base import Params
from ._base import tree_norm
from ._flow import Flow
from ._gradient_flow import GradientFlow
from ._numbers import as_number, as_share


class AdamFlow(Flow):
    r"""The modified flow of Adam, of second order in its step size :math:`\eta`.

    With the gradient g and the Hessian H of the objective, entry by entry :math:`s = |g| + \epsilon` and
    :math:`d = -g / s`, the flow of signs that Adam tends to as :math:`\eta \to 0`,

    .. math:: \dot u = d + \eta \left( \frac{\beta_1}{(1 - \beta_1) s} - \frac{\beta_2 |g|}{(1 - \beta_2) s^2}
              + \frac{\epsilon}{2 s^2} \right) H d.

    The three terms: the average of gradients looks back, that of squares looks back, and steps are finite. Where
    :math:`|g|` is far above :math:`\epsilon` what is added is :math:`\eta H d / |g|` times
    :math:`\beta_1 / (1 - \beta_1) - \beta_2 / (1 - \beta_2)`: with :math:`\beta_2 > \beta_1` up the gradient of the l1
    norm of g, each entry over :math:`|g|`, and with :math:`\beta_2 < \beta_1` down, as in plain descent.

    Parameters
    ----------
    step_size
        :math:`\eta`, at least 0; 0: the flow of signs.
    b1, b2
        :math:`\beta_1` and :math:`\beta_2` in [0, 1).
    eps
        :math:`\epsilon`, outside of the root, above 0.
    solver, rtol, atol
        As for ``GradientFlow``.

    Raises
    ------
    TypeError, ValueError
        If a number is out of its bounds, or as ``GradientFlow`` raises; at the start of a run, if what is added there
        is larger than the flow of signs: the expansion says nothing then.

    Notes
    -----
    Time is that of ``GradientDescent``, step size * steps. Adam with its bias correction (optax's ``adam``, with these
    names) starts on the path at once. The expansion holds while the gradient changes little in
    :math:`1 / (1 - \beta_2)` steps. It ends where an entry of the gradient passes zero or falls to the size of
    its change in that many steps: there Adam goes on by the memory of larger ones, as the study ``backward-error``
    shows. Each velocity takes a gradient and a product with the Hessian, and counts as three gradients. The
    objective may rise. What ``Stop(gradient=...)`` looks at is the norm of the velocity.

    References
    ----------
    Cattaneo, Klusowski, Shigida. On the Implicit Bias of Adam. ICML 2024 (the correction after the first steps; with
    this place of :math:`\epsilon` derived here).

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> import undertow as ut
    >>> problem, phi = ut.problems.PointTarget([1.0]), ut.parameterizations.Identity(1)
    >>> flow, stop = AdamFlow(0.01, b1=0.5, b2=0.5), ut.Stop(loss=None, time=0.5)
    >>> ut.train(problem, phi, flow, params=jnp.zeros(1), stop=stop).w.round(4).tolist()
    [0.5]
    """

    step_size: Float[Array, "..."]
    b1: Float[Array, "..."]
    b2: Float[Array, "..."]
    eps: Float[Array, "..."]
    solver: str = eqx.field(static=True)
    rtol: float = eqx.field(static=True)
    atol: float | None = eqx.field(static=True)

    def __init__(
        self,
        step_size: Any,
        b1: Any = 0.9,
        b2: Any = 0.999,
        eps: Any = 1e-8,
        solver: str = "auto",
        rtol: float = 1e-5,
        atol: float | None = None,
    ):
        self.step_size = as_number("step_size", step_size)
        self.b1, self.b2 = as_share("b1", b1), as_share("b2", b2)
        self.eps = as_number("eps", eps, exclusive=True)
        self.solver, self.rtol, self.atol = solver, rtol, atol
        GradientFlow(solver, rtol, atol)  # checks them

    def check(self, objective: Objective, params: Params) -> None:
        share = float(_share(self, objective, params))
        if share > 1:
            raise ValueError(
                "step_size: expected one with which the averages of Adam add less to the flow of signs than it is "
                f"itself, beyond which the flow says nothing of Adam; found {float(self.step_size):g}, with which they "
                f"add {share:.2g} times as much at the start; take a smaller one, or b2 nearer to b1"
            )

    def field(self, objective: Objective, params: Params) -> Params:
        return jax.tree.map(jnp.add, *self.terms(objective, params))

    def terms(self, objective: Objective, params: Params) -> tuple[Params, Params]:
        """The flow of signs, and what is added to it."""
        slope, pullback = jax.vjp(jax.grad(lambda params: objective(params)[0]), params)
        ahead, behind = self.b1 / (1 - self.b1), self.b2 / (1 - self.b2)

        def leading(g: Array) -> Array:
            return -g / (jnp.abs(g) + self.eps.astype(g.dtype))

        def added(g: Array, bent: Array) -> Array:
            eps, size = self.eps.astype(g.dtype), jnp.abs(g)
            s = size + eps
            # Ratios first: squares of a small s leave the range of numbers.
            share = ahead.astype(g.dtype) - behind.astype(g.dtype) * (size / s) + (eps / s) / 2
            return self.step_size.astype(g.dtype) * share * bent / s

        signs = jax.tree.map(leading, slope)
        (bent,) = pullback(signs)
        return signs, jax.tree.map(added, slope, bent)

    @property
    def descends(self) -> bool:
        return False

    def gradients(self, objective: Objective) -> int:
        del objective
        return 3


@filter_jit
def _share(flow: AdamFlow, objective: Objective, params: Params) -> Float[Array, ""]:
    """How large what is added is beside the flow of signs; NaN where nothing moves."""
    signs, added = flow.terms(objective, params)
    return tree_norm(added) / tree_norm(signs)
