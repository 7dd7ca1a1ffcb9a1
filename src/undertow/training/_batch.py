"""Runs that share a compiled program: their setups stacked where they differ, and their common state."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._arrays import placed
from .._programs import Key, Program, compiled_by_size, make_room
from ..dynamics._base import Snapshots, State
from ._plan import Plan, Setup


class Batch:
    """One run, or many side by side under ``vmap``. Everything that is traced is in this file."""

    def __init__(self, plans: Sequence[Plan]):
        self.size = len(plans)
        self.dynamics, self.samples_by = plans[0].setup.dynamics, plans[0].setup.samples_by
        self.program, self.watching = plans[0].program.key, plans[0].watching.key
        # vmap needs something to map over: the initial parameters always count as different.
        other, initial = object(), object()
        places = self.program.assemble([other] * len(plans[0].program.arrays))
        places = eqx.tree_at(lambda s: s.params, places, jax.tree.map(lambda _: initial, places.params))
        always = [x is initial for x in jax.tree.leaves(places) if x is initial or x is other]
        self.varied, self.shared = _split([p.program.arrays for p in plans], always)
        watching = [plan.watching.arrays for plan in plans]
        self.probes_varied, self.probes_shared = _split(watching, [False] * len(watching[0]))
        # What measures hangs on the objective alone, the first part of a setup: runs that differ in their dynamics, or
        # in how long they go, share it.
        objective = Program(plans[0].setup.objective)
        self.objective, measured = objective.key, slice(len(objective.arrays))
        self.measured = self.varied[measured], self.shared[measured]
        make_room(self.program)
        self.state, first = _start(self.program, self.varied, self.shared)
        self.first_samples = self.numbers(first)
        """Where the first sample after the start belongs, for each run."""

    def numbers(self, x: jax.Array) -> np.ndarray:
        """A scalar of the state as a vector on the host, one entry a run."""
        return np.atleast_1d(np.asarray(x))

    def times(self) -> np.ndarray:
        """The present times, or their logarithms in a run in log time."""
        return self.numbers(self.state.log_time if self.samples_by == "log_time" else self.state.time)

    def advance(self, mode: str, targets: np.ndarray, passed: np.ndarray, limit: int) -> Snapshots:
        """Go on, and give the samples on the way with a leading axis of runs; parameters stay on the device."""
        dtype = jnp.int32 if self.samples_by == "steps" else self.state.time.dtype
        if self.samples_by != "steps":
            targets = np.minimum(targets, np.finfo(dtype).max)  # far targets of a coarse grid are never reached
        arguments = placed(targets, dtype), placed(passed, np.int32), placed(limit, np.int32)
        state, samples = _advance(self.program, self.varied, self.shared, self.state, mode, *arguments)
        jax.block_until_ready(state.loss)
        self.state = state
        return samples

    def measure(self, params: Any, told: dict[str, Any], runs: np.ndarray, slots: np.ndarray) -> list[np.ndarray]:
        """The probes, and what was ``told``, at the given (run, slot) pairs of arrays that lead with runs and slots.

        An array each, with the pairs first.
        """
        # Padded to all pairs that there can be, so that one program serves any number of samples: how many a chunk
        # takes depends on the clock.
        size = math.prod(jax.tree.leaves(params)[0].shape[:2])
        run, slot = (placed(np.resize(np.asarray(x), size), np.int32) for x in (runs, slots))
        probes = self.probes_varied, self.probes_shared
        count = placed(len(runs), np.int32)
        measured = _measure(self.objective, self.watching, self.measured, probes, params, run, slot, count)
        return [np.asarray(v)[: len(runs)] for v in measured] + [
            np.asarray(told[name])[runs, slots] for name in self.dynamics.tells
        ]

    def present(self, slots: int) -> tuple[Any, dict[str, Any]]:
        """The present parameters and what the state tells, in the first of as many slots as samples come in.

        So that they are measured by the program that measures the samples.
        """

        def first_of_slots(x: jax.Array) -> jax.Array:
            leading = np.asarray(x)[None] if self.size == 1 else np.asarray(x)
            padded = np.zeros((self.size, slots, *leading.shape[1:]), leading.dtype)
            padded[:, 0] = leading
            return jax.device_put(padded)

        told = _told(self.state, alone=_alone(self.varied)) if self.dynamics.tells else {}
        return jax.tree.map(first_of_slots, (self.state.params, told))

    def state_of(self, run: int) -> State:
        """The present state of one run."""
        return self.state if self.size == 1 else jax.tree.map(lambda x: x[run], self.state)

    def params(self) -> list[Any]:
        """The present parameters of each run."""
        if self.size == 1:
            return [self.state.params]
        host = jax.device_get(self.state.params)  # at once: thousands of small slices take longer than the runs
        return [jax.device_put(jax.tree.map(lambda x, run=run: x[run], host)) for run in range(self.size)]


def _same(a: Any, b: Any) -> bool:
    if a is b:
        return True
    if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
        a, b = jax.random.key_data(a), jax.random.key_data(b)
    return bool(np.array_equal(np.asarray(a), np.asarray(b)))


Arrays = list[Any]
"""The arrays of a setup, None where they are among the others: those that vary, or those that runs share."""


def _split(arrays: Sequence[Arrays], always: Sequence[bool]) -> tuple[Arrays, Arrays]:
    """What varies between runs (or is said to), stacked, and what they share; each None where the other is."""
    varied = [
        len(arrays) > 1 and (forced or any(not _same(x, xs[0]) for x in xs))
        for forced, *xs in zip(always, *arrays, strict=True)
    ]
    stacked = [_stack(xs) if v else None for v, *xs in zip(varied, *arrays, strict=True)]
    return stacked, [None if v else x for v, x in zip(varied, arrays[0], strict=True)]


def _stack(arrays: Sequence[Any]) -> jax.Array:
    if any(jnp.issubdtype(x.dtype, jax.dtypes.extended) for x in arrays):  # keys
        return jnp.stack(arrays)
    return jax.device_put(np.stack([np.asarray(x) for x in arrays]))  # compiles nothing


def _setup(program: Key, varied: Arrays, shared: Arrays) -> Any:
    return program.assemble([s if v is None else v for v, s in zip(varied, shared, strict=True)])


def _alone(varied: Arrays) -> bool:
    return all(v is None for v in varied)


@functools.partial(compiled_by_size, once=True)
def _start(program: Key, varied: Arrays, shared: Arrays) -> tuple[State, jax.Array]:
    def one(varied: Arrays) -> tuple[State, jax.Array]:
        setup: Setup = _setup(program, varied, shared)
        state = setup.dynamics.start(setup.objective, setup.params, setup.stop)
        return state, setup.dynamics.first_sample(state)

    return one(varied) if _alone(varied) else eqx.filter_vmap(one)(varied)


@compiled_by_size
def _told(state: State, *, alone: bool) -> dict[str, jax.Array]:
    def one(state: State) -> dict[str, jax.Array]:
        return state.told

    return one(state) if alone else eqx.filter_vmap(one)(state)


@compiled_by_size
def _advance(
    program: Key,
    varied: Arrays,
    shared: Arrays,
    state: State,
    mode: str,
    targets: jax.Array,
    passed: jax.Array,
    limit: jax.Array,
) -> tuple[State, Snapshots]:
    def one(varied: Arrays, state: State, targets: jax.Array, passed: jax.Array) -> tuple[State, Snapshots]:
        setup: Setup = _setup(program, varied, shared)
        return setup.dynamics.advance(mode, setup.objective, state, setup.stop, targets, passed, limit)

    if _alone(varied):
        state, samples = one(varied, state, targets[0], passed[0])
        return state, jax.tree.map(lambda x: x[None], samples)
    return eqx.filter_vmap(one)(varied, state, targets, passed)


@compiled_by_size
def _measure(
    objective: Key,
    watching: Key,
    objectives: tuple[Arrays, Arrays],
    probes: tuple[Arrays, Arrays],
    params: Any,
    runs: jax.Array,
    slots: jax.Array,
    count: jax.Array,
) -> tuple[jax.Array, ...]:
    """The first ``count`` pairs, one after the other: many decompositions at once gain nothing on a CPU."""

    def one(run: jax.Array, slot: jax.Array) -> tuple[jax.Array, ...]:
        def of_run(program: Key, varied: Arrays, shared: Arrays) -> Any:
            return _setup(program, [None if x is None else x[run] for x in varied], shared)

        measured, watched = of_run(objective, *objectives), of_run(watching, *probes)
        sample = jax.tree.map(lambda x: x[run, slot], params)
        return tuple(probe.measure(measured, sample) for probe in watched)

    def fill(i: jax.Array, values: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        return tuple(v.at[i].set(x) for v, x in zip(values, one(runs[i], slots[i]), strict=True))

    empty = tuple(jnp.zeros((runs.size, *x.shape), x.dtype) for x in jax.eval_shape(one, runs[0], slots[0]))
    return jax.lax.fori_loop(0, count, fill, empty)
