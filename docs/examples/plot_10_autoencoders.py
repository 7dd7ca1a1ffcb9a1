"""
Autoencoders: layers that add nothing
=====================================

An autoencoder of handwritten digits with square linear layers between encoder and decoder: the product of the layers
is one matrix, so that nothing new can be written. Yet descent ends elsewhere: codes vary in fewer directions, the fewer
the more layers, if the layers start as random matrices do, with singular values of very different size. From orthogonal
ones nothing changes.
"""

import jax
import matplotlib.pyplot as plt
import numpy as np

import undertow as ut
from undertow import plotting

digits = ut.datasets.load_digits_images().images.reshape(-1, 64)
order = np.random.default_rng(0).permutation(len(digits))
some, others = digits[order[:1297]], digits[order[1297:]]

# %%
# A network is a parameterization like any other, with what it makes of the data set as its w: ``train`` asks for the
# rows of a mini-batch. The start is no part of the network that is trained, and so one compiled program serves both.

dense = ut.networks.Dense(64, code_size=32, hidden=(64,))
descent = ut.dynamics.GradientDescent(ut.optimizers.make("adam", 2e-3), batch_size=64)
probes = [
    ut.networks.CodeVariances(others),
    ut.networks.CodeEffectiveRank(others),
    ut.networks.HeldOutReconstruction(others),
]


def run(layers, start="uniform"):
    drawn = ut.networks.IRMAE(dense, some, layers, initialization=start).init(jax.random.key(0), 1.0)
    network = ut.networks.IRMAE(dense, some, layers)
    problem, stop = ut.problems.Reconstruction(some), ut.Stop(loss=None, steps=1500)
    return network, ut.train(
        problem, network, descent, params=drawn, key=0, probes=probes, stop=stop, samples=[10, 50, 200, 500, 1000]
    )


runs = {"none": run(0), "4": run(4), "4, orthogonal": run(4, "orthogonal")}

with plotting.figure(columns=2, width=11, height=4.2) as (figure, (spectrum, rank)):
    for (name, (_, found)), color in zip(runs.items(), ("identity", 4, "polar"), strict=True):
        variances = found["code_variances"][-1]
        style = {"color": plotting.color_of(color), "label": name}
        spectrum.plot(np.arange(1, 33), variances / variances[0], **style)
        rank.plot(found.steps[1:], found["code_effective_rank"][1:], "o-", markersize=4, **style)
    spectrum.set(xlabel="direction", ylabel="variance of codes / largest")
    rank.set(xlabel="step", ylabel="effective rank of codes", xscale="log")
    spectrum.legend(title="linear layers")
plt.show()

# %%
# Fewer directions, and a larger error on images that were not trained with.

for name, (_, found) in runs.items():
    rank_of, error = (found[probe][-1] for probe in ("code_effective_rank", "held_out_reconstruction"))
    print(f"{name:14} effective rank {rank_of:4.1f}, error {error:.4f}")

# %%
# After training the layers are one matrix. Between the codes of two images lie others, that are decoded too.

network, found = runs["4"]
short, params = network.collapse(found.params)
print("layers:", len(found.params.linear), "->", len(params.linear))
codes = short.encode(params, others[:2])
share = np.linspace(0, 1, 10)[:, None]
path = np.asarray(short.decode(params, (1 - share) * codes[0] + share * codes[1])).reshape(10, 8, 8)

with plotting.figure(width=9, height=1.6) as (tiles, axes):
    axes.imshow(path.transpose(1, 0, 2).reshape(8, 80), cmap="gray_r", vmin=0, vmax=1)
    axes.set(xticks=[], yticks=[])
plt.show()
