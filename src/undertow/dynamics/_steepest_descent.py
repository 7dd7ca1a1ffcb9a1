"""Steepest descent in a norm, by steps of given length."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from .._validation import check_choice, check_number, is_traced
from ..linalg._polar import POLAR_METHODS
from ..objective import Objective
from ..parameterizations._base import Params
from ._descent import Descent, check_batches
from ._steepest import NORMS, OF_MATRICES, steepest


class SteepestDescent(Descent):
    r"""Normalized steepest descent :math:`u \leftarrow u - \eta_k \Delta_k` in a norm.

    :math:`\Delta` has the largest inner product with the gradient among all of norm 1. On separable data
    (``problems.Classification``), with step sizes that fall to zero and add up to infinity, such as
    :math:`1 / \sqrt{k + 1}`, the direction of w goes to the maximum margin in that norm.

    ============ ============================================ ======================================================
    norm         Delta, for a gradient g                      known as
    ============ ============================================ ======================================================
    "l1"         the sign of the largest entry, there         (greedy) coordinate descent
    "l2"         g over its Euclidean norm                    normalized gradient descent
    "linf"       sign(g)                                      sign descent
    "spectral"   :math:`U V^T` of :math:`g = U S V^T`         Muon, without momentum
    "nuclear"    :math:`u_1 v_1^T`, the top singular pair     rank-one descent
    ============ ============================================ ======================================================

    Parameters
    ----------
    norm
        One of the table. Of parameters that are several arrays, "l1", "l2" and "linf" are the norms of all entries
        together; "spectral" is the largest of the arrays' spectral norms, so that each moves by its polar factor, and
        "nuclear" the sum of their nuclear norms, so that only one moves, that with the largest singular value. The last
        two are for matrices: a vector is not taken for a matrix of one row or column.
    step_size
        :math:`\eta`, the length of a step in the norm: a positive number, or an optax schedule (a function of the
        number of steps before). Runs of a sweep over numbers share one compiled program.
    momentum
        :math:`\beta` in [0, 1): the step is by :math:`m \leftarrow \beta m + (1 - \beta) g`, from m = 0.
    orthogonalization
        How "spectral" finds the polar factor, a method of ``undertow.linalg.polar_factor``: "svd"; by matrix products
        alone "polar_express", as exact where singular values are no smaller than 4e-5 of the norm, or "newton_schulz"
        as Muon does, to within a third; a step is then as much longer or shorter.
    batch_size, replacement
        Mini-batches, as for ``GradientDescent``.

    Raises
    ------
    TypeError, ValueError
        If an option is unknown, a number out of its bounds, or ``orthogonalization`` given for another norm; at the
        start of a run, if a norm of matrices meets parameters that are none, and as for ``GradientDescent``.

    Notes
    -----
    Ties: a gradient of zero gives no step, for "linf" entry by entry; "l1" and "nuclear" take the first of the largest,
    and "spectral" leaves singular values alone that are zero to rounding.

    Where a problem keeps the logarithm of its loss, and there is no penalty, the gradient is that of the logarithm. It
    has the same Delta and does not underflow: losses are followed as far as steps go, and "log_loss" is watched beside
    "loss". (So the average of ``momentum`` is one of relative gradients, which are of order one, as the gradients are
    not.) There, a loss that grows is not "diverged": steps are of given length, and it may be beyond all numbers for a
    while. Elsewhere statuses are as for ``GradientDescent``.

    Time is step_size * steps; with a schedule the number of steps.

    References
    ----------
    Gunasekar, Lee, Soudry, Srebro. Characterizing Implicit Bias in Terms of Optimization Geometry. ICML 2018,
    Theorem 5.
    Nacson, Lee, Gunasekar, Savarese, Srebro, Soudry. Convergence of Gradient Descent on Separable Data. AISTATS 2019
    (normalized, with step sizes of 1 / sqrt(k)).
    Jordan, Jin, Boza, You, Cesista, Newhouse, Bernstein. Muon: an optimizer for hidden layers in neural networks. 2024.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> import undertow as ut
    >>> problem = ut.problems.Classification([[2.0, 1.0], [-2.0, -1.0]], [1, -1])
    >>> run = ut.train(
    ...     problem,
    ...     ut.parameterizations.Identity(2),
    ...     SteepestDescent("linf", 0.5),
    ...     params=jnp.zeros(2),
    ...     stop=ut.Stop(log_loss=-1500.0),
    ... )
    >>> run.status, run.w.tolist(), float(run["loss"][-1])
    ('stopped', [500.5, 500.5], 0.0)
    """

    norm: str = eqx.field(static=True)
    step_size: Any
    momentum: Any
    orthogonalization: str = eqx.field(static=True)
    batch_size: int | None = eqx.field(static=True)
    replacement: bool = eqx.field(static=True)

    def __init__(
        self,
        norm: str,
        step_size: Any,
        momentum: Any = 0.0,
        orthogonalization: str = "svd",
        batch_size: Any = None,
        replacement: bool = False,
    ):
        self.norm = check_choice("norm", norm, NORMS)
        if not callable(step_size):
            check_number("step_size", step_size, 0, exclusive=True)
            step_size = jnp.asarray(step_size, dtype=jnp.result_type(float))
        self.step_size = step_size
        check_number("momentum", momentum, 0, maximum=1)
        if not is_traced(momentum) and momentum == 1:
            raise ValueError("momentum: expected a number below 1, with which no gradient would count, found 1")
        self.momentum = jnp.asarray(momentum, dtype=jnp.result_type(float))
        self.orthogonalization = check_choice("orthogonalization", orthogonalization, POLAR_METHODS)
        if norm != "spectral" and orthogonalization != "svd":
            raise ValueError(
                f"orthogonalization: expected 'svd' but for 'spectral', found {orthogonalization!r} for {norm!r}"
            )
        self.batch_size, self.replacement = check_batches(batch_size, replacement)

    def check(self, objective: Objective, params: Params) -> None:
        self.check_terms(objective)
        if self.norm in OF_MATRICES:
            for leaf in jax.tree.leaves(params):
                if leaf.ndim != 2:
                    raise ValueError(
                        f"norm: expected parameters that are matrices for {self.norm!r}, found one of shape "
                        f"{leaf.shape}; for two classes, points of shape (n, 1, d) make w a matrix of one row"
                    )

    def keeps_log_loss(self, objective: Objective) -> bool:
        return objective.logarithm is not None

    @property
    def learning_rate(self) -> Any:
        return self.step_size

    def direction(self, gradient: Params) -> Params:
        """Delta: of norm 1, with the largest inner product with the gradient; zero for a gradient of zero.

        Examples
        --------
        >>> import jax.numpy as jnp
        >>> SteepestDescent("l1", 0.1).direction(jnp.array([1.0, -3.0, 2.0])).tolist()
        [0.0, -1.0, 0.0]
        """
        return steepest(self.norm, gradient, self.orthogonalization)

    @property
    def transformation(self) -> optax.GradientTransformationExtraArgs:
        def chain(params: Params) -> optax.GradientTransformation:
            # The average stays in the precision of the parameters, whatever that of the number beta.
            decay = self.momentum.astype(jnp.result_type(*jax.tree.leaves(params)))
            return optax.chain(
                optax.ema(decay, debias=False),
                optax.stateless(lambda updates, _: self.direction(updates)),
                optax.scale_by_learning_rate(self.step_size),
            )

        def update(updates: Params, state: Any, params: Any = None, **extra: Any) -> tuple[Params, Any]:
            del extra
            return chain(updates).update(updates, state, params)

        return optax.GradientTransformationExtraArgs(lambda params: chain(params).init(params), update)
