"""The potential that a parameterization implies, without a formula by hand."""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from .._programs import filter_jit
from ..objective import check_params
from ..parameterizations import Parameterization
from ..parameterizations._base import Params
from ..potentials import Potential
from ._curves import VectorMap, along, duals, pushed, towards
from ._decay import check_decay, decayed
from ._structure import check_fields_commute, is_entrywise


class ImpliedPotential(Potential):
    r"""The potential R that gradient flow from given parameters descends by, as ``implied_potential`` finds it.

    :math:`R(w)` is the divergence of w from the w(0) of the parameters: zero there, with gradient zero. Every call
    solves an ordinary differential equation, to 12 digits a step in float64 and to 5 in float32. Values and gradients
    are NaN outside of the domain and on its edge, and so is what ``inverse_gradient`` gives for a dual that is no
    gradient: where the domain ends is not known beforehand.
    """

    parameterization: Parameterization
    params: Params
    entrywise: bool = eqx.field(static=True)

    @property
    def domain(self) -> str:
        return f"what gradient flow of {type(self.parameterization).__name__} can reach from the given parameters"

    @property
    def acts_entrywise(self) -> bool:
        return self.entrywise

    def __call__(self, w: Float[Array, "..."]) -> Float[Array, ""]:
        return _value(w, potential=self)

    def gradient(self, w: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        return _gradient(w, potential=self)

    def inverse_gradient(self, dual: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        return _point(dual, potential=self)

    def contains(self, w: Float[Array, "..."]) -> Bool[Array, ""]:
        return jnp.all(jnp.isfinite(self.gradient(w)))

    def divergence(self, x: Float[Array, "*shape"], z: Float[Array, "*shape"]) -> Float[Array, ""]:
        # The potential of the parameters at z is the divergence from z: nothing cancels.
        phi, p = self._map(z)
        there, _, _ = towards(phi, p, z.ravel(), self.entrywise)
        return ImpliedPotential(self.parameterization, phi.tree(there), self.entrywise)(x)

    def counted_from(self, dual: Float[Array, "*shape"]) -> "ImpliedPotential":
        """The same potential, but for a linear function: zero with gradient zero at the w of this dual."""
        phi, p = self._map(dual)
        return ImpliedPotential(
            self.parameterization, phi.tree(along(phi, p, dual.ravel(), self.entrywise)), self.entrywise
        )

    def _map(self, w: Float[Array, "..."]) -> tuple[VectorMap, Float[Array, " k"]]:
        if w.shape != self.parameterization.shape:
            raise ValueError(
                f"w: expected the shape of the parameterization, {self.parameterization.shape}, found {w.shape}"
            )
        phi = VectorMap(self.parameterization, self.params)
        return phi, phi.vector(w.dtype)


@eqx.filter_custom_jvp
def _point(dual: Array, *, potential: ImpliedPotential) -> Array:
    phi, p = potential._map(dual)
    return phi(along(phi, p, dual.ravel(), potential.entrywise)).reshape(dual.shape)


@_point.def_jvp
def _point_jvp(primals: Any, tangents: Any, *, potential: ImpliedPotential) -> tuple[Array, Array]:
    (dual,), (step,) = primals, tangents
    phi, p = potential._map(dual)
    p = along(phi, p, dual.ravel(), potential.entrywise)
    step = jnp.zeros_like(dual) if step is None else step
    return phi(p).reshape(dual.shape), pushed(phi, p, step.ravel()).reshape(dual.shape)


@eqx.filter_custom_jvp
def _gradient(w: Array, *, potential: ImpliedPotential) -> Array:
    phi, p = potential._map(w)
    return towards(phi, p, w.ravel(), potential.entrywise)[1].reshape(w.shape)


@_gradient.def_jvp
def _gradient_jvp(primals: Any, tangents: Any, *, potential: ImpliedPotential) -> tuple[Array, Array]:
    (w,), (step,) = primals, tangents
    phi, p = potential._map(w)
    p, z, _ = towards(phi, p, w.ravel(), potential.entrywise)
    step = jnp.zeros_like(w) if step is None else step
    return z.reshape(w.shape), duals(phi, p, step.ravel(), potential.entrywise).reshape(w.shape)


@eqx.filter_custom_jvp
def _value(w: Array, *, potential: ImpliedPotential) -> Array:
    phi, p = potential._map(w)
    return towards(phi, p, w.ravel(), potential.entrywise)[2]


@_value.def_jvp
def _value_jvp(primals: Any, tangents: Any, *, potential: ImpliedPotential) -> tuple[Array, Array]:
    (w,), (step,) = primals, tangents
    step = jnp.zeros_like(w) if step is None else step
    return _value(w, potential=potential), jnp.vdot(_gradient(w, potential=potential), step)


def implied_potential(parameterization: Parameterization, params: Params, *, decay: Any = 0.0) -> ImpliedPotential:
    r"""The potential R whose mirror flow is gradient flow from ``params``: what the parameterization regularizes.

    .. math:: \frac{d}{dt} \nabla R(w) = -\nabla \ell(w)

    Among the w of zero error the flow ends at the one where R is smallest (``limit``). Found without a formula by
    hand: the dual :math:`z = -\int \nabla\ell\,dt` moves the parameters by :math:`dp = J^T dz`, along the gradients of
    the entries of w.

    - Entrywise maps (every parameter moves one entry): :math:`p_i(z_i)` is a curve, and
      :math:`R'(w_i) = z_i`; with one parameter for each entry, :math:`R''(w) = 1 / f'(u)^2`. With several, the curve
      depends on where they start: :math:`u^2 - v^2` implies the hyperbolic entropy of :math:`b = 2 u(0) v(0)`.
    - Other maps: R exists where the gradients of all entries commute as vector fields; then
      :math:`\nabla^2 R = (J J^T)^{-1}`. Whether they do is measured, at ``params`` and at points that the flow may
      reach from there, to eight digits.

    Whether a map is entrywise is read off its Jacobian at random points.

    Weight decay moves the potential, and is gone when it is over: where the parameters shrink at a rate
    :math:`\lambda(t)` beside the flow (``penalties.OnParameters(penalties.L2(...))``) until
    :math:`\Lambda = \int \lambda\,dt`, R is from then on that of a start at :math:`e^{-\Lambda}` params. It is
    exact, whatever happens meanwhile, for maps that are homogeneous, :math:`w(c p) = c^L w(p)`: for
    :math:`u^2 - v^2` the b of the hyperbolic entropy becomes :math:`e^{-2\Lambda} b`. With p the parameters and
    :math:`q = e^{\Lambda} p`, :math:`\dot q = -e^{(2 - L) \Lambda} J(q)^T \nabla\ell`: the same curves, by another
    clock.

    Parameters
    ----------
    parameterization
        How w is written.
    params
        Where the flow starts: R is the potential on what it can reach. No flow passes a point where an entry has no
        gradient (:math:`f'(u) = 0`): there ends the domain.
    decay
        :math:`\Lambda`, the integral of the rate of weight decay over time, at least 0; the same rate for all
        parameters. For decay above 0, w has to be homogeneous in the parameters, of one degree in all entries, which is
        measured (Euler's identity, to eight digits): powers, products and their differences, not the exponential.

    Returns
    -------
    An ``undertow.potentials.Potential``, zero with gradient zero at w(0) (with decay at the w of
    :math:`e^{-\Lambda}` params), in the clock of gradient flow on the parameters: the square map
    implies entropy / 4. Goes through ``jit``, ``vmap`` and ``grad``. To 1e-10 where w is well determined by the
    parameters, in float64.

    Raises
    ------
    TypeError, ValueError
        If ``params`` do not fit, or an entry of w (or a combination of entries) cannot move from there;
        if ``decay`` is not a finite number of at least 0, or not 0 for a map that is not homogeneous.
    NotAMirrorFlow
        If two gradients do not commute. The condition is sufficient for a potential, and necessary for one potential
        to serve every start in a region; a single start might have one without.

    References
    ----------
    Li, Wang, Lee, Arora. Implicit Bias of Gradient Descent on Reparametrized Models: On Equivalence to Mirror Descent.
    NeurIPS 2022, Theorem 4.9 (commuting parametrizations).
    Woodworth et al. Kernel and Rich Regimes in Overparametrized Models. COLT 2020, Theorem 1.
    Jacobs, Burkholz. Mask in the Mirror: Implicit Sparsification. ICLR 2025 (decay of products of two factors; for any
    degree derived here).

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> import undertow as ut
    >>> square = ut.parameterizations.Power(1, depth=2)
    >>> R = implied_potential(square, jnp.ones(1))
    >>> round(float(R.gradient(jnp.array([jnp.e]))[0]), 4)  # log(w) / 4
    0.25
    >>> R = implied_potential(square, jnp.ones(1), decay=0.5)
    >>> round(float(R.gradient(jnp.array([jnp.e]))[0]), 4)  # log(w / e^-1) / 4
    0.5
    """
    decay = check_decay(decay)
    if not isinstance(parameterization, Parameterization):
        found = type(parameterization).__name__
        raise TypeError(f"parameterization: expected an undertow.parameterizations.Parameterization, found {found}")
    with jax.enable_x64(True):
        params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), check_params(parameterization, params))
        phi = VectorMap(parameterization, params)
        params = decayed(phi, params, decay)
        phi = VectorMap(parameterization, params)
        p = phi.vector(jnp.float64)
        entrywise = is_entrywise(phi, p, math.prod(parameterization.shape))
        if not entrywise:
            check_fields_commute(phi, p, parameterization.shape)
        _check_moving(phi, p, parameterization.shape, entrywise)
        return ImpliedPotential(parameterization, params, entrywise)


