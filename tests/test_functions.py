"""What a function is: every way in which its result can hang on a value, in runs that follow one another."""

import dataclasses
import functools
import importlib
import inspect
import operator
import os
import subprocess
import sys
import threading
import time
import types
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from contract import compilations

import undertow as ut
from undertow._description import Static, describe
from undertow._programs import Program, filter_jit
from undertow.objective import Objective

TARGET = ut.problems.PointTarget(np.zeros(2))
ONE_STEP = ut.Stop(loss=None, steps=1)
DESCENT = ut.dynamics.GradientDescent(ut.optimizers.make("sgd", 1e-3))

FACTOR = 1.0
NUMBERS = [1.0]
MODULE = types.ModuleType("of_the_user")
MODULE.inner = types.ModuleType("of_the_user.inner")  # pyright: ignore[reportAttributeAccessIssue]


def loss_of(phi: Any, **options: Any) -> float:
    """Of w = phi((1, 1)): its square."""
    phi = ut.parameterizations.Function(phi, shape=2)
    run = ut.train(TARGET, phi, DESCENT, params=jnp.ones(2), stop=ONE_STEP, **options)
    return float(run["loss"][0])


# Each way: a function of the user's, and how the value that it depends on is set ----------------------


def by_global():
    def phi(u):
        return FACTOR * u

    return phi, _set_global


def _set_global(value):
    global FACTOR  # noqa: PLW0603 (what is tested)
    FACTOR = value


def _helper(u):
    return _helper_of_the_helper(u)


def _helper_of_the_helper(u):
    return sum(v * u for v in (FACTOR,))


def by_a_helper_of_a_helper():
    return (lambda u: _helper(u)), _set_global


def by_a_global_list():
    return (lambda u: NUMBERS[0] * u), lambda value: NUMBERS.__setitem__(0, value)


def by_a_module():
    return (lambda u: MODULE.inner.factor * u), lambda value: setattr(MODULE.inner, "factor", value)


def by_a_cell():
    factor = 1.0

    def set_(value):
        nonlocal factor
        factor = value

    return (lambda u: factor * u), set_


def by_a_default():
    def phi(u, factor=1.0):
        return factor * u

    return phi, lambda value: setattr(phi, "__defaults__", (value,))


def by_a_keyword_default():
    def phi(u, *, factor=1.0):
        return factor * u

    return phi, lambda value: phi.__kwdefaults__.update(factor=value)


def by_an_attribute_of_the_function():
    def phi(u):
        return phi.factor * u  # pyright: ignore[reportFunctionMemberAccess]

    return phi, lambda value: setattr(phi, "factor", value)


class Scale:
    of_all = 1.0

    def __init__(self):
        self.own = 1.0

    def __call__(self, u):
        return self.twice_half() * u

    def twice_half(self):
        return self.own * self.of_all

    def method(self, u):
        return self.own * u


class Slotted:
    __slots__ = ("factor",)

    def __call__(self, u):
        return self.factor * u


@dataclasses.dataclass
class Record:
    factor: float = 1.0

    def __call__(self, u):
        return self.factor * u


def by_an_attribute():
    scale = Scale()
    return scale, lambda value: setattr(scale, "own", value)


def by_an_attribute_of_the_class():
    return Scale(), lambda value: setattr(Scale, "of_all", value)


def by_a_slot():
    scale = Slotted()
    return scale, lambda value: setattr(scale, "factor", value)


def by_a_field():
    record = Record()
    return record.__call__, lambda value: setattr(record, "factor", value)


def by_a_bound_method():
    scale = Scale()
    return scale.method, lambda value: setattr(scale, "own", value)


def by_a_partial():
    kept = {"factor": 1.0}
    phi = functools.partial(lambda kept, u: kept["factor"] * u, kept)
    return phi, lambda value: kept.update(factor=value)


def by_an_array_changed_in_place():
    array = np.ones(2)
    return (lambda u: array * u), lambda value: array.__setitem__(slice(None), value)


