from __future__ import annotations

from dataclasses import replace

import pytest

from ragkit.config import GenerationConfig
from ragkit.records import Hit
from ragkit.serve.prompting.choice import behind_gap, disagreed_on
from ragkit.serve.prompting.reorder import in_order
from ragkit.serve.prompting.selection import dropped_hits, select_hits
from tests.serve.house import make_hit


def scored(*scores: float) -> list[Hit]:
    return [make_hit(f"{i}.txt", f"text {i}", score=score) for i, score in enumerate(scores, 1)]


def reranked(*before: int | None) -> list[Hit]:
    """Hits in the reranker's order, with the places they had."""
    hits = scored(*(1 - i / 10 for i in range(len(before))))
    return [replace(hit, retrieved_rank=rank, retrieval_score=0.5) for hit, rank in zip(hits, before, strict=True)]


@pytest.mark.parametrize(
    ("scores", "floor", "expected"),
    [
        ((9.0, 8.8, 8.5, 2.0, 1.9), 3, [3, 4]),
        ((9.0, 8.8, 8.5, 2.0, 1.9), 4, []),
        # 4 of 8 is half of the range.
        ((9.0, 7.0, 5.0, 1.0), 1, [3]),
        ((9.0, 6.5, 4.9, 1.0), 1, []),
        ((0.03, 0.029, 0.01), 1, [2]),
        ((5.0, 5.0, 5.0, 5.0), 1, []),
        ((5.0, -2.0), 1, [1]),
        ((5.0, -2.0), 3, []),
        ((float("inf"), 1.0, 0.0), 1, []),
        ((float("nan"), 1.0, 0.0), 1, []),
        # The wider of two gaps, and the first of equals.
        ((10.0, 4.0, 4.0, 0.0), 1, [1, 2, 3]),
        ((10.0, 5.0, 0.0), 1, [1, 2]),
        ((), 3, []),
    ],
)
def test_what_lies_behind_the_widest_gap(scores: tuple[float, ...], floor: int, expected: list[int]) -> None:
    assert behind_gap(scored(*scores), floor) == expected


def test_what_the_reranker_puts_far_below_the_retriever() -> None:
    # Of eight, the retriever's second and first come last: they fall by five and seven.
    assert disagreed_on(reranked(3, 4, 5, 6, 7, 8, 2, 1), 3) == [6, 7]
    # What rises is trusted.
    assert disagreed_on(reranked(8, 1, 2, 3, 4, 5, 6, 7), 3) == []
    assert disagreed_on(reranked(3, 4, 5, 6, 7, 8, 2, 1), 8) == []
    # Places are counted among the hits, of which the retriever had others between.
    assert disagreed_on(reranked(40, 41, 3, 50), 1) == [2]
    assert disagreed_on(reranked(3, None, 1), 1) == []
    assert disagreed_on(reranked(), 1) == []


def test_the_settings_say_what_is_left_out_and_the_record_why() -> None:
    hits = scored(9.0, 8.8, 8.5, 2.0, 1.9)
    assert select_hits(hits, GenerationConfig()).hits == tuple(hits)
    selection = select_hits(hits, GenerationConfig(choice="gap"))
    assert selection.hits == tuple(hits[:3])
    assert selection.notes == (
        "2 passages were left out of the prompt, for they lie behind a gap of the scores: "
        "4.txt page 1, 5.txt page 1.",
    )
    assert [(d.rank, d.document, d.reason) for d in dropped_hits(hits, selection.dropped)] == [
        (4, "4.txt", "behind a gap of the scores"),
        (5, "5.txt", "behind a gap of the scores"),
    ]


def test_disagreement_and_both() -> None:
    hits = reranked(3, 4, 5, 6, 7, 8, 2, 1)
    one = select_hits(hits, GenerationConfig(choice="disagreement"))
    assert [hit.passage.document for hit in one.hits] == [f"{i}.txt" for i in range(1, 7)]
    assert one.dropped[1][1] == "place 1 for the retriever, 8 after reranking"
    low = [*hits[:6], *(replace(hit, score=-9.0) for hit in hits[6:])]
    both = select_hits(low, GenerationConfig(choice="both"))
    assert len(both.hits) == 6
    assert {reason for _, reason in both.dropped} == {"behind a gap of the scores"}


def test_what_is_disagreed_on_may_stand_in_the_middle_instead() -> None:
    # The retriever's first is now fourth of six, its second fifth.
    hits = reranked(3, 4, 5, 1, 2, 6)
    moved = select_hits(hits, GenerationConfig(choice="middle"))
    assert [hit.passage.document for hit in moved.hits] == ["1.txt", "2.txt", "3.txt", "6.txt", "4.txt", "5.txt"]
    assert moved.dropped == ()
    assert moved.notes == (
        "Counted as the weakest, for the reranker put them far lower than the retriever: "
        "4.txt page 1, 5.txt page 1.",
    )
    shown = [moved.hits[rank - 1].passage.document for rank in in_order("ends", moved.hits)]
    assert shown == ["1.txt", "3.txt", "4.txt", "5.txt", "6.txt", "2.txt"]
    # Without it the sixth, which the reranker does trust, stands in the middle.
    kept = [hits[rank - 1].passage.document for rank in in_order("ends", hits)]
    assert kept == ["1.txt", "3.txt", "5.txt", "6.txt", "4.txt", "2.txt"]
    assert select_hits(reranked(1, 2, 3, 4), GenerationConfig(choice="middle")).notes == ()
    unranked = select_hits(scored(0.9, 0.8), GenerationConfig(choice="middle"))
    assert "no reranker" in unranked.notes[0]


def test_no_rule_leaves_less_than_the_floor() -> None:
    for floor in range(1, 7):
        config = GenerationConfig(choice="both", min_passages=floor)
        assert len(select_hits(scored(9, 1, 0.9, 0.8, 0.7), config).hits) >= min(floor, 5)


def test_repeats_are_named_with_what_they_repeat() -> None:
    text = "word " * 40
    hits = [make_hit("a.txt", text), make_hit("b.txt", text, page=2), make_hit("c.txt", "else")]
    selection = select_hits(hits, GenerationConfig())
    assert [hit.passage.document for hit in selection.hits] == ["a.txt", "c.txt"]
    assert selection.notes == (
        "1 passage was left out of the prompt, for it says what another source says: b.txt page 2.",
    )
    (dropped,) = dropped_hits(hits, selection.dropped)
    assert (dropped.rank, dropped.reason) == (2, "repeats a.txt page 1")
    assert select_hits(hits, GenerationConfig(duplicates="keep")).hits == tuple(hits)


def test_disagreement_without_a_reranker_is_said_to_change_nothing() -> None:
    hits = scored(0.9, 0.8, 0.7, 0.6)
    selection = select_hits(hits, GenerationConfig(choice="disagreement"))
    assert selection.hits == tuple(hits)
    assert "no reranker ([rerank] kind) has ordered all hits" in selection.notes[0]
    assert select_hits([], GenerationConfig(choice="both")).notes == ()
