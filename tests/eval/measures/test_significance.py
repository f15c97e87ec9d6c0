from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragkit.errors import DataError
from ragkit.eval.measures.significance import (
    Interval,
    bootstrap_difference,
    bootstrap_interval,
    holm,
    paired_randomization,
    randomization_p,
)


def enumerated(a, b):
    """The share of all sign flips whose mean is as far from 0; in whole numbers, so that no rounding counts."""
    differences = [round(1000 * (x - y)) for x, y in zip(a, b, strict=True)]
    observed = abs(sum(differences))
    flips = list(product((-1, 1), repeat=len(differences)))
    far = sum(abs(sum(s * d for s, d in zip(flip, differences, strict=True))) >= observed for flip in flips)
    return far / len(flips)


@pytest.mark.parametrize("seed", range(8))
def test_p_of_ten_queries_is_that_of_all_sign_flips(seed):
    rng = np.random.default_rng(seed)
    # Thousandths, few enough distinct ones that many flips have the very same mean.
    a, b = (rng.integers(0, 6, 10) * 100 / 1000 for _ in range(2))
    assert paired_randomization(a, b) == pytest.approx(enumerated(a, b), abs=1e-15)


def test_p_by_hand():
    # Of the eight signs of 1, 2, 3, only +++ and --- reach a sum of 6.
    assert paired_randomization([1, 2, 3], [0, 0, 0]) == 0.25
    # Sums of (0.1, 0.2, -0.3) are +-0.6, +-0.4, +-0.2 and 0: all are at least as far as 0, whatever rounding says.
    assert paired_randomization([0.1, 0.2, 0.0], [0.0, 0.0, 0.3]) == 1.0
    assert paired_randomization([0.5], [0.25]) == 1.0


def test_queries_that_do_not_differ_leave_p_exact():
    # 1000 queries, 4 of which differ, all one way: 2 of 16 signs are as far.
    a = np.full(1000, 0.5)
    b = a.copy()
    b[::250] += [0.1, 0.2, 0.3, 0.4]
    assert paired_randomization(a, b) == 2 / 16


def test_equal_values_are_no_evidence():
    assert paired_randomization([0.3] * 50, [0.3] * 50) == 1.0


def test_many_queries_are_sampled_and_p_is_never_0():
    a = np.linspace(0, 1, 2000)
    assert paired_randomization(a, a + 0.5) == 1 / 100_000
    assert paired_randomization(a, a + 0.5, resamples=99) == 1 / 100


def test_p_is_that_of_scipys_permutation_test():
    from scipy.stats import permutation_test

    for size in (2, 9, 12):
        row = np.random.default_rng(size).normal(0.3, 1, size)
        expected = permutation_test((row,), np.mean, permutation_type="samples", n_resamples=np.inf)
        assert paired_randomization(row, np.zeros(size)) == pytest.approx(expected.pvalue, abs=1e-15)


def test_sampled_p_agrees_with_the_t_test_where_differences_are_normal():
    from scipy.stats import ttest_1samp

    differences = np.random.default_rng(3).normal(0.05, 1, 1000)
    p = paired_randomization(differences, np.zeros(1000))
    expected = ttest_1samp(differences, 0).pvalue
    # Four standard errors of a share of 99,999.
    assert abs(p - expected) < 4 * (expected * (1 - expected) / 99_999) ** 0.5


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=30), st.integers(0, 3))
def test_p_is_symmetric_and_repeats_with_its_seed(pairs, seed):
    a, b = zip(*pairs, strict=True)
    p = paired_randomization(a, b, seed=seed, resamples=199)
    assert 0 < p <= 1
    assert p == paired_randomization(b, a, seed=seed, resamples=199)


def test_rows_together_are_as_rows_alone():
    rows = np.random.default_rng(5).normal(0.1, 1, (4, 40))
    rows[1, 5:] = 0
    rows[2] = 0
    together = randomization_p(rows, resamples=499)
    alone = [paired_randomization(row, np.zeros(40), resamples=499) for row in rows]
    assert together == pytest.approx(alone, abs=1e-15)


def test_under_the_null_hypothesis_one_in_twenty_is_rejected():
    # Skewed scores with many ties, as of queries; both systems draw from the same.
    from scipy.stats import binom

    rng = np.random.default_rng(20)
    pairs = rng.beta(0.4, 0.6, (400, 2, 30)) * (rng.random((400, 2, 30)) < 0.8)
    rejected = sum(paired_randomization(a, b, resamples=999) <= 0.05 for a, b in pairs)
    # 99 % of binomial (400, 0.05): 10 to 32.
    low, high = binom.interval(0.99, 400, 0.05)
    assert (low, high) == (10, 32)
    assert low <= rejected <= high


def test_holm_by_hand():
    # Sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1: 0.02, 0.03, 0.06, 0.04, the last not below the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02], abs=1e-15)
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


def test_bootstrap_of_two_values_by_hand():
    # Of two draws from (0, 1) the means 0, 0.5, 1 come with 1/4, 1/2, 1/4: 95 % need both ends.
    assert bootstrap_interval([0, 1]) == Interval(0.0, 1.0)
    # Half of the means: between 0 and 1 at the quartiles, where the steps lie; 40 % stay at 0.5.
    assert bootstrap_interval([0, 1], confidence=0.4) == Interval(0.5, 0.5)


def test_bootstrap_of_equal_values_is_that_value():
    assert bootstrap_interval([0.25] * 7) == Interval(0.25, 0.25)
    assert bootstrap_interval([0.0] * 3) == Interval(0.0, 0.0)
    assert bootstrap_difference([0.1, 0.2, 0.3], [0.4, 0.5, 0.6]).low == pytest.approx(0.3)


def test_bootstrap_follows_the_normal_interval_where_values_are_normal():
    values = np.random.default_rng(7).normal(3, 2, 4000)
    half = 1.959964 * values.std(ddof=1) / 4000**0.5
    found = bootstrap_interval(values)
    assert found.low == pytest.approx(values.mean() - half, abs=0.05 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.05 * half)
    assert found == bootstrap_interval(values, seed=0)
    assert found != bootstrap_interval(values, seed=1)


def test_the_difference_is_of_pairs():
    # Values vary by 1, differences hardly: the interval is that of the differences, b - a.
    a = np.linspace(0, 1, 200)
    b = a + 0.1 + 0.001 * (-1) ** np.arange(200)
    found = bootstrap_difference(a, b)
    assert 0.0998 < found.low < 0.1 < found.high < 0.1002


def test_intervals_cover_the_mean_as_often_as_they_say():
    # 400 samples of 40 skewed values with mean 0.4; 95 % +- three standard errors of the share (3.3 %), BCa at
    # this size being known to cover up to two points less.
    rng = np.random.default_rng(11)
    found = [bootstrap_interval(row, resamples=1000) for row in rng.beta(0.4, 0.6, (400, 40))]
    assert 0.95 - 0.033 - 0.02 <= np.mean([one.low <= 0.4 <= one.high for one in found]) <= 0.95 + 0.033


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ([0.1, 0.2], [0.1], "(2 and 1|1 and 2) values cannot be paired"),
        ([], [], "at least one query"),
        ([0.1, float("nan")], [0.1, 0.2], "1 of 2 values are not finite"),
    ],
)
def test_what_does_not_pair_is_refused(a, b, message):
    with pytest.raises(DataError, match=message):
        paired_randomization(a, b)
    with pytest.raises(DataError, match=message):
        bootstrap_difference(a, b)
