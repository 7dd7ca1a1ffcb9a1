"""Two linear layers from balanced and from lambda-balanced starts: all of the path, in closed form."""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from .._repr import shown
from .._validation import Numbers, check_array

BALANCED = 1e-8
"""How far from a multiple of the identity a difference of squares may be, as a share of the squares, for rounding."""


class TwoLayerPath(NamedTuple):
    """Two layers at every time: their product :math:`W_2 W_1`, and their squares.

    ``first`` is :math:`W_1^T W_1`, by inputs, and ``second`` :math:`W_2 W_2^T`, by outputs: with the product they say
    all but a rotation of the hidden units. ``imbalance`` is lambda.
    """

    product: Float[np.ndarray, "times out in"]
    first: Float[np.ndarray, "times in in"]
    second: Float[np.ndarray, "times out out"]
    imbalance: float

    def __repr__(self) -> str:
        return shown(self)


def two_layer_dynamics(times: Numbers, target: Numbers, first: Numbers, second: Numbers) -> TwoLayerPath:
    r"""The path of gradient flow of a two-layer linear network on whitened inputs, whatever its singular vectors.

    The flow of :math:`\tfrac12 |Y - W_2 W_1 X|^2` with :math:`X X^T = I` and :math:`S = Y X^T`, which is that of
    :math:`\tfrac12 |S - W_2 W_1|^2` (``DeepMatrix`` of depth 2 fitted to ``PointTarget``), keeps
    :math:`W_2^T W_2 - W_1 W_1^T`. Where that is :math:`\lambda I`, :math:`Q = (W_1^T; W_2)` follows a Riccati equation,

    .. math:: \frac{d}{dt} Q Q^T = F Q Q^T + Q Q^T F - (Q Q^T)^2, \qquad
              F = \begin{pmatrix} -\tfrac\lambda2 I & S^T \\ S & \tfrac\lambda2 I \end{pmatrix},

    .. math:: Q Q^T(t) = e^{Ft} Q_0 \Bigl[ I + Q_0^T \int_0^t e^{2Fs}\,ds\, Q_0 \Bigr]^{-1} Q_0^T e^{Ft}.

    At :math:`\lambda = 0` it is balanced, and rich from small starts; as :math:`|\lambda|` grows one layer hardly
    moves, and the other learns as if it were alone: lazy. ``saxe_modes`` is the case of singular vectors that fit from
    the start.

    Parameters
    ----------
    times
        At least 0, in the time of gradient flow of the loss as written.
    target
        S, of shape (outputs, inputs).
    first, second
        :math:`W_1` at time 0, of shape (hidden, inputs), and :math:`W_2`, of shape (outputs, hidden).

    Returns
    -------
    TwoLayerPath
        NumPy float64. There is no overflow at long times.

    Raises
    ------
    TypeError, ValueError
        If shapes do not fit, there is no time or a negative one, or :math:`W_2^T W_2 - W_1 W_1^T` is no multiple of the
        identity: then, as with inputs that are not whitened, there is no such formula.

    References
    ----------
    Fukumizu. Effect of Batch Learning in Multilayer Neural Networks. ICONIP 1998.
    Braun, Domine, Fitzgerald, Saxe. Exact Learning Dynamics of Deep Linear Networks with Prior Knowledge. NeurIPS 2022.
    Domine, Anguita, Proca, Braun, Kunin, Mediano, Saxe. From Lazy to Rich: Exact Learning Dynamics in Deep Linear
    Networks. ICLR 2025.

    Examples
    --------
    >>> path = two_layer_dynamics([0.0, 1.0, 1e6], [[2.0]], first=[[0.1]], second=[[0.1]])
    >>> path.product.ravel().round(6).tolist()
    [0.01, 0.430588, 2.0]
    """
    t, S, W1, W2 = _numbers(times=times, target=target, first=first, second=second)
    t = np.atleast_1d(t)
    if t.ndim != 1 or t.size == 0 or np.any(t < 0):
        raise ValueError(f"times: expected a vector of at least one number, none below 0, found {times!r}")
    if S.ndim != 2:
        raise ValueError(f"target: expected a matrix, outputs by inputs, found shape {S.shape}")
    outputs, inputs = S.shape
    if W1.ndim != 2 or W1.shape[1] != inputs:
        raise ValueError(f"first: expected shape (hidden, {inputs}), by the inputs of the target, found {W1.shape}")
    hidden = W1.shape[0]
    if W2.shape != (outputs, hidden):
        raise ValueError(f"second: expected shape {(outputs, hidden)}, of the target and the first, found {W2.shape}")
    squares = np.linalg.norm(W1) ** 2 + np.linalg.norm(W2) ** 2
    difference = W2.T @ W2 - W1 @ W1.T
    imbalance = float(np.trace(difference)) / hidden
    off = float(np.linalg.norm(difference - imbalance * np.eye(hidden)))
    single = any(getattr(x, "dtype", None) == np.float32 for x in (first, second))
    rounding = BALANCED * (100 if single else 1)
    if off > rounding * squares:
        raise ValueError(
            "second: expected W_2^T W_2 - W_1 W_1^T to be a multiple of the identity, without which there is no closed "
            f"form; it is off by {off / squares:.1e} of the squares of the layers"
        )
    if abs(imbalance) <= rounding * squares:
        imbalance = 0.0
    half = imbalance / 2
    F = np.block([[-half * np.eye(inputs), S.T], [S, half * np.eye(outputs)]])
    f, frame = np.linalg.eigh(F)
    Q = np.concatenate([W1.T, W2])
    squares_of_Q = np.stack([Q @ Q.T if time == 0 else _at(time, f, frame, Q) for time in t])
    return TwoLayerPath(
        squares_of_Q[:, inputs:, :inputs],
        squares_of_Q[:, :inputs, :inputs],
        squares_of_Q[:, inputs:, inputs:],
        imbalance,
    )


