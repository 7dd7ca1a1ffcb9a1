"""The exact path of two linear layers against the equation of their flow, limits and conserved quantities."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import undertow as ut

two_layer_dynamics = ut.theory.two_layer_dynamics
rng = np.random.default_rng(0)


def start(outputs, hidden, inputs, imbalance, scale):
    """Layers with W_2^T W_2 - W_1 W_1^T = imbalance I, of random singular vectors on both sides."""
    most = min(outputs, hidden, inputs)
    size = hidden if imbalance else most
    s = np.zeros(hidden)
    s[: min(size, most)] = scale * rng.uniform(0.5, 1.5, min(size, most))
    R = np.linalg.qr(rng.normal(size=(hidden, hidden)))[0]
    orthonormal = lambda n: np.linalg.qr(rng.normal(size=(n, max(n, hidden))))[0][:, :hidden]
    pad = lambda n: np.pad(orthonormal(n), ((0, 0), (0, hidden - min(n, hidden)))) if n < hidden else orthonormal(n)
    one, two = np.sqrt(s**2 + max(-imbalance, 0)), np.sqrt(s**2 + max(imbalance, 0))
    return (R * one) @ pad(inputs).T, (pad(outputs) * two) @ R.T


def flow(t, S, W1, W2):
    def velocity(_, x):
        A, B = x[: W1.size].reshape(W1.shape), x[W1.size :].reshape(W2.shape)
        error = S - B @ A
        return np.concatenate([(B.T @ error).ravel(), (error @ A.T).ravel()])

    found = solve_ivp(
        velocity, (0, t[-1]), np.concatenate([W1.ravel(), W2.ravel()]), "DOP853", t_eval=t, rtol=1e-13, atol=1e-14
    ).y.T
    layers = [(x[: W1.size].reshape(W1.shape), x[W1.size :].reshape(W2.shape)) for x in found]
    return tuple(np.stack(x) for x in zip(*[(B @ A, A.T @ A, B @ B.T) for A, B in layers], strict=True))


@pytest.mark.parametrize(
    ("outputs", "hidden", "inputs", "imbalance", "scale"),
    [
        (3, 3, 3, 0.0, 0.1),
        (3, 2, 4, 0.0, 1e-3),
        (3, 5, 4, 0.0, 0.5),
        (3, 3, 3, 2.0, 0.1),
        (4, 3, 5, 2.0, 0.1),
        (5, 3, 4, -1.5, 0.2),
        (4, 2, 3, -1e-3, 0.01),
    ],
)
def test_the_path_is_that_of_the_flow(outputs, hidden, inputs, imbalance, scale):
    S, t = rng.normal(size=(outputs, inputs)), np.array([0.0, 0.3, 1.0, 3.0, 8.0])
    W1, W2 = start(outputs, hidden, inputs, imbalance, scale)
    path = two_layer_dynamics(t, S, W1, W2)
    assert path.imbalance == pytest.approx(imbalance, abs=1e-14)
    for found, expected in zip(path[:3], flow(t, S, W1, W2), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-10)


def test_aligned_layers_are_saxe_modes():
    s, t = np.array([3.0, 1.0]), np.linspace(0, 6, 7)
    W = 0.1 * np.eye(2)
    found = two_layer_dynamics(t, np.diag(s), W, W).product
    np.testing.assert_allclose(
        np.diagonal(found, axis1=1, axis2=2), ut.theory.saxe_modes(t, s, 0.01), rtol=1e-12, atol=1e-14
    )
    unequal = two_layer_dynamics(t, np.diag(s), 0.1 * np.eye(2), np.sqrt(0.01 + 0.5) * np.eye(2)).product
    strengths = ut.theory.saxe_modes(t, s, 0.1 * np.sqrt(0.51), imbalances=0.5)
    np.testing.assert_allclose(np.diagonal(unequal, axis1=1, axis2=2), strengths, rtol=1e-12)


@pytest.mark.parametrize("imbalance", [0.0, 3.0, -3.0])
def test_long_times_end_at_the_target(imbalance):
    S = rng.normal(size=(3, 3))
    W1, W2 = start(3, 3, 3, imbalance, 0.1)
    path = two_layer_dynamics([1e3, 1e9], S, W1, W2)
    np.testing.assert_allclose(path.product, np.stack([S, S]), atol=1e-12)
    # W_2 W_2^T solves x (x - lambda) = S S^T there.
    B = path.second[1]
    np.testing.assert_allclose(B @ B - imbalance * B, S @ S.T, atol=1e-12)


def test_a_narrow_layer_ends_at_the_best_of_its_rank():
    S = rng.normal(size=(4, 3))
    W1, W2 = start(4, 2, 3, 0.0, 1e-2)
    U, s, V = np.linalg.svd(S, full_matrices=False)
    found = two_layer_dynamics([1e5], S, W1, W2).product[0]
    np.testing.assert_allclose(found, (U[:, :2] * s[:2]) @ V[:2], atol=1e-12)


def test_large_imbalance_is_lazy():
    """The layer that is large stands still, and the other fits as if alone: an exponential of rate lambda."""
    S, imbalance, t = rng.normal(size=(3, 3)), 1e4, np.array([1e-5, 1e-4, 3e-4])
    W1, W2 = start(3, 3, 3, imbalance, 1e-3)
    found = two_layer_dynamics(t, S, W1, W2).product
    expected = S + np.exp(-imbalance * t)[:, None, None] * (W2 @ W1 - S)
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_layers_in_single_precision_are_balanced_to_their_rounding():
    S, t = rng.normal(size=(3, 3)), np.array([0.5])
    W1, W2 = start(3, 3, 3, 0.0, 0.3)
    found = two_layer_dynamics(t, S, W1.astype(np.float32), W2.astype(np.float32)).product
    np.testing.assert_allclose(found, two_layer_dynamics(t, S, W1, W2).product, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"times": [-1.0]}, "times: expected"),
        ({"times": []}, "times: expected a vector of at least one number"),
        ({"target": [1.0, 2.0]}, "target: expected a matrix"),
        ({"first": np.eye(3)}, "first: expected shape"),
        ({"second": np.ones((2, 3))}, "second: expected shape"),
        ({"second": np.diag([1.0, 2.0])}, "multiple of the identity"),
        ({"target": [[np.nan, 1.0], [1.0, 1.0]]}, "target"),
    ],
)
def test_wrong_arguments_are_named(changes, message):
    arguments = {"times": [1.0], "target": np.eye(2), "first": np.eye(2), "second": np.eye(2)} | changes
    with pytest.raises(ValueError, match=message):
        two_layer_dynamics(**arguments)
