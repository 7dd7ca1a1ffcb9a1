"""The laws of parameterizations over the whole table, and what is particular to each."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import PARAMETERIZATIONS, assert_same_bits, entries, exported, init, rows, value
from jax.test_util import check_grads

import undertow
from undertow.linalg import EntryPattern

P = undertow.parameterizations
INVERTIBLE = [case for case in PARAMETERIZATIONS if case.lift_w is not None]
MATRICES = [case for case in PARAMETERIZATIONS if len(case.instance.shape) == 2]


def test_every_class_has_a_row():
    assert exported(P, P.Parameterization) == {type(case.instance) for case in PARAMETERIZATIONS}


# Laws ------------------------------------------------------------------------------------------


@rows(PARAMETERIZATIONS)
def test_init_gives_w_of_the_shape(case, getkey):
    phi = case.instance
    params = init(phi, getkey(), 0.1)
    w = value(phi, params)
    assert w.shape == phi.shape
    assert w.dtype == jnp.float64
    assert all(np.isfinite(x).all() for x in jax.tree.leaves((params, w)))


@rows(PARAMETERIZATIONS)
def test_scale_is_the_root_mean_square_of_w0_and_jit_changes_nothing(case, getkey):
    phi, scale = case.instance, 0.03
    keys = jax.random.split(getkey(), 4_000)
    # Not vmap: LAPACK's decompositions of thousands of matrices in one call have been seen to hang on two cores.
    w = jax.jit(lambda keys: jax.lax.map(lambda key: phi(phi.init(key, scale)), keys))(keys)
    np.testing.assert_allclose(w[7], phi(phi.init(keys[7], scale)), rtol=1e-9, atol=1e-14)
    squares = np.mean(np.asarray(w).reshape(4_000, -1) ** 2, axis=1) / scale**2
    error = np.std(squares) / np.sqrt(squares.size)
    # Four standard errors, and rounding where nothing is random.
    assert abs(squares.mean() - case.rms**2) <= 4 * error + 1e-12


@rows(PARAMETERIZATIONS)
def test_init_depends_on_the_key_alone(case, getkey):
    phi, key, other = case.instance, getkey(), getkey()
    assert_same_bits(init(phi, key), init(phi, key))
    drawn = getattr(phi, "initialization", "gaussian") not in ("constant", "identity")
    both = jax.tree.map(np.asarray, (init(phi, key), init(phi, other)))
    different = jax.tree.map(lambda x, y: bool((x != y).any()), *both)
    assert any(jax.tree.leaves(different)) == drawn


@rows(INVERTIBLE)
def test_lift_inverts(case):
    phi = case.instance
    np.testing.assert_allclose(value(phi, phi.lift(case.lift_w)), case.lift_w, rtol=1e-12, atol=1e-12)


@rows(INVERTIBLE)
def test_lift_takes_lists_and_goes_through_jit(case):
    phi = case.instance
    assert_same_bits(phi.lift(case.lift_w.tolist()), phi.lift(jnp.asarray(case.lift_w)))
    jitted = jax.jit(phi.lift)(jnp.asarray(case.lift_w))
    np.testing.assert_allclose(value(phi, jitted), case.lift_w, rtol=1e-12, atol=1e-12)


@rows(INVERTIBLE)
def test_lift_refuses_another_shape_and_bad_numbers(case):
    phi = case.instance
    with pytest.raises(ValueError, match=r"w: expected shape"):
        phi.lift(np.ones((7, 5)))
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match=r"w: expected finite numbers"):
            phi.lift(np.full(phi.shape, bad))
    with pytest.raises(TypeError, match=r"w: expected an array of real numbers"):
        phi.lift(np.full(phi.shape, 1j))


@rows(PARAMETERIZATIONS)
def test_vmap_over_parameters_agrees_with_one_by_one(case, getkey):
    phi = case.instance
    one = jax.tree.map(np.asarray, init(phi, getkey()))
    batch = jax.tree.map(lambda x: np.stack([2 * x, x]), one)
    np.testing.assert_allclose(jax.jit(jax.vmap(phi))(batch)[1], value(phi, one), rtol=1e-12, atol=1e-14)


@rows([case for case in PARAMETERIZATIONS if case.id in ("Polar", "SignedPower-2", "DeepMatrix-balanced")])
def test_vmap_over_keys_and_scales_agrees_with_one_by_one(case, getkey):
    phi, keys, scales = case.instance, jax.random.split(getkey(), 2), jnp.array([0.1, 2.0])
    batch = jax.vmap(phi.init)(keys, scales)
    one = phi.init(keys[1], 2.0)
    jax.tree.map(lambda xs, x: np.testing.assert_allclose(xs[1], x, rtol=1e-9, atol=1e-12), batch, one)


@rows(PARAMETERIZATIONS)
def test_derivatives_are_those_of_finite_differences(case, getkey):
    phi = case.instance
    call, params = jax.jit(lambda params: phi(params)), init(phi, getkey())
    check_grads(call, (params,), order=1, modes=("fwd", "rev"), eps=1e-6, rtol=1e-6)


@rows(PARAMETERIZATIONS)
def test_float32_stays_float32(case, getkey):
    phi = case.instance
    params = jax.tree.map(lambda x: np.asarray(x, np.float32), init(phi, getkey()))
    w = value(phi, params)
    assert w.dtype == jnp.float32
    exact = value(phi, jax.tree.map(lambda x: x.astype(np.float64), params))
    np.testing.assert_allclose(w, exact, rtol=1e-5, atol=1e-5)


@rows(PARAMETERIZATIONS)
def test_an_equal_instance_shares_the_compiled_program(case, getkey):
    phi = case.instance
    params = init(phi, getkey())
    call = eqx.filter_jit(eqx.debug.assert_max_traces(lambda phi, params: phi(params), max_traces=1))
    call(phi, params)
    call(jax.tree.unflatten(*reversed(jax.tree.flatten(phi))), params)


@rows(PARAMETERIZATIONS)
@pytest.mark.parametrize("scale", [0, -1e-3, float("nan"), float("inf")])
def test_init_refuses_a_scale_that_is_not_positive(case, scale, getkey):
    with pytest.raises(ValueError, match=r"scale: expected a finite number above 0"):
        case.instance.init(getkey(), scale)


@rows(MATRICES)
def test_entries_are_those_of_w(case, getkey):
    phi = case.instance
    params = init(phi, getkey())
    n, d = phi.shape
    i, j = (x.ravel() for x in np.meshgrid(np.arange(n), np.arange(d), indexing="ij"))
    expected = np.asarray(value(phi, params)).ravel()
    for indices in ((jnp.asarray(i), jnp.asarray(j)), EntryPattern(i, j, (n, d))):
        np.testing.assert_allclose(entries(phi, params, indices), expected, rtol=1e-12)


@rows([case for case in PARAMETERIZATIONS if case.instance.shape == (3,)])
def test_entries_of_a_vector(case, getkey):
    params = init(case.instance, getkey())
    found = entries(case.instance, params, (jnp.array([2, 0]),))
    np.testing.assert_array_equal(found, np.asarray(value(case.instance, params))[[2, 0]])


# DeepMatrix ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shape", "depth", "width"), [((30, 20), 3, 4), ((20, 30), 2, None), ((30, 20), 1, None)])
def test_few_entries_of_a_deep_matrix_and_their_gradient(shape, depth, width, getkey):
    """Both ways to the entries, the whole product and the chosen ones, with the gradient through each."""
    phi = P.DeepMatrix(shape, depth, width)
    params = phi.init(getkey(), 1.0)
    i, j = np.array([0, 0, 5, 19]), np.array([1, 7, 3, 19])
    plain = jnp.asarray(i), jnp.asarray(j)
    many = tuple(jnp.resize(x, 400) for x in plain)  # more than a twentieth of all: the product is formed
    pattern = EntryPattern(i, j, shape)
    weights = jnp.array([1.0, -2.0, 0.5, 3.0])

    def with_gradient(entries):
        return jax.jit(jax.value_and_grad(lambda p: (weights @ entries(p)[:4], entries(p)[:4]), has_aux=True))(params)

    (_, expected), gradient = with_gradient(lambda p: phi(p)[i, j])
    for indices in (plain, many, pattern):
        (_, found), its_gradient = with_gradient(lambda p, at=indices: phi.entries(p, at))
        np.testing.assert_allclose(found, expected, rtol=1e-12)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12), its_gradient, gradient)


@pytest.mark.parametrize(
    ("shape", "depth", "width", "expected"),
    [
        ((5, 3), 1, None, [(5, 3)]),
        ((5, 3), 2, None, [(3, 3), (5, 3)]),
        ((3, 5), 3, None, [(3, 5), (3, 3), (3, 3)]),
        ((5, 3), 3, 2, [(2, 3), (2, 2), (5, 2)]),
        ((5, 3), 4, 7, [(7, 3), (7, 7), (7, 7), (5, 7)]),
    ],
)
def test_factor_shapes(shape, depth, width, expected, getkey):
    for initialization in ("gaussian", "identity", "orthogonal", "balanced"):
        phi = P.DeepMatrix(shape, depth, width, initialization)
        factors = jax.eval_shape(lambda key, phi=phi: phi.init(key, 0.1), getkey())
        assert [factor.shape for factor in factors] == expected
        assert list(phi.factor_shapes) == expected


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_the_first_factor_is_applied_first(depth, getkey):
    for shape in ((5, 3), (3, 5)):
        factors = P.DeepMatrix(shape, depth).init(getkey(), 1.0)
        product = np.eye(shape[1])
        for factor in factors:
            product = np.asarray(factor) @ product
        np.testing.assert_allclose(P.DeepMatrix(shape, depth)(factors), product, rtol=1e-12)


@pytest.mark.parametrize(("shape", "width"), [((5, 3), None), ((3, 5), None), ((4, 4), 2), ((4, 4), None)])
def test_many_factors_are_multiplied_in_a_loop(shape, width, getkey):
    phi, deeper = (P.DeepMatrix(shape, depth, width) for depth in (9, 30))
    factors = phi.init(getkey(), 1.0)
    np.testing.assert_allclose(phi(factors), np.linalg.multi_dot(factors[::-1]), rtol=1e-11, atol=1e-13)
    gradient = jax.grad(lambda params: jnp.sum(phi(params) ** 2))(factors)
    w, middle = np.asarray(phi(factors)), 4
    before, after = (np.linalg.multi_dot(part[::-1]) for part in (factors[:middle], factors[middle + 1 :]))
    np.testing.assert_allclose(gradient[middle], after.T @ (2 * w) @ before.T, rtol=1e-9, atol=1e-12)

    def products(phi):
        gradient = jax.grad(lambda params: jnp.sum(phi(params)))
        return str(jax.make_jaxpr(gradient)(phi.init(getkey(), 1.0))).count("dot_general[")

    assert products(phi) == products(deeper) > 0


@pytest.mark.parametrize(
    ("shape", "depth", "width", "initialization"),
    [
        ((5, 3), 2, None, "balanced"),
        ((3, 5), 4, None, "balanced"),
        ((5, 3), 3, 2, "balanced"),
        ((5, 3), 3, 8, "balanced"),
        ((4, 4), 3, None, "identity"),
    ],
)
def test_balanced_factors(shape, depth, width, initialization, getkey):
    factors = P.DeepMatrix(shape, depth, width, initialization).init(getkey(), 0.5)
    for before, after in itertools.pairwise(factors):
        np.testing.assert_allclose(after.T @ after, before @ before.T, atol=1e-13)


@pytest.mark.parametrize("depth", [2, 3])
def test_lifted_factors_are_balanced(depth):
    w = np.arange(12.0).reshape(4, 3)
    factors = P.DeepMatrix((4, 3), depth).lift(w)
    for before, after in itertools.pairwise(factors):
        np.testing.assert_allclose(after.T @ after, before @ before.T, atol=1e-12)
    singular = np.linalg.svd(w, compute_uv=False)
    np.testing.assert_allclose(
        np.linalg.svd(factors[0], compute_uv=False), singular ** (1 / depth), atol=1e-7, rtol=1e-7
    )


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_identity_initialization_of_a_square_matrix(depth, getkey):
    phi = P.DeepMatrix((4, 4), depth, initialization="identity")
    np.testing.assert_allclose(phi(phi.init(getkey(), 0.01)), 0.01 * 2 * np.eye(4), rtol=1e-12)


@pytest.mark.parametrize(("shape", "width"), [((4, 6), 9), ((6, 4), 2)])
def test_orthogonal_factors_have_equal_singular_values(shape, width, getkey):
    factors = P.DeepMatrix(shape, 3, width, "orthogonal").init(getkey(), 0.1)
    singular = np.concatenate([np.linalg.svd(factor, compute_uv=False) for factor in factors])
    np.testing.assert_allclose(singular, singular[0], rtol=1e-12)


def test_gaussian_factors_have_one_standard_deviation(getkey):
    """The convention of Arora et al.: (scale * width^(-(N-1)/2))^(1/N) in every factor."""
    factors = P.DeepMatrix((300, 200), 3).init(getkey(), 1e-3)
    expected = (1e-3 / 200) ** (1 / 3)
    for factor in factors:
        # 40,000 draws at least: a relative error of 1 / sqrt(2 * 40,000) = 0.0035; four of them.
        assert abs(float(factor.std()) / expected - 1) < 0.015


def test_rank_of_a_bottleneck(getkey):
    for initialization in ("gaussian", "balanced"):
        phi = P.DeepMatrix((6, 5), 3, width=2, initialization=initialization)
        assert np.linalg.matrix_rank(phi(phi.init(getkey(), 1.0))) == 2
    with pytest.raises(ValueError, match=r"w: expected rank at most the width 2, found rank 3"):
        P.DeepMatrix((4, 4), 2, width=2).lift(np.diag([1.0, 1, 1, 0]))


# The others ------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [2, 4, 0.5, 1.5, 2.5])
def test_power_refuses_signs_that_its_depth_cannot_carry(depth):
    with pytest.raises(ValueError, match=r"w: expected nonnegative entries .* found -1"):
        P.Power(3, depth).lift([1.0, -1.0, 2.0])


@pytest.mark.parametrize("depth", [1, 3, 5.0])
def test_power_of_odd_depth_carries_signs(depth):
    phi = P.Power(2, depth)
    expected = np.array([-1, 1]) * np.array([8.0, 27.0]) ** (1 / depth)
    np.testing.assert_allclose(phi.lift([-8.0, 27.0]), expected, rtol=1e-12)


def test_power_near_infinity_is_the_exponential():
    """(1 + u/N)^N tends to exp(u): the two maps agree to O(1/N)."""
    u, depth = np.array([-1.0, 0.3, 1.0]), 10_000_000
    np.testing.assert_allclose(
        P.Power(3, depth)(1 + jnp.asarray(u) / depth), P.Exponential(3)(jnp.asarray(u)), rtol=1e-6
    )


@pytest.mark.parametrize("w", [[0.0, 1.0], [-1.0, 1.0]])
def test_exponential_lifts_positive_entries_only(w):
    with pytest.raises(ValueError, match=r"w: expected positive entries"):
        P.Exponential(2).lift(w)


def test_signed_power_of_constant_halves(getkey):
    u, v = P.SignedPower(3, 2, "constant").init(getkey(), 0.04)
    np.testing.assert_allclose([u, v], np.full((2, 3), 0.2), rtol=1e-12)


def test_signed_power_lifts_to_the_smallest_preimage():
    u, v = P.SignedPower(3, 2).lift([4.0, -9.0, 0.0])
    np.testing.assert_allclose([u, v], [[2, 0, 0], [0, 3, 0]], rtol=1e-12)


def test_polar_lift_is_radius_and_angle():
    np.testing.assert_allclose(P.Polar().lift([-1.0, 1.0]), [np.sqrt(2), 3 * np.pi / 4], rtol=1e-12)


def test_function_finds_its_shape_and_takes_any_tree(getkey):
    phi = P.Function(
        lambda p: jnp.outer(p["u"], p["v"]),
        lambda key, scale: {"u": jnp.sqrt(scale) * jnp.ones(2), "v": jnp.sqrt(scale) * jnp.ones(3)},
    )
    assert phi.shape == (2, 3)
    np.testing.assert_allclose(phi(phi.init(getkey(), 0.25)), np.full((2, 3), 0.25), rtol=1e-12)
    with pytest.raises(NotImplementedError, match="lift"):
        phi.lift(np.ones((2, 3)))


def test_function_without_init(getkey):
    phi = P.Function(jnp.exp, shape=2)
    assert phi.shape == (2,)
    with pytest.raises(ValueError, match="init: this Function was made without one"):
        phi.init(getkey(), 1.0)


def test_functions_with_the_same_code_are_equal():
    def make(factor):
        return P.Function(lambda p: factor * p, shape=2)

    one, two = 1.5, 2.5
    assert make(one) == make(one)
    assert make(one) != make(two)


BAD = [
    (lambda: P.Identity(0), ValueError, r"shape: expected positive integers, found \(0,\)"),
    (lambda: P.Identity((2, -1)), ValueError, r"shape: expected positive integers"),
    (lambda: P.Power(2, 0), ValueError, r"depth: expected a finite number above 0, found 0"),
    (lambda: P.Power(2, -1.0), ValueError, r"depth: expected a finite number above 0"),
    (lambda: P.Power(2, float("nan")), ValueError, r"depth"),
    (lambda: P.Power(2, 10**400), ValueError, r"depth: .* no float can hold"),
    (lambda: P.SignedPower(2, 0.5), ValueError, r"depth: expected a finite number of at least 1, found 0.5"),
    (lambda: P.DeepMatrix((2, 2), 0), ValueError, r"depth: expected an integer of at least 1, found 0"),
    (lambda: P.DeepMatrix((2, 2), 2, width=0), ValueError, r"width: expected an integer of at least 1"),
    (lambda: P.DeepMatrix((2, 0), 2), ValueError, r"shape: expected 2 positive integers"),
    (lambda: P.Power(2, 2, "gausian"), ValueError, r"initialization: .*did you mean 'gaussian'"),
    (lambda: P.DeepMatrix((2, 2), 2, None, "balance"), ValueError, r"initialization: .*did you mean 'balanced'"),
    (lambda: P.Polar("const"), ValueError, r"initialization: unknown choice 'const'.*expected one of gaussian"),
    (lambda: P.Function(jnp.exp), ValueError, r"shape: expected the shape of w"),
    (lambda: P.Function(jnp.exp, lambda k, s: jnp.ones(2), shape=3), ValueError, r"shape: phi returns shape \(2,\)"),
    (lambda: P.Function(lambda p: (p, p), lambda k, s: jnp.ones(2)), TypeError, r"phi: expected one array"),
]


@pytest.mark.parametrize(("make", "error", "message"), BAD, ids=[message for _, _, message in BAD])
def test_bad_arguments_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()


@rows([case for case in PARAMETERIZATIONS if len(case.instance.shape) == 2])
def test_one_vector_of_indices_picks_rows(case, getkey):
    phi = case.instance
    params = init(phi, getkey())
    found = entries(phi, params, (jnp.array([2, 0, 2]),))
    np.testing.assert_allclose(found, np.asarray(value(phi, params))[[2, 0, 2]], rtol=1e-12, atol=1e-13)
