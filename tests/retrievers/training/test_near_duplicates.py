"""Near duplicates and held-out passages."""

from __future__ import annotations

import pytest

from ragkit.retrievers.training.examples import TrainingPassage
from ragkit.retrievers.training.near_duplicates import distinct_passages, normalised

STORM = "The storm of 1953 flooded the lower town."
AFTER = "The storm of 1953 flooded the lower town. Relief came by boat."
BOAT = "Relief came by boat."


def passages(*texts: str) -> list[TrainingPassage]:
    return [TrainingPassage(f"p{number}", text) for number, text in enumerate(texts)]


def left(*texts: str, held_out: tuple[str, ...] = ()) -> list[str]:
    return [passage.id for passage in distinct_passages(passages(*texts), held_out).passages]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Café №\u00a012:  “Über”\n", "cafe no uber"),
        ("ﬁve 5 ½ ⑦ STRASSE", "five strasse"),
        ("1953 – 1954", ""),
        ("日本語、テスト。", "日本語テスト"),
        ("a+b=c €", "abc"),
    ],
)
def test_texts_are_compared_without_what_does_not_matter(text: str, expected: str) -> None:
    assert normalised(text) == expected


def test_of_equal_texts_the_first_stays() -> None:
    found = distinct_passages(passages(BOAT, STORM, "relief came, by boat!", "RELIEF CAME BY BOAT (2)"))
    assert [passage.id for passage in found.passages] == ["p0", "p1"]
    assert (found.repeated, found.short, found.held_out) == (2, 0, 0)


def test_words_that_a_hyphen_or_line_end_parts_are_the_same() -> None:
    assert left(
        "The flood-plain was lowered.", "The floodplain was lo-\nwered", "The flood plain was lowered"
    ) == ["p0"]


@pytest.mark.parametrize("part", [STORM, BOAT, "flooded the lower town relief came"])
def test_a_part_of_another_text_goes(part: str) -> None:
    assert left(part, AFTER) == ["p1"]
    assert left(AFTER, part) == ["p0"]


def test_nine_characters_are_too_few_and_ten_are_enough() -> None:
    found = distinct_passages(passages("abcdefghi 123", "abcdefghij", "12.12.1953"))
    assert [passage.id for passage in found.passages] == ["p1"]
    assert found.short == 2


def test_neighbours_alone_are_compared_for_parts_in_the_middle() -> None:
    """Eleven texts stand between the two in either order of the alphabet."""
    between = [f"m{letter} middle words m{letter}" for letter in "abcdefghijk"]
    inner, outer = "a long inner part z", "z a long inner part z a"
    assert left(inner, outer, *between) == [f"p{number}" for number in range(13)]
    assert left(inner, outer) == ["p1"]


def test_what_is_held_out_goes_with_its_near_duplicates() -> None:
    kept = "Another matter altogether."
    texts = (STORM, kept, "THE STORM of 1953 flooded the lower town!", AFTER, "... the lower town", BOAT)
    found = distinct_passages(passages(*texts), {"p0", "elsewhere"})
    assert [passage.id for passage in found.passages] == ["p1", "p5"]
    assert (found.held_out, found.repeated) == (4, 0)


def test_everything_that_begins_or_ends_with_a_held_out_text_goes() -> None:
    """However many there are: more than the neighbours that are looked at otherwise."""
    longer = [f"{STORM} And then {letter * 12}." for letter in "abcdefghijklmnopqrst"]
    ending = [f"{letter * 12}, and: {STORM}" for letter in "abcdefghijklmnopqrst"]
    found = distinct_passages(passages(STORM, *longer, *ending, "Another matter altogether."), {"p0"})
    assert [passage.id for passage in found.passages] == ["p41"]
    assert found.held_out == 41


def test_a_short_held_out_passage_takes_no_others_with_it() -> None:
    found = distinct_passages(passages("Yes.", "Yes. The storm flooded the town."), {"p0"})
    assert [passage.id for passage in found.passages] == ["p1"]
    assert (found.held_out, found.short) == (1, 0)
