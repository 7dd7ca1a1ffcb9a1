"""
Factorization: depth finds low rank
===================================

Two thirds of the entries of a matrix of rank 2 are hidden, and any numbers in their place fit. A product of matrices,
trained from a small start, learns one singular value after the other, and with three factors stops at two.
"""

import numpy as np

import undertow as ut
from undertow import plotting
from undertow.datasets import low_rank_matrix, observe

size = (30, 30)
truth = low_rank_matrix(1, size, rank=2)
rows, columns = observe(2, size, 300)
problem = ut.problems.MatrixCompletion(size, rows, columns, truth[rows, columns], truth=truth)
watched = [ut.probes.SingularValues(6), ut.probes.ReconstructionError(), ut.probes.EffectiveRank()]

# %%
# Three depths, one line each. Gradient flow is solved as the differential equation that it is: some hundred steps, not
# some ten thousand.

runs = {}
for depth in (1, 2, 3):
    phi = ut.parameterizations.DeepMatrix(size, depth)
    runs[depth] = ut.train(problem, phi, ut.dynamics.GradientFlow(), key=0, scale=1e-3, probes=watched)
    error, rank = runs[depth]["reconstruction_error"][-1], runs[depth]["effective_rank"][-1]
    print(f"depth {depth}: {runs[depth].steps[-1]} steps, error {error:.1e}, effective rank {rank:.1f}")

# %%
# Without depth the hidden entries stay where they were. With it the singular values enter one by one.

with plotting.figure(1, 3, width=13.0, height=4.4, sharey=True) as (figure, panels):
    for ax, (depth, found) in zip(panels, runs.items(), strict=True):
        ax.plot(found.times, found["singular_values"], color=plotting.color_of(f"depth {depth}"), linewidth=1.5)
        for value in np.linalg.svd(truth, compute_uv=False)[:2]:
            ax.axhline(value, color=plotting.color_of("truth"), linestyle=":")
        ax.set(title=f"depth {depth}", xlabel="time of the flow", xscale="log")
        ax.set_xlim(left=found.times[-1] / 1e3)
    panels[0].set_ylabel("singular values (dotted: the truth)")