def by_a_weak_reference():
    scale = Scale()
    reference = weakref.ref(scale)

    def set_(value):
        scale.own = value

    return (lambda u: reference().own * u), set_  # pyright: ignore[reportOptionalMemberAccess]


def under_jit():
    factor = 1.0

    def set_(value):
        nonlocal factor
        factor = value

    return jax.jit(lambda u: factor * u), set_


def in_the_body_of_a_loop():
    def body(i, u):
        return FACTOR * u

    return (lambda u: jax.lax.fori_loop(0, 1, body, u)), _set_global


CONFIG = types.ModuleType("config_of_the_user")
CONFIG.factor = 1.0  # pyright: ignore[reportAttributeAccessIssue]
sys.modules["config_of_the_user"] = CONFIG
ASK = operator.attrgetter("factor")


def _set_config(value):
    CONFIG.factor = value  # pyright: ignore[reportAttributeAccessIssue]


def _asks(module, u):
    return module.factor * u


def by_a_module_given_to_a_helper():
    return (lambda u: _asks(CONFIG, u)), _set_config


def by_a_string():
    return (lambda u: getattr(CONFIG, "factor") * u), _set_config  # noqa: B009 (what is tested)


def by_an_attribute_getter():
    return (lambda u: ASK(CONFIG) * u), _set_config


def by_the_dictionary_of_a_module():
    return (lambda u: CONFIG.__dict__["factor"] * u), _set_config


def by_an_import_inside():
    def phi(u):
        from config_of_the_user import factor  # pyright: ignore[reportMissingImports]

        return factor * u

    return phi, _set_config


def by_a_descriptor():
    class Reads:
        def __get__(self, instance, owner=None):
            return CONFIG.factor  # pyright: ignore[reportAttributeAccessIssue]

    class Scaled:
        factor = Reads()

        def __call__(self, u):
            return self.factor * u

    return Scaled(), _set_config


def by_the_environment():
    phi = lambda u: float(os.environ["UNDERTOW_TEST_FACTOR"]) * u
    return phi, lambda value: os.environ.update(UNDERTOW_TEST_FACTOR=str(value))


def by_a_cached_property():
    class Scaled:
        @functools.cached_property
        def factor(self):
            return [1.0]

        def __call__(self, u):
            return self.factor[0] * u

    scaled = Scaled()
    return scaled, lambda value: scaled.factor.__setitem__(0, value)


def in_what_another_library_keeps():
    def velocity(t, y, args):
        return (FACTOR - 1) * jnp.ones_like(y)

    def phi(u):
        term, start = diffrax.ODETerm(velocity), jnp.zeros_like(u)
        return u + diffrax.diffeqsolve(term, diffrax.Euler(), 0.0, 1.0, 1.0, start).ys[0]

    return phi, _set_global


WAYS = [
    by_a_module_given_to_a_helper,
    by_a_string,
    by_an_attribute_getter,
    by_the_dictionary_of_a_module,
    by_an_import_inside,
    by_a_descriptor,
    by_the_environment,
    by_a_cached_property,
    by_global,
    by_a_helper_of_a_helper,
    by_a_global_list,
    by_a_module,
    by_a_cell,
    by_a_default,
    by_a_keyword_default,
    by_an_attribute_of_the_function,
    by_an_attribute,
    by_an_attribute_of_the_class,
    by_a_slot,
    by_a_field,
    by_a_bound_method,
    by_a_partial,
    by_a_weak_reference,
]
KEPT_BY_JAX = [under_jit, in_the_body_of_a_loop, by_an_array_changed_in_place, in_what_another_library_keeps]


@filter_jit
def apply(phi, u):
    return phi(u)


