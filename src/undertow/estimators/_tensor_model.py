"""What ``TensorCompleter`` fits: sums of outer products, over axes as they are or taken together, as far as they pay.

A tensor may be of low rank with all axes apart, or only with some of them taken as one: a picture in many colours is no
sum of few outer products of rows, columns and colours, but one of pictures and colours. Held-out entries choose among
the ways to group the axes, and whether the axes' effects are taken out first; what does best is stacked on a baseline.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterator

import numpy as np
from scipy.optimize import nnls

from ..training._progress import Report
from ._tensor_bayes import Products, Search, search, start
from ._tensor_effects import Axes, TensorEffects, fibers, fit_tensor_effects, joint, single_axes
from ._tensor_sums import Entries

Groups = tuple[Axes, ...]

ROUNDING = 1e-13
"""Entries whose deviation is below this share of their size are all alike."""
FEW = 100_000
"""Entries up to which several initializations are averaged, if it is not said how many, and first trials are longer."""
MEMBERS = 3
SPLITS, ENOUGH = 5, 500
"""Most splits, and held-out entries beyond which no further one is made."""
RANK = 20
TRIAL_RANK = 10
TRIAL_ENOUGH = 200
"""Held-out entries in first trials."""
TRIAL_STEPS = 20, 8
"""Iterations of a first trial with few entries, and with many."""
KEPT = 3
"""How many of the candidates are fitted in full,"""
NEAR = 1.25
"""if their error at first is at most this many times the least."""


ALONE, NOTHING = 0.5, 1e-6
"""Few components are taken alone if their error is at most that share of the others', or this of the deviation."""
LEAST_WEIGHT = 0.01


@dataclasses.dataclass(frozen=True)
class TensorSettings:
    """How a tensor is fitted; as the parameters of ``TensorCompleter``."""

    rank: int | None = None
    members: int | None = None
    group_axes: bool = True
    center: bool | None = None
    validation_fraction: float = 0.1
    patience: int = 5
    max_iter: int = 50
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Part:
    """``weight`` times ``offset + unit * products``, axes taken as one as ``groups`` says; a mean over ``members``."""

    groups: Groups
    offset: TensorEffects | None
    unit: float
    weight: float
    members: tuple[Products, ...]
    shape: tuple[int, ...]

    def at(self, indices: np.ndarray) -> np.ndarray:
        """What each member expects: (members, m)."""
        codes = grouped(indices, self.shape, self.groups)
        offset = 0.0 if self.offset is None else self.offset.at(indices)
        return np.stack([offset + self.unit * member.at(codes) for member in self.members])

    def variance_at(self, indices: np.ndarray) -> np.ndarray:
        """Mean over the members of the variances they expect."""
        codes = grouped(indices, self.shape, self.groups)
        return self.unit**2 * np.mean([member.variance_at(codes) for member in self.members], axis=0)

    def factors(self, unit: float) -> list[np.ndarray]:
        """Those of the first member, whose products are what it adds to the offset, times ``unit``; largest first."""
        member = self.members[0]
        order = member.alive()
        sizes = [np.sqrt(np.mean(mean[:, order] ** 2, axis=0)) for mean in member.means]
        size = (unit * self.unit * np.prod(sizes, axis=0)) ** (1 / len(sizes))
        return [mean[:, order] / own * size for mean, own in zip(member.means, sizes, strict=True)]


