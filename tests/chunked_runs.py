"""A small run on data that are read chunk by chunk, for several files of tests."""

import numpy as np

import undertow as ut

N, B, D = ut.networks, ut.problems, ut.dynamics
X = np.random.default_rng(0).uniform(size=(23, 6))
DENSE = N.Dense(6, code_size=2, hidden=(3,), output="sigmoid")
CHUNKS = B.ChunkedRows(X, chunk=8)  # of two batches of three, but for the last, of five rows
SGD = D.GradientDescent(ut.optimizers.make("sgd", 0.5), batch_size=3)


def run(data, network=N.VAE, steps=20, descent=SGD, key=3, **options):
    phi, stop = network(DENSE, data), ut.Stop(loss=None, steps=steps)
    return ut.train(B.Reconstruction(data), phi, descent, key=key, scale=1.0, stop=stop, samples=4, **options)