@pytest.mark.parametrize("way", [*WAYS, *KEPT_BY_JAX], ids=lambda way: way.__name__)
def test_the_value_of_the_moment_counts(way):
    """With the same function object all along; and a program is compiled once for each value."""
    phi, set_ = way()
    compiled, ones = [], jnp.ones(2)
    for value in (1.5, 2.0, 3.0, 2.0):
        set_(value)
        with compilations() as count:
            assert np.asarray(apply(phi, ones)).tolist() == [value] * 2
        compiled.append(count.programs)
    set_(1.0)
    assert [n > 0 for n in compiled] == ([True] * 4 if way in KEPT_BY_JAX else [True, True, True, False])
    assert compiled[1:3] == [1, 1] or way is in_what_another_library_keeps  # which compiles more, once


@pytest.mark.parametrize("way", [by_a_helper_of_a_helper, by_an_array_changed_in_place, in_the_body_of_a_loop])
def test_the_value_of_the_moment_counts_in_training(way):
    phi, set_ = way()
    compiled = []
    for value in (2.0, 3.0, 2.0):
        set_(value)
        with compilations() as count:
            assert loss_of(phi) == value**2
        compiled.append(count.programs)
    set_(1.0)
    assert compiled[1] > 0
    assert compiled[2] == 0 or way in KEPT_BY_JAX


@pytest.mark.parametrize("way", [by_global, by_an_attribute])
def test_the_value_counts_in_penalties_probes_and_checkpoints(way, tmp_path):
    phi, set_ = way()
    path = tmp_path / "run.npz"

    def train(**options):
        return ut.train(TARGET, ut.parameterizations.Identity(2), DESCENT, params=jnp.ones(2), stop=ONE_STEP, **options)

    ends = []
    for value in (1.0, 2.0):
        set_(value)
        run = train(penalty=lambda w: phi(w).sum(), probes=[ut.probes.Function("phi", lambda w: phi(w)[0])])
        assert run["phi"][0] == value
        ends.append(float(run.w[0]))
    assert ends == pytest.approx([1 - 2e-3, 1 - 3e-3], abs=1e-12)
    set_(1.0)
    train(penalty=lambda w: phi(w).sum(), checkpoint=path)
    train(penalty=lambda w: phi(w).sum(), checkpoint=path)
    set_(2.0)
    with pytest.raises(ValueError, match="belongs to another run"):
        train(penalty=lambda w: phi(w).sum(), checkpoint=path)
    set_(1.0)


def test_the_value_counts_in_a_problem_and_a_part_of_the_users_own():
    class Problem(ut.problems.Problem):
        shape: tuple[int, ...] = (2,)

        def loss(self, w):
            return FACTOR * (w**2).sum()

    for value in (1.0, 2.0, 3.0):
        _set_global(value)
        run = ut.train(Problem(), ut.parameterizations.Identity(2), DESCENT, params=jnp.ones(2), stop=ONE_STEP)
        assert run["loss"][0] == 2 * value
    _set_global(1.0)


def test_a_loop_over_functions_of_their_own():
    """The plainest sweep of all: a lambda in a loop."""
    assert [loss_of(lambda u: a * u) for a in (1.0, 2.0, 4.0)] == [1.0, 4.0, 16.0]  # noqa: B023 (used at once)


def test_functions_of_equal_code_and_values_share_a_program():
    def make(factor):
        array = np.full(2, factor)
        return lambda u: array * u

    loss_of(make(5.0))
    with compilations() as count:
        assert loss_of(make(5.0)) == 25.0
    assert count.programs == 0


def test_in_a_sweep_every_run_has_its_own_value():
    def run(factor):
        phi = ut.parameterizations.Function(lambda u: factor * u, shape=2)
        return ut.train(TARGET, phi, DESCENT, params=jnp.ones(2), stop=ONE_STEP)

    assert ut.sweep(run, over={"factor": [1.0, 2.0, 1.0]})["loss"][:, 0].values.tolist() == [1.0, 4.0, 1.0]


def test_a_sweep_whose_runs_change_a_value_that_others_read_is_refused():
    def run(factor):
        _set_global(factor)
        phi = ut.parameterizations.Function(lambda u: FACTOR * u, shape=2)
        return ut.train(TARGET, phi, DESCENT, params=jnp.ones(2), stop=ONE_STEP)

    with pytest.raises(ValueError, match="was changed after"):
        ut.sweep(run, over={"factor": [1.0, 2.0]})
    _set_global(1.0)