@dataclasses.dataclass(frozen=True)
class TensorModel:
    """``base + sum of weight * (part - base)``, in units of ``unit``, and the variance of what the base leaves."""

    unit: float
    base: TensorEffects
    parts: tuple[Part, ...]
    variance: float
    spread: float
    path: np.ndarray

    def at(self, indices: np.ndarray) -> np.ndarray:
        """Expected entries."""
        return self.unit * self._members_at(indices).mean(0)

    def std_at(self, indices: np.ndarray) -> np.ndarray:
        """Standard deviations of entries, their noise included."""
        if not self.parts:
            return np.full(len(indices), self.unit * np.sqrt(self.variance))
        total = sum(part.weight for part in self.parts)
        within = sum(part.weight / total * part.variance_at(indices) for part in self.parts)
        between = self._members_at(indices).var(0)
        return self.unit * self.spread * np.sqrt(within + between)

    def _members_at(self, indices: np.ndarray) -> np.ndarray:
        base = self.base.at(indices)
        found = base[None]
        for part in self.parts:
            found = found + part.weight * (part.at(indices) - base)
        return found


def grouped(indices: np.ndarray, shape: tuple[int, ...], groups: Groups) -> np.ndarray:
    """Indices of a tensor whose axes are taken together."""
    return np.stack([joint(indices, shape, axes) for axes in groups], axis=1)


def lengths(shape: tuple[int, ...], groups: Groups) -> tuple[int, ...]:
    """Its shape."""
    return tuple(math.prod(shape[k] for k in axes) for axes in groups)


def groupings(shape: tuple[int, ...], count: int) -> list[Groups]:
    """All axes apart, and the ways to take some as one that leave two entries or more for each joint index.

    Up to order 4 all ways; beyond, two axes as one, and one axis against the rest.
    """
    order = len(shape)
    apart = single_axes(order)
    if order <= 4:
        ways = list(_partitions(list(range(order))))
    else:
        pairs = itertools.combinations(range(order), 2)
        ways = [(pair, *((k,) for k in range(order) if k not in pair)) for pair in pairs]
        ways += [((k,), tuple(j for j in range(order) if j != k)) for k in range(order)]
    ways = [tuple(sorted(way)) for way in ways if 1 < len(way) < order]
    return [apart] + [
        way for way in ways if all(2 * math.prod(shape[k] for k in axes) <= count for axes in way if len(axes) > 1)
    ]


def _partitions(axes: list[int]) -> Iterator[Groups]:
    if not axes:
        yield ()
        return
    for rest in _partitions(axes[1:]):
        yield ((axes[0],), *rest)
        for k, group in enumerate(rest):
            yield (*rest[:k], (axes[0], *group), *rest[k + 1 :])


@dataclasses.dataclass(frozen=True)
class _Candidate:
    groups: Groups
    centered: bool
    few: bool = False


@dataclasses.dataclass(frozen=True)
class _Fitted:
    """Entries to fit, the additive effects in them, and those held out, if any."""

    indices: np.ndarray
    values: np.ndarray
    shape: tuple[int, ...]
    effects: TensorEffects
    held: np.ndarray
    truth: np.ndarray

    @staticmethod
    def of(indices: np.ndarray, values: np.ndarray, shape: tuple[int, ...], out: np.ndarray | None = None) -> "_Fitted":
        rest = np.ones(len(values), bool)
        if out is not None:
            rest[out] = False
        effects = fit_tensor_effects(indices[rest], values[rest], shape, single_axes(len(shape)))
        return _Fitted(indices[rest], values[rest], shape, effects, indices[~rest], values[~rest])

    def prepared(self, one: _Candidate) -> tuple[Entries, float]:
        """The entries as a candidate takes them, and their unit."""
        left = self.values - self.effects.at(self.indices) if one.centered else self.values
        unit = float(np.sqrt(np.mean(left**2)))
        unit = unit if unit > ROUNDING else 1.0
        codes = grouped(self.indices, self.shape, one.groups)
        return Entries(codes, left / unit, lengths(self.shape, one.groups)), unit

    def searched(
        self, one: _Candidate, rank: int, seed: int, patience: int, limit: int
    ) -> tuple[Search, np.ndarray, float]:
        """A fit, what it expects of the held-out entries, and its unit."""
        entries, unit = self.prepared(one)
        offset = self.effects.at(self.held) if one.centered else 0.0
        codes = grouped(self.held, self.shape, one.groups)
        truth = (self.truth - offset) / unit
        found = search(
            start(entries.shape, rank, seed, few=one.few), entries, codes, truth, patience=patience, limit=limit
        )
        return found, offset + unit * found.found, unit


