"""Gradient descent, and every first-order optimizer that optax has."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from ..objective import Objective
from ..optimizers import Optimizer
from ..parameterizations._base import Params
from ._descent import Descent, check_batches
from ._noise import Noise
from ._numbers import as_number, as_rate, rate_at


class GradientDescent(Descent):
    r"""Discrete descent with an optax optimizer.

    With ``optax.sgd``, :math:`u \leftarrow u - \eta \nabla_u \ell(\phi(u))`. The updates run in compiled chunks;
    where the chunks are cut does not change a bit of the result.

    Parameters
    ----------
    optimizer
        An ``optax.GradientTransformation``, or one made by ``undertow.optimizers.make``, which lets a sweep over
        learning rates share one compiled program. Line searches (``lbfgs``) work too, but not with
        mini-batches: they compare losses at several points, which have to be losses of the same terms.
    batch_size
        How many terms of the problem (entries, rows, measurements) each step looks at; left out: all. What is drawn
        follows from the key of the run. The average over the batches of an epoch is the whole gradient, however the
        problem is normalized; where an epoch is no whole number of batches, its last one is smaller.
    replacement
        False: each epoch takes every term once, in a new order. True: each step draws anew.
    label_noise
        Standard deviation of normal noise in the labels (right-hand sides, observed values), drawn anew for each label
        that a step looks at; at least 0. The loss that is recorded, and its limits, are of labels without noise. Where
        the fit is exact, descent moves on, slowly, to flatter fits (``LabelNoiseFlow``).
    gradient_noise
        Standard deviation of normal noise in each entry of the gradient of each step, at least 0. With ``sgd`` of rate
        :math:`\eta` a noise of :math:`\sqrt{2 T / \eta}` is Langevin dynamics of temperature T, at rest with a density
        that goes as :math:`e^{-\ell / T}` as :math:`\eta \to 0`.
    decay
        Rate of weight decay :math:`\lambda`, a number of at least 0 or a function of the number of steps before,
        at least 0 at the first (where it falls below 0 later the parameters grow by it): each step adds
        :math:`-\eta \lambda u` to what the optimizer does, with its learning rate :math:`\eta` (1 where it carries
        none). That is decay by itself, as in AdamW; as part of the loss it is the penalty ``OnParameters(L2(rate))``.

    What is drawn follows from the key of the run and the number of the step. Runs of a sweep over noise or
    decay share one compiled program.

    Raises
    ------
    TypeError, ValueError
        If ``optimizer`` has no ``init`` and ``update``, ``batch_size`` is not a positive integer, or noise or decay is
        not a number of at least 0; at the start of a run, if the problem is no sum over terms or has fewer than
        ``batch_size``, or does not say what its labels are, the run has no key, or a line search is given batches or
        noise.

    Notes
    -----
    With mini-batches too, the loss that is recorded and that ``Stop`` looks at is that of the whole problem; ``Stop``
    looks at it, and at the gradient of the whole, once an epoch. ``gradient_evaluations`` counts steps, whatever
    their batches, and however many points a line search tries. With noise in the labels alone, an epoch is a step.

    Time is learning_rate * steps where the optimizer carries a number ``learning_rate``, else the number of steps.
    "stalled": 1000 updates in a row were shorter than the rounding of the parameters (but for a decay or
    a rate that is a function and may begin later, where ``Stop`` limits steps or time). "diverged": the loss or its
    gradient is not finite, or the total has grown 10^12-fold; the parameters are the last ones before that.

    Examples
    --------
    >>> import undertow as ut
    >>> ut.dynamics.GradientDescent(ut.optimizers.make("sgd", 0.1, momentum=0.9)).samples_by
    'steps'
    """

    optimizer: Any
    batch_size: int | None = eqx.field(static=True)
    replacement: bool = eqx.field(static=True)
    label_noise: Float[Array, "..."] | None
    gradient_noise: Float[Array, "..."] | None
    decay: Any

    def __init__(
        self,
        optimizer: Any,
        batch_size: Any = None,
        replacement: bool = False,
        label_noise: Any = None,
        gradient_noise: Any = None,
        decay: Any = None,
    ):
        if not all(callable(getattr(optimizer, name, None)) for name in ("init", "update")):
            raise TypeError(
                "optimizer: expected an optax.GradientTransformation or undertow.optimizers.make(...), "
                f"found {optimizer!r}"
            )
        self.optimizer = optimizer
        self.batch_size, self.replacement = check_batches(batch_size, replacement)
        self.label_noise = None if label_noise is None else as_number("label_noise", label_noise)
        self.gradient_noise = None if gradient_noise is None else as_number("gradient_noise", gradient_noise)
        self.decay = as_rate("decay", decay, 0)

    @property
    def may_begin_late(self) -> bool:
        return callable(self.decay) or callable(self.learning_rate)

    def decay_at(self, step: Array) -> Float[Array, ""] | None:
        rate, eta = rate_at(self.decay, step), self.learning_rate
        return None if rate is None else rate * jnp.asarray(eta(step) if callable(eta) else eta)

    @property
    def noise(self) -> Noise:
        return Noise(self.label_noise, self.gradient_noise)

    def check(self, objective: Objective, params: Params) -> None:
        self.check_terms(objective)
        noisy = self._drawn_by_step(objective) or self.noise.draws
        if not noisy or not self._searches(objective, params):
            return
        if self.noise.draws:
            raise ValueError(
                "optimizer: expected one without a line search, which compares losses of the same labels along the "
                "gradient, where labels or gradients are noisy"
            )
        if self.batch_size is None:
            raise ValueError(
                "optimizer: expected one without a line search, which compares losses with the same noise, for "
                f"{type(objective.parameterization).__name__}"
            )
        raise ValueError(
            "batch_size: expected None for an optimizer with a line search, which compares losses of the same terms, "
            f"found {self.batch_size}"
        )

    def _searches(self, objective: Objective, params: Params) -> bool:
        """Whether the optimizer asks for losses at other parameters; found by tracing one update."""
        asked = []

        def value_fn(params: Params) -> Any:
            asked.append(True)
            return objective(params)[0]

        def update(params: Params) -> Any:
            state = self.transformation.init(params)
            value = objective(params)[0]
            return self.transformation.update(params, state, params, value=value, grad=params, value_fn=value_fn)

        with jax.numpy_dtype_promotion("standard"):
            jax.eval_shape(update, params)
        return bool(asked)

    @property
    def transformation(self) -> optax.GradientTransformationExtraArgs:
        """The optimizer, told to take the loss and the gradient that a line search asks for."""
        if isinstance(self.optimizer, Optimizer):
            return optax.GradientTransformationExtraArgs(self.optimizer.init, self.optimizer.update)
        return optax.with_extra_args_support(self.optimizer)

    @property
    def learning_rate(self) -> Any:
        return getattr(self.optimizer, "learning_rate", 1.0)
