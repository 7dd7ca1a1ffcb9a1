"""Tensor factorizations and the problems of tensors: laws of their own, beside those that all parts share."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import assert_same_bits, compilations, tensor_completion

import undertow as ut
from undertow.linalg import EntryPattern, _components

P, B, M = ut.parameterizations, ut.problems, ut.probes
LETTERS = "ijkl"


def cp(factors):
    """The dense tensor by numpy."""
    letters = LETTERS[: len(factors)]
    return np.einsum(",".join(f"{x}r" for x in letters) + "->" + letters, *factors)


def some_entries(shape, count, seed=0):
    flat = np.random.default_rng(seed).choice(np.prod(shape), count, replace=False)
    return tuple(jnp.asarray(axis) for axis in np.unravel_index(flat, shape))


def norms_of(factors):
    return np.array([np.linalg.norm(factor, axis=0) for factor in factors])


# CPTensor --------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(4, 3), (5, 4, 3), (3, 4, 2, 3), (1, 3, 1)])
def test_dense_is_that_of_numpy(shape, getkey):
    phi = P.CPTensor(shape, 7)
    params = phi.init(getkey(), 1.0)
    np.testing.assert_allclose(phi(params), cp(params), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("shape", [(40, 30), (12, 11, 10), (6, 7, 8, 9)])
@pytest.mark.parametrize("pieces", [False, True], ids=["at-once", "in-pieces"])
def test_few_entries_and_their_gradient(shape, pieces, getkey, monkeypatch):
    """The ways to the entries, the whole tensor and the chosen ones, with the gradient through each."""
    if pieces:  # of as many rows as the longest factor
        monkeypatch.setattr(_components, "ELEMENTS", 1)
    phi, at = P.CPTensor(shape, 3), some_entries(shape, 50)
    params, weights = phi.init(getkey(), 1.0), jnp.asarray(np.random.default_rng(1).normal(size=50))
    few, many = at, tuple(jnp.resize(axis, 2000) for axis in at)

    def with_gradient(entries):
        return jax.jit(jax.value_and_grad(lambda p: (weights @ entries(p)[:50], entries(p)[:50]), has_aux=True))(params)

    (_, expected), gradient = with_gradient(lambda p: phi(p)[at])
    np.testing.assert_allclose(expected, cp(params)[at], rtol=1e-12, atol=1e-13)
    for indices in (few, many):
        (_, found), its_gradient = with_gradient(lambda p, at=indices: phi.entries(p, at))
        np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-13)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12), its_gradient, gradient)


@pytest.mark.long
def test_pieces_go_through_vmap_and_second_derivatives(getkey, monkeypatch):
    phi, at = P.CPTensor((12, 11, 10), 3), some_entries((12, 11, 10), 50)
    params = phi.init(getkey(), 1.0)
    loss = lambda p: jnp.sum(phi.entries(p, at) ** 3)
    along = jax.tree.map(jnp.ones_like, params)
    second = lambda p: jax.jvp(jax.grad(loss), (p,), (along,))[1]
    at_once = second(params)
    monkeypatch.setattr(_components, "ELEMENTS", 1)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12), second(params), at_once)
    batch = jax.tree.map(lambda x: jnp.stack([x, 2 * x]), params)
    np.testing.assert_allclose(jax.vmap(loss)(batch), [loss(params), 2**9 * loss(params)], rtol=1e-12)


def test_whole_slices_of_a_tensor(getkey):
    phi, at = P.CPTensor((4, 3, 2), 5), (jnp.array([3, 0]), jnp.array([1, 1]))
    params = phi.init(getkey(), 1.0)
    np.testing.assert_allclose(phi.entries(params, at), cp(params)[at], rtol=1e-12)
    np.testing.assert_allclose(phi.entries(params, at[:1]), cp(params)[at[:1]], rtol=1e-12)


def test_many_axes_are_a_loop(getkey):
    """What is compiled does not grow with the order; the product is that of the columns."""
    sizes = []
    for order in (20, 60):
        phi = P.CPTensor((2,) * order, 3)
        params = tuple(1 + 0.1 * x for x in phi.init(getkey(), 1.0))
        at = tuple(jnp.array([n % 2, (n // 2) % 2]) for n in range(order))
        found = ut.linalg.sampled_sum_of_outer_products(params, at)
        product = np.prod([np.asarray(x)[np.asarray(axis)] for x, axis in zip(params, at, strict=True)], axis=0)
        np.testing.assert_allclose(found, product.sum(axis=1), rtol=1e-12)
        jaxpr = jax.make_jaxpr(lambda p, at=at: ut.linalg.sampled_sum_of_outer_products(p, at))(params)
        sizes.append(str(jaxpr).count(" gather["))
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize("shape", [(8, 7), (8, 7, 6), (4, 3, 2, 5)])
def test_one_key_draws_one_w_whatever_the_initialization(shape, getkey):
    key = getkey()
    starts = {kind: P.CPTensor(shape, 6, kind).init(key, 1e-3) for kind in ("gaussian", "balanced", "unbalanced")}
    for params in starts.values():
        np.testing.assert_allclose(cp(params), cp(starts["gaussian"]), rtol=1e-10, atol=1e-18)
    balanced, unbalanced = norms_of(starts["balanced"]), norms_of(starts["unbalanced"])
    np.testing.assert_allclose(balanced, np.broadcast_to(balanced[0], balanced.shape), rtol=1e-12)
    np.testing.assert_allclose(unbalanced[1:], 1, rtol=1e-12)
    np.testing.assert_allclose(unbalanced[0], balanced.prod(axis=0), rtol=1e-11)


@pytest.mark.parametrize("phi", [P.CPTensor((60, 50, 40), 300), P.HierarchicalTensor((60, 50, 40, 30), widths=90)])
def test_the_standard_deviation_of_the_papers(phi, getkey):
    params = phi.init(getkey(), phi.scale_of(0.01))
    drawn = np.concatenate([np.ravel(x) for x in params])
    # About 40,000 draws: a relative error of 1 / sqrt(2 * 40,000) = 0.0035; four of them.
    assert drawn.size > 25_000
    assert abs(drawn.std() / 0.01 - 1) < 0.018


def test_lifted_components_are_balanced():
    w = np.random.default_rng(0).normal(size=(4, 3, 2))
    factors = P.CPTensor((4, 3, 2), 8).lift(w)
    norms = norms_of(factors)
    np.testing.assert_allclose(norms, np.broadcast_to(norms[0], norms.shape), rtol=1e-12)
    assert [factor.shape for factor in factors] == [(4, 8), (3, 8), (2, 8)]
    assert np.count_nonzero(norms[0]) == 6


def test_lift_refuses_what_it_cannot_write():
    with pytest.raises(ValueError, match=r"w: expected at most 5 fibers along axis 0 that are not zero.* found 6"):
        P.CPTensor((4, 3, 2), 5).lift(np.ones((4, 3, 2)))
    with pytest.raises(ValueError, match=r"w: expected rank at most the 1 components, found rank 2"):
        P.CPTensor((3, 2), 1).lift(np.eye(3)[:, :2])


def test_of_two_axes_it_is_the_matrix_factorization(getkey):
    rng = np.random.default_rng(2)
    problem = B.MatrixCompletion((4, 3), [0, 1, 3, 2], [2, 0, 1, 2], rng.normal(size=4))
    u, v = P.CPTensor((4, 3), 3).init(getkey(), 1.0)
    one, two = (
        ut.velocity(problem, P.CPTensor((4, 3), 3), (u, v)),
        ut.velocity(problem, P.DeepMatrix((4, 3), 2), (v.T, u)),
    )
    np.testing.assert_allclose(one, two, rtol=1e-12, atol=1e-13)


def test_alignment_of_singular_vectors_is_that_of_components():
    w = np.random.default_rng(3).normal(size=(4, 3))
    problem, phi = B.PointTarget(np.random.default_rng(4).normal(size=(4, 3))), P.CPTensor((4, 3), 3)
    found = M.ComponentAlignment()(problem, phi, phi.lift(w))
    np.testing.assert_allclose(
        found, M.SingularVectorAlignment()(problem, P.Identity((4, 3)), jnp.asarray(w)), rtol=1e-11
    )


# HierarchicalTensor ----------------------------------------------------------------------------


def test_hierarchical_tensors_by_numpy(getkey):
    phi = P.HierarchicalTensor((3, 2, 4, 2), widths=(2, 3, 4))
    a, b, ab, c, d, cd, root = params = phi.init(getkey(), 1.0)
    expected = np.einsum("ip,jp,pr,kq,lq,qr,rs->ijkl", a, b, ab, c, d, cd, root)
    np.testing.assert_allclose(phi(params), expected, rtol=1e-12, atol=1e-14)
    phi = P.HierarchicalTensor((3, 2, 4), (2, (1, 0)), widths=(2, 3))
    c, b, a, ba, root = params = phi.init(getkey(), 1.0)
    assert phi.nodes == ((2,), (1,), (0,), (1, 0), (2, 1, 0))
    np.testing.assert_allclose(phi(params), np.einsum("kr,jp,ip,pr,rs->ijk", c, b, a, ba, root), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("tree", [None, (2, (3, (0, 1))), (0, 1, 2, 3), ((0, 2), (1, 3))])
def test_few_entries_of_a_hierarchical_tensor(tree, getkey):
    phi, at = P.HierarchicalTensor((9, 8, 7, 6), tree, widths=3), some_entries((9, 8, 7, 6), 40)
    params = phi.init(getkey(), 1.0)
    assert 9 * 8 * 7 * 6 > 20 * 40
    np.testing.assert_allclose(phi.entries(params, at), np.asarray(phi(params))[at], rtol=1e-11, atol=1e-13)
    many = tuple(jnp.resize(axis, 400) for axis in at)
    np.testing.assert_allclose(phi.entries(params, many)[:40], phi.entries(params, at), rtol=1e-11, atol=1e-13)


def test_a_flat_tree_is_a_cp_tensor_with_weights(getkey):
    phi = P.HierarchicalTensor((4, 3, 2), (0, 1, 2), widths=5)
    *factors, weights = params = phi.init(getkey(), 1.0)
    expected = P.CPTensor((4, 3, 2), 5)((factors[0] * weights[:, 0][None], *factors[1:]))
    np.testing.assert_allclose(phi(params), expected, rtol=1e-12)
    np.testing.assert_allclose(phi.component_norms(params), np.abs(weights[:, 0]) * norms_of(factors).prod(axis=0))


def test_local_components_are_conserved_and_move_by_their_law(getkey):
    r"""Squares of the norms of a local component's vectors grow alike; its norm by gamma times the sum of products."""
    phi = P.HierarchicalTensor((3, 2, 4, 2), widths=2)
    problem = B.PointTarget(np.random.default_rng(5).normal(size=phi.shape))
    params = phi.init(getkey(), 1.0)
    descent = jax.tree.map(lambda g: -np.asarray(g), jax.jit(jax.grad(lambda p: problem.loss(phi(p))))(params))
    for node in phi.inner_nodes:
        position = phi.position(node)
        vectors = [(params[position], descent[position])]
        vectors += [(params[child].T, descent[child].T) for child in phi.children[position]]
        growth = np.array([np.sum(np.asarray(w) * np.asarray(d), axis=1) for w, d in vectors])
        np.testing.assert_allclose(growth, np.broadcast_to(growth[0], growth.shape), rtol=1e-10, atol=1e-12)
        norms = np.array([np.linalg.norm(w, axis=1) for w, _ in vectors])
        along = jax.jit(lambda p, d, node=node: jax.jvp(lambda p: phi.component_norms(p, node), (p,), (d,)))
        sigma, moved = along(params, descent)
        np.testing.assert_allclose(sigma, norms.prod(axis=0), rtol=1e-12)
        np.testing.assert_allclose(moved, growth[0] * sigma * np.sum(norms**-2.0, axis=0), rtol=1e-10)
        found = M.ComponentNorms(node=node)(problem, phi, params)
        np.testing.assert_allclose(found, np.sort(sigma)[::-1], rtol=1e-12)


