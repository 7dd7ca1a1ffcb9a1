"""The optax optimizers by name, and those of the papers that optax lacks."""

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float
from optax import contrib

from ._public import public_names as _public_names
from ._repr import called
from ._validation import check_number, is_hashable, is_traced, nearest, traced_result
from .linalg._unit import of_unit_length

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


def _normalized(learning_rate: Any) -> optax.GradientTransformation:
    """The gradient over its Euclidean norm over all parameters; optax's stalls at gradients of 1e-6 and below."""

    def unit(updates: Any, params: Any) -> Any:
        del params
        flat, unravel = ravel_pytree(updates)
        return unravel(of_unit_length(flat))

    return optax.chain(optax.stateless(unit), optax.scale_by_learning_rate(learning_rate))


def _with(factory: Callable[..., Any], hidden: tuple[str, ...] = (), **defaults: Any) -> Callable[..., Any]:
    """The factory with other defaults, and without the options that would make something else of it."""
    made = functools.partial(factory, **defaults)
    signature = inspect.signature(made)
    # signature() looks here first, of whatever can be called.
    kept = [p for name, p in signature.parameters.items() if name not in hidden]
    made.__signature__ = signature.replace(parameters=kept)  # pyright: ignore[reportAttributeAccessIssue]
    return made


_OURS: dict[str, Callable[..., optax.GradientTransformation]] = {
    "gd": _with(optax.sgd, ("momentum", "nesterov", "accumulator_dtype")),
    "group_rmsprop": group_rmsprop,
    "momentum": _with(optax.sgd, ("nesterov",), momentum=0.9),
    "muon": contrib.muon,
    "nadam": _with(optax.adam, ("nesterov",), nesterov=True),
    "nesterov": _with(optax.sgd, ("nesterov",), momentum=0.9, nesterov=True),
    "normalized": _normalized,
    "sign": optax.sign_sgd,
}
"""What optax lacks, or has by another name or in another place."""


