"""
Norms: to infinity, while the rank falls
========================================

Of a 2 x 2 matrix three entries are given, :math:`w_{12} = w_{21} = 1` and :math:`w_{22} = 0`. Every norm prefers a
small hidden entry. Gradient flow of a product of matrices, from a start of positive determinant, drives it to infinity:
small norms are not what it looks for, low rank is.
"""

import jax
import jax.numpy as jnp

import undertow as ut
from undertow import plotting
from undertow.datasets import one_hidden_entry

jax.config.update("jax_enable_x64", True)

problem = one_hidden_entry()
watched = [ut.probes.Entry(0, 0), ut.probes.EffectiveRank(), ut.probes.Determinant()]
phi = ut.parameterizations.DeepMatrix((2, 2), depth=3)
starts = {"positive": jnp.diag(jnp.array([0.1, 0.08])), "negative": jnp.diag(jnp.array([0.1, -0.08]))}

# %%
# Every solution has determinant -1, and the sign of the determinant is conserved along the flow from balanced factors:
# from a positive one no solution can be reached, but at infinity.

runs = {}
for sign, w in starts.items():
    flow = ut.dynamics.GradientFlow(rtol=1e-8)
    runs[sign] = ut.train(problem, phi, flow, params=phi.lift(w), probes=watched, stop=ut.Stop(loss=1e-6))
    last = runs[sign]
    print(
        f"determinant {sign}: hidden entry {last['entry_0_0'][-1]:.2f}, effective rank {last['effective_rank'][-1]:.3f}"
    )

# %%
# The smaller the loss, the larger the hidden entry, and with it every norm; the effective rank falls towards 1.

with plotting.figure(1, 2, width=11.0, sharex=True) as (figure, (left, right)):
    for (sign, found), role in zip(runs.items(), ("gradient flow", "baseline"), strict=True):
        color = plotting.color_of(role)
        left.loglog(found["loss"], abs(found["entry_0_0"]), color=color, label=f"{sign} determinant")
        right.semilogx(found["loss"], found["effective_rank"], color=color)
    left.set(xlabel="loss (falls to the right)", ylabel="size of the hidden entry")
    left.legend()
    right.set(xlabel="loss (falls to the right)", ylabel="effective rank")
    left.invert_xaxis()