# Problems --------------------------------------------------------------------------------------


def test_tensor_completion_sorts_its_entries():
    problem = B.TensorCompletion((2, 2, 3), ([1, 0, 0], [0, 1, 0], [2, 0, 1]), [3.0, 2.0, 1.0])
    assert [axis.tolist() for axis in problem.indices] == [[0, 0, 1], [0, 1, 0], [1, 0, 2]]
    assert problem.values.tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("shape", [(4, 3), (600, 500)])
def test_of_two_axes_it_is_matrix_completion(shape):
    i, j = some_entries(shape, 5)
    one, two = B.MatrixCompletion(shape, i, j, np.arange(5.0)), B.TensorCompletion(shape, (i, j), np.arange(5.0))
    assert isinstance(one.indices, EntryPattern) == isinstance(two.indices, EntryPattern) == (shape == (600, 500))
    assert_same_bits([one.indices, one.values], [two.indices, two.values])
    w = jnp.asarray(np.random.default_rng(0).normal(size=shape))
    assert one.loss(w) == two.loss(w)


def test_an_array_of_indices_has_a_row_for_each_axis():
    at = np.array([[1, 0], [0, 1], [2, 0]])
    one, two = B.TensorCompletion((2, 2, 3), at, [1.0, 2.0]), B.TensorCompletion((2, 2, 3), tuple(at), [1.0, 2.0])
    assert_same_bits(one.indices, two.indices)


