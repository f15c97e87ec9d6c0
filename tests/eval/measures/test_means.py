"""Means and their intervals."""

from __future__ import annotations

import numpy as np
import pytest

from ragkit.eval.measures.means import mean_of


def test_the_interval_of_equal_values_is_the_value():
    found = mean_of([0.25] * 9)
    assert (found.value, found.low, found.high, found.num_questions) == (0.25, 0.25, 0.25, 9)


def test_of_shares_it_is_wilsons():
    # Three of three: 3 / (3 + 1.96^2) at the low end (Wilson 1927).
    found = mean_of([1.0, 1.0, 1.0])
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(3 / (3 + 1.959964**2), abs=1e-6)
    assert mean_of([0.0]).high == pytest.approx(1.959964**2 / (1 + 1.959964**2), abs=1e-6)


def test_of_many_values_it_is_that_of_the_normal_distribution():
    values = np.random.default_rng(5).normal(3, 2, 2000)
    found = mean_of(list(values))
    half = 1.96 * values.std() / np.sqrt(2000)
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.01)


def test_there_is_no_mean_of_nothing():
    with pytest.raises(ValueError, match="no value"):
        mean_of([])