def test_w_is_that_of_the_run_whenever_it_is_asked_for(monkeypatch):
    phi = ut.parameterizations.Function(lambda u: FACTOR * u, shape=2)
    stay = {"params": jnp.ones(2), "stop": ut.Stop(loss=None, steps=1)}
    frozen = ut.dynamics.GradientDescent(ut.optimizers.make("sgd", 1e-30))
    runs = []
    for value in (2.0, 3.0):
        _set_global(value)
        runs.append(ut.train(TARGET, phi, frozen, **stay))
    assert [run.w.tolist() for run in runs] == [[2.0, 2.0], [3.0, 3.0]]
    monkeypatch.setattr("undertow.training._trajectory.KEPT", 1)
    run = ut.train(TARGET, phi, frozen, **stay)
    assert run.w.tolist() == [3.0, 3.0]
    _set_global(1.0)
    with pytest.raises(ValueError, match="was changed after the run"):
        _ = run.w


def test_what_is_traced_to_check_a_run_is_kept_by_what_its_functions_are(monkeypatch):
    traced, whole, size = [], Objective.check, 2

    def counting(self, params):
        traced.append(self)
        whole(self, params)

    def run(scale):
        phi = ut.parameterizations.Function(lambda u: u[:size], shape=2)
        return ut.train(TARGET, phi, DESCENT, params=jnp.full(3, scale), stop=ONE_STEP)

    monkeypatch.setattr(Objective, "check", counting)
    ut.sweep(run, {"scale": [0.5, 1.0]})
    ut.sweep(run, {"scale": [0.25, 2.0]})
    assert len(traced) == 1
    size = 3
    for _ in range(2):  # what is refused is refused again
        with pytest.raises(ValueError, match=r"expected parameters that give shape \(2,\), found \(3,\)"):
            ut.sweep(run, {"scale": [0.25, 2.0]})


def test_the_velocity_is_that_of_the_moment():
    phi = ut.parameterizations.Function(in_the_body_of_a_loop()[0], shape=2)
    for value in (2.0, 3.0):
        _set_global(value)
        assert ut.velocity(TARGET, phi, jnp.ones(2)).tolist() == [-(value**3)] * 2
    _set_global(1.0)


# What cannot be seen -------------------------------------------------------------------------------


def _reads_names():
    return lambda u: globals()["FACTOR"] * u


def _evaluates():
    return lambda u: eval("FACTOR") * u


def _asks_a_generator():
    values = iter(v for v in [1.0] * 100)
    return lambda u: next(values) * u


def _asks_the_clock():
    return lambda u: float(time.time() > 0) * u


def _holds_a_lock():
    lock = threading.Lock()

    def phi(u):
        with lock:
            return 1.0 * u

    return phi


def _reads_a_file():
    path = Path(__file__)
    return lambda u: (len(path.read_text()) > 0) * u


def _loads_an_array():
    return lambda u: np.load("factor.npy") * u


def _asks_the_environment():
    return lambda u: float(os.getenv("UNDERTOW_TEST_NOTHING", "1")) * u


def _imports_by_name():
    return lambda u: importlib.import_module("math").pi * u


@pytest.mark.parametrize(
    "make",
    [_loads_an_array, _reads_a_file, _asks_the_environment, _imports_by_name],
)
def test_what_comes_from_outside_cannot_be_seen(make):
    assert describe(make()).unseen


