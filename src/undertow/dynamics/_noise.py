"""Noise of descent: in the labels of a problem, and in the gradient.

Like batches it follows from the run's key and the number of the step alone, so that a run that is interrupted, or cut
into other chunks, draws the same.
"""

from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, Float

from ..objective import Objective
from ..parameterizations._base import Params

PARAMETERIZATION, LABELS, GRADIENT = 2**32 - 1, 2**32 - 2, 2**32 - 3
"""Each is drawn apart from batches: by the run's key with its number, which no step and no epoch has."""


class Noise(eqx.Module):
    """Standard deviations of what a step draws; None: nothing."""

    labels: Float[Array, "..."] | None = None
    gradient: Float[Array, "..."] | None = None

    @property
    def draws(self) -> bool:
        return self.labels is not None or self.gradient is not None

    def check(self, objective: Objective) -> None:
        """Raise ValueError where the problem has no labels that could be noisy."""
        problem = objective.problem
        if self.labels is not None and (problem.terms is None or problem.relabeled(lambda labels: labels) is None):
            raise ValueError(
                f"label_noise: expected None, since {type(problem).__name__} does not say what its labels are "
                "(Problem.relabeled)"
            )

    def in_labels(self, objective: Objective, key: Array | None, step: Array) -> Objective:
        """The objective of the step of this number, whose labels are noisy."""
        sigma = self.labels
        if sigma is None:
            return objective
        noisy = objective.problem.relabeled(lambda b: b + sigma.astype(b.dtype) * _normal(b, key, LABELS, step))
        return eqx.tree_at(lambda o: o.problem, objective, noisy)

    def in_gradient(self, gradient: Params, key: Array | None, step: Array) -> Params:
        """The gradient that the step of this number is given."""
        if self.gradient is None:
            return gradient
        sigma = self.gradient
        leaves, structure = jax.tree.flatten(gradient)
        noisy = [g + sigma.astype(g.dtype) * _normal(g, key, GRADIENT, step, i) for i, g in enumerate(leaves)]
        return jax.tree.unflatten(structure, noisy)


def of_step(key: Array | None, kind: int, step: Array) -> Array:
    """The key of what a step draws of a kind."""
    assert key is not None  # as train sees to
    return jax.random.fold_in(jax.random.fold_in(key, kind), step)


def _normal(like: Any, key: Array | None, kind: int, step: Array, number: int = 0) -> Array:
    return jax.random.normal(jax.random.fold_in(of_step(key, kind, step), number), like.shape, like.dtype)
