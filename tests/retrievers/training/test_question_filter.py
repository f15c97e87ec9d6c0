"""The filter chain, stage by stage, and CADET's own numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ragkit.errors import DataError
from ragkit.retrievers.training.examples import TrainingList, TrainingQuestion
from ragkit.retrievers.training.question_filter import (
    FilterReport,
    KindCounts,
    filter_lists,
    normalise_scores,
    round_trip,
)
from tests.deviations import Deviations

GOLDEN = Path(__file__).parents[2] / "golden" / "cadet"


def question(id_: str, kind: str = "claims", *sources: str) -> TrainingQuestion:
    return TrainingQuestion(id_, "text", kind, sources or (f"{id_}-0",))


def scored(id_: str, *scores: float) -> TrainingList:
    return TrainingList(id_, tuple(f"{id_}-{place}" for place in range(len(scores))), scores)


def by_id(*questions: TrainingQuestion) -> dict[str, TrainingQuestion]:
    return {one.id: one for one in questions}


def test_a_source_at_rank_20_is_found_again_and_at_21_is_not() -> None:
    others = [f"o{place}" for place in range(30)]
    found = {
        "a": [*others[:19], "a-0", *others[19:]],
        "b": [*others[:20], "b-0", *others[20:]],
        "d": [*others[:25], "second", "first"],
    }
    asked = [question("a"), question("b"), question("c"), question("d", "web", "first", "second")]
    left, report = round_trip(asked, found)
    assert [one.id for one in left] == ["a"]
    assert report.kinds == (KindCounts("claims", 3, not_found=2), KindCounts("web", 1, not_found=1))
    assert [one.id for one in round_trip(asked, found, depth=26)[0]] == ["a", "b", "d"]


def test_normalisation_is_that_of_cadet(deviations: Deviations) -> None:
    lists = _golden_lists("normalise_input.jsonl")
    wanted = {entry.question: entry for entry in _golden_lists("normalise_output.jsonl")}
    summary = json.loads((GOLDEN / "normalise_summary.json").read_text("utf-8"))
    found = [entry.first(20) for entry in normalise_scores(lists)]
    assert [entry.question for entry in found] == summary["kept"]
    for entry in found:
        assert entry.passages == wanted[entry.question].passages
        deviations.assert_near("CADET scores", entry.scores, wanted[entry.question].scores, 1e-12)


def test_the_chain_gives_the_golden_lists_and_counts_what_is_weak() -> None:
    lists = _golden_lists("normalise_input.jsonl")
    questions = by_id(*(question(entry.question, "web", entry.passages[0]) for entry in lists))
    found, report = filter_lists(lists, questions)
    wanted = _golden_lists("normalise_output.jsonl")
    np.testing.assert_allclose(
        [entry.scores for entry in found], [entry.scores for entry in wanted], rtol=0, atol=1e-12
    )
    assert report.kinds == (KindCounts("web", 40, weak=6),)
    assert report.total.kept == 34


def test_short_lists_and_those_with_another_passage_first_are_dropped() -> None:
    lists = [scored("a", 3.0, 1.0, 0.0), scored("b", 9.0, 8.0), scored("c", 1.0, 5.0, 2.0)]
    found, report = filter_lists(lists, by_id(*map(question, "abc")), list_length=3)
    assert [entry.question for entry in found] == ["a"]
    assert report.kinds == (KindCounts("claims", 3, too_short=1, not_first=1),)
    assert report.to_json()["all"] == {
        "questions": 3,
        "not_found": 0,
        "too_short": 1,
        "not_first": 1,
        "weak": 0,
        "kept": 1,
    }


def test_a_source_that_no_passage_surpasses_stands_first() -> None:
    tied = TrainingList("a", ("x", "y", "a-0"), (2.0, 0.0, 2.0))
    found, _ = filter_lists([tied], by_id(question("a")), list_length=3)
    assert found[0].passages == ("a-0", "x", "y")


def test_each_kind_has_its_own_scale() -> None:
    """Ten questions each; the percentiles of 0, 1, …, 100 are the numbers themselves."""
    low = [scored(f"a{n}", *(float(x) for x in range(100, -1, -1))) for n in range(3)]
    high = [scored(f"b{n}", *(1000.0 + 10 * x for x in range(100, -1, -1))) for n in range(3)]
    questions = by_id(*(question(one.question, one.question[0]) for one in (*low, *high)))
    found, report = filter_lists([*low, *high], questions, list_length=51)
    assert report.total == KindCounts("all", 6)
    middle = [entry.scores[50] for entry in found]
    np.testing.assert_allclose(middle, 0.5, rtol=0, atol=1e-12)
    assert [entry.scores[0] for entry in found] == [1.0] * 6
    assert [len(entry.scores) for entry in found] == [51] * 6


def test_outliers_do_not_stretch_the_scale() -> None:
    """Of 0…100 and two outliers the 1st and 99th percentiles stay near 0 and 100."""
    values = np.array([-1e6, *np.arange(101.0), 1e6])
    wanted = (50 - np.percentile(values, 1)) / (np.percentile(values, 99) - np.percentile(values, 1))
    (entry,) = normalise_scores([TrainingList("a", tuple(map(str, values[::-1])), tuple(values[::-1].tolist()))])
    assert entry.scores[0] == 1.0
    assert entry.scores[-1] == 0.0
    assert entry.scores[51] == pytest.approx(wanted, abs=1e-12)
    assert entry.scores[51] == pytest.approx(0.5, abs=0.01)


def test_a_teacher_that_tells_nothing_apart_is_an_error() -> None:
    with pytest.raises(DataError, match="tells nothing apart: its scores of 1 lists of kind 'claims'"):
        filter_lists([scored("a", 1.0, 1.0)], by_id(question("a")), list_length=2)


@pytest.mark.parametrize("score", [float("nan"), float("inf")])
def test_scores_that_are_no_numbers_are_an_error(score: float) -> None:
    lists = [scored("a", 2.0, 1.0), scored("b", 3.0, score)]
    with pytest.raises(DataError, match="question 'b' has a score that is no finite number"):
        filter_lists(lists, by_id(question("a"), question("b", "claims", "b-0", "b-1")), list_length=2)


def test_reports_of_two_stages_are_added() -> None:
    first = FilterReport((KindCounts("claims", 10, not_found=4), KindCounts("web", 2, not_found=2)))
    second = FilterReport((KindCounts("claims", 6, too_short=1, not_first=2, weak=1),))
    both = first.then(second)
    assert both.kinds[0] == KindCounts("claims", 10, 4, 1, 2, 1)
    assert both.kinds[0].kept == 2
    assert both.total == KindCounts("all", 12, 6, 1, 2, 1)


def _golden_lists(name: str) -> list[TrainingList]:
    rows = map(json.loads, (GOLDEN / name).read_text("utf-8").splitlines())
    return [
        TrainingList(
            row["qid"],
            tuple(passage["docid"] for passage in row["passages"]),
            tuple(float(passage["rankt5_score"]) for passage in row["passages"]),
        )
        for row in rows
    ]
