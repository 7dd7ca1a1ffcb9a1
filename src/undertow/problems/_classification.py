"""Linear classification by losses that reach zero at infinity only, where the points can be separated."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jaxtyping import Array, Float, Int

from .._arrays import placed
from .._validation import Numbers, as_numpy, check_array, check_choice, check_integer, is_traced
from ._base import Problem
from ._separation import SEPARATIONS, separate

LOSSES = ("exponential", "logistic")

DECIDED = 100_000
"""Numbers in the points up to which the constructor decides whether they can be separated: about a second of work."""


class Classification(Problem):
    r"""Linear classification: loss :math:`\sum_n \exp(-m_n)`, or :math:`\sum_n \log(1 + \exp(-m_n))`, of the margins m.

    Two classes, labels -1 and 1: :math:`m_n = y_n \langle x_n, w \rangle`, w of the shape of a point. More, labels
    0 to k - 1: a matrix w of one row a class, :math:`m_{nj} = (w_{y_n} - w_j) \cdot x_n` for every other class j; the
    exponential loss adds up :math:`\sum_j \exp(-m_{nj})`, and the logistic one is the cross-entropy
    :math:`\log(1 + \sum_j \exp(-m_{nj}))` of the softmax.

    Where the points can be separated, the loss falls to zero as w goes to infinity, and the direction is what the bias
    decides: for gradient flow on w that of ``undertow.theory.maximum_margin``.

    Parameters
    ----------
    X
        The points: n rows of d features. For two classes a point may have more axes, and w has them too: with shape
        (n, 1, d), w is a matrix of one row, as ``DeepMatrix`` writes it.
    y
        The n labels: -1 and 1, or the integers 0 to k - 1.
    loss
        "exponential" or "logistic".
    intercept
        Whether each class has an intercept, the last entry of (a row of) w. It is trained, and counted in norms, as the
        weight of a feature of constant 1 is; so the margin is another one than that of a free intercept, and than that
        without.
    classes
        The k where the labels are classes; left out, -1 and 1 mean two, and the largest label tells the others. For two
        classes, labelled 0 and 1 and with a matrix w of two rows, say 2.
    normalization
        "sum" (the default, as written above) or "mean" over the points.
    separation
        "complete" (some w has all margins positive), "quasi-complete" (none has, but one has some positive and none
        negative) or "overlap" (neither). Left out, a linear program decides, up to 100,000 numbers in the points (about
        a second); beyond, and while JAX traces the points, it stays None, and nothing is known to be attained.

    Raises
    ------
    TypeError, ValueError
        If shapes do not fit, a number is not finite, a point is zero (no w classifies it), a label is neither -1 nor 1
        nor a class, a class has no point, or an option is unknown.

    Notes
    -----
    The loss has a minimizer (``attained``) exactly where the points overlap; there only is a run "converged". It
    vanishes exactly where separation is complete; there is gradient flow followed in log time.

    References
    ----------
    Soudry, Hoffer, Nacson, Gunasekar, Srebro. The Implicit Bias of Gradient Descent on Separable Data. JMLR 19, 2018.
    Albert, Anderson. On the Existence of Maximum Likelihood Estimates in Logistic Regression Models. Biometrika 71,
    1984 (the three kinds of separation).

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> problem = Classification([[1.0, 2.0], [-3.0, 1.0]], [1, -1])
    >>> problem.separation, problem.attained
    ('complete', False)
    >>> problem.margins(jnp.array([1.0, 0.0])).tolist()
    [1.0, 3.0]
    >>> Classification(jnp.eye(3), [0, 1, 2]).shape
    (3, 3)
    """

    shape: tuple[int, ...] = eqx.field(static=True)
    X: Float[Array, "n ..."]
    y: Int[Array, " n"]
    loss_name: str = eqx.field(static=True)
    intercept: bool = eqx.field(static=True)
    classes: int | None = eqx.field(static=True)
    normalization: str = eqx.field(static=True)
    separation: str | None = eqx.field(static=True)
    points: int = eqx.field(static=True)
    counts: Float[Array, " n"] | None

    def __init__(
        self,
        X: Numbers,
        y: Numbers,
        loss: str = "exponential",
        intercept: bool = False,
        classes: int | None = None,
        normalization: str = "sum",
        separation: str | None = None,
    ):
        X = check_array("X", X)
        if X.ndim < 2 or X.size == 0:
            raise ValueError(f"X: expected at least one point of one feature, (n, d), found shape {X.shape}")
        self.loss_name = check_choice("loss", loss, LOSSES)
        if not isinstance(intercept, bool):
            raise TypeError(f"intercept: expected True or False, found {intercept!r}")
        if intercept and X.ndim > 2:
            raise ValueError(f"intercept: expected points that are vectors, found X of shape {X.shape}")
        if not intercept and not is_traced(X):
            _check_no_zeros(X)
        labels, self.classes = _labels(y, X.shape[0], classes)
        if self.classes is not None and X.ndim > 2:
            raise ValueError(f"X: expected points that are vectors where labels are classes, found shape {X.shape}")
        self.y, self.intercept = labels, intercept
        self.X = jnp.concatenate([X, jnp.ones_like(X[:, :1])], axis=1) if intercept else X
        self.shape = self.X.shape[1:] if self.classes is None else (self.classes, self.X.shape[1])
        self.normalization = check_choice("normalization", normalization, ("sum", "mean"))
        self.points, self.counts = X.shape[0], None
        self.separation = check_choice("separation", separation, SEPARATIONS) if separation else self._decided()

    @property
    def attained(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether the loss has a minimizer."""
        return self.separation == "overlap"

    @property
    def keeps_logarithms(self) -> bool:
        return self.separation in ("complete", None)  # elsewhere the loss does not vanish

    def _decided(self) -> str | None:
        if is_traced(self.X) or self.X.size * ((self.classes or 2) - 1) > DECIDED:
            return None
        decided = separate(self.rows())
        return None if decided is None else decided.kind

    def rows(self) -> Any:
        r"""The margins as a matrix, :math:`m = R \, \mathrm{vec}(w)`: a row for every point and other class, by points.

        A NumPy array, or a sparse one where labels are classes.
        """
        X, y = np.asarray(self.X, np.float64), np.asarray(self.y)
        if self.classes is None:
            return y[:, None] * X.reshape(self.points, -1)
        n, k, d = self.points, self.classes, X.shape[1]
        others = np.arange(k - 1) + (np.arange(k - 1) >= y[:, None])
        feature = np.arange(d)
        columns = np.stack([np.broadcast_to(y[:, None], others.shape), others], axis=-1)[..., None] * d + feature
        values = np.array([1.0, -1.0])[:, None] * X[:, None, None, :]
        rows = np.broadcast_to(np.arange(n * (k - 1)).reshape(n, k - 1, 1, 1), columns.shape)
        shape = (n * (k - 1), k * d)
        values = np.broadcast_to(values, columns.shape)
        return scipy.sparse.csr_array((values.ravel(), (rows.ravel(), columns.ravel())), shape=shape)

    def margins(self, w: Float[Array, "..."]) -> Float[Array, " n"]:
        """The margin of every point: against the nearest other class, where there are more than two."""
        return -jnp.max(self._excess(w), axis=1)

    def _excess(self, w: Float[Array, "..."]) -> Float[Array, "n others"]:
        """By how much every other class is above the true one: minus the margins, and -infinity for the class itself.

        As differences, so that the gradient at the true class is minus the sum of those at the others, to rounding. As
        one minus a probability it would be lost where that is near one.
        """
        if self.classes is None:
            products = self.X.reshape(self.y.size, -1) @ jnp.ravel(w)
            return -(self.y.astype(products.dtype) * products)[:, None]
        scores = self.X @ w.T
        excess = scores - jnp.take_along_axis(scores, self.y[:, None], axis=1)
        own = jnp.arange(self.classes, dtype=self.y.dtype)[None, :] == self.y[:, None]
        return jnp.where(own, -jnp.inf, excess)

    def loss(self, w: Float[Array, "..."]) -> Float[Array, ""]:
        excess = jax.nn.logsumexp(self._excess(w), axis=1)
        terms = jnp.exp(excess) if self.loss_name == "exponential" else jax.nn.softplus(excess)
        total = jnp.sum(terms if self.counts is None else self.counts.astype(terms.dtype) * terms)
        return total / self.points if self.normalization == "mean" else total

    def log_loss(self, w: Float[Array, "..."]) -> Float[Array, ""]:
        excess = jax.nn.logsumexp(self._excess(w), axis=1)
        terms = excess if self.loss_name == "exponential" else _log_softplus(excess)
        total = jax.nn.logsumexp(terms, b=None if self.counts is None else self.counts.astype(terms.dtype))
        return total - float(np.log(self.points)) if self.normalization == "mean" else total

    @property
    def terms(self) -> int:
        """The points."""
        return self.points

    def part(self, positions: Int[Array, " k"], counts: Float[Array, " k"]) -> "Classification":
        return eqx.tree_at(
            lambda p: (p.X, p.y, p.counts),
            self,
            (self.X[positions], self.y[positions], counts),
            is_leaf=lambda x: x is None,
        )


