from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pytest

from ragkit.records import FloatArray, Passage
from ragkit.serve.grounding.similarity import _PAIRS, Similarity
from ragkit.serve.grounding.units import units_of
from tests.serve.house import make_source

KNOWN = {text: i for i, pair in enumerate(_PAIRS["english"]) for text in pair}


class PlannedEmbedder:
    """Unrelated texts have the cosine `floor`, a question and its answer 1; other texts are `floor` to all."""

    metric: Literal["dot"] = "dot"
    dim = 16
    fingerprint = "planned"

    def __init__(self, floor: float, noise: float = 0.0) -> None:
        self._floor, self._noise = floor, noise

    def embed_queries(self, texts: Sequence[str]) -> FloatArray:
        rows = np.zeros((len(texts), self.dim), np.float32)
        for row, text in zip(rows, texts, strict=True):
            row[0] = np.sqrt(self._floor)
            row[KNOWN.get(text, 8) + 1] = np.sqrt(1 - self._floor)
            row[8] += self._noise * (len(text) % 7)
        return rows * 3  # not of unit length

    def embed_passages(self, passages: Sequence[Passage]) -> FloatArray:
        return self.embed_queries([passage.titled_text for passage in passages])


@pytest.mark.parametrize("floor", [0.0, 0.7])
def test_the_scale_does_not_depend_on_the_models_floor(floor: float) -> None:
    similarity = Similarity(PlannedEmbedder(floor))
    question, answer = _PAIRS["english"][0]
    units = [*units_of(make_source(1, answer)), *units_of(make_source(2, "Something else."))]
    assert similarity.is_trusted("english")
    assert similarity.of_question(question, units, "english") == pytest.approx([1.0, 0.0], abs=1e-5)
    assert similarity.of_sentence(answer, units, "english") == pytest.approx([1.0, 0.0], abs=1e-5)


def test_a_model_that_finds_everything_alike_is_not_trusted() -> None:
    similarity = Similarity(PlannedEmbedder(0.7))
    assert not similarity.is_trusted("german")
    assert not similarity.is_trusted("cjk")
    assert not Similarity(PlannedEmbedder(0.7, noise=0.5)).is_trusted("english")