def test_sensing_entries_is_tensor_completion():
    rng = np.random.default_rng(3)
    w, at = rng.normal(size=(4, 3, 2)), (np.array([0, 1, 3]), np.array([2, 0, 1]), np.array([1, 1, 0]))
    measurements = np.zeros((3, 4, 3, 2))
    measurements[(np.arange(3), *at)] = 1
    for normalization in ("mean", "half_mean", "sum", "half_sum"):
        sensing = B.TensorSensing(measurements, [1.0, 2.0, 3.0], normalization=normalization)
        completion = B.TensorCompletion((4, 3, 2), at, [1.0, 2.0, 3.0], normalization=normalization)
        assert float(sensing.loss(jnp.asarray(w))) == pytest.approx(float(completion.loss(jnp.asarray(w))), rel=1e-14)
        np.testing.assert_allclose(ut.theory.minimum_norm(sensing), ut.theory.minimum_norm(completion), atol=1e-14)


def test_measurements_of_rank_one_are_what_they_are_written_out():
    rng = np.random.default_rng(4)
    a, b, c, w = (rng.normal(size=size) for size in ((5, 4), (5, 3), (5, 2), (4, 3, 2)))
    short = B.TensorSensing.rank_one([a, b, c], np.arange(5.0))
    whole = B.TensorSensing(np.einsum("mi,mj,mk->mijk", a, b, c), np.arange(5.0))
    np.testing.assert_allclose(short.written_out(), whole.measurements, rtol=1e-15)
    assert float(short.loss(jnp.asarray(w))) == pytest.approx(float(whole.loss(jnp.asarray(w))), rel=1e-13)


