"""Ablations: linear layers that are fixed, shared or not linear; other optimizers; weight decay."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ... import plotting
from ...networks import IRMAE
from ...optimizers import make
from .._base import AtLeast, AtMost, Budget, Study
from ._shared import BATCH, JING, THRESHOLD, Setting, fit, images, ranks, watched

SETTINGS = {
    "smoke": Setting(steps=1000, rate=2e-3, seeds=1),
    "quick": Setting(steps=2000, rate=2e-3, seeds=3),
    "full": Setting(steps=187_500, rate=1e-4, seeds=3),
}
LAYERS = 4
MOMENTUM, DECAY = 1.0, 0.1
"""The rate of descent with momentum; what AdamW shrinks weights by, times its rate."""
KINDS = ("free", "shared", "fixed", "nonlinear")
VARIANTS: dict[str, tuple[str, str, str]] = {
    "none": ("none", "uniform", "adam"),
    **{kind: (kind, "uniform", "adam") for kind in KINDS},
    "none, momentum": ("none", "uniform", "momentum"),
    "free, momentum": ("free", "uniform", "momentum"),
    "orthogonal, momentum": ("free", "orthogonal", "momentum"),
    "none, decay": ("none", "uniform", "adamw"),
    "free, decay": ("free", "uniform", "adamw"),
    "orthogonal, decay": ("free", "orthogonal", "adamw"),
}
"""The kind of layers, their start and the optimizer."""
SAMPLES = 10


def _run(budget: Budget, key: jax.Array, progress: Callable[[float, str], None]) -> xr.Dataset:
    setting = SETTINGS[budget]
    data = images(budget, jax.random.fold_in(key, 0))
    networks = data.networks("identity")
    samples = np.unique(np.geomspace(setting.steps / 64, setting.steps, SAMPLES).astype(int))
    shape = (len(VARIANTS), setting.seeds, len(samples))
    variances, error = np.zeros((*shape, networks.code_size)), np.zeros(shape)
    optimizers = {
        "adam": make("adam", setting.rate),
        "momentum": make("momentum", MOMENTUM),
        "adamw": make("adamw", setting.rate, weight_decay=DECAY),
    }
    for i, (name, (kind, start, optimizer)) in enumerate(VARIANTS.items()):
        for seed in range(setting.seeds):
            progress((i + seed / setting.seeds) / len(VARIANTS), f"{name}, seed {seed + 1}")
            of_seed = jax.random.fold_in(key, 1 + seed)
            phi, drawn = _network(networks, data.X, kind, start, of_seed)
            run = fit(
                phi,
                of_seed,
                setting,
                params=drawn.init(of_seed, 1.0),
                optimizer=optimizers[optimizer],
                probes=watched(data.held_out),
                samples=samples,
            )
            variances[i, seed] = run["code_variances"][-len(samples) :]
            error[i, seed] = run["held_out_reconstruction"][-len(samples) :]
    effective, numerical = ranks(variances)
    dims = ("variant", "seed", "step")
    return xr.Dataset(
        {
            "variances": (("variant", "seed", "direction"), variances[:, :, -1]),
            "effective_rank": (dims, effective),
            "rank": (dims, numerical),
            "error": (dims, error),
        },
        coords={"variant": list(VARIANTS), "step": samples},
        attrs={
            "data": data.words,
            "layers": f"{LAYERS}, from the source's start but where it says orthogonal",
            "descent": f"batches of {BATCH}, {setting.steps} steps, on mean squares: Adam, rate {setting.rate:g}; "
            f"momentum 0.9, rate {MOMENTUM:g}; decay: AdamW with {DECAY:g} on all weights",
            "seeds": setting.seeds,
            "rank": f"variances above {THRESHOLD:g} of the largest; effective rank: exp of the entropy of variances",
            "precision": "float32",
        },
    )


def _network(networks: Any, X: Any, kind: str, start: str, key: Any) -> tuple[IRMAE, IRMAE]:
    """What is trained, and what draws its start: free layers run one program whatever it is."""
    if kind == "none":
        return (IRMAE(networks, X, 0),) * 2
    if kind == "fixed":
        return (IRMAE(networks, X, LAYERS, kind, start, key=jax.random.fold_in(key, 3)),) * 2
    return IRMAE(networks, X, LAYERS, kind), IRMAE(networks, X, LAYERS, kind, start)
