"""Published worked examples, and slow ways to the same numbers."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragtune.evaluation.statistics import (
    facts_needed,
    holm,
    intervals,
    mcnemar,
    paired_p,
    resampled_means,
    sign_flips,
)


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=float)[:, None]


def test_mcnemar_of_airway_responsiveness() -> None:
    """Fagerland, Lydersen, Laake (BMC Med Res Methodol 13:91, 2013), table 1: 1 and 7 discordant pairs, p 0.070."""
    assert mcnemar(1, 7) == pytest.approx(2 * (1 + 8) / 2**8)
    assert round(mcnemar(1, 7), 3) == 0.070


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_the_exact_binomial_sum(better: int, worse: int) -> None:
    total = better + worse
    tail = sum(math.comb(total, k) for k in range(min(better, worse) + 1))
    assert mcnemar(better, worse) == pytest.approx(min(1.0, 2 * tail / 2**total))


def test_mcnemar_of_thousands_of_pairs_does_not_overflow() -> None:
    """2 ** 6000 is beyond a float; the normal approximation without correction says 0.0098."""
    assert mcnemar(3100, 2900) == pytest.approx(math.erfc(199 / math.sqrt(6000) / math.sqrt(2)), rel=0.01)


def test_the_permutation_test_of_darwins_plants() -> None:
    """Fisher, The Design of Experiments (1935), section 21: of 32,768 patterns 1,726 reach the sum of 314: p 0.0527."""
    darwin = column(49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48)
    assert sign_flips(darwin, seed=7)[0] == pytest.approx(1726 / 32768)


@given(st.lists(st.sampled_from([-1.0, -2 / 3, -0.5, -1 / 3, 0.0, 1 / 3, 0.5, 2 / 3, 1.0]), min_size=1, max_size=9))
def test_all_patterns_of_signs_by_brute_force(differences: list[float]) -> None:
    """Zeros say nothing; sums that are equal but for rounding count as equal."""
    observed = abs(sum(differences))
    signs = list(itertools.product((1, -1), repeat=len(differences)))
    reached = sum(abs(sum(s * d for s, d in zip(row, differences, strict=True))) >= observed - 1e-9 for row in signs)
    assert sign_flips(column(*differences), seed=1)[0] == pytest.approx(reached / len(signs))


def test_random_signs_come_near_to_the_exact_test() -> None:
    """Of right and wrong the permutation test is McNemar's: 40 against 20 in 200 facts."""
    differences = column(*[1.0] * 40, *[-1.0] * 20, *[0.0] * 140)
    exact = mcnemar(40, 20)
    assert paired_p(differences, seed=7)[0] == pytest.approx(exact)
    assert sign_flips(differences, seed=7)[0] == pytest.approx(exact, abs=0.005)


def test_holm_of_four_tests() -> None:
    """The example of Wikipedia's article on the Holm-Bonferroni method: two of four are rejected at 0.05."""
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_step_by_step(p_values: list[float]) -> None:
    """Smallest first, times the number that is left, never less than the one before, never more than 1."""
    expected, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, (len(p_values) - rank) * p_values[index])
        expected[index] = min(1.0, highest)
    assert holm(np.array(p_values)) == pytest.approx(expected)


def test_facts_needed_for_paired_proportions() -> None:
    """Connor (Biometrics 43:207-211, 1987): discordant 0.45 and 0.05 want 23 pairs; 0.30 and 0.15 want 155."""
    assert facts_needed(np.array([1.0] * 45 + [-1.0] * 5 + [0.0] * 50)) == 23
    assert facts_needed(np.array([1.0] * 30 + [-1.0] * 15 + [0.0] * 55)) == 155
    assert facts_needed(np.array([1.0, -1.0])) is None


def test_the_bootstrap_of_efrons_mice() -> None:
    """Efron and Tibshirani, An Introduction to the Bootstrap (1993), table 2.1: mean 86.86, standard error 23.36."""
    mice = column(94, 197, 16, 38, 99, 141, 23)
    means = resampled_means(mice, seed=7, resamples=20_000)
    assert means.mean() == pytest.approx(86.86, abs=0.6)
    assert means.std() == pytest.approx(23.36, abs=0.4)


def test_columns_see_the_same_samples() -> None:
    """So that the interval of a difference is that of paired facts; a loop over single facts finds the same means."""
    values = np.random.default_rng(3).random((30, 2))
    both = resampled_means(values, seed=7)
    drawn = np.random.default_rng(7).integers(0, 30, size=(64, 30), dtype=np.int32)
    slow = [[sum(values[fact, place] for fact in row) / 30 for place in (0, 1)] for row in drawn]
    assert both[:64] == pytest.approx(np.array(slow))
    assert resampled_means(values[:, :1] - values[:, 1:], seed=7)[:, 0] == pytest.approx(both[:, 0] - both[:, 1])


def test_no_interval_of_facts_that_are_all_alike_is_a_point() -> None:
    """20 of 20 right do not exclude a share of 0.168 wrong: (1 - 0.168) ** 20 = 0.025 (Clopper and Pearson 1934)."""
    low, high = intervals(np.ones((20, 1)), seed=7, span=(0, 1))
    assert (low[0], high[0]) == (pytest.approx(0.025 ** (1 / 20)), 1.0)
    low, high = intervals(np.zeros((20, 1)), seed=7, span=(-1, 1))
    assert (low[0], high[0]) == pytest.approx((-0.1684, 0.1684), abs=1e-4)


@pytest.mark.parametrize("share", [0.5, 0.8])
def test_the_intervals_hold_what_they_promise(share: float) -> None:
    """Of 500 studies with 60 facts of three wordings each, about 95 % hold the truth; resampled by row, fewer would."""
    generator = np.random.default_rng(11)
    # Facts differ: whoever knows one wording tends to know the others.
    easy = generator.beta(2 * share, 2 * (1 - share), size=(60, 500))
    values = (generator.random((3, 60, 500)) < easy).mean(axis=0)
    low, high = intervals(values, seed=7, span=(0, 1))
    assert 0.92 <= np.mean((low <= share) & (share <= high)) <= 0.98