@pytest.mark.parametrize("phi", [P.CPTensor((300, 200, 100), 4), P.HierarchicalTensor((300, 200, 100), widths=4)])
def test_a_large_tensor_is_never_made(phi, getkey):
    problem = B.TensorCompletion(phi.shape, some_entries(phi.shape, 30), np.arange(30.0))
    params = phi.init(getkey(), 1.0)
    for probe in (M.Loss(), M.GradientNorm(), M.TestError(problem), M.Entry(3, 4, 5), M.ComponentNorms(2)):
        probe.check(problem, phi)
        text = str(jax.make_jaxpr(lambda p, probe=probe: probe(problem, phi, p))(params))
        assert not re.search(r"\[\d{2,},\d{2,},\d{2,}\]|6000000|20000,|60000,", text)
    found = ut.train(
        problem,
        phi,
        ut.dynamics.GradientDescent(ut.optimizers.make("adam", 0.01)),
        params=params,
        stop=ut.Stop(steps=20),
    )
    assert found["loss"][-1] < found["loss"][0]


@pytest.mark.long
def test_a_tensor_that_no_array_can_hold_has_entries(getkey):
    """2^66 of them."""
    phi, at = P.CPTensor((2,) * 66, 2), [[0, 1, 1]] * 65 + [[0, 0, 1]]
    problem = B.TensorCompletion(phi.shape, at, [1.0, 2.0, 2.0])
    params = tuple(1 + 0.01 * x for x in phi.init(getkey(), 1.0))
    run = ut.train(
        problem,
        phi,
        ut.dynamics.GradientDescent(ut.optimizers.make("adam", 1e-3)),
        params=params,
        stop=ut.Stop(steps=20),
    )
    assert run["loss"][-1] < run["loss"][0]


