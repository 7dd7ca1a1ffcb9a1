"""
The primer: one loss, four ways to write two weights
====================================================

The same loss on the same two weights, written in four ways. What training moves is u; what one looks at is w. The
parameterization alone decides which way w takes, and at which of many perfect fits it ends.
"""

import jax
import jax.numpy as jnp
import numpy as np

import undertow as ut
from undertow import plotting

line = ut.problems.LineTarget(-1.0, -2.0, 15.0)  # zero error where w1 + 2 w2 = 15
maps = {
    "identity": ut.parameterizations.Identity(2),
    "deep 2": ut.parameterizations.Power(2, depth=2),
    "exponential": ut.parameterizations.Exponential(2),
    "anti-deep 0.5": ut.parameterizations.Power(2, depth=0.5),
}

# %%
# The field
# ---------
# Training u moves w along :math:`\dot w = -J J^T \nabla \ell(w)` with :math:`J = dw/du`. ``undertow.velocity`` computes
# it by automatic differentiation, for these maps and for any other.

phi = maps["deep 2"]
w = jnp.array([3.0, 1.0])
print("dw/dt:", ut.velocity(line, phi, phi.lift(w)))
print("by hand, 4 w times the negative gradient:", 4 * w * jnp.array([1.0, 2.0]) * (15 - 3 - 2) / 5)

# %%
# The paths
# ---------
# ``lift`` gives parameters for a w, so that all four start at the same point.

starts = [(0.3, 0.3), (0.5, 5.0), (9.0, 1.0), (9.0, 9.0)]


def path(phi, start):
    """Where w goes from here."""
    watched = ut.probes.Function("w", lambda w: w)
    flow = ut.dynamics.GradientFlow()
    return ut.train(line, phi, flow, params=phi.lift(start), probes=[watched], stop=ut.Stop(loss=1e-8))["w"]


centers = np.arange(0.5, 10.0)
grid = jnp.stack(jnp.meshgrid(centers, centers), axis=-1)

with plotting.figure(2, 2, width=9.0, height=9.4, sharex=True, sharey=True) as (figure, panels):
    for ax, (name, phi) in zip(panels.flat, maps.items(), strict=True):
        field = jax.vmap(jax.vmap(lambda w, phi=phi: ut.velocity(line, phi, phi.lift(w))))(grid)
        plotting.stream(ax, centers, centers, field, color=plotting.color_of("muted"), density=1.2)
        ax.plot([0, 10], [7.5, 2.5], color=plotting.color_of("optimum"), linewidth=2)
        for start in starts:
            plotting.path(ax, path(phi, start), color=plotting.color_of(name))
        ax.set(title=name, xlim=(0, 10), ylim=(0, 10), aspect="equal")
    for ax in panels[-1]:
        ax.set_xlabel("$w_1$")
    for ax in panels[:, 0]:
        ax.set_ylabel("$w_2$")

# %%
# From the lower left corner the deep maps run to the axis, a sparse fit; the identity goes straight, to the nearest
# fit; the anti-deep map spreads over both. Above the line the order turns: what is large is pulled back first.
#
# Where they end, beside what theory says without training:

for name, phi in maps.items():
    predicted = ut.theory.limit(line, phi, phi.lift([0.3, 0.3]))
    print(f"{name:14} ends at {path(phi, (0.3, 0.3))[-1].round(3)}, predicted {predicted.round(3)}")
