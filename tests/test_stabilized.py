"""The stabilized solver of gradient flow: its polynomials, order and spectral radius, and what "auto" makes of it."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import undertow as ut
from undertow.datasets import low_rank_matrix, observe
from undertow.dynamics._rkc import REACH, SAFETY, STAGES, Rkc
from undertow.dynamics._stiffness import power_method

STABILIZED = ut.dynamics.GradientFlow("stabilized")


def radius_for(stages, h=1.0):
    """The largest estimate for which a step takes so many stages."""
    return (1 - 1e-6) * (stages**2 - 1) / (1.54 * SAFETY) / h


@eqx.filter_jit
def one_step(field, y, h, radius):
    term = diffrax.ODETerm(lambda t, y, args: field(y))
    state = Rkc().enter(field(y), y, radius)
    end, error, _, after, _ = Rkc().step(term, jnp.zeros_like(h), h, y, None, state, False)
    return end, error, after


@eqx.filter_jit
def stability(z, radius):
    end, _, after = one_step(lambda y: z * y, jnp.ones_like(z), jnp.ones((), z.dtype), radius)
    return end, after.derivative


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_the_stability_polynomials_are_bounded_by_one_on_the_whole_interval(dtype):
    rounding = 20 * float(jnp.finfo(dtype).eps)
    for stages in range(2, STAGES + 1):
        radius = jnp.asarray(radius_for(stages), dtype)
        assert int(Rkc().stages(jnp.ones((), dtype), Rkc().enter(radius, radius, radius))) == stages
        bound = 2 / 3 * (stages**2 - 1) * (1 - 2 / 15 * 2 / 13)
        z = -bound * jnp.linspace(0, 1, 1001, dtype=dtype) ** 2
        value, _ = stability(z, radius)
        assert value.dtype == dtype
        # The gradient sees z times the rounding of y, and z grows like the square of the stages.
        assert float(jnp.abs(value).max()) <= 1 + rounding * stages, stages
        # Half way and beyond, the polynomial is damped; a step of twice the estimate is still stable.
        assert float(jnp.abs(value[700:]).max()) <= 0.96 + rounding * stages, stages
        assert radius * SAFETY <= bound


def test_the_first_three_coefficients_are_those_of_the_exponential():
    z = jnp.array([-1e-3, 1e-3])
    for stages in (2, 3, 10, 57, STAGES):
        value, _ = stability(z, jnp.asarray(radius_for(stages)))
        np.testing.assert_allclose(value, 1 + z + z**2 / 2, atol=2e-10)


def test_the_error_falls_with_the_square_of_the_step():
    problem = ut.problems.MatrixCompletion((3, 3), [0, 1, 2, 0], [0, 1, 2, 1], [1.0, 0.5, -1.0, 0.3])
    phi = ut.parameterizations.DeepMatrix((3, 3), 3)
    flat, unravel = jax.flatten_util.ravel_pytree(phi.init(jax.random.key(0), 0.5))

    @jax.jit
    def field(y):
        return -jax.grad(lambda u: problem.loss(phi(unravel(u))))(y)

    exact = solve_ivp(lambda t, y: field(y), (0, 4), flat, "DOP853", rtol=1e-12, atol=1e-12).y[:, -1]
    for stages in (2, 5, 20):
        errors = []
        for count in (16, 32, 64, 128):
            h, y = jnp.asarray(4 / count), flat
            for _ in range(count):
                y, _, _ = one_step(field, y, h, jnp.asarray(radius_for(stages, 4 / count)))
            errors.append(float(np.linalg.norm(y - exact)))
        slopes = -np.diff(np.log2(errors))
        np.testing.assert_allclose(slopes[1:], 2, atol=0.15)


@pytest.mark.long
def test_a_stiff_linear_flow_is_the_exponential():
    rates = np.geomspace(1e-2, 1e4, 12)
    start, times = np.linspace(1.0, 2.0, 12), np.array([1e-3, 1.0, 30.0])
    found = ut.train(
        ut.problems.LeastSquares(jnp.diag(jnp.sqrt(rates)), jnp.zeros(12), normalization="half_sum"),
        ut.parameterizations.Identity(12),
        ut.dynamics.GradientFlow("stabilized", rtol=1e-8),
        params=jnp.asarray(start),
        probes=[ut.probes.Function("w", lambda w: w)],
        samples=times,
        stop=ut.Stop(loss=None, time=30.0),
    )
    np.testing.assert_allclose(found["w"][1:], start * np.exp(-np.outer(times, rates)), atol=2e-5)
    # An explicit step reaches 3.3 / 1e4 at most, for 6 gradients.
    assert found.gradient_evaluations < 30 * 1e4 / 3.3 * 6 / 10


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_the_spectral_radius_of_a_quadratic(dtype, getkey):
    basis = jnp.linalg.qr(jax.random.normal(getkey(), (30, 30)))[0]
    hessian = (basis @ jnp.diag(jnp.linspace(0.0, 7.0, 30)) @ basis.T).astype(dtype)
    y, direction = (jax.random.normal(getkey(), (30,), dtype) for _ in range(2))

    def field(y):
        return -hessian @ y

    zero, due = jnp.zeros((), dtype), jnp.asarray(True)
    first, towards, count = power_method(field, y, field(y), direction, zero, due)
    assert 7 / SAFETY <= first <= 7.01
    again, towards, few = power_method(field, y, field(y), towards, first, due)
    assert first * 0.999 <= again <= 7.01
    assert few <= 2 <= count
    assert power_method(field, y, field(y), towards, again, jnp.asarray(False))[2] == 0


def stiff_completion(size=24, depth=3, seed=1):
    """More parameters than the implicit solver takes, and an end that is stiff."""
    truth_key, entries_key, start_key = jax.random.split(jax.random.key(seed), 3)
    truth = low_rank_matrix(truth_key, (size, size), 2)
    rows, columns = observe(entries_key, (size, size), size**2 // 4)
    phi = ut.parameterizations.DeepMatrix((size, size), depth)
    return (
        ut.problems.MatrixCompletion((size, size), rows, columns, truth[rows, columns]),
        phi,
        phi.init(start_key, 1e-3),
    )


def run(dynamics, **options):
    problem, phi, params = stiff_completion()
    return ut.train(problem, phi, dynamics, params=params, **({"stop": ut.Stop(loss=1e-6), "samples": 8} | options))


@pytest.mark.long
def test_auto_needs_half_the_gradients_of_explicit_at_most_and_ends_where_it_does():
    explicit, auto = (run(ut.dynamics.GradientFlow(solver, rtol=1e-4)) for solver in ("explicit", "auto"))
    assert (explicit.status, auto.status) == ("converged", "converged")
    assert 0.999e-6 <= auto["loss"][-1] <= 1e-6
    assert np.linalg.norm(auto.w - explicit.w) <= 1e-4 * np.linalg.norm(explicit.w)
    assert 2 * auto.gradient_evaluations <= explicit.gradient_evaluations


@pytest.mark.long
@pytest.mark.parametrize("solver", ["stabilized", "auto"])
def test_samples_lie_on_the_path(solver):
    # Sampling shortens no step: what is between steps is interpolated.
    times = np.geomspace(1.0, 2000.0, 20)
    options = {"stop": ut.Stop(loss=None, time=2000.0), "samples": times, "probes": [ut.probes.Entry(3, 4)]}
    exact = run(ut.dynamics.GradientFlow("explicit", rtol=1e-8), **options)
    found = run(ut.dynamics.GradientFlow(solver, rtol=1e-7), **options)
    np.testing.assert_array_equal(found.times[1:], times)
    np.testing.assert_allclose(found["entry_3_4"], exact["entry_3_4"], atol=2e-4 * np.abs(exact["entry_3_4"]).max())


@pytest.mark.long
def test_gradients_are_counted_exactly():
    problem, phi, params = stiff_completion(size=8)
    calls = []

    class Counted(ut.problems.MatrixCompletion):
        def loss_of_entries(self, entries):
            return super().loss_of_entries(count(entries))

    @jax.custom_vjp
    def count(x):
        return x

    def backward(_, cotangent):
        jax.debug.callback(lambda: calls.append(1))
        return (cotangent,)

    count.defvjp(lambda x: (x, None), backward)
    counted = Counted(problem.shape, problem.rows, problem.columns, problem.values)

    def gradients(steps):
        calls.clear()
        stop = ut.Stop(loss=None, steps=steps)
        found = ut.train(counted, phi, STABILIZED, params=params, samples=2, stop=stop)
        jax.effects_barrier()
        return found.gradient_evaluations, len(calls)

    (few, few_calls), (many, many_calls) = gradients(5), gradients(105)
    # The first ones of a run are another matter: the compiler shares some of them.
    assert many - few == many_calls - few_calls


@pytest.mark.long
def test_chunks_of_any_length_give_the_same_bits(tmp_path):
    for solver in ("stabilized", "auto"):
        dynamics = ut.dynamics.GradientFlow(solver, rtol=1e-4)
        whole = run(dynamics, samples=[10.0, 500.0], stop=ut.Stop(loss=None, steps=150))
        for steps in (37, 101, 150):
            stop = ut.Stop(loss=None, steps=steps)
            part = run(dynamics, samples=[10.0, 500.0], stop=stop, checkpoint=tmp_path / f"{solver}.npz")
        np.testing.assert_array_equal(part.w, whole.w)
        np.testing.assert_array_equal(part["loss"], whole["loss"])
        assert part.gradient_evaluations == whole.gradient_evaluations


@pytest.mark.long
@pytest.mark.parametrize("solver", ["stabilized", "auto"])
def test_a_sweep_gives_what_its_runs_give(solver):
    problem, phi, _ = stiff_completion()
    dynamics = ut.dynamics.GradientFlow(solver, rtol=1e-4)

    def point(scale):
        return ut.train(problem, phi, dynamics, key=0, scale=scale, samples=2, probes=[ut.probes.NuclearNorm()])

    found = ut.sweep(point, over={"scale": [1e-3, 1e-2]})
    for scale in (1e-3, 1e-2):
        alone, part = point(scale), found.sel(scale=scale)
        assert part["status"] == alone.status == "converged"
        np.testing.assert_allclose(part["final_nuclear_norm"], alone["nuclear_norm"][-1], rtol=1e-5)
        np.testing.assert_allclose(part["gradient_evaluations"], alone.gradient_evaluations, rtol=0.02)


@pytest.mark.long
@pytest.mark.two_types
def test_single_precision():
    problem, phi, params = stiff_completion()
    single = jax.tree.map(lambda x: x.astype(jnp.float32), params)
    for solver in ("stabilized", "auto"):
        dynamics = ut.dynamics.GradientFlow(solver, rtol=1e-4)
        found = ut.train(problem, phi, dynamics, params=single, samples=2)
        assert found.status == "converged"
        assert found.params[0].dtype == jnp.float32
        expected = run(dynamics)
        assert np.linalg.norm(found.w - expected.w) <= 1e-3 * np.linalg.norm(expected.w)
        # How rounding falls decides on some steps: with and without the compiler's optimizations 1.1 and 1.2 times.
        assert found.gradient_evaluations <= 1.5 * expected.gradient_evaluations


@pytest.mark.long
def test_entries_that_have_no_forward_derivative_will_do():
    # A sparse problem: its derivative can be had in reverse only.
    truth = low_rank_matrix(jax.random.key(0), (600, 600), 1)
    rows, columns = observe(jax.random.key(1), (600, 600), 9000)
    problem = ut.problems.MatrixCompletion((600, 600), rows, columns, truth[rows, columns])
    phi = ut.parameterizations.DeepMatrix((600, 600), 2, width=2)
    found = ut.train(problem, phi, STABILIZED, key=0, scale=1e-2, samples=2, stop=ut.Stop(loss=1e-3))
    assert found.status == "converged"
    assert 0.999e-3 <= found["loss"][-1] <= 1e-3


@pytest.mark.long
def test_a_start_at_the_origin_and_an_end_beyond_the_domain():
    problem = ut.problems.LineTarget(-1.0, -2.0, 15.0)
    found = ut.train(problem, ut.parameterizations.Identity(2), STABILIZED, params=jnp.zeros(2))
    assert found.status == "converged"
    np.testing.assert_allclose(found.w, (3.0, 6.0), atol=1e-2)
    phi = ut.parameterizations.Power(1, 0.5)
    lost = ut.train(ut.problems.PointTarget([-1.0]), phi, STABILIZED, params=phi.lift([1.0]))
    assert lost.status == "diverged"
    assert np.isfinite(lost.params).all()


def test_the_reach_is_that_of_the_most_stages():
    stiffness = jnp.array([0.0, REACH, 3 * REACH])
    np.testing.assert_allclose(Rkc().effort(stiffness), [2, STAGES, 3 * STAGES])
