"""
The lecture: from least l2 norm to least l1 norm
================================================

Sixteen unknowns, six equations: a whole space of perfect fits. With :math:`w = u^2 - v^2` the size of the start decides
which one gradient flow ends at: from a large start the one of least Euclidean norm, from a small one that of least l1
norm, which is sparse.
"""

import jax
import jax.numpy as jnp
import numpy as np

import undertow as ut
from undertow import plotting

jax.config.update("jax_enable_x64", True)

rng = np.random.default_rng(0)
A = rng.standard_normal((6, 16))
truth = np.zeros(16)
truth[[2, 11]] = 1.0, -0.7
problem = ut.problems.LeastSquares(A, A @ truth)
phi = ut.parameterizations.SignedPower(16, depth=2)
watched = ut.probes.Function("w", lambda w: w)

# %%
# A start is a number alpha in all entries of u and v, so that w(0) = 0. A sweep over it is one compiled program.


def run(alpha):
    """Train from u = v = alpha."""
    start = jnp.full(16, alpha)
    flow = ut.dynamics.GradientFlow()
    return ut.train(problem, phi, flow, params=(start, start), probes=[watched], stop=ut.Stop(loss=1e-12))


alphas = np.geomspace(1e-4, 10, 11)
ends = ut.sweep(run, over={"alpha": alphas})["final_w"].values

# %%
# The two extremes, and everything between them, are convex programs.

least_l2 = ut.theory.minimum_norm(problem)
least_l1 = ut.theory.basis_pursuit(problem)
predicted = np.array([ut.theory.limit(problem, phi, (jnp.full(16, a), jnp.full(16, a))) for a in alphas])
print("largest difference between training and theory:", np.abs(ends - predicted).max())

with plotting.figure() as (figure, ax):
    ax.semilogx(alphas, np.abs(ends).sum(axis=1), "o", color=plotting.color_of("gradient flow"), label="gradient flow")
    ax.semilogx(alphas, np.abs(predicted).sum(axis=1), color=plotting.color_of("theory"), label="theory")
    for norm, name in ((least_l1, "least $\\ell_1$ norm"), (least_l2, "least $\\ell_2$ norm")):
        ax.axhline(np.abs(norm).sum(), color=plotting.color_of("muted"), linestyle=":")
        ax.annotate(name, (alphas[0], np.abs(norm).sum()), xytext=(0, 5), textcoords="offset points", fontsize=12)
    ax.set(xlabel="size of the start, alpha", ylabel="$\\ell_1$ norm of the end point")
    plotting.label_lines(ax)

# %%
# From the small end the truth is found, from six equations in sixteen unknowns:

print(
    "distance from the truth:", np.abs(ends[0] - truth).max().round(5), "and", np.abs(ends[-1] - truth).max().round(2)
)
