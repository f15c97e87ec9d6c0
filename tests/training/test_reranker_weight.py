"""The weight of a reranker, chosen on held-out questions: worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from ragkit.config import Config
from ragkit.errors import DataError
from ragkit.eval.runs.run_folder import RunFolder
from ragkit.records import Hit, Query
from ragkit.retrievers.training.examples import TrainingSet
from ragkit.training.reranker_weight import RerankedList, choose_weight, weigh
from tests.retrievers.training.toy_rankings import toy_rankings

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
    only_first = choose_weight(lists, {"q1": {"a": 1}}, 3)
    assert (only_first.weight, only_first.both, only_first.retriever) == (0.0, 1.0, 1.0)
    assert only_first.reranker == pytest.approx(0.5)


def test_a_difference_has_an_interval_and_a_test() -> None:
    better = {f"q{i}": listed((3, 2, 1), (1, 3, 2)) for i in range(8)}
    choice = choose_weight(better, {name: {"b": 1} for name in better}, 3)
    assert choice.p == pytest.approx(2 / 2**8)
    assert choice.low == pytest.approx(1 - SECOND)
    assert choice.to_json()["weight"] == 0.35


class Unasked:
    def rerank(self, query: Query, hits: Sequence[Hit]) -> list[Hit]:
        raise AssertionError(query)


def test_without_sources_nothing_is_reranked(tmp_path: Path) -> None:
    data = toy_rankings(3)
    unknown = {name: replace(question, sources=("gone",)) for name, question in data.questions.items()}
    data = TrainingSet(data.passages, unknown, data.lists)
    with (
        RunFolder(tmp_path / "run", {}, {}) as kept,
        pytest.raises(DataError, match='none of 3 questions has "sources" among the passages'),
    ):
        weigh(Unasked(), data, list(unknown), tmp_path, Config(), kept, pytest.fail)