def test_a_module_of_the_users_under_a_librarys_name(tmp_path, monkeypatch):
    """As a script's neighbor called like one of the standard library's, which nothing else here imports."""
    (tmp_path / "xdrlib.py").write_text("factor = 1.0\n\n\ndef phi(u):\n    return factor * u\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "xdrlib", raising=False)
    module = importlib.import_module("xdrlib")
    digests = set()
    for value in (1.0, 2.0):
        monkeypatch.setattr(module, "factor", value)
        digests.add(describe(module.phi).digest)
    assert len(digests) == 2
    monkeypatch.delitem(sys.modules, "xdrlib")


def test_single_precision_forgets_the_array_that_was_converted():
    code = (
        "import numpy as np, jax.numpy as jnp, undertow as ut\n"
        "array, stop = np.ones(2), ut.Stop(loss=None, steps=1)\n"
        "phi = ut.parameterizations.Function(lambda u: array * u, shape=2)\n"
        "descent = ut.dynamics.GradientDescent(ut.optimizers.make('sgd', 1e-9))\n"
        "for value in (1.0, 2.0, 3.0):\n"
        "    array[:] = value\n"
        "    target = ut.problems.PointTarget(np.zeros(2))\n"
        "    print(ut.train(target, phi, descent, params=jnp.ones(2), stop=stop)['loss'][0])\n"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split() == ["1.0", "4.0", "9.0"]


def test_numpy_leaves_changed_by_a_later_run_of_a_sweep():
    class Distance(ut.problems.Problem):
        shape: tuple[int, ...] = eqx.field(static=True)
        target: np.ndarray

        def loss(self, w):
            return ((w - self.target) ** 2).sum()

    target = np.zeros(2)

    def run(value):
        target[:] = value
        problem, phi = Distance((2,), target), ut.parameterizations.Identity(2)
        return ut.train(problem, phi, DESCENT, params=jnp.zeros(2), stop=ONE_STEP)

    assert ut.sweep(run, over={"value": [1.0, 2.0]})["loss"][:, 0].values.tolist() == [2.0, 8.0]


@pytest.mark.parametrize("make", [_reads_names, _evaluates, _asks_a_generator, _asks_the_clock, _holds_a_lock])
def test_what_cannot_be_seen_has_a_program_of_its_own(make):
    phi = make()
    assert describe(phi).unseen
    assert describe(phi).digest != describe(phi).digest
    apply(phi, jnp.ones(3))
    with compilations() as count:
        apply(phi, jnp.ones(3))
    assert count.programs > 0


def test_what_cannot_be_seen_is_refused_by_a_checkpoint(tmp_path):
    path = tmp_path / "run.npz"
    with pytest.raises(ValueError, match="checkpoint: a run is known again by what its functions can reach"):
        loss_of(_holds_a_lock(), checkpoint=path)
    assert not path.exists()


def test_names_looked_up_afresh_give_the_value_of_the_moment():
    phi = _reads_names()
    for value in (1.0, 2.0, 3.0):
        _set_global(value)
        assert loss_of(phi) == value**2
    _set_global(1.0)


# The description itself ------------------------------------------------------------------------------


class Node:
    def __init__(self, value):
        self.value, self.next = value, self


def recursive(n):
    return recursive(n - 1) if n else FACTOR


SEEN = {
    "a schedule, its cell still empty": optax.exponential_decay(0.1, 10, 0.9),
    "an optimizer": optax.adam(1e-3),
    "a network": eqx.nn.MLP(2, 2, 2, 2, key=jax.random.key(0)),
    "a function of jax": jnp.dot,
    "a random state": np.random.default_rng(0),
    "a circle": Node(1),
    "a recursive function": recursive,
    "a key": jax.random.key(0),
    "not a number": float("nan"),
    "a masked array": np.ma.masked_array([1.0, 2.0], [False, True]),
    "an array of objects": np.array([1, "a", None], dtype=object),
    "a class": Scale,
    "types as signatures hold them": (Callable[..., Any], list[int], int | None, inspect.signature(Scale.method)),
}


@pytest.mark.parametrize("name", SEEN)
def test_what_can_be_seen_is_described_alike_every_time(name):
    first, second = describe(SEEN[name]), describe(SEEN[name])
    assert first == second
    assert first.unseen == ()


def test_different_values_have_different_digests():
    values = [
        *(0, 0.0, -0.0, False, None, "0", b"0", float("nan"), (), [], {}, set(), ((),), [[]], (1, 2), ((1,), 2)),
        *({1: 2}, {2: 1}, {1, 2}, range(3), slice(3), jnp.ones(2), jnp.ones(2, jnp.float32), np.ones(2), Node(1)),
        *(Node(2), Scale(), Scale, np.random.default_rng(1), jax.random.key(0), jax.random.key(1), jnp.dot, jnp.sum),
        *(
            lambda u: u,
            lambda u: -u,
            lambda u, v: u,
            optax.adam(1e-3),
            optax.adam(1e-2),
            np.ma.masked_array([1.0], [1]),
        ),
        *(np.ma.masked_array([1.0], [0]), Node, MODULE, np, functools.partial(max, 1), functools.partial(max, 2)),
    ]
    assert len({describe(value).digest for value in values}) == len(values)


def test_a_set_of_names_in_code_has_no_order():
    """Their order hangs on the hash seed of the process."""
    first, second = (eval(f"lambda u: u in {{{names}}}") for names in ("'a', 'b', 'c'", "'c', 'b', 'a'"))
    assert describe(first).digest == describe(second).digest


def test_a_graph_without_end_counts_as_unseen():
    chain: Any = None
    for _ in range(5_000):
        chain = [chain]
    assert describe(chain).unseen


def test_a_program_tells_a_missing_array_from_a_present_one():
    a, b = ((jnp.ones(2), None), (None, jnp.ones(2)))
    assert Program(a).digest != Program(b).digest
    assert Program(a).digest == Program((jnp.zeros(2), None)).digest


def test_filter_jit_compiles_by_what_arguments_are():
    phi, set_ = by_a_cell()
    one, two = jnp.asarray(1.0), jnp.asarray(2.0)
    for value in (1.0, 2.0):
        set_(value)
        assert apply(Static(phi), one) == value
    with compilations() as count:
        assert apply(Static(phi), two) == 4.0
    assert count.programs == 0


def test_a_potential_of_the_users_own_takes_the_value_of_the_moment():
    _set_global(1.0)
    potential = ut.potentials.Separable(lambda x: FACTOR * x**2 / 2)
    assert float(potential.gradient(jnp.ones(()))) == 1.0
    _set_global(2.0)
    assert float(potential.gradient(jnp.ones(()))) == 2.0
    assert float(potential.inverse_gradient(jnp.ones(()))) == pytest.approx(0.5)
    _set_global(1.0)


def test_a_function_with_its_types_checked_is_the_same_after_it_was_called():
    """Checkers keep notes of calls; this suite has them around all that is public here."""
    phi = ut.parameterizations.DeepMatrix((2, 2), 2)
    before = describe(phi.lift)
    phi.lift(np.eye(2))
    assert describe(phi.lift) == before
    assert describe(ut.parameterizations.DeepMatrix((2, 2), 3).lift) != before


def test_a_container_that_a_function_of_a_library_holds_may_change():
    """No code of the user's is in it, and yet it is another function after that."""
    scales = {1: 0.5}
    descent = ut.dynamics.GradientDescent(optax.sgd(optax.piecewise_constant_schedule(0.1, scales)))
    problem, phi, stop = ut.problems.PointTarget([1.0]), ut.parameterizations.Identity(1), ut.Stop(loss=None, steps=3)

    def gap():
        return float(1 - ut.train(problem, phi, descent, params=jnp.zeros(1), stop=stop).w[0])

    assert gap() == pytest.approx(0.9 * 0.95**2)
    scales[1] = 0.1
    assert gap() == pytest.approx(0.9 * 0.99**2)

    def run(scale):
        scales[1] = scale
        return ut.train(problem, phi, descent, params=jnp.zeros(1), stop=stop)

    with pytest.raises(ValueError, match="was changed after its train was called"):
        ut.sweep(run, over={"scale": [0.5, 0.2]})
