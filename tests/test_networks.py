"""Networks as parameterizations: sizes, laws, what linear layers do and what they leave; the divergence of a VAE."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from contract import assert_same_bits, compilations, init

import undertow as ut
from undertow.dynamics._batches import Batches, whole
from undertow.objective import Objective
from undertow.problems import _reconstruction
from undertow.training import _run

N, B = ut.networks, ut.problems
RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.uniform(size=(11, 6)))
DENSE = N.Dense(6, code_size=3, hidden=(5,), output="sigmoid")
KEY = jax.random.key(0)


def sizes(tree):
    return sum(x.size for x in jax.tree.leaves(tree))


def close(a, b, rtol=1e-10, atol=1e-13):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=rtol, atol=atol)


def every_kind():
    return {
        "AE": N.AE(DENSE, X),
        "IRMAE": N.IRMAE(DENSE, X, layers=3),
        "shared": N.IRMAE(DENSE, X, layers=3, kind="shared"),
        "fixed": N.IRMAE(DENSE, X, layers=3, kind="fixed", key=7),
        "nonlinear": N.IRMAE(DENSE, X, layers=3, kind="nonlinear"),
        "VAE": N.VAE(DENSE, X, beta=0.7),
    }


KINDS = every_kind()
kinds = pytest.mark.parametrize("phi", KINDS.values(), ids=KINDS)

# Architectures -----------------------------------------------------------------------------------


def drawn(phi):
    return jax.eval_shape(lambda key: phi.init(key, 1.0), KEY)


def test_the_papers_numbers_of_parameters():
    """MNIST with codes of 128 and eight layers, as the authors' code has them; the others from their tables."""
    images = np.zeros((2, 32, 32), np.uint8)
    images[0] = 1
    weights = drawn(N.IRMAE(N.MNIST32(128), images, layers=8))
    assert (sizes(weights.encoder), sizes(weights.decoder), sizes(weights.linear)) == (820_320, 1_220_737, 131_072)
    noisy = drawn(N.VAE(N.MNIST32(128, output="sigmoid"), images))
    assert sizes(noisy.encoder) == 820_320 + 1024 * 128 + 128

    colored = np.stack([images] * 3, axis=-1)
    weights = drawn(N.AE(N.Shapes32(32), colored))
    convolutions = sum(a * b * 16 + b for a, b in ((3, 32), (32, 64), (64, 128), (128, 256)))
    assert sizes(weights.encoder) == convolutions + 256 * 32 * 4 + 32
    back = sum(a * b * 16 + b for a, b in ((256, 128), (128, 64), (64, 32), (32, 3)))
    assert sizes(weights.decoder) == 32 * 256 * 4 + 256 + back

    large = np.zeros((2, 64, 64, 3), np.uint8)
    large[0] = 1
    weights = drawn(N.AE(N.Color64(512), large))
    convolutions = sum(a * b * 16 + b for a, b in ((3, 128), (128, 256), (256, 512), (512, 1024)))
    assert sizes(weights.encoder) == convolutions + 16_384 * 512 + 512
    back = sum(a * b * 16 + b for a, b in ((1024, 512), (512, 256), (256, 128)))
    assert sizes(weights.decoder) == 512 * 65_536 + 65_536 + back + 128 * 3 + 3


@pytest.mark.parametrize("architecture", [N.Shapes32(5), N.MNIST32(5), N.Color64(5), N.Dense((4, 3, 2), 5)], ids=repr)
def test_encoders_and_decoders_have_the_shapes_that_they_say(architecture):
    row, code = (jax.ShapeDtypeStruct(shape, jnp.float64) for shape in (architecture.shape, (5,)))
    assert eqx.filter_eval_shape(lambda x: architecture.encoder(7, KEY)(x), row).shape == (7,)
    assert eqx.filter_eval_shape(lambda z: architecture.decoder(KEY)(z), code).shape == architecture.shape


