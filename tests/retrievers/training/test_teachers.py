"""Rerankers and embedders as teachers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ragkit.errors import DataError
from ragkit.records import FloatArray, Hit, Passage, Query
from ragkit.retrievers.training.examples import TrainingPassage
from ragkit.retrievers.training.passage_records import as_passage
from ragkit.retrievers.training.teachers import EmbedderTeacher, RerankerTeacher
from tests.fakes import HashEmbedder

CRANE, BARGE = TrainingPassage("p1", "The crane stands.", "Birds"), TrainingPassage("p2", "Barges drift.")


class ByLength:
    """A reranker that likes long passages, and says so in another order than asked."""

    def rerank(self, query: Query, hits: Sequence[Hit]) -> list[Hit]:
        scored = [Hit(float(len(hit.passage.titled_text) + len(query.text)), hit.passage) for hit in hits]
        return sorted(scored, key=lambda hit: -hit.score)


def test_a_rerankers_scores_come_in_the_order_of_the_list() -> None:
    teacher = RerankerTeacher("long", ByLength())
    assert teacher.score(["ab", "abc"], [[BARGE, CRANE], [CRANE]]) == [[15.0, 25.0], [26.0]]


class Counting(HashEmbedder):
    def __init__(self) -> None:
        super().__init__()
        self.embedded: list[str] = []

    def embed_passages(self, passages: Sequence[Passage]) -> FloatArray:
        self.embedded += [passage.titled_text for passage in passages]
        return super().embed_passages(passages)


def test_an_embedder_embeds_each_passage_once() -> None:
    embedder = Counting()
    teacher = EmbedderTeacher("hash", embedder)
    scores = teacher.score(["a crane", "a barge"], [[CRANE, BARGE], [BARGE]])
    scores += teacher.score(["cranes"], [[CRANE]])
    assert embedder.embedded == ["Birds The crane stands.", "Barges drift."]
    plain = HashEmbedder()
    asked = plain.embed_queries(["a crane", "a barge", "cranes"])
    texts = plain.embed_queries(embedder.embedded)
    expected = [[asked[0] @ texts[0], asked[0] @ texts[1]], [asked[1] @ texts[1]], [asked[2] @ texts[0]]]
    for found, wanted in zip(scores, expected, strict=True):
        assert found == pytest.approx(wanted)
    assert scores[0][0] > scores[0][1]


def test_a_picture_is_loaded_from_the_folder(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 3), (255, 0, 0, 0)).save(tmp_path / "page.png")
    passage = as_passage(TrainingPassage("p", "", image="page.png"), tmp_path, 7)
    assert passage.image is not None
    assert (passage.key, passage.image.width, passage.image.height) == (7, 4, 3)
    assert np.asarray(passage.image.load()).tolist() == np.full((3, 4, 3), 255).tolist()
    with pytest.raises(DataError, match="picture of passage 'p' cannot be read.*gone.png"):
        as_passage(TrainingPassage("p", "", image="gone.png"), tmp_path)