# Together --------------------------------------------------------------------------------------

SHAPE = (6, 5, 4)


def rank_one(count=60, seed=0):
    """Half of the entries of a tensor of rank one and of norm 1."""
    rng = np.random.default_rng(seed)
    truth = np.einsum("i,j,k->ijk", *(rng.normal(size=n) for n in SHAPE))
    truth /= np.linalg.norm(truth)
    at = tuple(np.asarray(axis) for axis in some_entries(SHAPE, count, seed))
    return B.TensorCompletion(SHAPE, at, truth[at], truth)


@pytest.mark.long
def test_the_flow_from_near_zero_finds_the_tensor_of_rank_one():
    phi = P.CPTensor(SHAPE, 20)
    watched = [M.ReconstructionError(relative=True), M.ComponentNorms(3), M.MatricizationRanks(0.05), M.TestError()]
    run = ut.train(
        rank_one(),
        phi,
        ut.dynamics.GradientFlow(),
        key=0,
        scale=phi.scale_of(1e-3),
        probes=watched,
        stop=ut.Stop(loss=1e-9),
    )
    assert run.status == "converged"
    assert run["relative_reconstruction_error"][-1] < 0.02
    np.testing.assert_allclose(run["component_norms"][-1], [1, 0, 0], atol=0.02)
    assert run["matricization_ranks"][-1].tolist() == [1, 1, 1]


@pytest.mark.long
def test_from_an_unbalanced_start_many_components_grow():
    """The same w(0), near zero; what is not near zero are the vectors."""
    ends = {}
    for kind in ("balanced", "unbalanced"):
        phi = P.CPTensor(SHAPE, 20, kind)
        run = ut.train(
            rank_one(),
            phi,
            ut.dynamics.GradientFlow(),
            key=0,
            scale=phi.scale_of(1e-3),
            probes=[M.ComponentNorms(), M.ReconstructionError(relative=True)],
            stop=ut.Stop(loss=1e-7),
        )
        ends[kind] = np.count_nonzero(run["component_norms"][-1] > 0.05), run["relative_reconstruction_error"][-1]
    assert ends["balanced"][0] == 1
    assert ends["balanced"][1] < 0.05
    assert ends["unbalanced"][0] > 5
    assert ends["unbalanced"][1] > 5 * ends["balanced"][1]