def _factory(name: str) -> Callable[..., optax.GradientTransformation]:
    return _OURS.get(name) or getattr(optax, name)


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
        return optax.with_extra_args_support(_factory(self.name)(self.learning_rate, **dict(self.options)))

    def init(self, params: Any) -> Any:
        """The optimizer's state for ``params``."""
        return self._transformation().init(params)

    def update(self, updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        """What to add to ``params``, given the gradient as ``updates``, and the next state."""
        with jax.numpy_dtype_promotion("standard"):  # optax counts in integers and mixes them with numbers
            changes, following = self._transformation().update(updates, state, params, **extra)
        # Whatever the precision of the learning rate and of optax's constants: that of the parameters stays.
        return optax.tree.cast_like(changes, updates), optax.tree.cast_like(following, state)

    def __iter__(self) -> Iterator[Callable[..., Any]]:
        return iter((self.init, self.update))


def make(name: str, learning_rate: Any, **options: Any) -> Optimizer:
    r"""An optimizer by its name.

    Parameters
    ----------
    name
        Any optax optimizer whose first argument is the learning rate ("sgd", "adam", "amsgrad", "adamw", "radam",
        "adagrad", "adadelta", "adamax", "rmsprop", "lbfgs", ...), or one of the table.
    learning_rate
        A positive number, or an optax schedule (a function of the number of updates).
    **options
        The optimizer's own, as in optax: ``momentum=0.9``, ``nesterov=True``, ...

    Returns
    -------
    Optimizer
        With ``init`` and ``update``, as optax's. Updates and state keep the dtypes of gradients and parameters.

    Raises
    ------
    TypeError, ValueError
        If the name is unknown (with the nearest known ones), the learning rate is not a positive number or a function,
        or an option is not one of the optimizer's.

    Notes
    -----
    =============== ==================================================================================================
    name            what it is
    =============== ==================================================================================================
    "gd"            gradient descent, ``optax.sgd`` without options
    "momentum"      heavy ball, ``optax.sgd`` with ``momentum=0.9``: :math:`m \leftarrow \beta m + g`
    "nesterov"      the same, moved by :math:`g + \beta m`
    "nadam"         ``optax.adam`` with ``nesterov=True``
    "sign"          sign descent, ``optax.sign_sgd``: every entry moves by the learning rate
    "normalized"    the gradient over its Euclidean norm over all parameters; a gradient of zero gives no step
    "group_rmsprop" ``group_rmsprop``
    "muon"          ``optax.contrib.muon``: of every matrix the average of gradients (``beta=0.95``, with Nesterov's
                    look ahead), its singular values made near one by five Newton-Schulz steps, times
                    :math:`\sqrt{\max(1, n / m)}` for m x n; vectors and arrays of more axes move by Adam, with
                    Nesterov's look ahead, at the same rate
    =============== ==================================================================================================

    "amsgrad" is optax's: the largest second moment is that after bias correction. "adagrad" starts its sum of squares
    at 0.1. ``dynamics.SteepestDescent`` has sign, normalized and spectral descent too, exact, with momentum before the
    norm, and follows losses beyond underflow.

    "lbfgs" searches every step: along the quasi-Newton direction :math:`d` it finds a multiple :math:`s` of
    :math:`\eta d` that meets the strong Wolfe conditions, trying s = 1 first. The learning rate is where the search
    begins: take 1, Newton's own step. From smaller ones it ends at the first step long enough for the conditions, which
    is slow; from larger ones it goes back, at more evaluations. With ``linesearch=None`` the step is
    :math:`\eta d` as it stands.

    References
    ----------
    Jordan, Jin, Boza, You, Cesista, Newhouse, Bernstein. Muon: an optimizer for hidden layers in neural networks. 2024.
    Nocedal, Wright. Numerical Optimization. 2006, algorithms 7.4 and 3.5 (L-BFGS, the line search).

    Examples
    --------
    >>> make("sgd", 0.1, momentum=0.9).name
    'sgd'
    >>> gradient = jnp.array([3.0, -4.0])
    >>> normalized = make("normalized", 0.1)
    >>> updates, _ = normalized.update(gradient, normalized.init(gradient), gradient)
    >>> [round(float(x), 4) for x in updates]
    [-0.06, 0.08]
    """
    known = _names()
    if name not in known:
        raise ValueError(f"name: unknown optimizer {name!r}{nearest(name, known)}; expected one of {', '.join(known)}")
    if not callable(learning_rate):
        check_number("learning_rate", learning_rate, 0, exclusive=True)
        learning_rate = jnp.asarray(learning_rate, dtype=jnp.result_type(float))
    else:
        _check_schedule(learning_rate)
    factory = _factory(name)
    accepted = [p for p in inspect.signature(factory).parameters if p != "learning_rate"]
    for option, value in options.items():
        if option not in accepted:
            hint = nearest(option, accepted)
            raise TypeError(f"{option}: {name} has no such option{hint}; it has {', '.join(accepted)}")
        if not is_hashable(value):
            raise TypeError(f"{option}: expected a hashable value, found {value!r}")
    try:
        inspect.signature(factory).bind(learning_rate, **options)
    except TypeError as error:
        raise TypeError(f"options: {name} needs more of them ({error})") from None
    return Optimizer(name, learning_rate, tuple(sorted(options.items())))


def _check_schedule(rate: Any) -> None:
    first = jnp.zeros((), jnp.int32)
    with jax.numpy_dtype_promotion("standard"):  # optax counts in integers and mixes them with numbers
        try:
            found = traced_result("learning_rate", lambda step: jnp.asarray(rate(step), float), first)
        except ValueError as error:
            raise ValueError(f"learning_rate: expected a function that returns one number; {error}") from None
        if found.shape:
            raise ValueError(f"learning_rate: expected a function that returns one number, found shape {found.shape}")
        start = rate(first)
    if not is_traced(start) and not float(start) >= 0:  # also what is not a number
        raise ValueError(
            f"learning_rate: expected a function that is at least 0 at step 0, found {float(start):g} there"
        )