def _at(
    t: float, f: Float[np.ndarray, " n"], frame: Float[np.ndarray, "n n"], Q: Float[np.ndarray, "n h"]
) -> np.ndarray:
    """Q Q^T at a time, in the frame of F with eigenvalues f.

    With g = (e^(2 f t) - 1) / 2 f, its roots on the diagonal of G, and Z = G U^T Q, of the frame U, it is
    D Z (I + Z^T Z)^-1 Z^T D, of D = e^(f t) / G, which is bounded. Rows of Z are of any size: Z = L V^T, triangular and
    orthogonal, has the same right-hand side with L in place of Z, and the columns of L C^-1 are of order one, C their
    largest entries.
    What is between the D is then B B^T, of the orthonormal columns (A; B) that span those of (C^-1; L C^-1).
    """
    x = 2 * np.abs(f) * t
    # (1 - e^-x) / (2 |f|), and t at f = 0.
    short = np.log(t) + np.log(np.where(x > 0, -np.expm1(-x) / np.where(x > 0, x, 1), 1))
    log_g = short + np.maximum(2 * f * t, 0)
    log_d = np.minimum(f * t, 0) - short / 2
    L, log_c = _triangular(frame.T @ Q, log_g / 2)
    span = np.linalg.qr(np.concatenate([np.diag(np.exp(-log_c)), L]))[0]
    half = frame @ (np.exp(log_d)[:, None] * span[log_c.size :])
    return half @ half.T


def _triangular(
    rows: Float[np.ndarray, "n h"], logs: Float[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, "n r"], Float[np.ndarray, " r"]]:
    """L C^-1, up to the order of rows, of the rows times e^logs, and the logarithms of C, at least 0.

    By Gram and Schmidt, the largest row first; what is left of a row and is only rounding counts as zero.
    """
    rounding = 10 * rows.shape[0] * np.finfo(float).eps
    rest, least = rows.copy(), rounding * np.linalg.norm(rows)
    columns, sizes = [], []
    for _ in range(min(rows.shape)):
        norms = np.linalg.norm(rest, axis=1)
        sound = norms > least
        if not sound.any():
            break
        log_sizes = np.where(sound, logs + np.log(np.where(sound, norms, 1)), -np.inf)
        largest = int(np.argmax(log_sizes))
        size = max(float(log_sizes[largest]), 0.0)
        q = rest[largest] / norms[largest]
        along = np.where(sound, rest @ q, 0)
        part = np.exp(
            logs - size + np.log(np.where(along != 0, np.abs(along), 1)), where=along != 0, out=np.zeros_like(along)
        )
        columns.append(np.sign(along) * part)
        sizes.append(size)
        rest = rest - along[:, None] * q
        rest = rest - (rest @ q)[:, None] * q
        rest[largest], rest[~sound] = 0, 0
    return np.stack(columns, axis=1) if columns else np.zeros((rows.shape[0], 0)), np.array(sizes)


def _numbers(**values: Numbers) -> list[np.ndarray]:
    """In float64, whatever JAX is set to."""
    with jax.enable_x64(True):
        return [np.asarray(check_array(name, value), np.float64) for name, value in values.items()]
