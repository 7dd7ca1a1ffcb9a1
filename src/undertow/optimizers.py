"""The optax optimizers by name, and those of the papers that optax lacks."""

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from ._public import public_names as _public_names
from ._repr import called
from ._validation import check_number, nearest

__all__ = ["Optimizer", "group_rmsprop", "make", "names"]
__dir__ = _public_names(__name__)


class GroupRMSPropState(NamedTuple):
    """The running mean square of the gradient over all parameters, and the number of updates."""

    mean_square: Float[Array, ""]
    count: Any


def group_rmsprop(learning_rate: Any, decay: float = 0.99, eps: float = 1e-6) -> optax.GradientTransformation:
    r"""RMSprop with one scalar for all parameters: gradient descent whose step length hardly depends on the gradient's.

    .. math:: v \leftarrow \beta v + (1 - \beta) |g|^2, \qquad
              u \leftarrow u - \frac{\eta}{\sqrt{v / (1 - \beta^t)} + \epsilon}\, g

    with :math:`|g|` the Euclidean norm over all parameters together. The direction is the gradient's, so the path is
    close to the gradient flow's, run by another clock.

    Parameters
    ----------
    learning_rate
        :math:`\eta`: nearly the Euclidean length of a step.
    decay
        :math:`\beta`.
    eps
        :math:`\epsilon`.

    References
    ----------
    Razin, Cohen. Implicit Regularization in Deep Learning May Not Be Explainable by Norms. NeurIPS 2020 (experiments).

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> optimizer = group_rmsprop(0.1)
    >>> updates, _ = optimizer.update(jnp.array([3.0, 4.0]), optimizer.init(jnp.zeros(2)))
    >>> [round(float(x), 4) for x in updates]
    [-0.06, -0.08]
    """

    def init(params: Any) -> GroupRMSPropState:
        dtype = jnp.result_type(*jax.tree.leaves(params))
        return GroupRMSPropState(jnp.zeros((), dtype), jnp.zeros((), jnp.int32))

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, GroupRMSPropState]:
        count = state.count + 1
        square = sum(jnp.sum(g**2) for g in jax.tree.leaves(updates))
        mean_square = decay * state.mean_square + (1 - decay) * square
        length = jnp.sqrt(mean_square / (1 - decay ** count.astype(mean_square.dtype)))
        step = learning_rate / (length + eps)
        return jax.tree.map(lambda g: -step * g, updates), GroupRMSPropState(mean_square, count)

    return optax.GradientTransformation(init, update)


_OURS: dict[str, Callable[..., optax.GradientTransformation]] = {"group_rmsprop": group_rmsprop}


def names() -> list[str]:
    """The names that ``make`` knows.

    Examples
    --------
    >>> "adam" in names() and "group_rmsprop" in names()
    True
    """
    return list(_names())


@functools.cache
def _names() -> tuple[str, ...]:
    found = [name for name in dir(optax) if not name.startswith("_") and _takes_learning_rate(getattr(optax, name))]
    return tuple(sorted([*found, *_OURS]))


def _takes_learning_rate(function: Any) -> bool:
    if not inspect.isfunction(function):
        return False
    return next(iter(inspect.signature(function).parameters), None) == "learning_rate"


class Optimizer(eqx.Module):
    """An optimizer as a PyTree: the learning rate is a leaf, so runs that differ in it share one compiled program.

    Stands wherever optax takes a ``GradientTransformation``: it has ``init`` and ``update``, and unpacks into the two.
    """

    name: str = eqx.field(static=True)
    learning_rate: Any
    options: tuple[tuple[str, Any], ...] = eqx.field(static=True)

    def __repr__(self) -> str:
        return called("Optimizer", {"name": self.name, "learning_rate": self.learning_rate, **dict(self.options)})

    def _transformation(self) -> optax.GradientTransformationExtraArgs:
        factory = _OURS.get(self.name) or getattr(optax, self.name)
        return optax.with_extra_args_support(factory(self.learning_rate, **dict(self.options)))

    def init(self, params: Any) -> Any:
        """The optimizer's state for ``params``."""
        return self._transformation().init(params)

    def update(self, updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        """What to add to ``params``, given the gradient as ``updates``, and the next state."""
        return self._transformation().update(updates, state, params, **extra)

    def __iter__(self) -> Iterator[Callable[..., Any]]:
        return iter((self.init, self.update))


def _hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def make(name: str, learning_rate: Any, **options: Any) -> Optimizer:
    """An optimizer by its name.

    Parameters
    ----------
    name
        Any optax optimizer whose first argument is the learning rate ("sgd", "adam", "rmsprop", ...), or one of the
        papers' ("group_rmsprop").
    learning_rate
        A positive number, or an optax schedule (a function of the number of updates).
    **options
        The optimizer's own, as in optax: ``momentum=0.9``, ``nesterov=True``, ...

    Returns
    -------
    Optimizer
        With ``init`` and ``update``, as optax's.

    Raises
    ------
    TypeError, ValueError
        If the name is unknown (with the nearest known ones), the learning rate is not a positive number or a function,
        or an option is not one of the optimizer's.

    Examples
    --------
    >>> make("sgd", 0.1, momentum=0.9).name
    'sgd'
    """
    known = _names()
    if name not in known:
        raise ValueError(f"name: unknown optimizer {name!r}{nearest(name, known)}; expected one of {', '.join(known)}")
    if not callable(learning_rate):
        check_number("learning_rate", learning_rate, 0, exclusive=True)
        learning_rate = jnp.asarray(learning_rate, dtype=jnp.result_type(float))
    factory = _OURS.get(name) or getattr(optax, name)
    accepted = [p for p in inspect.signature(factory).parameters if p != "learning_rate"]
    for option, value in options.items():
        if option not in accepted:
            hint = nearest(option, accepted)
            raise TypeError(f"{option}: {name} has no such option{hint}; it has {', '.join(accepted)}")
        if not _hashable(value):
            raise TypeError(f"{option}: expected a hashable value, found {value!r}")
    try:
        inspect.signature(factory).bind(learning_rate, **options)
    except TypeError as error:
        raise TypeError(f"options: {name} needs more of them ({error})") from None
    return Optimizer(name, learning_rate, tuple(sorted(options.items())))