@pytest.mark.long
def test_an_image_through_the_papers_network():
    """That the patches are put together rightly in a whole network, too: by hand with native convolutions."""
    image = jnp.asarray(RNG.uniform(size=(32, 32, 1)))
    encoder = N.MNIST32(4).encoder(4, KEY)
    z = image[None]
    convolutions = [layer for layer in encoder.layers if isinstance(layer, N.Convolution)]
    assert len(convolutions) == 4
    for layer in convolutions:
        z = jax.lax.conv_general_dilated(
            z, layer.weight, (2, 2), [(1, 1)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        z = np.maximum(np.asarray(z) + np.asarray(layer.bias), 0)
    last = encoder.layers[-1]
    close(eqx.filter_jit(encoder)(image), np.asarray(last.weight) @ np.ravel(z) + np.asarray(last.bias))


# Laws ----------------------------------------------------------------------------------------------


@pytest.mark.long
@kinds
def test_rows_are_those_of_the_whole_whatever_is_asked_for(phi, monkeypatch):
    params, positions, columns = init(phi, KEY), np.array([4, 0, 4, 10]), np.array([1, 2, 5, 0])

    @eqx.filter_jit
    def asked_for(phi, params, key):
        at = jnp.asarray(positions), jnp.asarray(columns)
        some = phi.entries(params, at[:1]), phi.entries(params, at)
        training = [phi.in_training(params, at[:1], key)[0] for key in (None, key)]
        return phi(params), *some, *training

    w, some_rows, some, plain, drawn = (np.asarray(x) for x in asked_for(phi, params, jax.random.key(3)))
    assert w.shape == phi.shape
    close((some_rows, some), (w[positions], w[positions, columns]))
    close(phi.decode(params, phi.encode(params, X)), w)
    close(phi.reconstruct(params, X[:3]), w[:3])
    for entries, noisy in ((plain, False), (drawn, phi.draws)):
        assert bool(np.abs(entries - w[positions]).max() > 1e-4) is noisy
    monkeypatch.setattr(_reconstruction, "PIECE", 24)  # four rows
    close(eqx.filter_jit(lambda phi, params: phi(params))(phi, params), w)
    close(phi.encode(params, X[:9]), np.concatenate([phi.encode(params, X[i : i + 1]) for i in range(9)]))


@kinds
def test_it_goes_through_jit_and_vmap_and_scales(phi):
    keys = jax.random.split(KEY, 2)
    batch = jax.vmap(lambda key: phi.init(key, 1.0))(keys)
    expected = [phi(phi.init(key, 1.0)) for key in keys]
    close(eqx.filter_jit(lambda phi, batch: jax.vmap(phi)(batch))(phi, batch), jnp.stack(expected))
    close(phi.init(KEY, 0.5), jax.tree.map(lambda x: 0.5 * x, phi.init(KEY, 1.0)))
    with pytest.raises(NotImplementedError, match="lift: a network has no known inverse"):
        phi.lift(X)


@kinds
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_no_arithmetic_of_two_types(phi, dtype):
    with jax.enable_x64(dtype == np.float64), jax.numpy_dtype_promotion("strict"):
        phi, params = (
            jax.tree.map(lambda x: jnp.asarray(x, dtype) if eqx.is_inexact_array(x) else x, tree)
            for tree in (phi, phi.init(KEY, 1.0))
        )
        for data in (phi.X, (255 * phi.X).astype(jnp.uint8)):
            objective = Objective(B.Reconstruction(data), phi).drawn(jax.random.key(1))
            found = eqx.filter_eval_shape(lambda o, p: (o(p), jax.grad(o, has_aux=True)(p)), objective, params)
            assert {x.dtype for x in jax.tree.leaves(found)} == {np.dtype(dtype)}
            probe = N.HeldOutReconstruction(data)
            found = eqx.filter_eval_shape(probe.measure, objective, params)
            assert found.dtype == dtype


def test_encoder_and_decoder_of_a_key_are_the_same_whatever_is_between():
    plain = KINDS["AE"].init(KEY, 1.0)
    for name in ("IRMAE", "shared", "fixed", "nonlinear"):
        params = KINDS[name].init(KEY, 1.0)
        assert_same_bits(params._replace(linear=()), plain)


@pytest.mark.long
def test_any_network_of_equinox_will_do():
    class Pair(N.Architecture):
        """A pair of the user's own."""

        shape: tuple[int, ...] = eqx.field(static=True, default=(6,))
        code_size: int = eqx.field(static=True, default=2)
        output: str = eqx.field(static=True, default="identity")

        def encoder(self, outputs, key):
            return eqx.nn.MLP(6, outputs, 4, 1, activation=jnp.tanh, key=key)

        def decoder(self, key):
            return eqx.nn.MLP(2, 6, 4, 1, key=key)

    phi = N.AE(Pair(), X)
    descent = ut.dynamics.GradientDescent(ut.optimizers.make("adam", 1e-2), batch_size=4)
    found = ut.train(B.Reconstruction(X), phi, descent, key=0, scale=1.0, stop=ut.Stop(loss=None, steps=60))
    assert found["loss"][-1] < found["loss"][0] / 2
    encoder = phi.network(found.params, "encoder")
    close(phi.encode(found.params, X), jax.vmap(encoder)(X))


# Linear layers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["IRMAE", "shared", "fixed"])
def test_collapsed_it_is_the_same_with_one_matrix(name):
    phi = KINDS[name]
    params = phi.init(KEY, 1.0)
    short, its_params = phi.collapse(params)
    assert len(its_params.linear) == short.layers == 1
    close(short(its_params), phi(params), rtol=1e-12)
    close(short.encode(its_params, X), phi.encode(params, X), rtol=1e-12)
    close(short.features(its_params, X), phi.features(params, X))


def test_what_has_no_product_is_not_collapsed():
    phi = KINDS["nonlinear"]
    with pytest.raises(ValueError, match="kind: expected linear layers"):
        phi.collapse(phi.init(KEY, 1.0))
    plain = N.IRMAE(DENSE, X, layers=0)
    params = plain.init(KEY, 1.0)
    close(plain(params), KINDS["AE"](params))
    assert plain.collapse(params)[1].linear == ()


def test_codes_go_through_the_matrices_in_order():
    phi = KINDS["IRMAE"]
    params = phi.init(KEY, 1.0)
    first, second, third = params.linear
    features = phi.features(params, X)
    close(phi.encode(params, X), features @ (third @ second @ first).T)
    close(
        KINDS["nonlinear"].encode(params, X),
        jnp.maximum(jnp.maximum(features @ first.T, 0) @ second.T, 0) @ third.T,
    )
    shared = KINDS["shared"].init(KEY, 1.0)
    assert len(shared.linear) == 1
    close(KINDS["shared"].encode(shared, X), features @ jnp.linalg.matrix_power(shared.linear[0], 3).T)


@pytest.mark.parametrize(("initialization", "factor"), [("uniform", 3**-0.5), ("lecun", 1.0), ("orthogonal", 1.0)])
def test_how_a_start_scales_lengths(initialization, factor):
    """The product's Frobenius norm over sqrt(n) is factor^l: 3^(-l/2), the small start of the papers' framework.

    Its square's relative deviation is about sqrt(2 l / n^2 + ...) < 0.05 a matrix of size 100 for 4 of them.
    """
    wide = N.Dense(100, code_size=100, hidden=())
    phi = N.IRMAE(wide, RNG.normal(size=(2, 100)), layers=4, initialization=initialization)
    matrices = phi.init(KEY, 1.0).linear
    for matrix in matrices:
        assert np.linalg.norm(matrix) == pytest.approx(10 * factor, rel=0.02)
    product = matrices[3] @ matrices[2] @ matrices[1] @ matrices[0]
    assert np.linalg.norm(product) == pytest.approx(10 * factor**4, rel=0.1)
    if initialization == "orthogonal":
        close(product @ product.T, np.eye(100), rtol=0, atol=1e-12)


@pytest.mark.long
def test_fixed_matrices_stay_and_are_no_parameters():
    phi = KINDS["fixed"]
    assert phi.init(KEY, 1.0).linear == ()
    again = N.IRMAE(DENSE, X, layers=3, kind="fixed", key=7)
    assert_same_bits(phi.fixed, again.fixed)
    descent = ut.dynamics.GradientDescent(ut.optimizers.make("adamw", 1e-2, weight_decay=0.1), batch_size=4)
    run = ut.train(B.Reconstruction(X), phi, descent, key=0, scale=1.0, stop=ut.Stop(loss=None, steps=20))
    assert_same_bits(run.parameterization.fixed, phi.fixed)


@pytest.mark.long
def test_a_linear_autoencoder_finds_the_principal_components():
    """At its least loss, the sum of the least eigenvalues of the covariance, it projects on the others."""
    data = RNG.normal(size=(40, 5)) * np.array([3.0, 2.0, 1.0, 0.3, 0.1]) + RNG.normal(size=5)
    centered = data - data.mean(axis=0)
    _, s, vt = np.linalg.svd(centered, full_matrices=False)
    expected = data.mean(axis=0) + centered @ vt[:2].T @ vt[:2]
    least = (s[2:] ** 2).sum() / data.size
    for layers in (0, 1):
        phi = N.IRMAE(N.Dense(5, code_size=2, hidden=()), data, layers=layers)
        descent = ut.dynamics.GradientDescent(ut.optimizers.make("adam", 1e-2))
        run = ut.train(B.Reconstruction(data), phi, descent, key=1, scale=1.0, stop=ut.Stop(loss=None, gradient=1e-7))
        assert run["loss"][-1] == pytest.approx(least, rel=1e-6)
        np.testing.assert_allclose(run.w, expected, atol=1e-3)


# Noise and divergence -----------------------------------------------------------------------------


def elbo_by_hand(phi, params, key, positions):
    """The sum over rows of cross-entropy and weighed divergence, with the noise of each row."""
    total = 0.0
    for i in positions:
        out = np.asarray(phi.features(params, X[i : i + 1]))[0]
        mean, log_variance = out[:3], out[3:]
        noise = np.asarray(jax.random.normal(jax.random.fold_in(key, i), (3,)))
        code = mean + np.exp(log_variance / 2) * noise
        w = np.asarray(phi.decode(params, code[None]))[0]
        x = np.asarray(X[i])
        total += -(x * np.log(w) + (1 - x) * np.log1p(-w)).sum()
        total += float(phi.beta) * 0.5 * (mean**2 + np.exp(log_variance) - 1 - log_variance).sum()
    return total


@pytest.mark.long
def test_what_a_vae_minimizes_is_the_formula():
    phi, key = KINDS["VAE"], jax.random.key(5)
    params = phi.init(KEY, 1.0)
    objective = Objective(B.Reconstruction(X, "cross_entropy"), phi)
    total, loss = objective.drawn(key)(params)
    np.testing.assert_allclose(total, elbo_by_hand(phi, params, key, range(11)) / X.size, rtol=1e-10)
    assert loss < total
    # The source's form: its b for means over code and numbers, without the factor 1/2.
    means, log_variances = phi.posterior(params, X)
    b = 0.7 * 3 / (2 * 6)
    divergence = -b * np.mean(1 + log_variances - means**2 - np.exp(log_variances))
    np.testing.assert_allclose(total - loss, divergence, rtol=1e-10)
    # Watched without noise; the total has its divergence all the same.
    w = phi(params)
    evaluated, plain = objective(params)
    np.testing.assert_allclose(plain, -jnp.mean(X * jnp.log(w) + (1 - X) * jnp.log(1 - w)), rtol=1e-10)
    np.testing.assert_allclose(evaluated - plain, divergence, rtol=1e-10)


@pytest.mark.long
@pytest.mark.parametrize("normalization", ["mean", "half_sum"])
@pytest.mark.parametrize("size", [4, 11])
def test_the_average_over_an_epoch_is_the_whole_gradient_with_the_same_noise(size, normalization):
    phi, key, noise = KINDS["VAE"], jax.random.key(2), jax.random.key(6)
    params = phi.init(KEY, 1.0)
    objective = Objective(B.Reconstruction(X, "cross_entropy", normalization), phi, ut.penalties.L2(0.3))
    gradient = eqx.filter_jit(lambda o: jax.grad(lambda p: o(p)[0])(params))
    expected = gradient(objective.drawn(noise))
    batches = Batches(size, 11, replacement=False)
    order = batches.order(key, jnp.asarray(3))
    drawn = [objective.part(*batches.draw(key, order, jnp.asarray(i))).drawn(noise) for i in range(batches.per_epoch)]
    average = jax.tree.map(lambda *gs: sum(gs) / len(gs), *[gradient(part) for part in drawn])
    close(average, expected)
    assert np.abs(sizes_of_difference(expected, gradient(objective))) > 1e-3  # the noise is in it


def sizes_of_difference(a, b):
    return max(float(jnp.abs(x - y).max()) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


@kinds
@pytest.mark.parametrize("piece", [1, 4])
def test_the_whole_in_pieces_is_the_whole(phi, piece, monkeypatch):
    params = phi.init(KEY, 1.0)
    objective = Objective(B.Reconstruction(X), phi).drawn(jax.random.key(6))
    evaluate = lambda o: jax.value_and_grad(o, has_aux=True)(params)
    expected = evaluate(objective)
    monkeypatch.setattr(_reconstruction, "PIECE", 6 * piece)
    close(whole(objective, params, evaluate), expected)
    close(evaluate(objective), expected)


def descend(phi, size=4, steps=40, replacement=False, **options):
    dynamics = ut.dynamics.GradientDescent(ut.optimizers.make("adam", 1e-2), size, replacement)
    options = {"key": 0, "stop": ut.Stop(loss=None, steps=steps)} | options
    return ut.train(B.Reconstruction(X), phi, dynamics, scale=1.0, **options)


@pytest.mark.long
@pytest.mark.parametrize(("size", "replacement"), [(4, False), (4, True), (None, False)])
@pytest.mark.parametrize("name", ["IRMAE", "VAE"])
def test_samples_chunks_and_interruptions_change_no_bit(name, size, replacement, tmp_path, monkeypatch):
    phi = KINDS[name]
    found = descend(phi, size, replacement=replacement)
    assert_same_bits(found.params, descend(phi, size, replacement=replacement, samples=[7, 25]).params)
    monkeypatch.setattr(_run, "CHUNK_SECONDS", 1e-6)
    assert_same_bits(found.params, descend(phi, size, replacement=replacement).params)
    path = tmp_path / "run.npz"
    for steps in (5, 22, 40):
        further = descend(phi, size, steps, replacement, checkpoint=path)
    assert_same_bits((found.params, found.records), (further.params, further.records))


@pytest.mark.long
def test_each_step_draws_its_own_noise_and_a_key_its_own():
    """By hand: the same Adam steps with the noise that the run's key gives."""
    phi, rate = KINDS["VAE"], 1e-2
    start = phi.init(KEY, 1.0)
    dynamics = ut.dynamics.GradientDescent(ut.optimizers.make("sgd", rate))
    a, b = (
        ut.train(B.Reconstruction(X), phi, dynamics, params=start, key=key, stop=ut.Stop(loss=None, steps=3)).params
        for key in (4, 5)
    )
    assert sizes_of_difference(a, b) > 1e-6
    noise = jax.random.fold_in(jax.random.fold_in(jax.random.key(4), 1), 2**32 - 1)
    params, objective = start, Objective(B.Reconstruction(X), phi)
    for step in range(3):
        drawn = objective.drawn(jax.random.fold_in(noise, step))
        params = jax.tree.map(lambda p, g: p - rate * g, params, jax.grad(lambda p, o=drawn: o(p)[0])(params))
    close(a, params, rtol=1e-9)


@pytest.mark.long
def test_a_sweep_over_keys_and_betas_is_run_by_run_and_another_call_compiles_nothing():
    def one(key, beta):
        return descend(N.VAE(DENSE, X, beta), key=key, probes=[N.CodeVariances()])

    together = ut.sweep(one, over={"key": [0, 1], "beta": [0.1, 1.0]})
    alone = one(1, 1.0)
    np.testing.assert_allclose(together["final_loss"][1, 1], alone["loss"][-1], rtol=1e-9)
    with compilations() as count:
        one(2, 0.3)
    assert count.programs == 0


@pytest.mark.long
def test_early_stopping_by_other_rows():
    probe = N.HeldOutReconstruction(RNG.uniform(size=(5, 6)))
    early = ut.EarlyStopping("held_out_reconstruction", patience=5)
    found = descend(KINDS["AE"], steps=3000, probes=[probe], early_stopping=early, samples=64)
    values = found["held_out_reconstruction"]
    assert found.chosen == int(np.argmin(values)) < len(values) - 1
    close(probe(B.Reconstruction(X), KINDS["AE"], found.params), values[found.chosen])


# Probes ----------------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize("name", ["IRMAE", "VAE"])
def test_probes_are_functions_of_the_covariance_of_codes(name, monkeypatch):
    monkeypatch.setattr(_reconstruction, "PIECE", 24)
    phi, problem = KINDS[name], B.Reconstruction(X)
    params, other = phi.init(KEY, 1.0), RNG.uniform(size=(9, 6))
    for data in (None, other):
        codes = np.asarray(phi.encode(params, X if data is None else data))
        spectrum = np.linalg.svd(np.cov(codes.T), compute_uv=False)
        p = spectrum[spectrum > 0] / spectrum.sum()
        ask = lambda probe: probe(problem, phi, params)
        close(ask(N.CodeVariances(data)), spectrum, rtol=1e-8, atol=1e-16)
        close(ask(N.CodeEffectiveRank(data)), np.exp(-(p * np.log(p)).sum()))
        close(ask(N.CodeParticipationRatio(data)), spectrum.sum() ** 2 / (spectrum**2).sum())
        for threshold in (0.5, 1e-2, 1e-6):
            assert ask(N.CodeRank(threshold, data)) == (spectrum > threshold * spectrum[0]).sum()
    held_out = N.HeldOutReconstruction(other)(problem, phi, params)
    close(held_out, np.mean((np.asarray(phi.reconstruct(params, other)) - other) ** 2))


def test_bytes_are_their_255th_parts():
    data = RNG.integers(0, 256, (9, 6), np.uint8)
    exact, scaled = N.AE(DENSE, data), N.AE(DENSE, data / 255)
    assert exact.X.dtype == jnp.uint8
    params = exact.init(KEY, 1.0)
    close(exact(params), scaled(params))
    close(exact.encode(params, data), scaled.encode(params, data / 255))
    close(B.Reconstruction(data).loss(exact(params)), B.Reconstruction(data / 255).loss(exact(params)))


def test_an_array_of_jaxs_is_shared():
    data = jnp.asarray(X)
    assert N.AE(DENSE, data).X is data
    assert B.Reconstruction(data).X is data


# Wrong input -----------------------------------------------------------------------------------------

IMAGES = RNG.uniform(size=(3, 32, 32))
VAE = KINDS["VAE"]


def start(problem, phi, dynamics, key=0):
    return ut.train(problem, phi, dynamics, params=phi.init(KEY, 1.0), key=key)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: N.AE(N.MNIST32(8), IMAGES[:, :28, :28]), r"X: expected rows of shape \(32, 32, 1\).*pad_images"),
        (lambda: N.AE(N.MNIST32(8), IMAGES[0]), "X: .*a single one needs a first axis"),
        (lambda: N.AE(N.MNIST32(8), IMAGES[:1]), "X: expected two rows at least, found one"),
        (lambda: N.AE(N.MNIST32(8), IMAGES * 255), "X: expected numbers from -1 to 1.*give bytes as uint8"),
        (lambda: N.AE(N.MNIST32(8, "sigmoid"), IMAGES - 0.5), "X: expected numbers from 0 to 1, found -0.4"),
        (lambda: N.AE(N.MNIST32(8), np.ones((3, 32, 32))), "X: expected rows that differ, found 3 times the same"),
        (lambda: N.AE(N.MNIST32(8), np.where(IMAGES > 0.9, np.nan, IMAGES)), "X: expected finite numbers, found nan"),
        (lambda: N.AE(N.MNIST32(1025), IMAGES), "code_size: expected at most 1024"),
        (lambda: N.AE(N.MNIST32, IMAGES), "architecture: .*the class MNIST32 itself: call it"),
        (lambda: N.AE(N.Dense(6, 2), X[0]), "X: expected rows of numbers"),
        (lambda: N.MNIST32(0), "code_size: expected an integer of at least 1, found 0"),
        (lambda: N.MNIST32(8, "relu"), "output: unknown choice 'relu'"),
        (lambda: N.Dense(6, 2, hidden=(0,)), "hidden: expected an integer of at least 1, found 0"),
        (lambda: N.IRMAE(DENSE, X, layers=-1), "layers: expected an integer of at least 0, found -1"),
        (lambda: N.IRMAE(DENSE, X, kind="frozen"), "kind: unknown choice 'frozen'"),
        (lambda: N.IRMAE(DENSE, X, initialization="zeros"), "initialization: unknown choice 'zeros'"),
        (lambda: N.IRMAE(DENSE, X, kind="fixed"), "key: expected a random key or a seed for kind 'fixed', found None"),
        (lambda: N.IRMAE(DENSE, X, key=0), "key: expected None for kind 'free', found 0"),
        (lambda: N.VAE(DENSE, X, beta=-1.0), "beta: expected a finite number of at least 0, found -1.0"),
        (lambda: VAE.encode(VAE.init(KEY, 1.0), X[:, :4]), r"X: expected rows of shape \(6,\).* found \(4,\)"),
        (lambda: VAE.decode(VAE.init(KEY, 1.0), X), "codes: expected rows of 3 numbers, found"),
        (lambda: B.Reconstruction(X - 1, "cross_entropy"), "X: expected numbers from 0 to 1"),
        (lambda: B.Reconstruction(X, "absolute"), "loss: unknown choice 'absolute'"),
        (
            lambda: start(B.PointTarget(X), VAE, ut.dynamics.GradientDescent(ut.optimizers.make("sgd", 0.1))),
            "problem: expected one of entries, as Reconstruction, for VAE",
        ),
        (
            lambda: start(B.Reconstruction(X), VAE, ut.dynamics.GradientFlow()),
            "dynamics: expected a descent, as GradientDescent, for VAE, which is trained with noise; found Gradient",
        ),
        (
            lambda: start(B.Reconstruction(X), VAE, ut.dynamics.GradientDescent(ut.optimizers.make("sgd", 0.1)), None),
            "key: expected a random key or a seed, by which VAE draws; found None",
        ),
        (
            lambda: start(B.Reconstruction(X), VAE, ut.dynamics.GradientDescent(optax.lbfgs())),
            "optimizer: expected one without a line search",
        ),
        (lambda: descend(VAE, probes=[N.HeldOutReconstruction(np.zeros((3, 5)))]), r"X: expected rows of shape \(6,\)"),
        (lambda: descend(VAE, probes=[N.CodeVariances(np.zeros((1, 6)))]), "X: expected two rows at least"),
        (lambda: N.CodeRank(2.0), "threshold: expected a finite number of at least 0 and at most 1"),
    ],
)
def test_wrong_input_is_named(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_probes_of_codes_want_an_autoencoder():
    phi, problem = ut.parameterizations.Identity((11, 6)), B.Reconstruction(X)
    for probe in (N.CodeVariances(), N.HeldOutReconstruction(X)):
        with pytest.raises(ValueError, match=f"{probe.name}: expected an autoencoder, found Identity"):
            probe.check(problem, phi)


# What theory is told ------------------------------------------------------------------------------


def test_squares_have_equations_and_cross_entropy_has_none() -> None:
    X = np.random.default_rng(40).uniform(size=(4, 3))
    problem = ut.problems.Reconstruction(X)
    np.testing.assert_allclose(ut.theory.minimum_norm(problem), X, rtol=1e-12)
    part = problem.part(jnp.array([2, 0]), jnp.array([1.0, 3.0]))
    np.testing.assert_allclose(ut.theory.minimum_norm(part), X * np.array([1.0, 0, 1, 0])[:, None], rtol=1e-12)
    assert ut.problems.Reconstruction(X, loss="cross_entropy").equations() is None
