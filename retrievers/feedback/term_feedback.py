"""Feedback on the terms of questions by a trained model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ragkit.protocols import LexicalIndex
from ragkit.records import Hit, Query
from ragkit.retrievers.feedback.term_reformulator import TermReformulator


class TermFeedback:
    """A `Feedback` that revises the terms of queries by a `TermReformulator`.

    Args:
        index: says what the terms of a text are.
        depth: the most first hits that the model is shown; never more than it looks at.
        is_guarded: whether the model chooses by how many of these each query is revised.
    """

    def __init__(self, model: TermReformulator, index: LexicalIndex, depth: int, is_guarded: bool = False) -> None:
        self._model = model
        self._index = index
        self._depth = min(depth, model.most)
        self._is_guarded = is_guarded

    @property
    def num_hits(self) -> int:
        """As `Feedback.num_hits`."""
        return self._depth

    def revise(self, queries: Sequence[Query], found: Sequence[Sequence[Hit]]) -> list[Query]:
        """As `Feedback.revise`; a query of which no term is left stays as it is, too.

        So does one that came with terms of its own: the model reads texts, and would lose them.
        """
        places = [i for i, hits in enumerate(found) if hits and queries[i].terms is None]
        texts = [[hit.passage.titled_text for hit in found[i][: self._depth]] for i in places]
        questions = [queries[i].text for i in places]
        sequences = self._model.sequences(questions, texts, self._index.words) if places else []
        if self._is_guarded and sequences:
            depths = self._model.choose_depths(sequences)
            sequences = [one.first(depth) for one, depth in zip(sequences, depths, strict=True)]
        revised = list(queries)
        for i, one, terms in zip(places, sequences, self._model.revise(sequences) if places else [], strict=True):
            depth = one.tokens.num_passages
            if depth and terms:
                deepest = max(queries[i].feedback_depth, depth)
                revised[i] = replace(queries[i], terms=tuple(terms.items()), feedback_depth=deepest)
        return revised
