from __future__ import annotations

import numpy as np
import pytest

from ragkit.indexers.readers.ocr import PlacedLine, TurnedText, page_rows, placed_line, words_of_line
from ragkit.indexers.readers.page_ocr import page_of_lines
from ragkit.indexers.readers.reading import page_ranges
from ragkit.records import Box, TextLine

LINE = np.array([[100, 10], [300, 10], [300, 30], [100, 30]], float)


def corners(left: float, right: float) -> list[list[float]]:
    return [[left, 10], [right, 10], [right, 30], [left, 30]]


def test_words_with_the_boxes_of_the_model() -> None:
    words = words_of_line("Sum 17", LINE, [("Sum", 0.9, corners(105, 180)), ("17", 0.9, corners(220, 290))])
    assert [(word, box.tolist()) for word, box in words] == [
        ("Sum", [100, 10, 180, 30]),
        ("17", [220, 10, 300, 30]),
    ]


def test_words_by_their_share_of_the_line_where_the_model_has_others() -> None:
    words = words_of_line("Sum of 17a", LINE, [("Sumof", 0.9, corners(105, 180))])
    assert [(word, box.tolist()) for word, box in words] == [
        ("Sum", [100, 10, 160, 30]),
        ("of", [180, 10, 220, 30]),
        ("17a", [240, 10, 300, 30]),
    ]


def test_shares_of_an_upright_line_run_down() -> None:
    upright = np.array([[10, 100], [30, 100], [30, 300], [10, 300]], float)
    words = words_of_line("ab cd", upright, [])
    assert [box.tolist() for _, box in words] == [[10, 100, 30, 180], [10, 220, 30, 300]]


@pytest.mark.parametrize(
    "parts", [[("Sum", 0.9, corners(105, 180)), ("17", 0.9, corners(220, 290))], []], ids=["model", "shares"]
)
def test_a_line_upside_down_begins_at_its_right_end(parts: list[object]) -> None:
    along = {word: box.tolist() for word, box in placed_line("Sum 17", LINE, parts).words}
    turned = placed_line(TurnedText("Sum 17"), LINE, parts)
    assert turned.upside_down
    assert [word for word, _ in turned.words] == ["Sum", "17"]
    # 400 is the line's left and right together, its top and bottom stay.
    assert {word: box.tolist() for word, box in turned.words} == {
        word: [400 - right, 10, 400 - left, 30] for word, (left, _, right, _) in along.items()
    }
    assert turned.words[0][1][2] == 300


def test_a_line_running_up_begins_at_its_lower_end() -> None:
    upright = np.array([[10, 100], [30, 100], [30, 300], [10, 300]], float)
    line = placed_line(TurnedText("ab cd"), upright, [])
    assert [box.tolist() for _, box in line.words] == [[10, 220, 30, 300], [10, 100, 30, 180]]
    assert not line.upside_down


def placed(left: float, top: float, letters: str, upside_down: bool) -> PlacedLine:
    return PlacedLine([(letters, np.array([left, top, left + 200.0, top + 20.0]))], upside_down)


@pytest.mark.parametrize(
    ("letters", "rows"), [("abcd", [[2], [1, 0]]), ("abc", [[0, 1], [2]])], ids=["most turned", "half turned"]
)
def test_the_order_of_a_page_is_that_of_most_letters(letters: str, rows: list[list[int]]) -> None:
    lines = [placed(0, 0, "ab", False), placed(300, 0, "a", False), placed(0, 40, letters, True)]
    assert page_rows(lines) == rows
    assert page_rows([]) == []


def test_chinese_characters_are_words_of_their_own() -> None:
    parts = [(letter, 0.9, corners(100 + 50 * index, 150 + 50 * index)) for index, letter in enumerate("你好世界")]
    assert [word for word, _ in words_of_line("你好世界", LINE, parts)] == list("你好世界")


def test_page_of_lines() -> None:
    box = Box(0.1, 0.2, 0.3, 0.4)
    lines = [TextLine(("Sum", "17"), (box, box)), TextLine(("你", "好", "ok"), (box, box, box))]
    page = page_of_lines(3, lines, (612, 792))
    assert (page.number, page.text, page.text_source) == (3, "Sum 17\n你好 ok", "ocr")
    assert [page.text[start:end] for start, end in page.words.spans] == ["Sum", "17", "你", "好", "ok"]
    np.testing.assert_allclose(page.words.boxes, [[0.1, 0.2, 0.3, 0.4]] * 5, rtol=1e-6)
    assert page_of_lines(1, [], (612, 792)).words.boxes.shape == (0, 4)


@pytest.mark.parametrize(
    ("numbers", "words"), [([3], "page 3"), ([1, 2, 3, 7], "pages 1-3, 7"), ([2, 4, 5], "pages 2, 4-5")]
)
def test_page_ranges(numbers: list[int], words: str) -> None:
    assert page_ranges(numbers) == words
