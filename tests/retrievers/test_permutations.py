from __future__ import annotations

import pytest

from ragkit.retrievers.permutations import Permutation, parse_permutation


@pytest.mark.parametrize("reply", ["[3] > [1] > [2]", " [3]>[1]>[2]\n", "[3] >\n[1] > [2]"])
def test_a_whole_order(reply: str) -> None:
    assert parse_permutation(reply, 3) == Permutation((2, 0, 1))
    assert parse_permutation(reply, 3).is_whole


def test_missing_ones_follow_in_their_former_order() -> None:
    found = parse_permutation("[4] > [2]", 5)
    assert found == Permutation((3, 1, 0, 2, 4), missing=3)
    assert not found.is_whole


def test_repeats_are_dropped_at_their_later_places() -> None:
    assert parse_permutation("[2] > [1] > [2] > [2] > [3]", 3) == Permutation((1, 0, 2), repeated=2)


def test_marks_of_no_passage_are_dropped() -> None:
    assert parse_permutation("[0] > [2] > [9] > [1]", 2) == Permutation((1, 0), unknown=2)


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "3 > 1 > 2",
        "[3], [1], [2]",
        "The order is [3] > [1] > [2]",
        "[3] > [1] > [2].",
        "[3] > [1] >",
        "[a] > [1]",
    ],
)
def test_anything_else_is_no_order_and_changes_nothing(reply: str) -> None:
    assert parse_permutation(reply, 3) == Permutation((0, 1, 2), readable=False, missing=3)


@pytest.mark.parametrize("reply", ["[3] > [1] > [1", "[3] > [1] >", "[3] > [1] > [", "[3] > [1]"])
def test_of_a_reply_that_was_cut_the_whole_marks_count(reply: str) -> None:
    assert parse_permutation(reply, 3, is_cut=True) == Permutation((2, 0, 1), missing=1)


@pytest.mark.parametrize("reply", ["", "Let me", "[", "As [2] says"])
def test_a_cut_reply_without_an_order_changes_nothing(reply: str) -> None:
    assert parse_permutation(reply, 3, is_cut=True) == Permutation((0, 1, 2), readable=False, missing=3)
