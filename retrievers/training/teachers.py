"""Who scores the passages of lists: a model that is better than the one to be trained, or more patient."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from ragkit.protocols import Embedder, Reranker
from ragkit.records import FloatArray, Hit, Query
from ragkit.retrievers.training.examples import TrainingPassage
from ragkit.retrievers.training.passage_records import as_passage


class Teacher(Protocol):
    """Scores how well passages answer a question; higher is better. name: what lists are said to be scored by."""

    @property
    def name(self) -> str: ...

    def score(self, questions: Sequence[str], lists: Sequence[Sequence[TrainingPassage]]) -> list[list[float]]:
        """For each question a score for each passage of its list."""
        ...


class RerankerTeacher:
    """A `Reranker` as a teacher: a cross-encoder, a server's model, or a language model that says yes or no.

    pictures: the folder that pictures' paths start from.
    """

    def __init__(self, name: str, reranker: Reranker, pictures: Path = Path()) -> None:
        self.name = name
        self._reranker = reranker
        self._pictures = pictures

    def score(self, questions: Sequence[str], lists: Sequence[Sequence[TrainingPassage]]) -> list[list[float]]:
        """As `Teacher.score`."""
        return [self._scores(question, passages) for question, passages in zip(questions, lists, strict=True)]

    def _scores(self, question: str, passages: Sequence[TrainingPassage]) -> list[float]:
        hits = [Hit(0.0, as_passage(passage, self._pictures, key)) for key, passage in enumerate(passages)]
        scores = {hit.passage.key: hit.score for hit in self._reranker.rerank(Query(question), hits)}
        return [scores[key] for key in range(len(passages))]


class EmbedderTeacher:
    """The inner products of a stronger `Embedder`, which embeds each passage once."""

    def __init__(self, name: str, embedder: Embedder, pictures: Path = Path()) -> None:
        self.name = name
        self._embedder = embedder
        self._pictures = pictures
        self._vectors: dict[str, FloatArray] = {}

    def score(self, questions: Sequence[str], lists: Sequence[Sequence[TrainingPassage]]) -> list[list[float]]:
        """As `Teacher.score`."""
        new = {
            passage.id: passage for passages in lists for passage in passages if passage.id not in self._vectors
        }
        rows = self._embedder.embed_passages([as_passage(passage, self._pictures) for passage in new.values()])
        self._vectors.update(zip(new, rows, strict=True))
        asked = self._embedder.embed_queries(questions)
        return [
            [float(question @ self._vectors[passage.id]) for passage in passages]
            for question, passages in zip(asked, lists, strict=True)
        ]
