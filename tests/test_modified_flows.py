"""The flows that descent follows to second order in its step size, and what they say of themselves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import compilations

import undertow as ut
from undertow.objective import Objective

D = ut.dynamics
PROBLEM, PHI = ut.problems.PointTarget([1.0]), ut.parameterizations.Hadamard(1, 2)


def start(u, v):
    return jnp.array([[u], [v]])


def end(dynamics, params, time, steps=1_000_000):
    stop = ut.Stop(loss=None, time=time, steps=steps)
    run = ut.train(PROBLEM, PHI, dynamics, params=params, stop=stop, samples=2)
    return np.ravel(run.params)


def slopes(name, options, flow, of_flow, params, time, steps):
    """Of distances to the flow of step size 0 and to the modified one, as steps are halved; ``of_flow``: starts."""
    apart = []
    for count in (steps, 2 * steps):
        eta = time / count
        descent = end(D.GradientDescent(ut.optimizers.make(name, eta, **options)), params, None, count)
        ends = [end(flow(size), of_flow(eta, params), time) for size in (0.0, eta)]
        apart.append([np.linalg.norm(descent - x) for x in ends])
    return np.log2(np.divide(*apart))


@pytest.mark.long
def test_descent_follows_the_modified_flow_to_second_order():
    """From (2.8, 0.3) for a time of 1 in steps of 0.01 and 0.005."""
    found = slopes(
        "sgd",
        {},
        lambda eta: D.GradientFlow("explicit", rtol=1e-10, step_size=eta),
        lambda _eta, params: params,
        start(2.8, 0.3),
        1.0,
        100,
    )
    np.testing.assert_allclose(found, [1, 2], atol=0.05)


@pytest.mark.long
@pytest.mark.parametrize("nesterov", [False, True])
def test_so_does_momentum_once_it_is_up_to_speed(nesterov):
    beta = 0.5
    behind = (beta**2 if nesterov else beta) / (1 - beta) ** 2
    total = ut.objective.Objective(PROBLEM, PHI)
    gradient = jax.grad(lambda params: total(params)[0])

    def up_to_speed(eta, params):
        return jax.tree.map(lambda x, g: x + eta * behind * g, params, gradient(params))

    flow = lambda eta: D.GradientFlow("explicit", rtol=1e-10, step_size=eta, momentum=beta, nesterov=nesterov)
    found = slopes("sgd", {"momentum": beta, "nesterov": nesterov}, flow, up_to_speed, start(2.8, 0.3), 1.0, 100)
    np.testing.assert_allclose(found, [1, 2], atol=0.1)


@pytest.mark.parametrize(("b1", "b2", "eps"), [(0.5, 0.8, 0.1), (0.9, 0.8, 1e-8)])
def test_so_does_adam(b1, b2, eps):
    found = slopes(
        "adam",
        {"b1": b1, "b2": b2, "eps": eps},
        lambda eta: D.AdamFlow(eta, b1, b2, eps, "explicit", rtol=1e-9),
        lambda _eta, params: params,
        start(1.2, 0.2),
        0.2,
        200,
    )
    np.testing.assert_allclose(found, [1, 2], atol=0.1)


@pytest.mark.long
def test_the_modified_flow_of_a_quadratic_in_closed_form():
    """x' = -(1 + eta / 2) x / (1 - beta), with the share of momentum (1 + beta) / (1 - beta)^2 on eta."""
    identity, problem = ut.parameterizations.Identity(1), ut.problems.PointTarget([0.0])
    for beta, rate in ((None, 1.05), (0.5, 2 * (1 + 0.05 * 6))):
        flow = D.GradientFlow("explicit", rtol=1e-10, step_size=0.1, momentum=beta)
        run = ut.train(problem, identity, flow, params=jnp.ones(1), stop=ut.Stop(loss=None, time=1.5), samples=2)
        np.testing.assert_allclose(run.w, np.exp(-1.5 * rate), rtol=1e-8)


