"""What can be told from a number of facts: intervals, paired differences, tests. NumPy alone.

The unit is the fact. Several wordings of one fact are no independent observations, so each fact counts once, with the
mean of its wordings; to resample facts is then to resample clusters.
"""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    Values = npt.NDArray[np.float64]

LEVEL = 0.95
POWER = 0.8
# Fifty of them lie beyond each end of a 95 % interval.
RESAMPLES = 2000
# The smallest p that can come out is 1 in 10,001.
FLIPS = 10_000
# Differences that are not zero up to which every pattern of signs is looked at: 65,536 of them.
MAX_ENUMERATED = 16
# Resamples that are held at once.
_BLOCK = 64
# Bytes of drawn samples that are kept for the next table: those of 25,000 facts.
_MAX_HELD = 50_000_000
_EQUAL = 1e-9


def resampled_means(values_FC: Values, *, seed: int, resamples: int = RESAMPLES) -> Values:
    """Return the column means of as many bootstrap samples of facts (rows), resamples x columns.

    Args:
        values_FC: facts x columns, without gaps. All columns see the same samples, so that they stay paired.
        seed: the same seed and number of facts draw the same samples.
        resamples: how many.
    """
    facts = len(values_FC)
    held = facts * resamples <= _MAX_HELD
    blocks = _held_draws(facts, seed, resamples) if held else _draws(facts, seed, resamples=resamples)
    return np.concatenate([counts_BF.astype(float) @ values_FC / facts for counts_BF in blocks])


@lru_cache(maxsize=2)
def _held_draws(facts: int, seed: int, resamples: int) -> list[npt.NDArray[np.uint8]]:
    # All tables of a card resample the same facts, and drawing takes longer than all the rest.
    return list(_draws(facts, seed, resamples=resamples))


def _draws(facts: int, seed: int, *, resamples: int) -> Iterator[npt.NDArray[np.uint8]]:
    """How often each fact is drawn in each sample, a block of samples at a time."""
    generator = np.random.default_rng(seed)
    for begin in range(0, resamples, _BLOCK):
        rows = min(_BLOCK, resamples - begin)
        drawn = generator.integers(0, facts, size=(rows, facts), dtype=np.int32)
        drawn += np.arange(rows, dtype=np.int32)[:, None] * np.int32(facts)
        # A byte is enough: that a fact is drawn 256 times has a chance below 1e-500, where there are as many facts.
        yield np.bincount(drawn.ravel(), minlength=rows * facts).reshape(rows, facts).astype(np.uint8)


def intervals(values_FC: Values, *, seed: int, span: tuple[float, float] | None) -> tuple[Values, Values]:
    """Return the ends of the 95 % percentile bootstrap intervals of the column means.

    Args:
        values_FC: facts x columns, without gaps.
        seed: of the bootstrap.
        span: least and highest value that a fact may have, None where there is no limit. A column in which all facts
            are equal has nothing to resample; there the interval holds what so many facts cannot exclude: with n facts
            alike, another kind of fact may still have a share of up to 1 - 0.025 ** (1 / n).
    """
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(resampled_means(values_FC, seed=seed), (tail, 1 - tail), axis=0)
    if span is not None:
        # Clopper and Pearson's limit for n of n.
        unseen = 1 - tail ** (1 / len(values_FC))
        first = values_FC[0]
        alike = np.all(values_FC == first, axis=0)
        low = np.where(alike, first - unseen * (first - span[0]), low)
        high = np.where(alike, first + unseen * (span[1] - first), high)
    return low, high


def mcnemar(better: int, worse: int) -> float:
    """Return the two-sided p of McNemar's exact test.

    Args:
        better: pairs in which only the first is right.
        worse: pairs in which only the second is right.
    """
    pairs, fewer = better + worse, min(better, worse)
    if pairs == 0:
        return 1.0
    # Logarithms: 2 ** pairs is beyond a float from 1,024 pairs on.
    logs = np.array([_log_choose(pairs, count) for count in range(fewer + 1)]) - pairs * math.log(2)
    return min(1.0, 2 * float(np.exp(logs).sum()))


