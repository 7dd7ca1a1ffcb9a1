"""Penalties: values, sums, on w and on the parameters; and what training and probes make of them."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import compilations, exported

import undertow as ut

N = ut.penalties
W = jnp.array([[3.0, -4.0], [0.0, 1.0]])
TABLE = {
    N.L1: (N.L1(0.5), 0.5 * 8),
    N.L2: (N.L2(0.5), 0.25 * 26),
    N.Sum: (N.L1(1.0) + N.L2(2.0), 8 + 26),
    N.Function: (N.Function(lambda w: w[0, 0] ** 2), 9),
    N.Nuclear: (N.Nuclear(0.5), 0.5 * np.sqrt(32)),  # of [[3, -4], [0, 1]], whose determinant is 3
    N.NuclearFrobeniusRatio: (N.NuclearFrobeniusRatio(0.5), 0.5 * np.sqrt(32 / 26)),
    N.SchattenQuasiNorm: (N.SchattenQuasiNorm(0.5, p=0.5), 0.5 * (np.sqrt(32) + 2 * np.sqrt(3))),
    N.SchattenRatio: (N.SchattenRatio(0.5, p=0.5, q=2), 0.5 * (np.sqrt(32) + 2 * np.sqrt(3)) / np.sqrt(26)),
    N.OnParameters: (N.OnParameters(N.L1(1.0)), 8),
}


def test_every_penalty_has_a_row():
    assert exported(N, N.Penalty) == set(TABLE)


@pytest.mark.parametrize("kind", TABLE, ids=lambda kind: kind.__name__)
def test_values_under_jit_and_vmap(kind):
    penalty, expected = TABLE[kind]
    expected = pytest.approx(expected, rel=1e-14)
    assert float(penalty(W)) == expected
    assert float(eqx.filter_jit(lambda p, w: p(w))(penalty, W)) == expected
    assert jax.vmap(penalty)(jnp.stack([W, W])).tolist() == [expected] * 2
    phi = ut.parameterizations.Identity((2, 2))
    assert float(penalty.of(phi, W)) == expected


def test_on_w_and_on_the_parameters_are_different_things():
    phi = ut.parameterizations.DeepMatrix((2, 2), 2)
    params = phi.init(jax.random.key(0), 1.0)
    decay = N.OnParameters(N.L2(1.0))
    assert float(decay.of(phi, params)) == pytest.approx(sum(float((p**2).sum()) for p in params) / 2)
    assert float(N.L2(1.0).of(phi, params)) == pytest.approx(float((phi(params) ** 2).sum()) / 2)
    both = decay + N.L2(1.0)
    assert float(both.of(phi, params)) == pytest.approx(float(decay.of(phi, params) + N.L2(1.0).of(phi, params)))


@pytest.mark.long
def test_ridge_regression_in_closed_form():
    rng = np.random.default_rng(1)
    A, b, weight = rng.normal(size=(5, 8)), rng.normal(size=5), 0.3
    problem = ut.problems.LeastSquares(A, b)
    run = ut.train(
        problem,
        ut.parameterizations.Identity(8),
        ut.dynamics.GradientFlow(),
        key=0,
        scale=0.1,
        penalty=N.L2(weight),
        stop=ut.Stop(loss=None, gradient=1e-9),
        probes=[ut.probes.GradientNorm()],
    )
    np.testing.assert_allclose(run.w, np.linalg.solve(A.T @ A + weight * np.eye(8), A.T @ b), atol=1e-8)
    assert run["gradient_norm"][-1] <= 1e-9  # of the whole objective, as Stop counts it


@pytest.mark.long
def test_weight_decay_of_a_product_is_the_nuclear_norm_of_w():
    """min |W_1|^2/2 + |W_2|^2/2 over W_2 W_1 = W is |W|_*: the end soft-thresholds the singular values by 2 lambda."""
    target = np.diag([3.0, 1.0, 0.1])
    run = ut.train(
        ut.problems.PointTarget(target),
        ut.parameterizations.DeepMatrix((3, 3), 2),
        ut.dynamics.GradientFlow(),
        key=0,
        scale=0.1,
        penalty=N.OnParameters(N.L2(0.4)),
        stop=ut.Stop(loss=None, gradient=1e-7),
    )
    np.testing.assert_allclose(np.linalg.svd(run.w, compute_uv=False), [2.6, 0.6, 0.0], atol=1e-5)


@pytest.mark.long
def test_under_mirror_flow_the_parameters_are_not_their_dual():
    """With an identity they are w itself, whatever potential moves it."""
    problem, phi, start = ut.problems.PointTarget([3.0, 1.0]), ut.parameterizations.Identity(2), jnp.ones(2)
    flow, stop = ut.dynamics.MirrorFlow(ut.potentials.Entropy()), ut.Stop(loss=None, gradient=1e-8)
    for penalty in (N.L2(1.0), N.OnParameters(N.L2(1.0))):
        run = ut.train(problem, phi, flow, params=start, penalty=penalty, stop=stop)
        np.testing.assert_allclose(run.w, [1.5, 0.5], atol=1e-6)


def test_a_sweep_over_weights_is_one_program():
    problem, phi = ut.problems.PointTarget(np.ones(3)), ut.parameterizations.Identity(3)
    descent = ut.dynamics.GradientDescent(ut.optimizers.make("sgd", 0.1))

    def run(weight):
        penalty = N.L2(weight) + N.OnParameters(N.L1(weight))
        return ut.train(problem, phi, descent, params=jnp.ones(3), penalty=penalty, stop=ut.Stop(loss=None, steps=300))

    with compilations() as first:
        ut.sweep(run, over={"weight": [0.0, 0.1]})
    ends = ut.sweep(lambda weight: run(weight), over={"weight": [0.0, 0.1]})["final_loss"]
    with compilations() as second:
        ut.sweep(run, over={"weight": [0.3, 0.4]})
    assert first.programs > second.programs == 0
    # w + 0.1 w + 0.1 = 1
    np.testing.assert_allclose(ends, [0.0, 1.5 * (1 - 0.9 / 1.1) ** 2], atol=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: N.L1(-1.0), "weight: expected a finite number of at least 0"),
        (lambda: N.OnParameters(3), "penalty: expected an undertow.penalties.Penalty"),
        (lambda: N.Function(3), "penalty: expected"),
        (lambda: N.Function(N.L2), "found the class L2 itself: call it"),
        (lambda: N.L1(1.0) + 3, "unsupported operand"),
    ],
)
def test_wrong_penalties_are_named(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()


@pytest.mark.parametrize("penalty", [lambda w: w, ut.penalties.Function(lambda w: w)])
def test_train_names_a_wrong_penalty(penalty):
    with pytest.raises((TypeError, ValueError), match="penalty: expected"):
        ut.train(
            ut.problems.PointTarget(np.ones(3)),
            ut.parameterizations.Identity(3),
            ut.dynamics.GradientFlow(),
            key=0,
            scale=1.0,
            penalty=penalty,
        )
