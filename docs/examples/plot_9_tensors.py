"""
Tensors: components one after another
=====================================

A sum of outer products with far more components than are needed, fitted to two fifths of the entries of a tensor of
rank three. From a small start a few components grow, one after another, and the others stay near zero; from a large one
all are there at once.
"""

import jax
import matplotlib.pyplot as plt
import numpy as np

import undertow as ut
from undertow import plotting

jax.config.update("jax_enable_x64", True)

rng = np.random.default_rng(0)
directions = [np.linalg.qr(rng.standard_normal((10, 3)))[0] for _ in range(3)]
truth = np.einsum("r,ir,jr,kr->ijk", [0.8, 0.5, 0.3], *directions)
seen = np.unravel_index(np.sort(rng.permutation(truth.size)[:400]), truth.shape)
problem = ut.problems.TensorCompletion(truth.shape, seen, truth[seen], truth=truth)

# %%
# The start is quoted as the standard deviation of the factors; ``scale_of`` turns it into the size of the entries of w.

phi = ut.parameterizations.CPTensor(truth.shape, components=20)
error = ut.probes.ReconstructionError(relative=True)
runs = {
    deviation: ut.train(
        problem,
        phi,
        ut.dynamics.GradientFlow("stabilized"),
        key=1,
        scale=phi.scale_of(deviation),
        stop=ut.Stop(loss=1e-10),
        probes=[ut.probes.ComponentNorms(20), error],
    )
    for deviation in (5e-3, 0.3)
}

with plotting.figure(columns=2, width=11, height=4.2) as (figure, panels):
    for panel, (deviation, run) in zip(panels, runs.items(), strict=True):
        panel.plot(run.times, run["component_norms"])
        panel.set(xlabel="time", title=f"factors of size {deviation:g} at the start")
    panels[0].set(xlim=(1e5, 4e5), xticks=[1e5, 2e5, 3e5, 4e5])
    panels[1].set_xscale("log")
    panels[0].set_ylabel("norms of components")
plt.show()

# %%
# What is found, beside the entries with zeros in their holes: the error over all entries, and the tensor rank within an
# error of 5%.

zeros = np.zeros_like(truth)
zeros[seen] = truth[seen]
for name, w in {**{f"start {d:g}": run.w for d, run in runs.items()}, "zeros": zeros}.items():
    off = np.linalg.norm(w - truth) / np.linalg.norm(truth)
    print(f"{name:12} error {off:.3f}, tensor rank {ut.linalg.cp_rank(np.asarray(w), 0.05).rank}")

# %%
# An estimator does the same without any of these choices, and says how sure it is.

holes = np.full(truth.shape, np.nan)
holes[seen] = truth[seen]
model = ut.estimators.TensorCompleter()
off = np.linalg.norm(model.fit_transform(holes) - truth) / np.linalg.norm(truth)
print(f"TensorCompleter: error {off:.3f}, {model.rank_} components")