def fit_tensor(
    indices: np.ndarray, values: np.ndarray, shape: tuple[int, ...], settings: TensorSettings, report: Report
) -> TensorModel:
    """Fit entries ``values`` (m, at least two) at distinct ``indices`` (m x N)."""
    largest = float(np.abs(values).max()) or 1.0
    mean = float((values / largest).mean())
    deviation = float(np.sqrt(np.mean((values / largest - mean) ** 2)))
    if deviation <= ROUNDING:
        base = TensorEffects(mean, (), (), shape)
        return TensorModel(largest, base, (), 0.0, 1.0, np.zeros(1))
    z, unit = values / largest / deviation, largest * deviation
    rank = settings.rank or min(RANK, len(z))
    splits = [_Fitted.of(indices, z, shape, out) for out in _splits(len(z), settings)]
    truth = np.concatenate([split.truth for split in splits])
    terms, base = _baseline(splits, truth)
    chosen = _candidates(splits, shape, rank, settings, report)
    chosen.append(dataclasses.replace(chosen[0], few=True))
    found = []
    for number, one in enumerate(chosen):
        report(0.4 + 0.3 * number / len(chosen), "search")
        found.append(
            [split.searched(one, rank, settings.seed, settings.patience, settings.max_iter) for split in splits]
        )
    guesses = [np.concatenate([guess for _, guess, _ in runs]) for runs in found]
    errors = [float(np.sqrt(np.mean((guess - truth) ** 2))) for guess in guesses]
    if errors[-1] <= ALONE * min(errors[:-1]) + NOTHING:
        chosen, found, guesses = chosen[-1:], found[-1:], guesses[-1:]
    weights = _weights(base, guesses, truth)
    whole = _Fitted.of(indices, z, shape)
    parts = []
    for number, (one, runs, weight) in enumerate(zip(chosen, found, weights, strict=True)):
        if weight > 0:
            report(0.7 + 0.3 * number / len(chosen), "fit")
            parts.append(_part(whole, one, runs, float(weight), rank, settings))
    used = [
        (part.weight, runs)
        for part, runs in zip(parts, [r for r, w in zip(found, weights, strict=True) if w > 0], strict=True)
    ]
    left = truth - base - sum(w * (g - base) for w, g in zip(weights, guesses, strict=True))
    variance, spread = float(np.mean(left**2)), 1.0
    if parts:
        expected = sum(
            w * _held_variance(splits, part.groups, runs) for part, (w, runs) in zip(parts, used, strict=True)
        )
        spread = float(np.sqrt(np.mean(left**2 / (expected / sum(w for w, _ in used))))) or 1.0
    path = found[int(np.argmax(weights))][0][0].path if found else np.zeros(1)
    return TensorModel(unit, fit_tensor_effects(indices, z, shape, terms), tuple(parts), variance, spread, path)


def _held_variance(splits: list[_Fitted], groups: Groups, runs: list[tuple[Search, np.ndarray, float]]) -> np.ndarray:
    codes = [grouped(split.held, split.shape, groups) for split in splits]
    return np.concatenate(
        [unit**2 * one.model.variance_at(code) for (one, _, unit), code in zip(runs, codes, strict=True)]
    )