def _log_choose(total: int, count: int) -> float:
    return math.lgamma(total + 1) - math.lgamma(count + 1) - math.lgamma(total - count + 1)


def sign_flips(differences_FC: Values, *, seed: int, flips: int = FLIPS) -> Values:
    """Return the two-sided p of the paired permutation test for each column.

    Were both arms alike, each difference could as well have the other sign. Up to 16 differences that are not zero all
    patterns of signs are counted, above that `flips` random ones, and the observed one with them.

    Args:
        differences_FC: facts x columns, without gaps.
        seed: of the random signs.
        flips: how many random patterns.
    """
    # A hair smaller: the same sum in another order may differ in its last digit, and must count as reached.
    observed = np.abs(differences_FC.sum(axis=0)) * (1 - _EQUAL) - _EQUAL
    facts, columns = differences_FC.shape
    generator = np.random.default_rng(seed)
    reached = np.zeros(columns)
    for begin in range(0, flips, 1000):
        rows = min(1000, flips - begin)
        # A bit for each sign: a whole number for each would use up at least eight times the randomness.
        bits = np.frombuffer(generator.bytes(rows * facts // 8 + 1), dtype=np.uint8)
        signs_RF = np.unpackbits(bits, count=rows * facts).reshape(rows, facts) * 2.0 - 1.0
        reached += (np.abs(signs_RF @ differences_FC) >= observed).sum(axis=0)
    # The observed pattern is one of those that could be, so p is never 0 (Phipson and Smyth 2010).
    p = (reached + 1) / (flips + 1)
    for column in range(columns):
        counted = differences_FC[:, column][differences_FC[:, column] != 0]
        if len(counted) <= MAX_ENUMERATED:
            p[column] = _all_signs(counted, float(observed[column]))
    return p


def _all_signs(differences: Values, observed: float) -> float:
    sums = np.zeros(1)
    for difference in differences:
        sums = np.concatenate([sums + difference, sums - difference])
    return float((np.abs(sums) >= observed).mean())


def paired_p(differences_FC: Values, *, seed: int) -> Values:
    """Return a two-sided p for each column: McNemar's exact test where all differences are whole (right or wrong per
    fact), else the permutation test.
    """
    whole = np.all(np.isin(differences_FC, (-1.0, 0.0, 1.0)), axis=0)
    p = np.ones(differences_FC.shape[1])
    for column in np.flatnonzero(whole):
        values = differences_FC[:, column]
        p[column] = mcnemar(int((values == 1).sum()), int((values == -1).sum()))
    if not whole.all():
        p[~whole] = sign_flips(differences_FC[:, ~whole], seed=seed)
    return p


def holm(p_values: Values) -> Values:
    """Return p-values corrected for their number by Holm's step-down method, in the order given."""
    order = np.argsort(p_values, kind="stable")
    steps = np.arange(len(p_values), 0, -1)
    corrected = np.empty(len(p_values))
    # The running maximum keeps the order: a larger p is never corrected to a smaller one.
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(steps * p_values[order]))
    return corrected


def facts_needed(differences: Values) -> int | None:
    """Return how many facts would show a mean difference as large as this one with a power of 80 % at 5 %, two-sided.

    Connor's formula (Biometrics 43:207-211, 1987) for paired proportions, in which the share of discordant pairs is the
    mean square of the differences, so that it holds for scores between 0 and 1 as well. None for a difference of zero.
    """
    mean, square = float(differences.mean()), float((differences**2).mean())
    if abs(mean) < _EQUAL:
        return None
    normal = NormalDist()
    spread = normal.inv_cdf(POWER) * math.sqrt(max(0.0, square - mean**2))
    return math.ceil(((normal.inv_cdf((1 + LEVEL) / 2) * math.sqrt(square) + spread) / mean) ** 2)
