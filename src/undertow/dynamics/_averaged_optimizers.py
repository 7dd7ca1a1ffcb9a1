"""What the central flow knows of an optimizer: how its preconditioner follows the gradients, and where the edge is."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..optimizers import Optimizer

REFUSED = {"momentum": (None, 0), "nesterov": (False,), "centered": (False,)}
"""Options of optax that make another optimizer, and with which values they do not."""


class Averages(NamedTuple):
    """The second and the first moment of the gradient as running averages; empty where there are none."""

    second: Float[Array, "..."]
    first: Float[Array, "..."]


class Averaged(eqx.Module):
    r"""A preconditioned descent :math:`u \leftarrow u - P^{-1} m` in the time of its steps.

    P is diagonal, :math:`P = (\sqrt{\hat\nu + \epsilon_\text{root}} + \epsilon) / \eta`, or 1 / eta where nothing is
    averaged. An average :math:`\nu \leftarrow \beta \nu + (1 - \beta) g^2` that has the last gradient in it, as all of
    these have, lags like :math:`\dot\nu = \frac{1 - \beta}{\beta} (g^2 - \nu)`.
    """

    rate: Any
    kind: str = eqx.field(static=True)  # "none", "scalar" or "entrywise": what is averaged of the square
    decay: float = eqx.field(static=True, default=0.0)
    momentum: float = eqx.field(static=True, default=0.0)
    eps: float = eqx.field(static=True, default=0.0)
    eps_root: float = eqx.field(static=True, default=0.0)
    initial: float = eqx.field(static=True, default=0.0)
    debiased: bool = eqx.field(static=True, default=False)

    @property
    def edge(self) -> float:
        """The eigenvalue of the preconditioned Hessian at which descent turns unstable."""
        return 2 * (1 + self.momentum) / (1 - self.momentum)

    def pace(self, decay: float) -> float:
        """By which an average goes to what is averaged, in a step."""
        return (1 - decay) / decay

    def start(self, gradient: Float[Array, " n"]) -> Averages:
        """After the first update."""
        second = jnp.zeros(0, gradient.dtype)
        if self.kind != "none":
            second = self.decay * self.initial + (1 - self.decay) * self.square(gradient)
        first = (1 - self.momentum) * gradient if self.momentum else jnp.zeros(0, gradient.dtype)
        return Averages(second, first)

    def square(self, gradient: Float[Array, " n"]) -> Float[Array, "..."]:
        """What is averaged of the gradient's square."""
        return gradient**2 if self.kind == "entrywise" else jnp.sum(gradient**2, keepdims=True)

    def bias(self, decay: float, time: Array, dt: float) -> Array:
        """What an average of ones has come to, by steps of dt."""
        return 1 - decay * (1 - dt * self.pace(decay)) ** (time / dt)

    def learning_rate(self, time: Array, dtype: Any) -> Array:
        with jax.numpy_dtype_promotion("standard"):  # as schedules of optax need it
            return jnp.asarray(self.rate(time) if callable(self.rate) else self.rate, dtype)

    def preconditioner(self, second: Float[Array, "..."], time: Array, dt: float) -> Float[Array, "..."]:
        """The diagonal of P, of one entry where all are alike."""
        rate = self.learning_rate(time, second.dtype)
        if self.kind == "none":
            return (1 / rate)[None]
        return (jnp.sqrt(self._unbiased(second, time, dt) + self.eps_root) + self.eps) / rate

    def slope(self, second: Float[Array, "..."], time: Array, dt: float) -> Float[Array, "..."]:
        """The derivative of P by the average of squares."""
        root = jnp.sqrt(self._unbiased(second, time, dt) + self.eps_root)
        return self._unbiased(1 / (2 * root), time, dt) / self.learning_rate(time, second.dtype)

    def _unbiased(self, second: Array, time: Array, dt: float) -> Array:
        return second / self.bias(self.decay, time, dt).astype(second.dtype) if self.debiased else second

    def force(self, averages: Averages, gradient: Float[Array, " n"], time: Array, dt: float) -> Float[Array, " n"]:
        """The gradient, or its average."""
        if not self.momentum:
            return gradient
        return averages.first / self.bias(self.momentum, time, dt).astype(gradient.dtype)


def averaged(optimizer: Any) -> Averaged:
    """What the central flow needs to know of an optimizer; TypeError or ValueError where it has no flow for it."""
    ways = ", ".join(f'"{name}"' for name in _KNOWN)
    if not isinstance(optimizer, Optimizer):
        raise TypeError(
            f"optimizer: expected undertow.optimizers.make(name, learning_rate), name one of {ways}, whose options can "
            f"be read; found {optimizer!r}"
        )
    name, options = optimizer.name, dict(optimizer.options)
    if name not in _KNOWN:
        raise ValueError(f"optimizer: there is no central flow for {name!r}; expected one of {ways}")
    for option, value in options.items():
        if option in REFUSED and value not in REFUSED[option]:
            raise ValueError(f"optimizer: there is no central flow for {name!r} with {option}={value!r}; leave it out")
    return _KNOWN[name](optimizer.learning_rate, **options)


def _gd(rate: Any, **ignored: Any) -> Averaged:
    del ignored
    return Averaged(rate, "none")


def _group_rmsprop(rate: Any, decay: float = 0.99, eps: float = 1e-6) -> Averaged:
    return Averaged(rate, "scalar", decay, eps=eps, debiased=True)


def _rmsprop(
    rate: Any,
    decay: float = 0.9,
    eps: float = 1e-8,
    initial_scale: float = 0.0,
    eps_in_sqrt: bool = True,
    bias_correction: bool = False,
    **ignored: Any,
) -> Averaged:
    del ignored
    outside, inside = (0.0, eps) if eps_in_sqrt else (eps, 0.0)
    return Averaged(rate, "entrywise", decay, 0.0, outside, inside, initial_scale, bias_correction)


def _adam(
    rate: Any, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8, eps_root: float = 0.0, **ignored: Any
) -> Averaged:
    del ignored
    return Averaged(rate, "entrywise", b2, b1, eps, eps_root, debiased=True)


_KNOWN = {
    "gd": _gd,
    "sgd": _gd,
    "group_rmsprop": _group_rmsprop,
    "rmsprop": _rmsprop,
    "adam": _adam,
}
