"""Every optimizer by its name: against its formula in NumPy, and as what trains a matrix."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from contract import compilations

import undertow as ut
from undertow import optimizers

B, P, Descent = ut.problems, ut.parameterizations, ut.dynamics.GradientDescent
RNG = np.random.default_rng(0)
START = {"matrix": RNG.normal(size=(3, 2)), "vector": RNG.normal(size=4)}
GRADIENTS = [{name: RNG.normal(size=x.shape) * (0.1 + t) for name, x in START.items()} for t in range(8)]
RATE = 0.03


# Formulas: from the gradients of one array, what each step adds to it over -RATE ----------------


def gd(gradients, _):
    yield from gradients


def momentum(gradients, _):
    m = 0
    for g in gradients:
        m = 0.9 * m + g
        yield m


def nesterov(gradients, _):
    m = 0
    for g in gradients:
        m = 0.9 * m + g
        yield g + 0.9 * m


def moments(gradients):
    """Of Adam: the number of the step, the gradient, its averages and the bias-corrected ones."""
    m = v = 0
    for t, g in enumerate(gradients, 1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        yield t, g, m, v, m / (1 - 0.9**t), v / (1 - 0.999**t)


def adam(gradients, _):
    for *_, m_hat, v_hat in moments(gradients):
        yield m_hat / (np.sqrt(v_hat) + 1e-8)


def amsgrad(gradients, _):
    largest = 0
    for *_, m_hat, v_hat in moments(gradients):
        largest = np.maximum(largest, v_hat)
        yield m_hat / (np.sqrt(largest) + 1e-8)


def adamw(gradients, start):
    x = start
    for step in adam(gradients, start):
        yield step + 1e-4 * x
        x = x - RATE * (step + 1e-4 * x)


def nadam(gradients, _):
    for t, g, m, _, _, v_hat in moments(gradients):
        ahead = 0.9 * m / (1 - 0.9 ** (t + 1)) + 0.1 * g / (1 - 0.9**t)
        yield ahead / (np.sqrt(v_hat) + 1e-8)


def radam(gradients, _):
    longest = 2 / (1 - 0.999) - 1
    for t, *_, m_hat, v_hat in moments(gradients):
        length = longest - 2 * t * 0.999**t / (1 - 0.999**t)
        if length < 5:
            yield m_hat
        else:
            top = (length - 4) * (length - 2) * longest
            r = np.sqrt(top / ((longest - 4) * (longest - 2) * length))
            yield r * m_hat / (np.sqrt(v_hat) + 1e-8)


def adagrad(gradients, _):
    total = 0.1
    for g in gradients:
        total = total + g**2
        yield g / np.sqrt(total + 1e-7)


def adadelta(gradients, _):
    squares = steps = 0
    for g in gradients:
        squares = 0.9 * squares + 0.1 * g**2
        step = np.sqrt(steps + 1e-6) / np.sqrt(squares + 1e-6) * g
        steps = 0.9 * steps + 0.1 * step**2
        yield step


def adamax(gradients, _):
    m = largest = 0
    for t, g in enumerate(gradients, 1):
        m, largest = 0.9 * m + 0.1 * g, np.maximum(0.999 * largest, np.abs(g) + 1e-8)
        yield m / (1 - 0.9**t) / largest


def rmsprop(gradients, _):
    v = 0
    for g in gradients:
        v = 0.9 * v + 0.1 * g**2
        yield g / np.sqrt(v + 1e-8)


def sign(gradients, _):
    yield from map(np.sign, gradients)


def muon(gradients, start):
    if start.ndim != 2:
        yield from nadam(gradients, start)
        return
    m = 0
    for t, g in enumerate(gradients, 1):
        m = 0.95 * m + 0.05 * g
        x = 0.95 * m / (1 - 0.95 ** (t + 1)) + 0.05 * g / (1 - 0.95**t)
        # By the singular values: the five steps are odd polynomials of them.
        u, s, vt = np.linalg.svd(x, full_matrices=False)
        s = s / (np.linalg.norm(x) + 1e-8)
        for _ in range(5):
            s = 3.4445 * s - 4.775 * s**3 + 2.0315 * s**5
        yield max(1, x.shape[1] / x.shape[0]) ** 0.5 * (u * s) @ vt


FORMULAS = [
    gd, momentum, nesterov, adam, amsgrad, adamw, nadam, radam, adagrad, adadelta, adamax, rmsprop, sign, muon,
]  # fmt: skip


def path(optimizer, gradients=GRADIENTS, params=START):
    """The parameters after each update with the given gradients."""
    params = jax.tree.map(jnp.asarray, params)
    state, out = optimizer.init(params), []
    for gradient in gradients:
        updates, state = optimizer.update(jax.tree.map(jnp.asarray, gradient), state, params)
        params = optax.apply_updates(params, updates)
        out.append(params)
    return out


@pytest.mark.parametrize("formula", FORMULAS, ids=lambda f: f.__name__)
def test_updates_are_the_formula(formula):
    found = path(optimizers.make(formula.__name__, RATE))
    for name, start in START.items():
        x = start
        for step, params in zip(formula([g[name] for g in GRADIENTS], start), found, strict=True):
            x = x - RATE * step
            np.testing.assert_allclose(params[name], x, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("wide", [False, True])
def test_muon_of_a_wide_matrix_is_longer(wide):
    shape = (2, 5) if wide else (5, 2)
    gradients = [RNG.normal(size=shape) for _ in range(3)]
    x = np.zeros(shape)
    for step, found in zip(muon(gradients, x), path(optimizers.make("muon", RATE), gradients, x), strict=True):
        x = x - RATE * step
        np.testing.assert_allclose(found, x, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("size", [1.0, 1e-200, 1e200])
def test_normalized_steps_have_the_length_of_the_learning_rate(size):
    gradients = [jax.tree.map(lambda g: size * g, gradient) for gradient in GRADIENTS]
    flat = lambda tree: np.concatenate([np.ravel(x) for x in jax.tree.leaves(tree)])
    x = flat(START)
    for gradient, params in zip(GRADIENTS, path(optimizers.make("normalized", RATE), gradients), strict=True):
        x = x - RATE * flat(gradient) / np.linalg.norm(flat(gradient))
        np.testing.assert_allclose(flat(params), x, rtol=1e-12)
    (still,) = path(optimizers.make("normalized", RATE), [jax.tree.map(np.zeros_like, START)])
    np.testing.assert_array_equal(flat(still), flat(START))


# Quasi-Newton -----------------------------------------------------------------------------------

CURVATURES = np.array([1.0, 3.0, 10.0, 0.2])


def quartic(u):
    return jnp.sum(jnp.asarray(CURVATURES) * (u - 1) ** 2) / 2 + jnp.sum(u**4) / 4


def slope(u):
    return CURVATURES * (u - 1) + u**3


def two_loops(points):
    """The L-BFGS direction at the last of the points, all of them remembered."""
    gradients = [slope(u) for u in points]
    pairs = list(zip(np.diff(points, axis=0), np.diff(gradients, axis=0), strict=True))
    q, weights = gradients[-1], []
    for s, y in reversed(pairs):
        weights.append(s @ q / (y @ s))
        q = q - weights[-1] * y
    if pairs:
        s, y = pairs[-1]
        q = q * (s @ y) / (y @ y)
    else:
        q = q * min(1, 1 / np.linalg.norm(q))
    for (s, y), weight in zip(pairs, reversed(weights), strict=True):
        q = q + s * (weight - y @ q / (y @ s))
    return -q


def searched(rate, steps, **options):
    """The points of L-BFGS on the quartic."""
    optimizer = optimizers.make("lbfgs", rate, **options)
    u = jnp.array([3.0, -1.0, 0.5, 2.0])
    state, points = optimizer.init(u), [np.asarray(u)]
    for _ in range(steps):
        value, gradient = jax.value_and_grad(quartic)(u)
        updates, state = optimizer.update(gradient, state, u, value=value, grad=gradient, value_fn=quartic)
        u = u + updates
        points.append(np.asarray(u))
    return points


@pytest.mark.long
def test_lbfgs_without_a_search_takes_steps_of_its_learning_rate():
    points = searched(0.1, 6, linesearch=None)
    for number in range(6):
        step = 0.1 * two_loops(points[: number + 1])
        np.testing.assert_allclose(points[number + 1] - points[number], step, rtol=1e-8)


@pytest.mark.long
@pytest.mark.parametrize("rate", [1.0, 1e-2, 50.0])
def test_lbfgs_searches_along_its_direction_to_the_wolfe_conditions(rate):
    """Whatever the learning rate: it is where the search begins, and from a small one it ends at short steps."""
    points = searched(rate, 6)
    for number in range(6):
        old, new = points[number : number + 2]
        direction, step = two_loops(points[: number + 1]), new - old
        length = step @ direction / (direction @ direction)
        assert length > 0
        np.testing.assert_allclose(step, length * direction, rtol=1e-6, atol=1e-12)
        assert quartic(new) <= quartic(old) + 1e-4 * step @ slope(old)
        assert abs(step @ slope(new)) <= 0.9 * abs(step @ slope(old))
    fast = np.linalg.norm(slope(points[-1])) < 0.02 * np.linalg.norm(slope(points[0]))
    assert fast == (rate >= 1)


# Training ---------------------------------------------------------------------------------------

RATES = {
    "gd": 1.0, "momentum": 0.1, "nesterov": 0.1, "adam": 0.02, "amsgrad": 0.02, "adamw": 0.02, "nadam": 0.02,
    "radam": 0.02, "adagrad": 0.1, "adadelta": 1.0, "adamax": 0.02, "rmsprop": 0.01, "group_rmsprop": 0.02,
    "lbfgs": 1.0, "sign": 0.01, "normalized": 0.02, "muon": 0.02,
}  # fmt: skip


def completion():
    rng = np.random.default_rng(1)
    target = np.outer(rng.normal(size=6), rng.normal(size=5))
    seen = rng.permutation(30)[:20]
    return B.MatrixCompletion((6, 5), seen // 5, seen % 5, target.ravel()[seen])


def test_all_names_are_known():
    assert set(RATES) <= set(optimizers.names())
    assert {f.__name__ for f in FORMULAS} | {"group_rmsprop", "normalized", "lbfgs"} == set(RATES)


@pytest.mark.two_types
@pytest.mark.parametrize("name", RATES)
def test_every_optimizer_trains(name):
    """One matrix, and two; in float32 also where the process works in 64 bits."""
    problem = completion()
    for depth, dtype in ((1, "float64"), (2, "float32")):
        phi = P.DeepMatrix(problem.shape, depth)
        params = jax.tree.map(lambda x, dtype=dtype: x.astype(dtype), phi.init(jax.random.key(0), 0.3))
        dynamics = Descent(optimizers.make(name, RATES[name]))
        run = ut.train(problem, phi, dynamics, params=params, stop=ut.Stop(loss=1e-8, steps=200))
        assert run.status in ("converged", "stopped")
        assert {x.dtype for x in jax.tree.leaves(run.params)} == {jnp.dtype(dtype)}
        assert np.isfinite(run["loss"]).all()
        assert run["loss"][-1] < 0.1 * run["loss"][0]


@pytest.mark.long
@pytest.mark.parametrize("name", RATES)
def test_a_sweep_over_learning_rates_is_one_program(name):
    problem = completion()
    phi = P.DeepMatrix(problem.shape, 2)

    def run(rate):
        dynamics = Descent(optimizers.make(name, rate))
        return ut.train(problem, phi, dynamics, key=0, scale=0.3, stop=ut.Stop(loss=None, steps=5), samples=2)

    first = run(RATES[name])
    with compilations() as count:
        second = run(RATES[name] / 2)
    assert count.programs == 0
    assert np.abs(first.w - second.w).max() > 0
    if name in ("momentum", "muon", "lbfgs"):  # all three kinds of state, side by side
        data = ut.sweep(run, over={"rate": [RATES[name], RATES[name] / 2]})
        np.testing.assert_allclose(data.final_loss, [first["loss"][-1], second["loss"][-1]], rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["normalized", "group_rmsprop"])
def test_our_own_mix_no_types(name, dtype):
    def update(params, rate):
        optimizer = optimizers._factory(name)(rate)
        return optimizer.update(params, optimizer.init(params), params)[0]

    with jax.enable_x64(dtype == "float64"), jax.numpy_dtype_promotion("strict"):
        params = jax.tree.map(lambda x: jnp.asarray(x, dtype), START)
        found = jax.eval_shape(update, params, jnp.asarray(0.1))
    assert {x.dtype for x in jax.tree.leaves(found)} == {jnp.dtype(dtype)}


# Wrong input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: optimizers.make("lbfgs", 1.0),
        lambda: optax.lbfgs(),
        lambda: optax.chain(optax.sgd(1.0), optax.scale_by_backtracking_linesearch(10)),
    ],
    ids=["named", "lbfgs", "backtracking"],
)
def test_a_line_search_refuses_mini_batches_before_any_work(optimizer):
    problem = completion()
    phi = P.DeepMatrix(problem.shape, 1)
    options = {"key": 0, "scale": 0.1, "stop": ut.Stop(loss=None, steps=3)}
    message = "batch_size: expected None for an optimizer with a line search, which compares losses of the same terms"
    with pytest.raises(ValueError, match=message):
        ut.train(problem, phi, Descent(optimizer(), 4), **options)
    assert ut.train(problem, phi, Descent(optimizer()), **options).steps[-1] == 3


def test_without_a_search_lbfgs_takes_mini_batches():
    problem = completion()
    dynamics = Descent(optimizers.make("lbfgs", 1e-3, linesearch=None), 4)
    run = ut.train(
        problem, P.DeepMatrix(problem.shape, 1), dynamics, key=0, scale=0.1, stop=ut.Stop(loss=None, steps=3)
    )
    assert run.steps[-1] == 3


@pytest.mark.parametrize(
    "flow", [ut.dynamics.GradientFlow, lambda **kw: ut.dynamics.MirrorFlow(ut.potentials.Entropy(), **kw)]
)
def test_flows_take_no_mini_batches(flow):
    with pytest.raises(TypeError, match="batch_size"):
        flow(batch_size=4)


@pytest.mark.parametrize(
    ("name", "option"),
    [("gd", "momentum"), ("momentum", "nesterov"), ("nesterov", "nesterov"), ("nadam", "nesterov"), ("sign", "eps")],
)
def test_an_option_that_makes_another_optimizer_of_it_is_refused(name, option):
    with pytest.raises(TypeError, match=f"{option}: {name} has no such option"):
        optimizers.make(name, 0.1, **{option: 0.5})
    assert optimizers.make("momentum", 0.1, momentum=0.5).options == (("momentum", 0.5),)