def _splits(count: int, settings: TensorSettings) -> list[np.ndarray]:
    """Which entries are held out: at random, in as many splits as it takes to have enough of them."""
    draws = np.random.default_rng(settings.seed)
    held = max(1, round(settings.validation_fraction * count))
    return [draws.permutation(count)[:held] for _ in range(min(SPLITS, -(-ENOUGH // held)))]


def _baseline(splits: list[_Fitted], truth: np.ndarray) -> tuple[tuple[Axes, ...], np.ndarray]:
    """The terms that predict held-out entries best: none, those of the axes, or of the fibers too; and how they do."""
    shape = splits[0].shape
    tried = []
    for terms in ((), single_axes(len(shape)), fibers(shape, len(splits[0].values))):
        guess = np.concatenate(
            [fit_tensor_effects(one.indices, one.values, shape, terms).at(one.held) for one in splits]
        )
        tried.append((float(np.mean((guess - truth) ** 2)), terms, guess))
    _, terms, guess = min(tried, key=lambda one: one[0])
    return terms, guess


def _candidates(
    splits: list[_Fitted], shape: tuple[int, ...], rank: int, settings: TensorSettings, report: Report
) -> list[_Candidate]:
    """The groupings, with or without effects, that do best in short trials."""
    count = len(splits[0].values)
    ways = groupings(shape, count) if settings.group_axes else [single_axes(len(shape))]
    steps = TRIAL_STEPS[count > FEW]
    splits = splits[: -(-TRIAL_ENOUGH // len(splits[0].truth))]

    def tried(candidates: list[_Candidate], begin: float) -> list[tuple[float, _Candidate]]:
        found = []
        for number, one in enumerate(candidates):
            report(begin + 0.2 * number / len(candidates), "search")
            runs = [split.searched(one, min(rank, TRIAL_RANK), settings.seed, steps, steps) for split in splits]
            errors = np.concatenate([guess - split.truth for (_, guess, _), split in zip(runs, splits, strict=True)])
            found.append((float(np.sqrt(np.mean(errors**2))), one))
        return _nearest(found)

    near = tried([_Candidate(groups, bool(settings.center)) for groups in ways], 0.0)
    if settings.center is None:
        near = _nearest(near + tried([_Candidate(one.groups, True) for _, one in near], 0.2))
    return [one for _, one in near]


def _nearest(found: list[tuple[float, _Candidate]]) -> list[tuple[float, _Candidate]]:
    found = sorted(found, key=lambda one: one[0])
    return [one for one in found[:KEPT] if one[0] <= NEAR * found[0][0]]


def _weights(base: np.ndarray, guesses: list[np.ndarray], truth: np.ndarray) -> np.ndarray:
    """How much of each candidate's difference from the baseline is kept."""
    differences = np.stack([guess - base for guess in guesses], axis=1)
    weights = nnls(differences, truth - base)[0]
    weights[weights < LEAST_WEIGHT] = 0
    weights /= max(1.0, weights.sum())  # in all no more than one of them: more is what fits noise
    added = differences @ weights
    squares = float(added @ added)
    if squares == 0:
        return np.zeros(len(weights))
    # Two standard errors less than fits best: several were tried, and what is within noise is left to the baseline.
    error = float(np.sqrt(np.sum((added * (truth - base - added)) ** 2)))
    return weights * float(np.clip((added @ (truth - base) - 2 * error) / squares, 0, 1))


def _part(
    whole: _Fitted,
    one: _Candidate,
    runs: list[tuple[Search, np.ndarray, float]],
    weight: float,
    rank: int,
    settings: TensorSettings,
) -> Part:
    """A candidate fitted to all entries, from several initializations for as long as paid on the held-out ones."""
    entries, unit = whole.prepared(one)
    members = settings.members or (MEMBERS if len(whole.values) <= FEW else 1)
    steps = max(1, round(float(np.median([run.steps for run, _, _ in runs]))))
    # Where it took long to find, it goes on from there.
    begins: list[tuple[Products, int]] = [(runs[0][0].model, max(3, steps // 4))] if len(runs) == 1 else []
    begins += [(start(entries.shape, rank, settings.seed + k, few=one.few), steps) for k in range(len(begins), members)]
    found = []
    for begin, count in begins:
        model = begin
        for _ in range(count):
            model = model.improved(entries)
        found.append(model)
    return Part(one.groups, whole.effects if one.centered else None, unit, weight, tuple(found), whole.shape)
