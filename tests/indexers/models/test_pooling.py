"""Poolings: values by hand, and what padding may not change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ragkit.indexers.models.pooling import POOLINGS, last_token, mean, weighted_mean

torch = pytest.importorskip("torch")

Pooling = Callable[[Any, Any], Any]


def units(*lengths: int) -> Any:
    """hidden: the i-th token of each input is the i-th unit vector, so that a pooled vector shows its weights."""
    width = max(lengths)
    return torch.eye(width).repeat(len(lengths), 1, 1), torch.tensor(
        [[1] * length + [0] * (width - length) for length in lengths]
    )


def test_weights_of_three_tokens_are_one_two_and_three_sixths():
    assert weighted_mean(*units(3))[0].tolist() == pytest.approx([1 / 6, 2 / 6, 3 / 6])


def test_weights_of_a_mean_are_equal():
    assert mean(*units(4))[0].tolist() == [0.25, 0.25, 0.25, 0.25]


def test_the_last_real_token_is_taken_of_each_input():
    assert last_token(*units(3, 1)).tolist() == [[0, 0, 1], [1, 0, 0]]


def test_padding_is_not_counted():
    assert weighted_mean(*units(3, 2))[1].tolist() == pytest.approx([1 / 3, 2 / 3, 0])
    assert mean(*units(3, 2))[1].tolist() == [0.5, 0.5, 0]


@pytest.mark.parametrize("pool", POOLINGS.values(), ids=POOLINGS.keys())
@pytest.mark.parametrize("before", [0, 2])
def test_padding_on_either_side_changes_nothing_whatever_it_holds(pool: Pooling, before: int):
    hidden = torch.randn(1, 5, 8, generator=torch.Generator().manual_seed(1))
    alone = pool(hidden, torch.ones(1, 5, dtype=torch.int64))
    padded = torch.full((1, 9, 8), float("nan"))
    padded[:, before : before + 5] = hidden
    mask = torch.zeros(1, 9, dtype=torch.int64)
    mask[:, before : before + 5] = 1
    torch.testing.assert_close(pool(padded, mask), alone)


@pytest.mark.parametrize("pool", POOLINGS.values(), ids=POOLINGS.keys())
def test_sums_are_taken_in_float32(pool: Pooling):
    hidden = torch.ones(1, 3000, 2, dtype=torch.float16)
    pooled = pool(hidden, torch.ones(1, 3000, dtype=torch.int64))
    assert pooled.dtype == torch.float32
    assert pooled.tolist() == [[pytest.approx(1, abs=1e-5)] * 2]


@pytest.mark.parametrize("pool", POOLINGS.values(), ids=POOLINGS.keys())
def test_an_input_of_padding_alone_is_an_error(pool: Pooling):
    with pytest.raises(ValueError, match="mask is all 0"):
        pool(torch.ones(1, 2, 2), torch.zeros(1, 2))
