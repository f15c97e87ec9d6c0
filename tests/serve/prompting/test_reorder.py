from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit.serve.prompting.reorder import (
    document_positions,
    ends_positions,
    in_order,
    inverse,
    rank_positions,
    reverse_positions,
)
from tests.serve.house import make_hit

GOLDEN = Path(__file__).parents[2] / "golden" / "longcontext" / "order_tables.json"
TABLES: list[dict[str, Any]] = json.loads(GOLDEN.read_text())["tables"]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: f"k={table['k']}")
def test_the_golden_tables(table: dict[str, Any]) -> None:
    k = table["k"]
    hits = [make_hit("a.txt", "x")] * k
    assert list(ends_positions(k)) == table["position_of_rank"]
    assert list(in_order("ends", hits)) == table["rank_at_position"]
    assert list(in_order("rank", hits)) == table["rank_order"]
    assert list(in_order("reverse", hits)) == table["reverse_order"]
    if k % 2:
        assert table["langchain_style_long_context_reorder"] == table["rank_at_position"]


@given(st.integers(0, 1200))
def test_ends_is_a_permutation_with_the_best_at_both_ends(k: int) -> None:
    ranks = inverse(ends_positions(k))
    assert sorted(ranks) == list(range(1, k + 1))
    # The formula of the paper as slices: odd ranks forwards, then even ranks backwards.
    everyone = list(range(1, k + 1))
    assert list(ranks) == everyone[0::2] + everyone[1::2][::-1]
    lowest = ranks.index(k) if k else 0
    assert all(a < b for a, b in pairwise(ranks[: lowest + 1]))
    assert all(a > b for a, b in pairwise(ranks[lowest:]))


@given(st.permutations(range(1, 9)))
def test_the_inverse_of_the_inverse_is_the_permutation(permutation: list[int]) -> None:
    assert list(inverse(inverse(permutation))) == permutation
    assert [permutation[rank - 1] for rank in inverse(permutation)] == list(range(1, 9))


def test_nothing_and_one() -> None:
    for positions in (rank_positions, reverse_positions, ends_positions):
        assert (positions(0), positions(1)) == ((), (1,))


def test_document_order_is_by_document_page_and_place() -> None:
    hits = [
        make_hit("b.txt", "x", page=2),
        make_hit("b.txt", "x", page=10),
        make_hit("a.txt", "x", page=3, start=50),
        make_hit("a.txt", "x", page=3, start=7),
    ]
    assert in_order("document", hits) == (4, 3, 1, 2)
    assert document_positions(hits) == (3, 4, 2, 1)
