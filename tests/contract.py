"""One small instance at least of every public part, and what the tests of laws need to know about it.

A class that undertow exports and that has no row here fails ``test_every_class_has_a_row`` of its file.
"""

import contextlib
import dataclasses
import functools
import types
from collections.abc import Callable, Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from undertow import dynamics, optimizers, parameterizations, potentials, probes, problems

P, B, D, M = parameterizations, problems, dynamics, probes


@dataclasses.dataclass(frozen=True)
class Case:
    """A row: an instance under a name; ``lift_w`` can be lifted; ``rms`` is the size of w(0) at scale 1, if not 1."""

    id: str
    instance: Any
    lift_w: np.ndarray | None = None
    rms: float = 1.0


def exported(package: types.ModuleType, base: type) -> set[type]:
    """The concrete subclasses of ``base`` that a package exports."""
    classes = (getattr(package, name) for name in package.__all__)
    return {c for c in classes if isinstance(c, type) and issubclass(c, base) and not c.__abstractmethods__}


def rows(cases: list[Case]) -> Any:
    """The parametrization of a test over a table."""
    return pytest.mark.parametrize("case", cases, ids=[case.id for case in cases])


def _softplus_init(key: jax.Array, scale: Any) -> jax.Array:
    return jnp.log(jnp.expm1(scale * jnp.abs(jax.random.normal(key, (3,)))))


POSITIVE = np.array([0.5, 1.0, 2.0])
SIGNED = np.array([0.5, -1.0, 2.0])
TALL = np.array([[1.0, -2.0, 0.5], [3.0, 0.25, -1.0], [0.0, 1.5, 2.0], [1.0, 1.0, -0.5]])
RANK_TWO = TALL[:, :2] @ np.array([[1.0, 0.5, 2.0], [-1.0, 1.0, 0.0]])

_SEMIDEFINITE = np.array([[2.0, 1.0, 0.0], [1.0, 2.0, 1.0], [0.0, 1.0, 5 / 3]])  # less e_3 e_3^T it has rank two

CUBE = np.arange(24.0).reshape(3, 4, 2) - 8.5
SPARSE_CUBE = np.zeros((3, 4, 2))
SPARSE_CUBE[2, :, 0], SPARSE_CUBE[0, :, 1] = TALL[:, 0], TALL[:, 1]

