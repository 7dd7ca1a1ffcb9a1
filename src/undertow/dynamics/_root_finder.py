"""Newton's method for the stages of an implicit step, with shorter steps where whole ones lead astray."""

from typing import Any

import jax
import jax.numpy as jnp
import optimistix
from jaxtyping import Array, Bool

GROWTH = 2.0
"""The factor by which a step may raise what is missing. Newton's method often rises before it falls: this is no line
search, it only keeps out of where an exponential has run away."""
SHORTEST = 2.0**-30
"""The share of a step that is taken however much is missing after it."""


class GuardedNewton(optimistix.Newton):
    """optimistix's Newton, whose steps are halved until what is missing is finite, and at most twice that before.

    On an exponential loss a guess with margins too wide by m has next to no gradient, and a whole step goes exp(m) too
    far to the other side, from where it comes back by 1 an iteration. A long step of a flow in log time begins so:
    the margins of a deep network grow along a line in log time, its weights do not, and a line is the guess.

    A correction of no more than ``rounding`` is the last, whatever is missing still: in a very stiff flow (margins of
    1e-3 in log time: eigenvalues of 4e6) the field at rounded parameters is off by more than the absolute tolerance, in
    a long step at least, which could never be met. What is missing for want of digits asks for no correction there.
    """

    rtol: Any
    atol: Any  # may be traced
    rounding: Any = 0.0

    def step(self, fn: Any, y: Any, args: Any, options: Any, state: Any, tags: Any) -> tuple[Any, Any, Any]:
        """One step. The state is that of the whole one, so that a short one is never taken for the last."""
        new, state, aux = super().step(fn, y, args, options, state, tags)
        bound = GROWTH * self.norm(state.f)

        def at(share: Array) -> Any:
            return jax.tree.map(lambda a, b: a + share.astype(a.dtype) * (b - a), y, new)

        def astray(share: Array) -> Bool[Array, ""]:
            # Not ">": what is not finite is astray too.
            return ~(self.norm(fn(at(share), args)[0]) <= bound) & (share > SHORTEST)

        share = jax.lax.while_loop(astray, lambda share: share / 2, jnp.ones((), bound.dtype))
        return jax.tree.map(lambda whole, a: jnp.where(share < 1, a, whole), new, at(share)), state, aux

    def terminate(self, fn: Any, y: Any, args: Any, options: Any, state: Any, tags: Any) -> tuple[Any, Any]:
        """Whether the last correction was small enough, and what was missing before it; or it was none but rounding."""
        done, result = super().terminate(fn, y, args, options, state, tags)
        return done | (self.norm(state.diff) <= self.rounding), result
