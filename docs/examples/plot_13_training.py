"""
What real training adds: noise moves the fit on
===============================================

Gradient flow comes to rest at the first fit that it meets. Descent whose labels are noisy does not: it goes on among
the fits, to those where the loss curves least. On u^2 - v^2 that is a weighted l1 norm of w, and theory names the end.
"""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import undertow as ut
from undertow import plotting

jax.config.update("jax_enable_x64", True)

rng = np.random.default_rng(0)
X = rng.normal(size=(20, 30)) * np.linspace(0.5, 2, 30)
y = X[:, 0] - X[:, 1] + X[:, 2] / 2 + rng.normal(size=20)
problem = ut.problems.LeastSquares(X, y, "half_mean")
phi = ut.parameterizations.SignedPower(30, 2)

# %%
# From u = v = 1 the flow fits all points, and stops there.

ones = (jnp.ones(30), jnp.ones(30))
fit = ut.train(problem, phi, ut.dynamics.GradientFlow(), params=ones, stop=ut.Stop(loss=1e-20))

# %%
# The limiting flow of label noise starts from the fit and never leaves the fits. Descent with noisy labels, one row a
# step, does it in small steps; at this rate it hovers some percent below the end, and nearer the smaller the rate.

norm = ut.probes.Function("norm", lambda w: jnp.asarray((X**2).sum(axis=0)) @ jnp.abs(w))
flow = ut.dynamics.LabelNoiseFlow("stabilized", rtol=1e-6)
moved = ut.train(problem, phi, flow, params=fit.params, stop=ut.Stop(loss=None, gradient=1e-8), probes=[norm])

rate, noise, steps = 2e-3, 1.0, 300_000
descent = ut.dynamics.GradientDescent(ut.optimizers.make("sgd", rate), batch_size=1, label_noise=noise)
noisy = ut.train(
    problem, phi, descent, params=fit.params, key=0, stop=ut.Stop(loss=None, steps=steps), probes=[norm], samples=60
)

least = float(norm(problem, ut.parameterizations.Identity(30), ut.theory.label_noise_limit(problem)))
print(f"predicted {least:.3f}")
print(f"gradient flow {moved['norm'][0]:.3f}")
print(f"limiting flow {moved['norm'][-1]:.3f}, noisy descent, mean of its last half {noisy['norm'][30:].mean():.1f}")

# %%
# The clock of the limiting flow is eta^2 sigma^2 / (4 B) for each step of descent.

clock = rate**2 * noise**2 / 4
with plotting.figure(width=8, height=4.5) as (figure, panel):
    panel.semilogx(moved.times[1:], moved["norm"][1:], color=plotting.color_of("gradient flow"), label="limiting flow")
    panel.semilogx(
        clock * noisy.steps[1:],
        noisy["norm"][1:],
        ".",
        color=plotting.color_of("gradient descent"),
        label="descent with noisy labels",
    )
    panel.axhline(least, color=plotting.color_of("theory"), linestyle=":", label="predicted end")
    panel.set(xlabel="time of the limiting flow", ylabel="weighted l1 norm of w")
    panel.legend()
plt.show()
