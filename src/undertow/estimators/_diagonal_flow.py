"""Flows of diagonal networks on least squares, all folds of a data set in one program.

The network w = u^D - v^D is followed in its dual variable, where the flow is one product with the data a step.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import sparse
from jaxtyping import Array, Bool, Float, Int
from scipy.sparse import csr_array

SPACING = 1.04
"""Ratio of the times of two samples; an entry of w that emerges grows 3- to 4-fold from one to the next."""
SAMPLES = 192
"""Most samples of a path: times up to SPACING^SAMPLES, about 1,900 times that of the first."""
LARGEST_CHANGE = 0.3
"""A step changes the fit by at most this share of the residual: the flow is followed, not only its end. The error along
the path is in proportion to it (the steps are Euler's)."""
STEEPEST = 1.5
"""Share of the slope's promise that the curvature may take back, times 2; at 2 the loss would not fall any more."""
LONGER, SHORTER = 1.1, 0.7
"""Lengths of the next step after one that was taken and one that was refused: about one in four is refused."""
FITTED = 1e-8
"""Share of the sum of squares of y below which there is nothing left to fit."""
AT_THE_END = 0.1
"""A flow ends where no fit is above what least squares leave by more than this share of it over n: a weight of
exp(-0.05) is the most that going on could change."""
NEGLIGIBLE = 6.0
"""The flow ends where weights of later samples would be below exp(-6) of the largest."""


class Design(eqx.Module):
    """The data X of shape (n, p), dense or sparse, as a map and its adjoint.

    Parameters
    ----------
    X
        An array, or a sparse array of scipy in rows; its entries are held once dense, twice sparse (by rows and by
        columns).
    """

    matrix: Any
    transpose: Any

    def __init__(self, X: np.ndarray | csr_array):
        if isinstance(X, np.ndarray):
            self.matrix, self.transpose = jnp.asarray(X), None
        else:
            self.matrix, self.transpose = _bcsr(X), _bcsr(csr_array(X.T))

    @property
    def shape(self) -> tuple[int, int]:
        return self.matrix.shape

    @property
    def dtype(self) -> Any:
        return self.matrix.dtype

    def forward(self, w: Float[Array, "p folds"]) -> Float[Array, "n folds"]:
        """X w."""
        return self.matrix @ w

    def adjoint(self, r: Float[Array, "n folds"]) -> Float[Array, "p folds"]:
        """X^T r."""
        # The order in which a wide dense X is read once, row by row.
        return (r.T @ self.matrix).T if self.transpose is None else self.transpose @ r


def _bcsr(X: Any) -> sparse.BCSR:
    parts = (jnp.asarray(X.data), jnp.asarray(X.indices.astype(np.int32)), jnp.asarray(X.indptr.astype(np.int32)))
    return sparse.BCSR(parts, shape=X.shape)


class Folds(eqx.Module):
    """Which rows are fitted and which are held out, their weight or 0 in a column each.

    The last column fits all rows and holds out none. A row of zeros is no data: arrays are padded with them, so that
    tables of about the same size share a compiled program. ``least`` are the sums of squares that least squares leave,
    or numbers below: a flow that is there does not change any more.
    """

    fitted: Float[Array, "n folds"]
    held_out: Float[Array, "n folds-1"]
    intercept: bool = eqx.field(static=True, default=True)
    least: Float[Array, " folds"] | float = 0.0

    def center(self, values: Float[Array, "n folds"]) -> Float[Array, "n folds"]:
        """``values`` less their mean over the fitted rows: what a free intercept leaves, if there is one."""
        if not self.intercept:
            return values
        return values - ((values * self.fitted).sum(0) / self.fitted.sum(0))[None]

    @property
    def shares(self) -> Float[Array, " _"]:
        """Of the folds in the held-out error, by the weight of what they hold out."""
        weight = self.held_out.sum(0)
        return weight / weight.sum()

    def errors(self, residual: Float[Array, "n folds"]) -> tuple[Float[Array, " folds"], Float[Array, " folds-1"]]:
        """Mean squares over the fitted rows, and over those held out."""
        square = residual**2
        return (
            (square * self.fitted).sum(0) / self.fitted.sum(0),
            (square[:, :-1] * self.held_out).sum(0) / self.held_out.sum(0),
        )


class Path(eqx.Module):
    r"""Samples of a flow at increasing dual times s, the first at 0; only the first ``count`` rows are meant.

    ``dual`` holds z itself where p <= n, and otherwise the residuals integrated, :math:`\int r / n`, from which
    :math:`z = X^T \int r / n`: the smaller of the two.
    """

    times: Float[Array, " samples"]
    dual: Float[Array, "samples smaller folds"]
    fitted: Float[Array, "samples folds"]
    held_out: Float[Array, "samples folds-1"]
    count: Int[Array, ""]


class FlowState(eqx.Module):
    """A flow under way: z, the gradient there, the fit and what it leaves; ``s`` is the dual time."""

    z: Float[Array, "p folds"]
    slope: Float[Array, "p folds"]
    integral: Float[Array, "n folds"]
    fit: Float[Array, "n folds"]
    residual: Float[Array, "n folds"]
    s: Float[Array, ""]
    step: Float[Array, ""]
    steps: Int[Array, ""]
    trials: Int[Array, ""]
    done: Bool[Array, ""]
    path: Path


class Network(eqx.Module):
    r"""The network w = u^D - v^D, or w = u^D where ``positive``, both u and v of size :math:`\alpha` at the start.

    ``scale`` is :math:`\alpha^D`, and D the ``depth``.
    """

    scale: Any
    depth: int = eqx.field(static=True, default=2)
    positive: bool = eqx.field(static=True, default=False)

    def __call__(self, z: Float[Array, "..."]) -> Float[Array, "..."]:
        r"""The w at the dual variable z.

        At depth 2, :math:`w = 2 \alpha^2 \sinh z`, positive :math:`\alpha^2 e^z`; at depth D > 2, :math:`w = \alpha^D
        ((1 - z)^{-D/(D-2)} - (1 + z)^{-D/(D-2)})` for \|z\| < 1, positive the first of the two terms for z < 1.
        """
        if self.depth == 2:
            return self.scale * jnp.exp(z) if self.positive else 2 * self.scale * jnp.sinh(z)
        power = -self.depth / (self.depth - 2)
        inside = (z if self.positive else jnp.abs(z)) < 1
        z = jnp.where(inside, z, 0)
        shrunk = 0 if self.positive else (1 + z) ** power
        return jnp.where(inside, self.scale * ((1 - z) ** power - shrunk), jnp.inf)

    @property
    def pace(self) -> float:
        r"""Dual time that passes in a unit of flow time: 4 at depth 2, else :math:`D (D - 2) \alpha^{D-2}`."""
        D = self.depth
        return 4.0 if D == 2 else D * (D - 2) * float(self.scale) ** (1 - 2 / D)


@eqx.filter_jit
def flow(
    design: Design,
    y: Float[Array, " n"],
    folds: Folds,
    network: Network,
    max_iter: Int[Array, ""],
    largest_change: float = LARGEST_CHANGE,
) -> FlowState:
    r"""Follow :math:`dz/ds = X^T (y - c - X w(z)) / n` from 0, every column on the rows that it fits.

    Rows count by their weights, and n is their sum.

    All columns step together. A step is taken where :math:`\|X \Delta w\|^2 \le 1.5 \langle r, X \Delta w \rangle`:
    then every training loss falls, by at least a quarter of what its slope promises.
    """
    n, p = design.shape
    dtype, size = design.dtype, folds.fitted.sum(0)
    columns = folds.fitted.shape[1]
    target = jnp.broadcast_to(y[:, None], (n, columns))
    floor = FITTED * (folds.center(target) ** 2 * folds.fitted).sum(0)
    end = jnp.maximum(floor, folds.least * (1 + AT_THE_END / size[-1]))

    def slope(residual: Array) -> Array:
        return design.adjoint(residual * (folds.fitted / size[None]))

    def step(state: FlowState) -> FlowState:
        z = state.z + state.step * state.slope
        fit = design.forward(network(z))
        change = folds.center(fit - state.fit)
        drop = (change * state.residual * folds.fitted).sum(0)
        square = (change**2 * folds.fitted).sum(0)
        left = (state.residual**2 * folds.fitted).sum(0)
        share = (square / (jnp.maximum(left, floor) + jnp.finfo(dtype).tiny)).max()
        # Also false where something is not a number.
        sound = jnp.all(square <= STEEPEST * drop + floor) & (share <= largest_change**2) & jnp.isfinite(share)

        def taken() -> FlowState:
            residual = folds.center(target - fit)
            s = state.s + state.step
            integral = state.integral + state.step * state.residual * (folds.fitted / size[None])
            errors = folds.errors(residual)
            path = _record(state.path, s, z if p <= n else integral, errors)
            over = _over(path, errors, folds.shares, size[-1]) | jnp.all(errors[0] * size <= end)
            easy = jnp.all(square <= drop / 4) & (share <= (largest_change / 3) ** 2)
            longer = jnp.where(easy, 2.0, LONGER).astype(dtype)
            return FlowState(
                z, slope(residual), integral, fit, residual, s, state.step * longer, state.steps + 1, state.trials + 1,
                over | (path.count == SAMPLES), path,
            )  # fmt: skip

        def refused() -> FlowState:
            still = state.s + state.step * SHORTER == state.s
            return eqx.tree_at(
                lambda x: (x.step, x.trials, x.done),
                state,
                (state.step * SHORTER, state.trials + 1, state.done | still),
            )

        return jax.lax.cond(sound, taken, refused)

    zero = jnp.zeros((), dtype)
    none = jnp.zeros((n, columns), dtype)
    z = jnp.zeros((p, columns), dtype)
    fit = design.forward(network(z)) if network.positive else none
    residual = folds.center(target - fit)
    first = slope(residual)
    steepest = jnp.abs(first).max()
    empty = Path(
        jnp.zeros(SAMPLES, dtype),
        jnp.zeros((SAMPLES, min(n, p), columns), dtype),
        jnp.zeros((SAMPLES, columns), dtype),
        jnp.zeros((SAMPLES, columns - 1), dtype),
        jnp.zeros((), jnp.int32),
    )
    path = _record(empty, zero, z if p <= n else none, folds.errors(residual))
    count = jnp.zeros((), jnp.int32)
    start = 0.1 / jnp.where(steepest > 0, steepest, 1)
    state = FlowState(z, first, none, fit, residual, zero, start, count, count, steepest <= 0, path)
    return jax.lax.while_loop(lambda x: ~x.done & (x.trials < max_iter), step, state)


def _record(path: Path, s: Array, dual: Array, errors: tuple[Array, Array]) -> Path:
    """The path with a sample more, if it is time."""
    last = path.times[jnp.maximum(path.count - 1, 0)]
    due = (path.count == 0) | (s >= SPACING * last)
    # A sample that is not due is overwritten by the next one.
    at = path.count
    fitted, held_out = errors
    return Path(
        path.times.at[at].set(s),
        path.dual.at[at].set(dual),
        path.fitted.at[at].set(fitted),
        path.held_out.at[at].set(held_out),
        path.count + due.astype(path.count.dtype),
    )


def _over(path: Path, errors: tuple[Array, Array], shares: Array, n: Array) -> Array:
    """Whether the held-out error has risen so far that later times would not count."""
    known = jnp.arange(SAMPLES, dtype=path.count.dtype) < path.count
    best = jnp.where(known, path.held_out @ shares, jnp.inf).min()
    return n * (errors[1] @ shares - best) > 4 * NEGLIGIBLE * best


@eqx.filter_jit
def average(
    design: Design, path: Path, shares: Float[Array, "samples means"], network: Network
) -> Float[Array, "means p folds"]:
    """Means of w over the samples of a path, each column's own; samples whose shares are 0 cost nothing."""
    n, p = design.shape

    def add(total: Array, sample: tuple[Array, Array]) -> tuple[Array, None]:
        share, dual = sample

        def more() -> Array:
            return total + share[:, None, None] * network(dual if p <= n else design.adjoint(dual))[None]

        return jax.lax.cond(jnp.any(share > 0), more, lambda: total), None

    total, _ = jax.lax.scan(add, jnp.zeros((shares.shape[1], p, path.dual.shape[2]), design.dtype), (shares, path.dual))
    return total


@eqx.filter_jit
def last_column(design: Design, path: Path, network: Network) -> Float[Array, "samples p"]:
    """The w of the last column, the one that fits all rows, at every sample."""
    n, p = design.shape
    dual = path.dual[:, :, -1].T
    return network(dual if p <= n else design.adjoint(dual)).T