@pytest.mark.long
def test_gradient_flow_conserves_differences_of_squared_norms():
    """Of every component; to the tolerance of the solver, by descent to the order of the rate."""
    phi, problem = P.CPTensor(SHAPE, 4), rank_one()
    params = phi.init(jax.random.key(1), 0.3)
    differences = lambda p: np.diff(norms_of(p) ** 2, axis=0)
    drift = lambda run: np.abs(differences(run.params) - differences(params)).max()
    flow = ut.train(
        problem, phi, ut.dynamics.GradientFlow(rtol=1e-9, atol=1e-12), params=params, stop=ut.Stop(time=50.0)
    )
    moved = max(float(jnp.abs(a - b).max()) for a, b in zip(flow.params, params, strict=True))
    assert moved > 0.1
    assert drift(flow) < 1e-7
    drifts = [
        drift(
            ut.train(
                problem,
                phi,
                ut.dynamics.GradientDescent(ut.optimizers.make("sgd", rate)),
                params=params,
                stop=ut.Stop(loss=None, steps=steps),
            )
        )
        for rate, steps in ((0.2, 100), (0.1, 200), (0.05, 400))
    ]
    # Of first order in the rate: halved with it.
    np.testing.assert_allclose(np.array(drifts[:-1]) / drifts[1:], 2, rtol=0.2)


@pytest.mark.long
def test_balancedness_is_measured_and_kept():
    phi = P.CPTensor(SHAPE, 4, "balanced")
    run = ut.train(
        rank_one(),
        phi,
        ut.dynamics.GradientFlow(rtol=1e-8, atol=1e-11),
        key=0,
        scale=0.1,
        probes=[M.Balancedness()],
        stop=ut.Stop(time=50.0),
    )
    assert np.abs(run["balancedness"]).max() < 1e-6


def test_a_sweep_is_one_program():
    phi, problem = P.CPTensor(SHAPE, 6), rank_one()

    def run(key, scale):
        descent = ut.dynamics.GradientDescent(ut.optimizers.make("group_rmsprop", 0.01))
        return ut.train(
            problem, phi, descent, key=key, scale=scale, probes=[M.ComponentNorms(2)], stop=ut.Stop(steps=30)
        )

    found = ut.sweep(run, over={"key": [0, 1], "scale": [1e-4, 1e-2]})
    assert found["component_norms"].isel(sample=-1).shape[:2] == (2, 2)
    with compilations() as count:
        again = ut.sweep(run, over={"key": [0, 1], "scale": [1e-4, 1e-2]})
    assert count.programs == 0
    np.testing.assert_array_equal(found["loss"], again["loss"])


@pytest.mark.long
def test_all_entries_as_one_batch_are_no_batch():
    phi, problem = P.CPTensor(SHAPE, 4), rank_one()
    whole, batch = (
        ut.train(
            problem,
            phi,
            ut.dynamics.GradientDescent(ut.optimizers.make("sgd", 0.2), batch_size=size),
            key=0,
            scale=0.3,
            stop=ut.Stop(steps=20),
        )
        for size in (None, 60)
    )
    np.testing.assert_allclose(whole.w, batch.w, rtol=1e-10)
    small = ut.train(
        problem,
        phi,
        ut.dynamics.GradientDescent(ut.optimizers.make("adam", 0.01), batch_size=16),
        key=0,
        scale=0.3,
        stop=ut.Stop(steps=200),
    )
    assert small["loss"][-1] < 0.5 * small["loss"][0]


PENALTY = ut.penalties.L1(1e-3) + ut.penalties.L2(1e-3)


def test_penalties_and_checkpoints(tmp_path):
    phi, problem = P.CPTensor(SHAPE, 4), rank_one()
    descent = ut.dynamics.GradientDescent(ut.optimizers.make("sgd", 0.1))

    def run(steps, checkpoint=None, penalty=PENALTY):
        return ut.train(
            problem,
            phi,
            descent,
            key=0,
            scale=0.3,
            penalty=penalty,
            stop=ut.Stop(loss=None, steps=steps),
            checkpoint=checkpoint,
        )

    assert np.linalg.norm(run(300).w) < np.linalg.norm(run(300, penalty=None).w)
    run(40, tmp_path / "run")
    assert_same_bits(run(100, tmp_path / "run").params, run(100).params)


