"""
Penalties: explicit and implicit together
=========================================

Without depth, gradient descent leaves the entries alone that nobody has observed. A penalty moves them: here the ratio
of nuclear to Frobenius norm, which is the same for all multiples of a matrix and least at rank one.
"""

import jax
import matplotlib.pyplot as plt
import numpy as np

import undertow as ut
from undertow import plotting

jax.config.update("jax_enable_x64", True)

rng = np.random.default_rng(0)
truth = np.outer(rng.standard_normal(15), rng.standard_normal(15))
rows, columns = np.nonzero(rng.random((15, 15)) < 0.5)
problem = ut.problems.MatrixCompletion((15, 15), rows, columns, truth[rows, columns], truth=truth)

# %%
# From the data with zeros in their holes, by plain gradient descent. Weights add up with ``+``, and a penalty is of w,
# or with ``OnParameters`` of the parameters: weight decay.

filled = np.zeros(problem.shape)
filled[rows, columns] = truth[rows, columns]
penalties = {
    "none": None,
    "ratio": ut.penalties.NuclearFrobeniusRatio(0.03),
    "nuclear norm": ut.penalties.Nuclear(0.003),
}
runs = {
    name: ut.train(
        problem,
        ut.parameterizations.Identity(problem.shape),
        ut.dynamics.GradientDescent(ut.optimizers.make("gd", 1.0)),
        params=filled,
        penalty=penalty,
        stop=ut.Stop(loss=None, steps=5000),
        probes=[ut.probes.TestError(), ut.probes.EffectiveRank()],
    )
    for name, penalty in penalties.items()
}

with plotting.figure(columns=2, width=11, height=4.2) as (figure, (left, right)):
    for name, run in runs.items():
        left.semilogy(run.steps, np.sqrt(run["test_error"]), label=name)
        right.plot(run.steps, run["effective_rank"], label=name)
    left.set(xlabel="steps", ylabel="error, unobserved entries")
    right.set(xlabel="steps", ylabel="effective rank")
    right.legend(title="penalty")
plt.show()

# %%
# Beside them, what other methods make of the same problem: each says that its answer is optimal, or raises.

for name, w in {
    "SoftImpute": ut.baselines.soft_impute(problem, 0.1),
    "OptSpace, rank 1": ut.baselines.optspace(problem, 1),
    "minimum nuclear norm": ut.theory.minimum_nuclear_norm(problem),
}.items():
    away = (np.asarray(w) - truth)[filled == 0]
    print(f"{name}: error {np.sqrt(np.mean(away**2)):.1e}")

# %%
# Weight decay that was on for a while leaves a trace: the flow ends as from parameters that are smaller by the factor
# :math:`e^{-\Lambda}`, where :math:`\Lambda` is the decay rate integrated over time. ``theory.limit`` knows.

A = rng.standard_normal((3, 8))
sparse = ut.problems.LeastSquares(A, A @ np.array([1.0, 0, 0, 0, -1.0, 0, 0, 0]))
phi = ut.parameterizations.SignedPower(8, depth=2, initialization="constant")
params = phi.init(jax.random.key(0), scale=1.0)
for decay in (0.0, 1.0, 3.0):
    end = ut.theory.limit(sparse, phi, params, decay=decay)
    print(f"decay {decay:g}: l1 norm {np.abs(end).sum():.4f}")
