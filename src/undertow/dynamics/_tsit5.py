"""Tsitouras' explicit method, its stages written out."""

from typing import Any, ClassVar

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp


class Tsit5(eqx.Module):
    """The 5(4) method of ``diffrax.Tsit5``: its coefficients, its interpolation, its results.

    diffrax runs the stages of any method in one loop over a table of all of them. Written out, XLA fuses the sums of a
    stage and shares the last gradient's forward pass with the loss: a step of matrix completion takes two thirds of the
    time. The solver state is the derivative at the start of the step, which is that at the end of the one before.
    """

    tableau: ClassVar[diffrax.ButcherTableau] = diffrax.Tsit5.tableau
    interpolation_cls: ClassVar[Any] = diffrax.Tsit5.interpolation_cls

    def error_order(self, term: diffrax.AbstractTerm) -> Any:
        """Order of the error of one step."""
        return diffrax.Tsit5().error_order(term)

    def func(self, term: diffrax.AbstractTerm, t0: Any, y0: Any, args: Any) -> Any:
        """The derivative."""
        return term.vf(t0, y0, args)

    def init(self, term: diffrax.AbstractTerm, t0: Any, t1: Any, y0: Any, args: Any) -> Any:
        """The solver state for a first step."""
        return term.vf(t0, y0, args)

    def step(
        self, term: diffrax.AbstractTerm, t0: Any, t1: Any, y0: Any, args: Any, solver_state: Any, made_jump: Any
    ) -> tuple[Any, Any, dict[str, Any], Any, diffrax.RESULTS]:
        """One step, as a solver of diffrax takes it: end, error, what interpolates it, next state, result."""
        del made_jump
        tableau, h = self.tableau, t1 - t0
        increments = [jax.tree.map(lambda f: h * f, solver_state)]
        derivative = y1 = None
        for weights, c in zip(tableau.a_lower, tableau.c, strict=True):
            y1 = jax.tree.map(jnp.add, y0, _weighted(weights, increments))
            derivative = term.vf(t0 + float(c) * h, y1, args)
            increments.append(jax.tree.map(lambda f: h * f, derivative))
        # The last stage is the end of the step: its weights are those of the solution.
        error = _weighted(tableau.b_error, increments)
        k = jax.tree.map(lambda *ks: jnp.stack(ks), *increments)
        return y1, error, {"y0": y0, "y1": y1, "k": k}, derivative, diffrax.RESULTS.successful


def _weighted(weights: Any, increments: list[Any]) -> Any:
    pairs = [(float(weight), k) for weight, k in zip(weights, increments, strict=True) if weight != 0]
    return jax.tree.map(lambda *ks: sum(w * k for (w, _), k in zip(pairs, ks, strict=True)), *(k for _, k in pairs))
