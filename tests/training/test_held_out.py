"""The judgement on held-out questions, worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from ragkit.errors import DataError
from ragkit.records import FloatArray, Passage
from ragkit.retrievers.training.examples import TrainingPassage, TrainingQuestion, TrainingSet
from ragkit.training.held_out import HeldOutChange, held_out_change


class Numbers:
    """Texts are numbers; a question is nearest to the passage of its number plus `off`."""

    metric: Literal["cosine"] = "cosine"
    fingerprint = "numbers"
    dim = 2

    def __init__(self, off: int) -> None:
        self._off = off

    def embed_queries(self, texts: Sequence[str]) -> FloatArray:
        return self._on_circle([int(text) + self._off for text in texts])

    def embed_passages(self, passages: Sequence[Passage]) -> FloatArray:
        return self._on_circle([int(passage.text) for passage in passages])

    def _on_circle(self, numbers: Sequence[int]) -> FloatArray:
        angles = np.array(numbers) * 0.1
        return np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)


DATA = TrainingSet(
    {f"p{n}": TrainingPassage(f"p{n}", str(n)) for n in range(8)},
    {f"q{n}": TrainingQuestion(f"q{n}", str(n), sources=(f"p{n}",)) for n in range(8)},
    (),
)


def test_means_and_difference_by_hand() -> None:
    names = [f"q{n}" for n in range(6)]
    change = held_out_change(DATA, names, Numbers(2), Numbers(0), Path())
    # Asked for n + 2, passage n is beaten by n + 2, n + 1 and n + 3; n + 4 is as near, but its key comes later.
    at_four = 1 / math.log2(5)
    assert (change.num_questions, change.num_passages) == (6, 8)
    assert change.trained == 1.0
    assert change.base == pytest.approx(at_four, abs=0.03)
    assert change.difference == pytest.approx(1 - change.base)
    assert change.is_better
    # All six signs alike, or all others: 2 of 64.
    assert change.p == pytest.approx(2 / 64)
    back = held_out_change(DATA, names, Numbers(0), Numbers(2), Path())
    assert not back.is_better
    assert back.difference == pytest.approx(-change.difference)


def test_no_difference_is_not_better() -> None:
    change = held_out_change(DATA, ["q0", "q1"], Numbers(0), Numbers(0), Path())
    assert (change.difference, change.low, change.high, change.p) == (0.0, 0.0, 0.0, 1.0)
    assert not change.is_better
    assert change.to_json()["difference"] == 0.0


def test_questions_whose_sources_are_not_there_cannot_judge() -> None:
    data = TrainingSet(DATA.passages, {"q": TrainingQuestion("q", "1", sources=("elsewhere",))}, ())
    with pytest.raises(DataError, match='none of 1 held-out questions has "sources"'):
        held_out_change(data, ["q"], Numbers(0), Numbers(0), Path())


def test_better_is_an_interval_above_zero() -> None:
    assert HeldOutChange(9, 9, 0.1, 0.2, 0.001, 0.2, 0.04).is_better
    assert not HeldOutChange(9, 9, 0.1, 0.2, 0.0, 0.2, 0.04).is_better
