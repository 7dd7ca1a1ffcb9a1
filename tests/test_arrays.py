"""Arrays made without compiling for their shapes: the same as JAX's own, for fewer programs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import undertow as ut
from undertow._arrays import full, normal, placed


@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 5), (2, 3, 4), (0, 3), (64,), (65,), (9, 15)])
def test_normal_draws_what_jax_draws(shape, double):
    with jax.enable_x64(double):
        key = jax.random.key(3)
        expected = 0.3 * jax.random.normal(key, shape)
        found = normal(key, shape, jnp.asarray(0.3))
        assert (found.dtype, found.shape) == (expected.dtype, shape)
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(jax.jit(lambda key: normal(key, shape))(key), jax.random.normal(key, shape))


def test_normal_draws_what_jax_draws_by_other_generators():
    key = jax.random.key(3, impl="rbg")
    np.testing.assert_array_equal(normal(key, (3, 2)), jax.random.normal(key, (3, 2)))
    with jax.threefry_partitionable(False):
        np.testing.assert_array_equal(normal(jax.random.key(3), (3, 2)), jax.random.normal(jax.random.key(3), (3, 2)))


def test_what_is_placed_has_values_of_its_own():
    values = np.ones(3)
    copy = placed(values)
    values[0] = 5.0
    np.testing.assert_array_equal(copy, [1.0, 1.0, 1.0])
    assert placed(2, np.int32).dtype == np.int32
    np.testing.assert_array_equal(full((2,), jnp.asarray(0.5)), [0.5, 0.5])


def test_starts_of_shapes_share_programs():
    few, more = (ut.parameterizations.DeepMatrix((11, 13), 3, width=width) for width in (3, 4))
    few.init(jax.random.key(0), 0.1)
    with jax.no_tracing(True):  # neither traced nor compiled again
        assert [factor.shape for factor in more.init(jax.random.key(0), 0.1)] == [(4, 13), (4, 4), (11, 4)]
