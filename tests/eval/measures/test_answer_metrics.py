"""Measures of words, worked out by hand."""

from __future__ import annotations

import random
from functools import cache

import pytest

from ragkit.eval.measures.answer_metrics import (
    anls,
    containment,
    edit_distance,
    exact_match,
    squad_normal,
    token_f1,
    without_citation_marks,
)


def test_citation_marks_go_and_other_brackets_stay():
    assert without_citation_marks("It is red [1][2]. And blue [12].") == "It is red. And blue."
    assert without_citation_marks("a list [a] of [1999] things [3]") == "a list [a] of [1999] things"


@pytest.mark.parametrize(
    ("text", "normal"),
    [("The  Cat's\tHat!", "cats hat"), ("An apple, a day", "apple day"), ("U.S.", "us"), ("Theatre", "theatre")],
)
def test_squad_normalisation(text, normal):
    assert squad_normal(text) == normal


def test_exact_match_is_with_any_gold_answer():
    assert exact_match("The Eiffel Tower.", ["Louvre", "eiffel tower"]) == 1.0
    assert exact_match("Eiffel Tower in Paris", ["eiffel tower"]) == 0.0


@pytest.mark.parametrize(
    ("answer", "golds", "f1"),
    [
        # 2 words of 3 and of 2 are common: precision 2/3, recall 1.
        ("red blue green", ["red blue"], 0.8),
        # A word counts as often as both have it: 1 common, precision 1/3, recall 1/2.
        ("red red red", ["red blue"], 0.4),
        ("red", ["blue", "red"], 1.0),
        ("", ["red"], 0.0),
        # Both sides are nothing but an article.
        ("the", ["a"], 1.0),
    ],
)
def test_token_f1(answer, golds, f1):
    assert token_f1(answer, golds) == pytest.approx(f1)


@pytest.mark.parametrize(
    ("answer", "golds", "contained"),
    [
        ("It was founded in New York City.", ["new york"], 1.0),
        ("It was founded in Newark, York county", ["new york"], 0.0),
        ("It was founded in York, New Jersey", ["new york"], 0.0),
        ("thirty-five", ["five"], 0.0),
        ("the answer is B", ["A"], 0.0),
        ("a", ["A"], 1.0),
    ],
)
def test_containment_is_of_whole_words_in_order(answer, golds, contained):
    assert containment(answer, golds) == contained


@pytest.mark.parametrize(
    ("answer", "golds", "similarity"),
    [
        ("abcd", ["abcd"], 1.0),
        ("  ABCD ", ["abcd"], 1.0),
        # One of four letters is wrong.
        ("abcx", ["abcd"], 0.75),
        # Two of four: 0.5 is kept, as in the challenge's script.
        ("abxy", ["abcd"], 0.5),
        # Three of five: 0.4 is not.
        ("abxyz", ["abcde"], 0.0),
        ("abcx", ["zzzz", "abcd"], 0.75),
        ("an answer that is much longer", ["abcd"], 0.0),
        ("", ["abcd"], 0.0),
    ],
)
def test_anls(answer, golds, similarity):
    assert anls(answer, golds) == pytest.approx(similarity)


def test_edit_distance_is_that_of_the_recursion():
    @cache
    def by_recursion(one: str, other: str) -> int:
        if not one or not other:
            return len(one) + len(other)
        swapped = by_recursion(one[1:], other[1:]) + (one[0] != other[0])
        return min(swapped, by_recursion(one[1:], other) + 1, by_recursion(one, other[1:]) + 1)

    draw = random.Random(1)
    words = ["".join(draw.choices("abc", k=draw.randrange(8))) for _ in range(60)]
    pairs = [("kitten", "sitting"), *zip(words[::2], words[1::2], strict=True)]
    assert [edit_distance(*pair) for pair in pairs] == [by_recursion(*pair) for pair in pairs]
    assert edit_distance("kitten", "sitting") == 3


@pytest.mark.parametrize("measure", [exact_match, token_f1, anls, containment])
def test_a_gold_answer_is_needed(measure):
    with pytest.raises(ValueError, match="at least one gold answer"):
        measure("red", [])
