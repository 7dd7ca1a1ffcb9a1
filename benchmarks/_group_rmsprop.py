"""The optimizer of Arora et al., in PyTorch, written afresh: automatic gradients, one running mean square for all."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ._base import Clock, timed

RATE, DECAY, EPS = 1e-3, 0.99, 1e-4


def group_rmsprop(
    factors: Sequence[np.ndarray], error: Callable[[Any], Any], target: float, limit: int
) -> dict[str, Any]:
    """Train the factors of a product until ``error(product)`` is at most ``target``, or for ``limit`` iterations.

    The error is looked at in every iteration. ``product`` of the result is the matrix at the end.
    """
    import torch

    trained = [torch.tensor(factor, requires_grad=True) for factor in factors]
    mean_square = torch.zeros(())

    def now() -> tuple[Any, Any]:
        product = trained[0]
        for factor in trained[1:]:
            product = factor @ product
        return product, error(product)

    steps = 0
    with timed() as clock:
        product, loss = now()
        while loss.item() > target and steps < limit:
            steps += 1
            gradients = torch.autograd.grad(loss, trained)
            with torch.no_grad():
                square = torch.stack(torch._foreach_norm(gradients)).square().sum()
                mean_square.mul_(DECAY).add_(square, alpha=1 - DECAY)
                length = (mean_square / (1 - DECAY**steps)).sqrt() + EPS
                for factor, gradient in zip(trained, gradients, strict=True):
                    factor.sub_(gradient * (RATE / length))
            product, loss = now()
    return {
        "status": "converged" if loss.item() <= target else "stopped",
        "steps": steps,
        "gradients": steps,
        "loss": loss.item(),
        "product": product.detach().numpy(),
    } | times(clock)


def times(clock: Clock) -> dict[str, Any]:
    return {
        "seconds": clock.seconds,
        "processor_seconds": clock.processor_seconds,
        "compiled_programs": clock.compiled,
    }
