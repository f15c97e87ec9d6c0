"""The weight of a reranker, chosen on held-out questions: worked out by hand."""

from __future__ import annotations

import math

import pytest

from ragkit.errors import DataError
from ragkit.training.reranker_weight import RerankedList, choose_weight

SECOND = 1 / math.log2(3)


def listed(retriever: tuple[float, ...], reranker: tuple[float, ...]) -> RerankedList:
    return RerankedList(("a", "b", "c"), retriever, reranker)


def test_the_best_weight_is_taken_and_the_lowest_of_equal_ones() -> None:
    # Both standardise to +-1.2247 and 0. q1: the relevant a has w * -1 + (1 - w) * 1 against b's w: it is first
    # while 1 - 2 w > w, and second up to 1. q2: the relevant b has w against a's 1 - 2 w: first for w > 1/3.
    lists = {"q1": listed((3, 2, 1), (1, 3, 2)), "q2": listed((3, 2, 1), (1, 3, 2))}
    choice = choose_weight(lists, {"q2": {"b": 1}}, 3)
    assert (choice.weight, choice.num_questions, choice.depth) == (0.35, 1, 3)
    assert choice.retriever == pytest.approx(SECOND)
    assert (choice.both, choice.reranker) == (1.0, 1.0)
    only_first = choose_weight(lists, {"q1": {"a": 1}, "q2": {}}, 3)
    assert (only_first.weight, only_first.both, only_first.retriever) == (0.0, 1.0, 1.0)
    assert only_first.reranker == pytest.approx(0.5)


def test_a_difference_has_an_interval_and_a_test() -> None:
    better = {f"q{i}": listed((3, 2, 1), (1, 3, 2)) for i in range(8)}
    choice = choose_weight(better, {name: {"b": 1} for name in better}, 3)
    assert choice.p == pytest.approx(2 / 2**8)
    assert choice.low == pytest.approx(1 - SECOND)
    assert choice.to_json()["weight"] == 0.35


def test_without_sources_nothing_is_chosen() -> None:
    with pytest.raises(DataError, match='none of 1 held-out questions has "sources"'):
        choose_weight({"q": listed((3, 2, 1), (1, 2, 3))}, {"q": {}}, 3)