PARAMETERIZATIONS = [
    Case("Identity", P.Identity(3), SIGNED),
    Case("Identity-matrix", P.Identity((4, 3)), TALL),
    Case("Identity-constant", P.Identity(3, "constant"), SIGNED),
    Case("Power-1", P.Power(3, 1), SIGNED),
    Case("Power-2", P.Power(3, 2), POSITIVE),
    Case("Power-3", P.Power(3, 3), SIGNED),
    Case("Power-0.5", P.Power(3, 0.5), POSITIVE),
    Case("Power-2.5-constant", P.Power(3, 2.5, "constant"), POSITIVE),
    Case("Exponential", P.Exponential(3), POSITIVE),
    Case("Exponential-constant", P.Exponential(3, "constant"), POSITIVE),
    Case("Polar", P.Polar(), np.array([-1.0, 2.0])),
    Case("Polar-constant", P.Polar("constant"), np.array([1.0, -2.0])),
    Case("SignedPower-1", P.SignedPower(3, 1), SIGNED),
    Case("SignedPower-2", P.SignedPower(3, 2), SIGNED),
    Case("SignedPower-2.5", P.SignedPower(3, 2.5), SIGNED),
    Case("SignedPower-3-constant", P.SignedPower(3, 3, "constant"), SIGNED, rms=0.0),  # w(0) = 0, as it says
    Case("DeepMatrix-1", P.DeepMatrix((4, 3), 1), TALL),
    Case("DeepMatrix-2", P.DeepMatrix((4, 3), 2), TALL),
    Case("DeepMatrix-3-wide", P.DeepMatrix((3, 4), 3, width=6), TALL.T),
    Case("DeepMatrix-3-bottleneck", P.DeepMatrix((4, 3), 3, width=2), RANK_TWO),
    Case("DeepMatrix-identity", P.DeepMatrix((4, 3), 2, initialization="identity"), TALL),
    Case("DeepMatrix-orthogonal", P.DeepMatrix((4, 3), 3, initialization="orthogonal"), TALL),
    Case("DeepMatrix-orthogonal-wide", P.DeepMatrix((4, 3), 2, width=7, initialization="orthogonal"), TALL),
    Case("DeepMatrix-balanced", P.DeepMatrix((3, 4), 3, initialization="balanced"), TALL.T),
    Case("DeepMatrix-balanced-narrow", P.DeepMatrix((4, 3), 2, width=2, initialization="balanced"), RANK_TWO),
    Case("Gram", P.Gram(3), _SEMIDEFINITE),
    Case("Gram-wide", P.Gram(3, 5), _SEMIDEFINITE),
    Case("Gram-narrow-orthogonal", P.Gram(3, 2, "orthogonal"), _SEMIDEFINITE - np.diag([0.0, 0.0, 1.0])),
    Case("Gram-identity", P.Gram(4, 3, "identity"), np.diag([2.0, 1.0, 0.5, 0.0])),
    Case("Hadamard-1", P.Hadamard(3, 1), SIGNED),
    Case("Hadamard-3", P.Hadamard(3, 3), SIGNED),
    Case("Hadamard-2-balanced", P.Hadamard((4, 3), 2, "balanced"), TALL),
    Case("Hadamard-3-constant", P.Hadamard(3, 3, "constant"), SIGNED),
    Case("LinearConvolution-1", P.LinearConvolution(3, 1), SIGNED),
    Case("LinearConvolution-2", P.LinearConvolution(4, 2), -TALL[:, 0]),  # negative at frequencies without a phase
    Case("LinearConvolution-3-balanced", P.LinearConvolution(3, 3, "balanced"), SIGNED),
    Case("LinearConvolution-2-identity", P.LinearConvolution(3, 2, "identity"), SIGNED),
    Case("Biased", P.Biased(P.DeepMatrix((4, 3), 2)), TALL),
    Case("Biased-identity", P.Biased(P.Identity((4, 3))), TALL),
    Case("CPTensor", P.CPTensor((3, 4, 2), 6), CUBE),
    Case("CPTensor-stacked", P.CPTensor((3, 3, 3), 9, stacked=True), np.arange(27.0).reshape(3, 3, 3) - 13.5),
    Case("CPTensor-few", P.CPTensor((3, 4, 2), 2), SPARSE_CUBE),
    Case("CPTensor-matrix", P.CPTensor((4, 3), 5), TALL),
    Case("CPTensor-matrix-balanced", P.CPTensor((4, 3), 2, "balanced"), RANK_TWO),
    Case("CPTensor-balanced", P.CPTensor((2, 3, 1, 2), 13, "balanced"), CUBE.ravel()[:12].reshape(2, 3, 1, 2)),
    Case("CPTensor-unbalanced", P.CPTensor((3, 4, 2), 3, "unbalanced")),
    Case("HierarchicalTensor", P.HierarchicalTensor((3, 2, 2, 3), widths=2)),
    Case("HierarchicalTensor-tree", P.HierarchicalTensor((3, 2, 2), (2, (0, 1)), widths=(4, 2))),
    Case("HierarchicalTensor-flat", P.HierarchicalTensor((3, 2, 2), (0, 1, 2), widths=3)),
    Case("HierarchicalTensor-matrix", P.HierarchicalTensor((4, 3), widths=3)),
    Case("Function", P.Function(jax.nn.softplus, _softplus_init)),
]