def _check_moving(phi: VectorMap, p: Float[Array, " k"], shape: tuple[int, ...], entrywise: bool) -> None:
    """Raise ValueError where w cannot take every direction from p."""
    speeds = np.asarray(_squared_speeds(phi, p, entrywise))
    bad = np.flatnonzero(~(np.isfinite(speeds) & (speeds > 0 if entrywise else speeds > 1e-12 * speeds.max())))
    if not bad.size:
        return
    if entrywise:
        where = tuple(int(i) for i in np.unravel_index(bad[0], shape))
        raise ValueError(
            f"params: expected a point from which every entry of w can move, found that of {where} with a gradient of "
            f"norm {np.sqrt(speeds[bad[0]]):g}; it stays where it is, or is not defined there"
        )
    raise ValueError(
        f"params: expected a point from which w can move in all {speeds.size} directions, found {bad.size} in which "
        "it cannot: w is confined to a surface, and a potential is implied on that surface at most"
    )


@filter_jit
def _squared_speeds(phi: VectorMap, p: Float[Array, " k"], entrywise: bool) -> Float[Array, " d"]:
    """How fast w follows its dual: the diagonal of :math:`J J^T` for entrywise maps, else its eigenvalues."""
    if entrywise:
        return pushed(phi, p, jnp.ones_like(phi(p)))
    jacobian = jax.jacrev(phi)(p)
    return jnp.linalg.eigvalsh(jacobian @ jacobian.T)