def _log_softplus(z: Float[Array, " n"]) -> Float[Array, " n"]:
    """log(log(1 + exp(z))), where exp(z) underflows too."""
    small = z < -15
    # Each branch is given numbers that are good for it: the gradient goes through both.
    tail = jnp.exp(jnp.where(small, z, -15))
    return jnp.where(small, z + jnp.log1p(-tail / 2), jnp.log(jax.nn.softplus(jnp.where(small, 0, z))))


def _check_no_zeros(X: Float[Array, "n ..."]) -> None:
    zero = np.flatnonzero(~np.asarray(X).reshape(X.shape[0], -1).any(axis=1))
    if zero.size:
        raise ValueError(
            f"X: expected points that are not zero, found row {zero[0]} (of {zero.size} such): every w gives it "
            "margin 0; leave it out, or take an intercept"
        )


def _labels(y: Any, points: int, classes: Any) -> tuple[Int[Array, " n"], int | None]:
    """The labels as integers, and how many classes they are of, or None for -1 and 1."""
    if is_traced(y):
        raise TypeError("y: expected known labels, found an array that JAX is tracing")
    labels = as_numpy("y", y)
    if labels.ndim != 1 or labels.size != points:
        raise ValueError(f"y: expected one label for each of the {points} points, found shape {labels.shape}")
    if labels.dtype.kind == "f":
        wrong = np.flatnonzero(~np.isfinite(labels) | (labels != np.round(labels)))
    else:
        wrong = np.flatnonzero(np.full(points, labels.dtype.kind not in "iub"))
    if wrong.size:
        raise ValueError(
            f"y: expected labels -1 and 1, or classes 0, 1, 2, ..., found {labels.dtype} such as "
            f"{labels.tolist()[wrong[0]]!r}; "
            "numpy.unique(y, return_inverse=True)[1] numbers them"
        )
    labels = labels.astype(np.int64)
    found = np.unique(labels)
    if classes is None and set(found.tolist()) <= {-1, 1}:
        if found.size == 1:
            raise ValueError(f"y: expected both labels, -1 and 1, found {found[0]} alone")
        return placed(labels, np.int32), None
    if classes is None and found.tolist() == [0, 1]:
        raise ValueError(
            "y: expected labels -1 and 1, or more than two classes, found 0 and 1; give 2 * y - 1 for one vector w, or "
            "classes=2 for a row of w for each of the two"
        )
    if found[0] < 0:
        raise ValueError(f"y: expected labels -1 and 1, or classes 0, 1, 2, ..., found {found[:5].tolist()}")
    k = int(found[-1]) + 1 if classes is None else check_integer("classes", classes, 2)
    if found[-1] >= k:
        raise ValueError(f"y: expected classes from 0 to {k - 1}, found {found[-1]}")
    if found.size == 1:
        raise ValueError(f"y: expected points of two classes at least, found class {found[0]} alone")
    # Not by a list of all classes: labels may be names that are numbers, as years or large identifiers.
    missing = np.flatnonzero(found != np.arange(found.size)) if classes is None else []
    if len(missing):
        raise ValueError(
            f"y: expected a point of every class from 0 to {k - 1}, found none of class {missing[0]}; number them "
            "without gaps, or say how many there are: classes=..."
        )
    return placed(labels, np.int32), k