_rng = np.random.default_rng(0)
_A = _rng.normal(size=(2, 4))
_truth = _rng.normal(size=(4, 3))
_measurements = _rng.normal(size=(5, 4, 3))
_rows, _columns = np.array([3, 0, 0, 2, 1]), np.array([1, 0, 2, 2, 1])


def completion(truth: np.ndarray | None = _truth, normalization: str = "mean") -> problems.MatrixCompletion:
    """Five entries of a 4 x 3 matrix, given out of order."""
    return B.MatrixCompletion((4, 3), _rows, _columns, _truth[_rows, _columns], truth, normalization)


@functools.cache
def sparse_completion() -> problems.MatrixCompletion:
    """A matrix large enough that its observed entries are kept in the sparse layout."""
    rng = np.random.default_rng(1)
    flat = rng.choice(600 * 500, 40, replace=False)
    return B.MatrixCompletion((600, 500), flat // 500, flat % 500, rng.normal(size=40))


_cube, _probed = np.random.default_rng(12).normal(size=(4, 3, 2)), np.random.default_rng(13).normal(size=(5, 4, 3, 2))
_places = np.array([3, 0, 0, 2, 1, 0]), np.array([1, 0, 2, 2, 1, 0]), np.array([0, 1, 0, 0, 1, 0])


def tensor_completion(truth: np.ndarray | None = _cube, normalization: str = "mean") -> problems.TensorCompletion:
    """Six entries of a 4 x 3 x 2 tensor, given out of order."""
    return B.TensorCompletion((4, 3, 2), _places, _cube[_places], truth, normalization)


_bytes = np.random.default_rng(14).integers(0, 256, (4, 3, 2), np.uint8)

# Each with a w of loss zero.
PROBLEMS = [
    Case("PointTarget", B.PointTarget([3.0, 6.0]), np.array([3.0, 6.0])),
    Case("PointTarget-matrix", B.PointTarget(_truth), _truth),
    Case("LineTarget", B.LineTarget(-1.0, -2.0, 15.0), np.array([3.0, 6.0])),
    Case("LeastSquares", B.LeastSquares(_A, _A @ SIGNED[[0, 1, 2, 0]]), SIGNED[[0, 1, 2, 0]]),
    Case("LeastSquares-mean", B.LeastSquares(_A, _A @ SIGNED[[0, 1, 2, 0]], "mean"), SIGNED[[0, 1, 2, 0]]),
    Case("MatrixSensing", B.MatrixSensing(_measurements, np.einsum("mij,ij->m", _measurements, _truth)), _truth),
    Case(
        "MatrixSensing-rank-one",
        B.MatrixSensing.rank_one(
            _measurements[:, :, 0],
            _measurements[:, 0],
            np.einsum("mi,mj,ij->m", _measurements[:, :, 0], _measurements[:, 0], _truth),
        ),
        _truth,
    ),
    Case("MatrixCompletion", completion(), _truth),
    Case("MatrixCompletion-half_sum", completion(None, "half_sum"), _truth),
    Case("TensorCompletion", tensor_completion(), _cube),
    Case(
        "TensorCompletion-order-4",
        B.TensorCompletion((2, 2, 1, 3), ([0], [1], [0], [2]), [1.5]),
        np.full((2, 2, 1, 3), 1.5),
    ),
    Case("TensorSensing", B.TensorSensing(_probed, np.einsum("mijk,ijk->m", _probed, _cube)), _cube),
    Case(
        "TensorSensing-rank-one",
        B.TensorSensing.rank_one(
            [_probed[:, :, 0, 0], _probed[:, 0, :, 0], _probed[:, 0, 0]],
            np.einsum("mi,mj,mk,ijk->m", _probed[:, :, 0, 0], _probed[:, 0, :, 0], _probed[:, 0, 0], _cube),
        ),
        _cube,
    ),
    Case("Reconstruction", B.Reconstruction(_truth), _truth),
    Case("Reconstruction-bytes", B.Reconstruction(_bytes, normalization="half_sum"), _bytes / 255),
]

# Their loss is zero at infinity only.
CLASSIFICATIONS = [
    Case("Classification", B.Classification(_A, [1, -1])),
    Case("Classification-logistic", B.Classification(_A, [1, -1], "logistic", intercept=True, normalization="mean")),
    Case("Classification-classes", B.Classification(_truth, [0, 1, 2, 1])),
    Case("Classification-overlap", B.Classification(np.r_[_truth, _truth], [0, 1, 2, 1, 1, 2, 0, 0], "logistic")),
]


def _held_out() -> problems.MatrixCompletion:
    return B.MatrixCompletion((4, 3), [1, 2], [2, 0], [0.5, -0.5])


_TARGET = np.ones((4, 3))


def _singular(w: np.ndarray) -> np.ndarray:
    return np.linalg.svd(w, compute_uv=False)


def _spectral_entropy(w: np.ndarray) -> float:
    p = _singular(w) / _singular(w).sum()
    return float(np.exp(-(p * np.log(p)).sum()))


def _gap(factors: list[np.ndarray]) -> float:
    first, last = factors
    return float(np.linalg.norm(last.T @ last - first @ first.T))


def _rank_one(w: np.ndarray) -> np.ndarray:
    u, s, vt = np.linalg.svd(w)
    return s[0] * np.outer(u[:, 0], vt[0])


def _vectors(w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    u, _, vt = np.linalg.svd(w, full_matrices=False)
    signs = np.sign([column[np.abs(column).argmax()] for column in u.T])
    return u * signs, vt.T * signs


def _alignment(w: np.ndarray) -> list[float]:
    gradient = _gradient(w)
    left, right = _vectors(w)
    return [
        -u @ gradient @ v / np.sqrt(np.linalg.norm(u @ gradient) * np.linalg.norm(gradient @ v))
        for u, v in zip(left.T, right.T, strict=True)
    ]


def _gradient(w: np.ndarray) -> np.ndarray:
    gradient = np.zeros((4, 3))
    gradient[_rows, _columns] = 2 / 5 * (w - _truth)[_rows, _columns]
    return gradient


def _gradient_norm(factors: list[np.ndarray]) -> float:
    first, last = factors
    gradient = _gradient(last @ first)
    return float(np.hypot(np.linalg.norm(last.T @ gradient), np.linalg.norm(gradient @ first.T)))


def _unseen(w: np.ndarray) -> float:
    return _unseen_of(w, _truth, (_rows, _columns))


def _unseen_of(w: np.ndarray, truth: np.ndarray, seen: tuple[np.ndarray, ...]) -> float:
    mask = np.ones(truth.shape, bool)
    mask[seen] = False
    return float(np.mean((w - truth)[mask] ** 2))


def _hessian(factors: list[np.ndarray]) -> np.ndarray:
    """Of the loss, over W_1 and then W_2: squares of the slopes of each entry, and its error times its curvature."""
    first, last = factors
    sizes = (3, 3), (4, 3)
    hessian = np.zeros((21, 21))
    for i, j in zip(_rows, _columns, strict=True):
        slopes = np.zeros(sizes[0]), np.zeros(sizes[1])
        slopes[0][:, j], slopes[1][i] = last[i], first[:, j]
        slope = np.concatenate([s.ravel() for s in slopes])
        error = (last @ first - _truth)[i, j]
        hessian += 2 / 5 * np.outer(slope, slope)
        for a in range(3):
            before, after = np.ravel_multi_index((a, j), sizes[0]), 9 + np.ravel_multi_index((i, a), sizes[1])
            hessian[before, after] += 2 / 5 * error
            hessian[after, before] += 2 / 5 * error
    return hessian


_POINTS, _LABELS = _rng.normal(size=(5, 3)), [0, 3, 1, 2, 3]


def _margin(w: np.ndarray) -> float:
    scores = _POINTS @ w.T
    others = [np.delete(row, label) for row, label in zip(scores, _LABELS, strict=True)]
    return min(row[label] - other.max() for row, label, other in zip(scores, _LABELS, others, strict=True))


_MARGIN_NORMS = {
    "l1": lambda w: np.abs(w).sum(),
    "l2": np.linalg.norm,
    "linf": lambda w: np.abs(w).max(),
    "spectral": lambda w: _singular(w)[0],
    "nuclear": lambda w: _singular(w).sum(),
    "frobenius": np.linalg.norm,
}


@dataclasses.dataclass(frozen=True)
class ProbeCase(Case):
    """A row with the same number by numpy, from w and the matrices that it is made of, on a problem.

    Where nothing else is given they are [W_1, W_2] of a ``DeepMatrix`` of depth 2 on ``completion()``, of shape (4, 3).
    """

    oracle: Callable[[np.ndarray, list[np.ndarray]], Any] = lambda w, factors: None
    problem: problems.Problem = dataclasses.field(default_factory=completion)
    phi: parameterizations.Parameterization = dataclasses.field(default_factory=lambda: P.DeepMatrix((4, 3), 2))
    w: Callable[[list[np.ndarray]], np.ndarray] = lambda factors: factors[1] @ factors[0]


def _cp(factors: list[np.ndarray]) -> np.ndarray:
    return np.einsum("ir,jr,kr->ijk", *factors)


def _norms(factors: list[np.ndarray]) -> np.ndarray:
    return np.prod([np.linalg.norm(factor, axis=0) for factor in factors], axis=0)


def _component_alignment(w: np.ndarray, factors: list[np.ndarray]) -> np.ndarray:
    gradient = np.zeros((4, 3, 2))
    gradient[_places] = 2 / 6 * (w - _cube)[_places]
    u, v, x = (factor / np.linalg.norm(factor, axis=0) for factor in factors)
    gamma = -np.einsum("ijk,ir,jr,kr->r", gradient, u, v, x)
    left_open = np.einsum("ijk,jr,kr->ir", gradient, v, x), np.einsum("ijk,ir,kr->jr", gradient, u, x)
    sizes = _norms([*left_open, np.einsum("ijk,ir,jr->kr", gradient, u, v)])
    return (gamma / np.cbrt(sizes))[np.argsort(-_norms(factors))]


def _rank_within(matrix: np.ndarray, tolerance: float) -> int:
    s = _singular(matrix)
    return next(r for r in range(s.size + 1) if np.linalg.norm(s[r:]) <= tolerance * np.linalg.norm(s))


def _tensor_case(name: str, instance: Any, oracle: Callable[[np.ndarray, list[np.ndarray]], Any]) -> ProbeCase:
    return ProbeCase(name, instance, oracle=oracle, problem=tensor_completion(), phi=P.CPTensor((4, 3, 2), 5), w=_cp)


PROBES = [
    ProbeCase("Loss", M.Loss(), oracle=lambda w, f: np.mean((w - _truth)[_rows, _columns] ** 2)),
    ProbeCase("LogLoss", M.LogLoss(), oracle=lambda w, f: np.log(np.mean((w - _truth)[_rows, _columns] ** 2))),
    ProbeCase("GradientNorm", M.GradientNorm(), oracle=lambda w, f: _gradient_norm(f)),
    ProbeCase("TestError", M.TestError(), oracle=lambda w, f: _unseen(w)),
    ProbeCase(
        "TestError-held-out",
        M.TestError(_held_out(), label="held_out"),
        oracle=lambda w, f: np.mean((w[[1, 2], [2, 0]] - [0.5, -0.5]) ** 2),
    ),
    ProbeCase("ReconstructionError", M.ReconstructionError(), oracle=lambda w, f: np.mean((w - _truth) ** 2)),
    ProbeCase("SingularValues", M.SingularValues(), oracle=lambda w, f: _singular(w)),
    ProbeCase("SingularValues-2", M.SingularValues(count=2), oracle=lambda w, f: _singular(w)[:2]),
    ProbeCase("EffectiveRank", M.EffectiveRank(), oracle=lambda w, f: _spectral_entropy(w)),
    ProbeCase("StableRank", M.StableRank(), oracle=lambda w, f: np.linalg.norm(w) ** 2 / np.linalg.norm(w, ord=2) ** 2),
    ProbeCase("NuclearNorm", M.NuclearNorm(), oracle=lambda w, f: np.linalg.norm(w, ord="nuc")),
    ProbeCase("SchattenNorm", M.SchattenNorm(0.5), oracle=lambda w, f: np.sqrt(_singular(w)).sum() ** 2),
    ProbeCase("Determinant", M.Determinant(2), oracle=lambda w, f: np.linalg.det(w[:2, :2])),
    ProbeCase("DistanceFromRank", M.DistanceFromRank(1), oracle=lambda w, f: np.linalg.norm(w - _rank_one(w))),
    ProbeCase("SingularVectors", M.SingularVectors("left"), oracle=lambda w, f: _vectors(w)[0]),
    ProbeCase("SingularVectors-right", M.SingularVectors("right", count=2), oracle=lambda w, f: _vectors(w)[1][:, :2]),
    ProbeCase("SingularVectorAlignment", M.SingularVectorAlignment(), oracle=lambda w, f: _alignment(w)),
    ProbeCase("FrobeniusNorm", M.FrobeniusNorm(), oracle=lambda w, f: np.linalg.norm(w)),
    ProbeCase("Entry", M.Entry(3, 2), oracle=lambda w, f: w[3, 2]),
    ProbeCase("Balancedness", M.Balancedness(), oracle=lambda w, f: _gap(f)),
    ProbeCase("DistanceTo", M.DistanceTo(_TARGET), oracle=lambda w, f: np.linalg.norm(w - _TARGET)),
    ProbeCase("Function", M.Function("trace", jnp.trace), oracle=lambda w, f: np.trace(w)),
    ProbeCase(
        "ReconstructionError-relative",
        M.ReconstructionError(relative=True),
        oracle=lambda w, f: np.linalg.norm(w - _truth) / np.linalg.norm(_truth),
    ),
    ProbeCase("MatricizationRanks-matrix", M.MatricizationRanks(0.5), oracle=lambda w, f: [_rank_within(w, 0.5)] * 2),
    _tensor_case("ComponentNorms", M.ComponentNorms(3), lambda w, f: np.sort(_norms(f))[:-4:-1]),
    _tensor_case("ComponentAlignment", M.ComponentAlignment(), _component_alignment),
    _tensor_case(
        "MatricizationRanks",
        M.MatricizationRanks(0.3, [(0,), (1,), (2, 1)]),
        lambda w, f: [
            _rank_within(w.reshape(4, 6), 0.3),
            _rank_within(np.moveaxis(w, 1, 0).reshape(3, 8), 0.3),
            _rank_within(w.reshape(4, 6), 0.3),
        ],
    ),
    _tensor_case(
        "Balancedness-components", M.Balancedness(), lambda w, f: np.ptp([(x**2).sum(axis=0) for x in f], axis=0).max()
    ),
    _tensor_case("TestError-tensor", M.TestError(), lambda w, f: _unseen_of(w, _cube, _places)),
    *(
        ProbeCase(
            f"Margin-{name}",
            M.Margin(name),
            oracle=lambda w, f, size=size: _margin(w) / size(w),
            problem=B.Classification(_POINTS, _LABELS),
        )
        for name, size in _MARGIN_NORMS.items()
    ),
    ProbeCase(
        "DirectionError",
        M.DirectionError(_TARGET),
        oracle=lambda w, f: np.linalg.norm(w / np.linalg.norm(w) - _TARGET / np.sqrt(12)),
    ),
    ProbeCase(
        "HessianEigenvalues-largest",
        M.HessianEigenvalues(3),
        oracle=lambda w, f: np.linalg.eigvalsh(_hessian(f))[:-4:-1],
    ),
    ProbeCase(
        "HessianEigenvalues-least",
        M.HessianEigenvalues(2, "least"),
        oracle=lambda w, f: np.linalg.eigvalsh(_hessian(f))[:2],
    ),
    ProbeCase("Sharpness", M.Sharpness(), oracle=lambda w, f: np.linalg.eigvalsh(_hessian(f))[-1]),
    ProbeCase("HessianTrace", M.HessianTrace(), oracle=lambda w, f: np.trace(_hessian(f))),
    ProbeCase(
        "SpectralDensity",
        M.SpectralDensity([-0.5, 0.0, 1.0], 0.3),
        oracle=lambda w, f: norm.pdf(np.array([[-0.5], [0.0], [1.0]]), np.linalg.eigvalsh(_hessian(f)), 0.3).mean(
            axis=1
        ),
    ),
]

DYNAMICS = [
    Case("GradientFlow", D.GradientFlow()),
    Case("GradientFlow-implicit", D.GradientFlow("implicit")),
    Case("GradientDescent", D.GradientDescent(optimizers.make("sgd", 0.02, momentum=0.5))),
    Case("GradientDescent-adam", D.GradientDescent(optimizers.make("adam", 0.01))),
    Case("GradientFlow-stabilized", D.GradientFlow("stabilized")),
    Case("GradientFlow-step-size", D.GradientFlow("explicit", step_size=0.02, momentum=0.5)),
    Case("AdamFlow", D.AdamFlow(0.01, eps=0.1, solver="explicit")),
    Case("LabelNoiseFlow", D.LabelNoiseFlow("explicit", rtol=1e-8)),
    Case("CentralFlow", D.CentralFlow(optimizers.make("rmsprop", 0.02, decay=0.9, initial_scale=0.1), 2)),
    Case("MirrorDescent", D.MirrorDescent(potentials.Euclidean(), 0.02)),
    Case("MirrorFlow", D.MirrorFlow(potentials.HyperbolicEntropy(0.3))),
    Case("SteepestDescent", D.SteepestDescent("l2", 0.05, 0.5)),
    Case("SteepestDescent-sign", D.SteepestDescent("linf", 0.02)),
]


# Compiled whole, and for all tests once: called as they are, each operation would be a program of its own.
_init = eqx.filter_jit(lambda phi, key, scale: phi.init(key, scale))
value = eqx.filter_jit(lambda phi, params: phi(params))
entries = eqx.filter_jit(lambda phi, params, indices: phi.entries(params, indices))


def init(phi: parameterizations.Parameterization, key: jax.Array, scale: float = 1.0) -> Any:
    """Parameters by a compiled program."""
    return _init(phi, key, jnp.asarray(scale))


_compiled = 0


def _on_event(event: str, seconds: float, **details: Any) -> None:
    global _compiled  # noqa: PLW0603 (jax keeps the listener for good)
    _compiled += event == "/jax/core/compile/backend_compile_duration"


jax.monitoring.register_event_duration_secs_listener(_on_event)


@dataclasses.dataclass
class Count:
    """How many programs were compiled."""

    programs: int = 0


@contextlib.contextmanager
def compilations() -> Iterator[Count]:
    """Count what XLA compiles inside."""
    count, before = Count(), _compiled
    yield count
    count.programs = _compiled - before


def assert_same_bits(a: Any, b: Any) -> None:
    """Two PyTrees of the same structure with the same bits in all arrays."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        if eqx.is_array(x):
            np.testing.assert_array_equal(np.asarray(x), np.asarray(y))
        else:
            assert x == y