@pytest.mark.long
def test_gradients_are_counted_threefold():
    plain, modified = (
        ut.train(PROBLEM, PHI, flow, params=start(2.8, 0.3), stop=ut.Stop(loss=None, steps=10), samples=2)
        for flow in (D.GradientFlow("explicit"), D.GradientFlow("explicit", step_size=0.0))
    )
    np.testing.assert_array_equal(plain.w, modified.w)
    # Beside three gradients of the start, or nine, the first of which is one of loss alone.
    assert modified.gradient_evaluations - 1 == 3 * (plain.gradient_evaluations - 1)


def test_step_sizes_share_one_program():
    def run(size):
        flow = D.GradientFlow("explicit", step_size=size, momentum=0.5)
        return ut.train(PROBLEM, PHI, flow, params=start(2.8, 0.3), stop=ut.Stop(loss=None, time=0.1), samples=2)

    run(0.1)
    with compilations() as count:
        run(0.2)
    assert count.programs == 0


@pytest.mark.long
def test_step_sizes_are_an_axis_of_a_sweep():
    def run(size):
        flow = D.GradientFlow("explicit", step_size=size)
        return ut.train(PROBLEM, PHI, flow, params=start(2.8, 0.3), stop=ut.Stop(loss=None, time=0.1), samples=2)

    found = ut.sweep(run, over={"size": [0.0, 0.1]})
    for size in (0.0, 0.1):
        np.testing.assert_allclose(found["final_loss"].sel(size=size), run(size)["loss"][-1], rtol=1e-9)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: D.GradientFlow(momentum=0.5), "momentum: expected a step_size with it"),
        (lambda: D.GradientFlow(step_size=-0.1), "step_size: expected a finite number of at least 0"),
        (lambda: D.GradientFlow(step_size=0.1, nesterov=True), "nesterov: expected a momentum with it"),
        (lambda: D.GradientFlow(step_size=0.1, momentum=1), "momentum: expected a number below 1, found 1"),
        (lambda: D.AdamFlow(0.1, b2=1.0), "b2: expected a number below 1"),
        (lambda: D.AdamFlow(0.1, eps=0), "eps: expected a finite number above 0"),
        (lambda: D.AdamFlow(0.1, rtol=0.0), "rtol: expected a finite number above 0"),
    ],
)
def test_wrong_numbers(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("options", "edge"), [({}, 2), ({"momentum": 0.5}, 3), ({"momentum": 0.5, "nesterov": True}, 1.5)]
)
def test_a_step_at_which_descent_is_unstable_is_refused(options, edge):
    """Of curvature 4; at the edge of heavy balls, and of Nesterov's, the iteration has the eigenvalue -1."""
    objective = Objective(ut.problems.LeastSquares(2 * np.eye(2), np.ones(2)), ut.parameterizations.Identity(2))
    run = lambda size: D.GradientFlow(step_size=size, **options).check(objective, jnp.zeros(2))
    with pytest.raises(ValueError, match=rf"step_size: expected at most {edge / 4:.3g}, "):
        run(1.001 * edge / 4)
    run(0.999 * edge / 4)


@pytest.mark.long
def test_adams_flow_is_refused_where_its_expansion_is_over_at_the_start():
    """With averages over 1000 steps of 0.01, the exponential loss of two points once sent w to the wrong side."""
    problem, phi = ut.problems.Classification([[1.0, 2.0], [-2.0, -1.0]], [1, -1]), ut.parameterizations.Identity(2)
    run = lambda step_size: ut.train(
        problem, phi, D.AdamFlow(step_size), params=jnp.full(2, 0.1), stop=ut.Stop(loss=None, time=0.01)
    )
    with pytest.raises(ValueError, match="step_size: expected one with which the averages of Adam add less"):
        run(0.01)
    assert (run(1e-5).w > 0.1).all()