def test_float32(getkey):
    phi = P.CPTensor(SHAPE, 4)
    with jax.enable_x64(False):
        problem = jax.tree.map(
            lambda x: x.astype(jnp.float32) if jnp.issubdtype(x.dtype, jnp.floating) else x, rank_one()
        )
        run = ut.train(
            problem,
            phi,
            ut.dynamics.GradientDescent(ut.optimizers.make("adam", 0.01)),
            key=0,
            scale=0.01,
            stop=ut.Stop(steps=20),
        )
        assert {x.dtype for x in run.params} == {np.dtype(np.float32)}


# Wrong input -----------------------------------------------------------------------------------


def _completion(shape=(2, 2, 2), indices=([0, 1], [1, 0], [1, 1]), values=(1.0, 2.0), **options):
    return B.TensorCompletion(shape, indices, list(values), **options)


BAD = [
    (lambda: _completion((5,), ([0, 1],)), ValueError, "shape: expected at least 2 axes, found (5,)"),
    (lambda: _completion((2, 0, 2)), ValueError, "shape: expected positive integers, found (2, 0, 2)"),
    (
        lambda: _completion(indices=([0, 1], [1, 0])),
        ValueError,
        "indices: expected 3 vectors of integers, one for each",
    ),
    (
        lambda: _completion(indices=np.array([[0, 1, 1], [1, 0, 1]])),
        ValueError,
        "found an array of shape (2, 3); transpose it",
    ),
    (lambda: _completion(indices=3), TypeError, "indices: expected 3 vectors of integers, one for each axis, found 3"),
    (
        lambda: _completion(indices=([0, 0], [1, 1], [1, 1])),
        ValueError,
        "indices[0], indices[1], indices[2]: expected every entry once, found (0, 1, 1) at positions 0 and 1",
    ),
    (
        lambda: _completion(indices=([0, 1], [1, 0], [1, 2])),
        ValueError,
        "indices[2]: expected indices from 0 to 1, found 2 at position 1",
    ),
    (
        lambda: _completion(indices=([0, -1], [1, 0], [1, 1])),
        ValueError,
        "indices[0]: expected indices from 0 to 1, found -1 at position 1",
    ),
    (lambda: _completion(indices=([0.0, 1.0], [1, 0], [1, 1])), TypeError, "indices[0]: expected integers"),
    (lambda: _completion(values=(1.0,)), ValueError, "2 indices[0], 2 indices[1], 2 indices[2], 1 values"),
    (lambda: _completion(indices=([], [], []), values=()), ValueError, "values: expected at least one observed entry"),
    (lambda: _completion(values=(1.0, np.nan)), ValueError, "values: expected finite numbers, found nan at index [1]"),
    (lambda: _completion(truth=np.ones((2, 2, 3))), ValueError, "truth: expected shape (2, 2, 2), found (2, 2, 3)"),
    (
        lambda: B.TensorSensing(np.ones((3, 2)), [1.0] * 3),
        ValueError,
        "measurements: expected tensors of at least 2 axes",
    ),
    (lambda: B.TensorSensing(np.ones((0, 2, 2)), []), ValueError, "measurements: expected at least one tensor"),
    (lambda: B.TensorSensing.rank_one([np.ones((2, 2))], [1.0] * 2), ValueError, "factors: expected at least 2"),
    (
        lambda: B.TensorSensing.rank_one([np.ones((2, 2)), np.ones((3, 2))], [1.0] * 2),
        ValueError,
        "factors[0], factors[1]: expected equal lengths, found shapes (2, 2) and (3, 2)",
    ),
    (lambda: P.CPTensor((5,), 2), ValueError, "shape: expected at least 2 axes, found (5,)"),
    (lambda: P.CPTensor((2, 0), 2), ValueError, "shape: expected positive integers, found (2, 0)"),
    (lambda: P.CPTensor((2, 2), 0), ValueError, "components: expected an integer of at least 1, found 0"),
    (lambda: P.CPTensor((2, 2), 2, "balance"), ValueError, "initialization: unknown choice 'balance' (did you mean"),
    (lambda: P.CPTensor((2, 2), 2).scale_of(-1.0), ValueError, "deviation: expected a finite number above 0"),
    (lambda: P.HierarchicalTensor((5,), widths=2), ValueError, "shape: expected at least 2 axes, found (5,)"),
    (
        lambda: P.HierarchicalTensor((2, 2, 2), (0, 1), widths=2),
        ValueError,
        "tree: expected each of the axes 0 to 2 once, found (0, 1)",
    ),
    (
        lambda: P.HierarchicalTensor((2, 2, 2), ((0, 1), (1, 2)), widths=2),
        ValueError,
        "tree: expected each of the axes",
    ),
    (lambda: P.HierarchicalTensor((2, 2), ((0, 1), 2), widths=2), ValueError, "tree: expected each of the axes 0 to 1"),
    (lambda: P.HierarchicalTensor((2, 2), ((0,), 1), widths=2), ValueError, "tree: expected two children or more"),
    (lambda: P.HierarchicalTensor((2, 2), (0, "b"), widths=2), TypeError, "tree: expected an integer"),
    (
        lambda: P.HierarchicalTensor((2, 2, 2), widths=(2,)),
        ValueError,
        "widths: expected 2, one for each node with chil",
    ),
    (lambda: P.HierarchicalTensor((2, 2), widths=0), ValueError, "widths: expected an integer of at least 1, found 0"),
    (lambda: M.MatricizationRanks(0), ValueError, "tolerance: expected a finite number above 0"),
    (lambda: M.MatricizationRanks(1.5), ValueError, "tolerance: expected a number below 1, found 1.5"),
]


