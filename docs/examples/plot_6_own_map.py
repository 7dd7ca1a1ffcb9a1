"""
A map of your own: what does it regularize?
===========================================

Write weights as :math:`w = \\sinh(u) + u^3`, which nobody has worked out. Entry by entry, gradient flow on u is mirror
flow on w, and its potential follows from the map alone: where training ends can be said before it starts.
"""

import jax
import jax.numpy as jnp

import undertow as ut
from undertow import plotting

phi = ut.parameterizations.Function(lambda u: jnp.sinh(u) + u**3, shape=2)
line = ut.problems.LineTarget(-1.0, -2.0, 15.0)
start = jnp.array([0.1, 0.1])

print("predicted:", ut.theory.limit(line, phi, start).round(4))
trained = ut.train(line, phi, ut.dynamics.GradientFlow(), params=start, stop=ut.Stop(loss=1e-10))
print("trained:  ", trained.w.round(4))

# %%
# The potential
# -------------
# It is zero, with gradient zero, at the w of the start. Of a single weight, beside those of maps that are known:

known = {
    "identity": (ut.parameterizations.Identity(1), jnp.zeros(1)),
    "deep 2": (ut.parameterizations.SignedPower(1, depth=2), (jnp.full(1, 0.05), jnp.full(1, 0.05))),
    "own": (ut.parameterizations.Function(lambda u: jnp.sinh(u) + u**3, shape=1), jnp.zeros(1)),
}
labels = {"identity": "$w = u$", "deep 2": "$w = u^2 - v^2$", "own": "$w = \\sinh u + u^3$"}
w = jnp.linspace(-3, 3, 61)
with plotting.figure() as (figure, ax):
    for name, (each, params) in known.items():
        potential = ut.theory.implied_potential(each, params)
        values = jax.vmap(potential)(w[:, None])
        color = plotting.color_of("mirror flow" if name == "own" else name)
        ax.plot(w, values / values[-1], color=color, label=labels[name])
    ax.set(xlabel="$w$", ylabel="potential, over its value at 3")
    plotting.label_lines(ax)

# %%
# The more it looks like :math:`|w|`, the sparser the fits that it prefers. A map whose fields do not commute implies no
# potential, and is told so:

try:
    ut.theory.implied_potential(ut.parameterizations.Polar(), jnp.ones(2))
except ut.theory.NotAMirrorFlow as error:
    print(error)
