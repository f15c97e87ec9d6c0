"""Held-out queries at every depth: what counts as found, and how much is in memory at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pytest
import torch

from ragkit.retrievers.feedback.reformulator import Revision
from ragkit.retrievers.training.lol_students import Asked, FeedbackQuery, FeedbackSet
from ragkit.training.lol_judge import score_depths

NO_VECTOR = np.zeros(0, np.float32)


class Fixed:
    """A `LolStudent` of terms or vectors that searches with a row of its own for each query's number."""

    kind: Literal["sparse"] = "sparse"
    num_tokens, most = 0, 1

    def __init__(self, candidates: torch.Tensor, rows: torch.Tensor) -> None:
        self._candidates, self._rows = candidates, rows
        self.parameters: dict[str, torch.Tensor] = {}
        self.pieces_seen: list[int] = []

    def candidates(self, one: FeedbackSet) -> torch.Tensor:
        return self._candidates

    def unrevised(self, one: FeedbackSet, queries: Sequence[FeedbackQuery]) -> torch.Tensor:
        return self._rows[[int(query.text) for query in queries]]

    def pieces(self, one: FeedbackSet, asked: Sequence[Asked], most_tokens: int) -> list[list[int]]:
        return [list(range(len(asked)))[::-1]]

    def forward(self, one: FeedbackSet, asked: Sequence[Asked]) -> Revision:
        self.pieces_seen.append(len(asked))
        rows = self.unrevised(one, [each.query for each in asked])
        return Revision(rows, rows.sum(dim=1))


def world() -> tuple[torch.Tensor, torch.Tensor, FeedbackSet]:
    """Query 0 has a term of passage 2, which is relevant; query 1 one of passage 1, which is not."""
    candidates = torch.tensor([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]])
    rows = torch.tensor([[0, 0, 1.0], [0, 1.0, 0]])
    queries = tuple(FeedbackQuery(str(i), NO_VECTOR, (0,), (2,)) for i in range(2))
    return candidates, rows, FeedbackSet(np.zeros((3, 0), np.float32), ("", "", ""), queries)


def test_a_passage_without_a_term_of_the_query_is_not_found_but_one_of_a_low_cosine_is() -> None:
    candidates, rows, one = world()
    terms = score_depths(Fixed(candidates.to_sparse(), rows), one, 1.0)
    np.testing.assert_allclose(terms.ndcg, [[1, 0]] * 2)
    vectors = score_depths(Fixed(candidates - 2, rows), one, 1.0)
    assert (vectors.ndcg > 0).all()


def test_how_many_scores_are_in_memory_at_a_time_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    candidates, rows, one = world()
    whole, pieces = Fixed(candidates, rows), Fixed(candidates, rows)
    expected = score_depths(whole, one, 1.0)
    monkeypatch.setattr("ragkit.training.lol_judge._MOST_SCORES", 3)
    found = score_depths(pieces, one, 1.0)
    assert (whole.pieces_seen, pieces.pieces_seen) == ([2, 2], [1, 1, 1, 1])
    for name in ("ndcg", "losses", "guesses"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), atol=1e-6)
