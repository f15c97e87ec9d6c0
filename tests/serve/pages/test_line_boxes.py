from __future__ import annotations

from ragkit.records import Box
from ragkit.serve.pages.line_boxes import line_boxes


def word(left: float, top: float, right: float, bottom: float) -> Box:
    return Box(left / 100, top / 100, right / 100, bottom / 100)


def test_words_of_a_line_become_one_box():
    assert line_boxes([word(10, 10, 20, 12), word(21, 9, 30, 12), word(31, 10, 40, 13)], 100, 100) == (
        word(10, 9, 40, 13),
    )


def test_each_line_has_a_box_of_its_own():
    words = [word(80, 10, 90, 12), word(10, 13, 20, 15), word(21, 13, 30, 15)]
    assert line_boxes(words, 100, 100) == (words[0], word(10, 13, 30, 15))


def test_a_gap_of_more_than_two_heights_divides_columns():
    near, far = word(24, 10, 30, 12), word(25, 10, 30, 12)
    assert len(line_boxes([word(10, 10, 20, 12), near], 100, 100)) == 1
    assert len(line_boxes([word(10, 10, 20, 12), far], 100, 100)) == 2
    # On a page half as wide the same share is half the way.
    assert len(line_boxes([word(10, 10, 20, 12), far], 50, 100)) == 1


def test_text_that_runs_leftwards_is_a_line_too():
    assert line_boxes([word(31, 10, 40, 12), word(10, 10, 30, 12)], 100, 100) == (word(10, 10, 40, 12),)


def test_a_raised_mark_belongs_to_its_line():
    assert len(line_boxes([word(10, 10, 20, 14), word(20, 9, 21, 12)], 0, 0)) == 1


def test_no_words_no_boxes():
    assert line_boxes([], 100, 100) == ()
