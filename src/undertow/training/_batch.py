"""Runs that share a compiled program: their setups stacked where they differ, and their common state."""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..dynamics._base import Snapshots, State
from ._plan import Plan, Setup


class Batch:
    """One run, or many side by side under ``vmap``. Everything that is traced is in this file."""

    def __init__(self, plans: Sequence[Plan]):
        self.size = len(plans)
        self.dynamics = plans[0].setup.dynamics
        arrays = [eqx.filter(plan.setup, eqx.is_array) for plan in plans]
        if self.size == 1:
            self.varied: Any = jax.tree.map(lambda x: None, arrays[0])
            self.shared: Any = plans[0].setup
        else:
            static = eqx.filter(plans[0].setup, eqx.is_array, inverse=True)
            differ = jax.tree.map(lambda *xs: any(not _same(x, xs[0]) for x in xs), *arrays)
            # vmap needs something to map over: the initial parameters always count as different.
            differ = eqx.tree_at(lambda s: s.params, differ, jax.tree.map(lambda x: True, arrays[0].params))
            self.varied = jax.tree.map(lambda d, *xs: jnp.stack(xs) if d else None, differ, *arrays)
            self.shared = eqx.combine(jax.tree.map(lambda d, x: None if d else x, differ, arrays[0]), static)
        # The path does not depend on what is watched: other probes share its program.
        unwatched = functools.partial(dataclasses.replace, probes=())
        self.path: tuple[Any, Any] = (unwatched(self.varied), unwatched(self.shared))
        self.state = _start(*self.path)

    def numbers(self, x: jax.Array) -> np.ndarray:
        """A scalar of the state as a vector on the host, one entry a run."""
        return np.atleast_1d(np.asarray(x))

    def first_samples(self) -> np.ndarray:
        """Where the first sample after the start belongs, for each run."""
        return self.numbers(_first_sample(*self.path, self.state))

    def advance(self, mode: str, targets: np.ndarray, passed: np.ndarray, limit: int) -> Snapshots:
        """Go on, and give the samples on the way with a leading axis of runs; parameters stay on the device."""
        dtype = self.state.time.dtype if self.dynamics.samples_by == "time" else jnp.int32
        if self.dynamics.samples_by == "time":
            targets = np.minimum(targets, np.finfo(dtype).max)  # far targets of a coarse grid are never reached
        arguments = jnp.asarray(targets, dtype), jnp.asarray(passed, jnp.int32), jnp.asarray(limit, jnp.int32)
        state, samples = _advance(*self.path, self.state, mode, *arguments)
        jax.block_until_ready(state.loss)
        self.state = state
        return jax.tree.map(lambda x: x[None], samples) if self.size == 1 else samples

    def measure(self, params: Any, runs: Sequence[int], slots: Sequence[int]) -> list[tuple[Any, ...]]:
        """The probes at the given (run, slot) pairs of ``params``, whose leaves lead with runs and slots."""
        # Padded to all pairs that there can be, so that one program serves any number of samples: how many a chunk
        # takes depends on the clock.
        size = math.prod(jax.tree.leaves(params)[0].shape[:2])
        run, slot = (jnp.asarray(np.resize(np.asarray(x), size), jnp.int32) for x in (runs, slots))
        measured = _measure(self.varied, self.shared, params, run, slot, jnp.asarray(len(runs), jnp.int32))
        values = [np.asarray(v) for v in measured]
        return [tuple(v[i] for v in values) for i in range(len(runs))]

    def present(self) -> Any:
        """The present parameters, with leading axes of runs and one slot."""
        axes = (0, 1) if self.size == 1 else (1,)
        return jax.tree.map(lambda x: jnp.expand_dims(x, axes), self.state.params)

    def params(self, run: int) -> Any:
        """The present parameters of one run."""
        return self.state.params if self.size == 1 else jax.tree.map(lambda x: x[run], self.state.params)


def _same(a: jax.Array, b: jax.Array) -> bool:
    return a is b or bool(np.array_equal(np.asarray(a), np.asarray(b)))


def _alone(varied: Any) -> bool:
    return not jax.tree.leaves(varied)


@eqx.filter_jit
def _start(varied: Any, shared: Any) -> State:
    def one(varied: Any) -> State:
        setup: Setup = eqx.combine(varied, shared)
        return setup.dynamics.start(setup.objective, setup.params, setup.stop)

    return one(varied) if _alone(varied) else eqx.filter_vmap(one)(varied)


@eqx.filter_jit
def _first_sample(varied: Any, shared: Any, state: State) -> jax.Array:
    def one(varied: Any, state: State) -> jax.Array:
        return eqx.combine(varied, shared).dynamics.first_sample(state)

    return one(varied, state) if _alone(varied) else eqx.filter_vmap(one)(varied, state)


@eqx.filter_jit
def _advance(
    varied: Any, shared: Any, state: State, mode: str, targets: jax.Array, passed: jax.Array, limit: jax.Array
) -> tuple[State, Snapshots]:
    def one(varied: Any, state: State, targets: jax.Array, passed: jax.Array) -> tuple[State, Snapshots]:
        setup: Setup = eqx.combine(varied, shared)
        return setup.dynamics.advance(mode, setup.objective, state, setup.stop, targets, passed, limit)

    if _alone(varied):
        return one(varied, state, targets[0], passed[0])
    return eqx.filter_vmap(one)(varied, state, targets, passed)


@eqx.filter_jit
def _measure(
    varied: Any, shared: Any, params: Any, runs: jax.Array, slots: jax.Array, count: jax.Array
) -> tuple[jax.Array, ...]:
    """The first ``count`` pairs, one after the other: many decompositions at once gain nothing on a CPU."""

    def one(run: jax.Array, slot: jax.Array) -> tuple[jax.Array, ...]:
        setup: Setup = eqx.combine(jax.tree.map(lambda x: x[run], varied), shared)
        sample = jax.tree.map(lambda x: x[run, slot], params)
        problem, parameterization = setup.objective.problem, setup.objective.parameterization
        return tuple(probe(problem, parameterization, sample) for probe in setup.probes)

    def fill(i: jax.Array, values: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        return tuple(v.at[i].set(x) for v, x in zip(values, one(runs[i], slots[i]), strict=True))

    empty = tuple(jnp.zeros((runs.size, *x.shape), x.dtype) for x in jax.eval_shape(one, runs[0], slots[0]))
    return jax.lax.fori_loop(0, count, fill, empty)