@pytest.mark.parametrize(("make", "error", "message"), BAD, ids=[message for _, _, message in BAD])
def test_bad_arguments_are_named(make, error, message):
    with pytest.raises(error, match=re.escape(message)):
        make()


CP, TREE = P.CPTensor((4, 3, 2), 2), P.HierarchicalTensor((4, 3, 2), widths=2)


@pytest.mark.parametrize(
    ("probe", "phi", "message"),
    [
        (M.ComponentNorms(), P.Identity((4, 3, 2)), "component_norms: expected a CPTensor or a HierarchicalTensor"),
        (M.ComponentNorms(node=(0, 1)), CP, "node: expected None for a CPTensor"),
        (M.ComponentNorms(node=(0, 2)), TREE, "node: expected one of (0, 1), (0, 1, 2), found (0, 2)"),
        (M.ComponentAlignment(), TREE, "component_alignment: expected a CPTensor, found HierarchicalTensor"),
        (
            M.MatricizationRanks(0.1, [(0, 3)]),
            CP,
            "groups: expected some, but not all, of the axes 0 to 2, found (0, 3)",
        ),
        (M.MatricizationRanks(0.1, [(0, 1, 2)]), CP, "groups: expected some, but not all"),
        (M.Balancedness(), TREE, "balancedness: expected a DeepMatrix of depth 2 at least, or a CPTensor"),
    ],
)
def test_probes_say_what_they_cannot_measure(probe, phi, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        probe.check(tensor_completion(), phi)


@pytest.mark.long
def test_one_observed_entry_and_more_components_than_entries_are_welcome():
    problem = B.TensorCompletion((2, 2, 2), ([1], [0], [1]), [0.5])
    run = ut.train(problem, P.CPTensor((2, 2, 2), 11), ut.dynamics.GradientFlow(), key=0, scale=0.1)
    assert run.w[1, 0, 1] == pytest.approx(0.5, abs=2e-3)
