"""Candidates of several retrievers, scores of several teachers, and what is no negative."""

from __future__ import annotations

import pytest

from ragkit.retrievers.training.examples import TrainingList, TrainingPassage
from ragkit.retrievers.training.negatives import DenoiseCounts, denoised, merged, standardised_sum


def test_one_run_keeps_its_scores() -> None:
    assert merged([{"a": 3.0, "b": 2.0, "c": 1.0}], 2) == {"a": 3.0, "b": 2.0}


def test_runs_are_merged_by_reciprocal_ranks_with_60() -> None:
    found = merged([{"a": 9.0, "b": 8.0}, {"b": 0.3, "c": 0.2}], 10)
    assert list(found) == ["b", "a", "c"]
    assert found == pytest.approx({"b": 1 / 62 + 1 / 61, "a": 1 / 61, "c": 1 / 62})
    assert list(merged([{"a": 9.0, "b": 8.0}, {"b": 0.3, "c": 0.2}], 1)) == ["b"]


def test_teachers_of_different_scales_count_alike() -> None:
    assert standardised_sum([[3.0, 1.0]]) == [3.0, 1.0]
    both = standardised_sum([[0.1, 0.2, 0.3], [300.0, 200.0, 100.0]])
    assert both == pytest.approx([0.0, 0.0, 0.0], abs=1e-12)
    # The second tells nothing apart; the first has deviation 1.
    assert standardised_sum([[1.0, 3.0], [5.0, 5.0]]) == pytest.approx([-1.0, 1.0])


PASSAGES = {
    name: TrainingPassage(name, text)
    for name, text in {
        "good": "The crane stands.",
        "copy": "the  CRANE\nstands.",
        "near": "A crane stood still.",
        "edge": "Herons stand.",
        "far": "Barges drift.",
    }.items()
}
SCORED = TrainingList("q", ("good", "copy", "near", "edge", "far"), (0.5, 0.5, 0.301, 0.3, 0.0))


def test_a_copy_of_the_positive_is_no_negative() -> None:
    clean, counts = denoised(SCORED, PASSAGES, {"good"}, "mask")
    assert clean == TrainingList("q", ("good", "near", "edge", "far"), (0.5, 0.301, 0.3, 0.0))
    assert counts == DenoiseCounts(repeated=1)


def test_another_number_makes_another_passage() -> None:
    passages = {"a": TrainingPassage("a", "Revenue 2021: 5"), "b": TrainingPassage("b", "Revenue 2022: 5")}
    entry = TrainingList("q", ("a", "b"), (1.0, 0.9))
    assert denoised(entry, passages, {"a"}, "mask") == (entry, DenoiseCounts())


def test_what_is_above_six_tenths_of_the_positive_is_dropped_and_what_is_at_it_stays() -> None:
    clean, counts = denoised(SCORED, PASSAGES, {"good"}, "drop")
    assert clean.passages == ("good", "edge", "far")
    assert counts == DenoiseCounts(repeated=1, too_good=1)


def test_what_is_known_to_be_relevant_stays_for_the_teachers_distribution() -> None:
    clean, counts = denoised(SCORED, PASSAGES, {"good", "near"}, "drop")
    assert clean.passages == ("good", "near", "edge", "far")
    assert counts.plus(counts) == DenoiseCounts(repeated=2)


def test_pictures_are_not_told_apart_by_their_missing_text() -> None:
    pictures = {name: TrainingPassage(name, "", image=f"{name}.png") for name in "ab"}
    entry = TrainingList("q", ("a", "b"), (1.0, 0.1))
    assert denoised(entry, pictures, {"a"}, "drop") == (entry, DenoiseCounts())
