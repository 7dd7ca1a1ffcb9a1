"""No arithmetic of two types, wherever numbers have one: everything is traced under JAX's strict promotion."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import CLASSIFICATIONS, DYNAMICS, PARAMETERIZATIONS, PROBES, PROBLEMS, rows

import undertow as ut
from undertow.objective import Objective

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])


def cast(tree, dtype):
    """With all floating arrays of one type, in a process of that precision."""
    return jax.tree.map(lambda x: jnp.asarray(x, dtype) if eqx.is_inexact_array(x) else x, tree)


def traced(function, *trees, dtype):
    """The types that a function gives, traced strictly."""
    with jax.enable_x64(dtype == np.float64), jax.numpy_dtype_promotion("strict"):
        found = eqx.filter_eval_shape(function, *(cast(tree, dtype) for tree in trees))
    return {x.dtype for x in jax.tree.leaves(found) if hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jnp.floating)}


def test_what_it_finds():
    with pytest.raises(jax.dtypes.TypePromotionError):
        traced(lambda x: x * jnp.arange(3), np.ones(3), dtype=np.float64)


@DTYPES
@rows(PARAMETERIZATIONS)
def test_parameterizations(case, dtype):
    phi, key = case.instance, jax.random.key(0)
    params = phi.init(key, 1.0)
    assert traced(phi, params, dtype=dtype) == {np.dtype(dtype)}
    assert traced(lambda p: jax.grad(lambda p: phi(p).sum())(p), params, dtype=dtype) == {np.dtype(dtype)}
    if case.lift_w is not None:
        assert traced(phi.lift, case.lift_w, dtype=dtype) == {np.dtype(dtype)}


@DTYPES
@rows([*PROBLEMS, *CLASSIFICATIONS])
def test_problems(case, dtype):
    loss_and_slope = lambda problem, w: jax.value_and_grad(problem.loss)(w)
    w = np.ones(case.instance.shape)
    assert traced(loss_and_slope, case.instance, w, dtype=dtype) == {np.dtype(dtype)}


@DTYPES
@rows(PROBES)
def test_probes(case, dtype):
    phi, params = case.phi, case.phi.init(jax.random.key(0), 1.0)
    measure = lambda probe, problem, params: probe.measure(Objective(problem, phi), params)
    assert traced(measure, case.instance, case.problem, params, dtype=dtype) == {np.dtype(dtype)}


@DTYPES
@rows(DYNAMICS)
def test_dynamics(case, dtype):
    phi = ut.parameterizations.SignedPower(4, 2)
    problem = next(row.instance for row in PROBLEMS if row.id == "LeastSquares")
    params = (jnp.ones(4), jnp.full(4, 0.5))

    def run(dynamics, problem, params, targets):
        objective, stop = Objective(problem, phi), cast(ut.Stop(loss=0.5, steps=20), dtype)
        state = dynamics.start(objective, params, stop)
        nothing, limit = jnp.asarray(0, jnp.int32), jnp.asarray(7, jnp.int32)
        ends = [dynamics.advance(mode, objective, state, stop, targets, nothing, limit) for mode in dynamics.modes]
        return state, ends, dynamics.first_sample(state)

    targets = np.array([0.3, 1.0]) if case.instance.samples_by == "time" else jnp.array([1, 4], jnp.int32)
    assert traced(run, case.instance, problem, params, jnp.asarray(targets), dtype=dtype) == {np.dtype(dtype)}
