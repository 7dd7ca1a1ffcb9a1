"""What kind of map a parameterization is: entrywise, with commuting fields, or neither."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._programs import filter_jit
from ._curves import VectorMap, along, pulled_back
from ._errors import NotAMirrorFlow

POINTS = 3
"""Random points, and random curves, on which the structure is looked at. One generic point would do."""
COMMUTING = 1e-8
"""A commutator below this share of its two terms is rounding."""


def is_entrywise(phi: VectorMap, p: Float[Array, " k"], size: int) -> bool:
    """Whether every parameter moves one entry of w at most, near p.

    Read off :math:`J^T r` for three vectors r: where parameter k moves entry i alone, all three are multiples of
    :math:`J_{ik}`, in the ratio of the :math:`r_i`, which tells i; nothing of the size of J is formed.
    """
    rng = np.random.default_rng(0)
    # Ratios that are distinct by far more than rounding, and known by their order.
    ratios = 1 + np.arange(size) / size
    first, third = (rng.uniform(1, 2, size) * rng.choice([-1, 1], size) for _ in range(2))
    weights = np.stack([first, first * ratios, third])
    for point in nearby(rng, lambda p: _all_pulled_back(phi, p, weights), np.asarray(p)):
        one, two, three = np.asarray(_all_pulled_back(phi, point, weights))
        moving = one != 0
        if np.any(two[~moving] != 0) or np.any(three[~moving] != 0):
            return False
        one, two, three = one[moving], two[moving], three[moving]
        owner = np.clip(np.rint((two / one - 1) * size), 0, size - 1).astype(int)
        for found, r in ((two, weights[1]), (three, third)):
            expected = one * (r / first)[owner]
            if np.any(np.abs(found - expected) > 1e-10 * np.abs(expected)):
                return False
    return True


@filter_jit
def _all_pulled_back(phi: VectorMap, p: Any, weights: Any) -> Array:
    return jax.vmap(lambda r: pulled_back(phi, jnp.asarray(p), r))(jnp.asarray(weights))


def nearby(rng: np.random.Generator, f: Callable[[Any], Any], p: Float[np.ndarray, " k"]) -> Iterator[np.ndarray]:
    """Points near p at which f is finite: signs are kept, and zeros moved at the scale of the others."""
    scale = np.sqrt(np.mean(p**2)) or 1.0
    for _ in range(POINTS):
        step = 0.3 * rng.uniform(-1, 1, p.size) * np.where(p == 0, scale, np.abs(p))
        for _ in range(30):
            if np.all(np.isfinite(f(p + step))):
                yield p + step
                break
            step = step / 4


def check_fields_commute(phi: VectorMap, p: Float[Array, " k"], shape: tuple[int, ...]) -> None:
    """Raise NotAMirrorFlow with two gradients of entries of w that do not commute, if such are found.

    Looked at in p, and at points where the flow may take it. The commutator of two random mixtures of the fields
    vanishes, as a rule, only if all do; the pair is looked for where it does not.
    """
    size = int(np.prod(shape))
    rng = np.random.default_rng(0)
    a, b = (jnp.asarray(rng.normal(size=size)) for _ in range(2))
    for point in _reached(rng, phi, p, size):
        if not float(_commutator(phi, point, a, b)[0]) > COMMUTING:
            continue
        eye = jnp.eye(size)
        _, norms = _commutators(phi, point, b, eye)
        one = int(np.argmax(norms))
        shares, norms = _commutators(phi, point, eye[one], eye)
        two = int(np.argmax(norms))
        i, j = (tuple(int(k) for k in np.unravel_index(entry, shape)) for entry in sorted((one, two)))
        raise NotAMirrorFlow(
            f"parameterization: the gradients of entries {i} and {j} of {type(phi.parameterization).__name__} do not "
            f"commute: the norm of their commutator is {float(shares[two]):.3g} of that of its terms, at params = "
            f"{np.array2string(np.asarray(point), precision=4, threshold=12)}; no potential is implied",
            jax.tree.map(np.asarray, phi.tree(point)),
            (i, j),
            float(shares[two]),
        )


@filter_jit
def _commutator(
    phi: VectorMap, p: Float[Array, " k"], a: Float[Array, " d"], b: Float[Array, " d"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The Lie bracket of the fields ``J^T a`` and ``J^T b``: its share of its two terms, and its norm."""

    def change(c: Float[Array, " d"], step: Float[Array, " k"]) -> Float[Array, " k"]:
        return jax.jvp(lambda p: pulled_back(phi, p, c), (p,), (step,))[1]

    forth, back = change(b, pulled_back(phi, p, a)), change(a, pulled_back(phi, p, b))
    norm = jnp.linalg.norm(forth - back)
    terms = jnp.linalg.norm(forth) + jnp.linalg.norm(back)
    return norm / jnp.where(terms > 0, terms, 1), norm


@filter_jit
def _commutators(
    phi: VectorMap, p: Float[Array, " k"], a: Float[Array, " d"], many: Float[Array, "n d"]
) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    return jax.lax.map(lambda b: _commutator(phi, p, a, b), many)


def _reached(
    rng: np.random.Generator, phi: VectorMap, p: Float[Array, " k"], size: int
) -> Iterator[Float[Array, " k"]]:
    """The point p, and some at which random curves from it arrive."""
    yield p
    for _ in range(POINTS):
        z = jnp.asarray(rng.normal(size=size))
        # As far as moves the parameters by their own size.
        speed = float(jnp.linalg.norm(pulled_back(phi, p, z)))
        length = (float(jnp.linalg.norm(p)) or 1.0) / speed if speed > 0 else 1.0
        for _ in range(30):
            point = along(phi, p, length * z, False)
            if bool(jnp.all(jnp.isfinite(point))):
                yield point
                break
            length = length / 4
