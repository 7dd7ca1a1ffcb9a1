"""Whether the points of a classification can be separated, with the proof of the answer."""

from typing import Any

import numpy as np
import scipy.sparse
from jaxtyping import Float
from scipy.optimize import linprog

from .._validation import is_traced
from ..problems import Classification, Problem
from ..problems._separation import CERTAIN, Separation, separate
from ._errors import NotSeparable, Unsolved

NAMED = 6
"""Most points that a message names."""


def separation(problem: Problem) -> Separation:
    r"""How far linear predictors can classify the points, :math:`m(w) > 0` for all margins, with the proof.

    One linear program decides between three kinds. "complete": some w has all margins positive; losses that reach zero
    at infinity only are not attained, and flows end in a direction. "quasi-complete": none has, but one has some
    margins positive and none negative. "overlap": every w that has a positive margin has a negative one; the loss is
    attained. All of it holds whatever the norm, with an intercept that is counted in norms as with a free one.

    Parameters
    ----------
    problem
        A ``Classification``.

    Returns
    -------
    A named tuple ``Separation``:

    kind
        "complete", "quasi-complete" or "overlap".
    w
        A predictor of the shape of the problem, with all margins positive, or as many as can be with none negative:
        none, and w says nothing, where the points overlap.
    weights
        Weights of the margins, none negative, with which they add up to zero for every w, to 1e-9 of what is added up:
        positive at each point that no w can put on its right side without another on its wrong side, and zero at the
        others. Of shape (points,), or (points, classes) where labels are classes: for a point and another class, and
        zero for its own.

    Raises
    ------
    TypeError
        If the problem is no classification, or JAX is tracing its points.
    Unsolved
        If neither answer can be proved in float64.

    References
    ----------
    Albert, Anderson. On the Existence of Maximum Likelihood Estimates in Logistic Regression Models. Biometrika 71,
    1984.

    Examples
    --------
    >>> import undertow as ut
    >>> points = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]
    >>> separation(ut.problems.Classification(points, [1, 1, -1])).kind
    'overlap'
    >>> found = separation(ut.problems.Classification(points, [1, 1, -1], intercept=True))
    >>> found.kind, found.w.shape, found.weights.tolist()
    ('complete', (3,), [0.0, 0.0, 0.0])
    """
    problem = classification(problem)
    found = separate(problem.rows())
    if found is None:
        raise Unsolved("problem: whether its points can be separated was not decided; they nearly can, or nearly not")
    return Separation(found.kind, found.w.reshape(problem.shape), by_points(problem, found.weights))


def classification(problem: Any) -> Classification:
    """The problem, if it is one of classification whose points are known; else TypeError."""
    if not isinstance(problem, Classification):
        raise TypeError(f"problem: expected a Classification, found {type(problem).__name__}")
    if is_traced(problem.X):
        raise TypeError("problem: expected known points, found an array that JAX is tracing")
    return problem


def by_points(problem: Classification, values: Float[np.ndarray, " rows"]) -> Float[np.ndarray, "..."]:
    """One number for each row of the margins as a table over points, and classes: zero for a point's own class."""
    if problem.classes is None:
        return values
    y = np.asarray(problem.y)
    table = np.zeros((y.size, problem.classes))
    table[np.arange(problem.classes) != y[:, None]] = values
    return table


def check_twins(problem: Classification) -> None:
    """Raise NotSeparable at two equal points of different labels."""
    X = np.asarray(problem.X, np.float64).reshape(problem.points, -1) + 0.0  # -0.0 is 0.0
    y = np.asarray(problem.y)
    seen: dict[bytes, int] = {}
    for n, (x, label) in enumerate(zip(X, y, strict=True)):
        first = seen.setdefault(x.tobytes(), n)
        if y[first] != label:
            weights = np.zeros(y.size if problem.classes is None else (y.size, problem.classes))
            at = ([first, n],) if problem.classes is None else ([first, n], [label, y[first]])
            weights[at] = 0.5
            raise NotSeparable(
                f"problem: its points cannot be separated: points {first} and {n} are equal, with labels {y[first]} "
                f"and {label}; every w classifies one of them wrongly, or neither way",
                weights,
            )


def not_separable(problem: Classification) -> NotSeparable | None:
    """The error with its proof, by few points; None where the points can be separated, or it cannot be told."""
    found = separate(problem.rows())
    if found is None or found.kind == "complete":
        return None
    weights = _few(scipy.sparse.csr_array(problem.rows()), found.weights)
    table = by_points(problem, weights)
    proof = np.argwhere(table > 0)
    named = [str(at[0]) if at.size == 1 else f"{at[0]} (against class {at[1]})" for at in proof[:NAMED]]
    more = f" and {len(proof) - NAMED} more" if len(proof) > NAMED else ""
    return NotSeparable(
        f"problem: its points cannot be separated ({found.kind}): positive multiples of the margins of points "
        f"{', '.join(named)}{more} add up to zero for every w",
        table,
    )


def _few(R: Any, weights: Float[np.ndarray, " rows"]) -> Float[np.ndarray, " rows"]:
    """Weights that add the rows up to zero too, on a smallest set of them: a vertex of all such weights of sum 1."""
    where = np.flatnonzero(weights)
    shares = weights[where] / np.max(weights)
    # Each row times its weight: what is looked for is then of order 1, and the columns have units of their own.
    B = scipy.sparse.diags_array(shares) @ R[where]
    largest = abs(B).max(axis=0).toarray().ravel()
    B = B[:, largest > 0] @ scipy.sparse.diags_array(1 / largest[largest > 0])
    equations = scipy.sparse.vstack([B.T, np.ones((1, where.size))]).tocsc()
    right = np.concatenate([np.zeros(B.shape[1]), [1.0]])
    found = linprog(np.zeros(where.size), A_eq=equations, b_eq=right, method="highs-ds")
    if found.status != 0 or np.max(np.abs(B.T @ found.x), initial=0) > CERTAIN * np.max(found.x):
        return weights
    few = np.zeros_like(weights)
    few[where] = np.where(found.x > CERTAIN * np.max(found.x), found.x, 0) * shares
    return few / np.sum(few)
