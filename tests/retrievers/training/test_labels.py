"""What people judged stands first."""

from __future__ import annotations

import pytest

from ragkit.retrievers.training.examples import TrainingList
from ragkit.retrievers.training.labels import with_labels_first

FOUND = TrainingList("q", ("a", "b", "c", "d"), (9.0, 5.0, 3.0, -1.0))


def test_the_relevant_passage_goes_first_with_the_highest_score() -> None:
    assert with_labels_first(FOUND, {"c"}) == TrainingList("q", ("c", "a", "b", "d"), (9.0, 9.0, 5.0, -1.0))


def test_the_teacher_chooses_among_relevant_ones_and_the_others_are_nearly_as_good() -> None:
    lifted = with_labels_first(FOUND, {"d", "b", "new"})
    assert lifted.passages[0] == "b"
    scores = dict(zip(lifted.passages, lifted.scores, strict=True))
    # 95 % of the way from -1 to 9.
    assert scores == pytest.approx({"b": 9.0, "a": 9.0, "d": 8.5, "new": 8.5, "c": 3.0})
    assert list(lifted.scores) == sorted(lifted.scores, reverse=True)


def test_a_relevant_passage_that_is_the_best_keeps_its_score() -> None:
    assert with_labels_first(FOUND, {"a"}) == FOUND


def test_nothing_was_found() -> None:
    assert with_labels_first(TrainingList("q", (), ()), {"x"}) == TrainingList("q", ("x",), (0.0,))
