"""Words and their boxes, held against the pixels that PDFium draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ragkit.indexers.readers.pdf_text import PageFrame
from ragkit.indexers.readers.render import PdfiumRenderer
from ragkit.records import Page
from tests.pdf_maker import PdfPage, make_pdf
from tests.read_document import read_document

DPI = 144


def only_page(path: Path) -> Page:
    (page,) = read_document(path).pages
    return page


def words_of(page: Page) -> list[str]:
    return [page.text[start:end] for start, end in page.words.spans.tolist()]


def dark(path: Path) -> np.ndarray:
    return np.asarray(PdfiumRenderer().render(path, 1, DPI).convert("L")) < 128


def pixel_box(page: Page, index: int, image: np.ndarray) -> tuple[int, int, int, int]:
    height, width = image.shape
    left, top, right, bottom = page.words.boxes[index] * np.array([width, height] * 2)
    return round(left), round(top), round(right), round(bottom)


@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
@pytest.mark.parametrize("crop", [None, (50, 400, 500, 760)])
def test_boxes_cover_the_dark_pixels(
    tmp_path: Path, rotate: int, crop: tuple[float, float, float, float] | None
) -> None:
    made = PdfPage("Alpha beta gyp\nDelta", rotate=rotate, crop=crop, font_size=30)
    path = make_pdf(tmp_path / "a.pdf", [made])
    page = only_page(path)
    # On a page turned to the right these lines run down it, and PDFium begins at the left one.
    assert sorted(words_of(page)) == ["Alpha", "Delta", "beta", "gyp"]
    image = dark(path)
    assert image.shape == (round(page.height_pt * DPI / 72), round(page.width_pt * DPI / 72))
    outside = image.copy()
    for index in range(4):
        left, top, right, bottom = pixel_box(page, index, image)
        rows, columns = np.nonzero(image[top:bottom, left:right])
        # The box fits the letters: at most two pixels of white on each side.
        assert rows.min() <= 2
        assert columns.min() <= 2
        assert rows.max() >= bottom - top - 3
        assert columns.max() >= right - left - 3
        outside[top - 1 : bottom + 1, left - 1 : right + 1] = False
    assert not outside.any()


@pytest.mark.parametrize(
    ("rotate", "matrix"),
    [(90, b"0 1 -1 0 100 100 Tm"), (180, b"-1 0 0 -1 500 700 Tm"), (270, b"0 -1 1 0 500 700 Tm")],
)
def test_landscape_page_reads_as_it_is_seen(tmp_path: Path, rotate: int, matrix: bytes) -> None:
    drawing = b"BT /F 20 Tf 24 TL " + matrix + b" (First line) Tj T* (and second) Tj ET"
    page = only_page(make_pdf(tmp_path / "a.pdf", [PdfPage(drawing=drawing, rotate=rotate)]))
    assert page.text == "First line\nand second"
    boxes = page.words.boxes
    assert boxes[0, 0] < boxes[1, 0]
    assert boxes[0, 3] < boxes[2, 1]
    assert boxes[0, 0] == pytest.approx(boxes[2, 0], abs=0.02)


def test_boxes_of_turned_text(tmp_path: Path) -> None:
    drawing = b"BT /F 30 Tf 0 1 -1 0 300 300 Tm (upward) Tj ET"
    path = make_pdf(tmp_path / "a.pdf", [PdfPage(drawing=drawing)])
    page, image = only_page(path), dark(path)
    left, top, right, bottom = pixel_box(page, 0, image)
    assert words_of(page) == ["upward"]
    assert bottom - top > 2 * (right - left)
    assert image[top - 1 : bottom + 1, left - 1 : right + 1].sum() == image.sum()


def test_frame_turns_boxes_clockwise() -> None:
    # A box at the bottom left of the unturned page, 10 by 20 points of 100 by 200.
    box = np.array([[0.0, 0.0, 10.0, 20.0]])
    expected = {
        0: [0, 0.9, 0.1, 1],
        1: [0, 0, 0.1, 0.1],
        2: [0.9, 0, 1, 0.1],
        3: [0.9, 0.9, 1, 1],
    }
    for rotation, shares in expected.items():
        frame = PageFrame(0, 0, 100, 200, rotation)
        np.testing.assert_allclose(frame.shares(box), [shares], atol=1e-12)
        assert (frame.width_pt, frame.height_pt) == ((200, 100) if rotation % 2 else (100, 200))


def test_line_ends_and_spaces(tmp_path: Path) -> None:
    page = only_page(make_pdf(tmp_path / "a.pdf", ["One  two\nthree \nfour"]))
    assert page.text == "One two\nthree\nfour"
    assert page.words.spans.tolist() == [[0, 3], [4, 7], [8, 13], [14, 18]]
    assert (page.number, page.width_pt, page.height_pt, page.text_source) == (1, 612, 792, "text")


def test_word_broken_at_a_line_end_is_joined_and_has_a_box_a_line(tmp_path: Path) -> None:
    text = "The informa-\ntion on non-\nGAAP items is tax-\nrelated; tax is related."
    page = only_page(make_pdf(tmp_path / "a.pdf", [text]))
    assert page.text == "The information on non-GAAP items is tax-related; tax is related."
    words = words_of(page)
    assert words[:6] == ["The", "informa", "tion", "on", "non", "GAAP"]
    first, second = page.words.boxes[1], page.words.boxes[2]
    assert second[1] > first[3]  # the second half stands on the next line
    assert second[0] < first[0]
    assert len(page.words.between(4, 15)) == 2


def test_hyphens_inside_a_line_stay(tmp_path: Path) -> None:
    page = only_page(make_pdf(tmp_path / "a.pdf", ["well-known and -5 to -\nthe end-"]))
    assert page.text.replace("\n", " ") == "well-known and -5 to - the end-"


def test_characters_beyond_the_basic_plane(tmp_path: Path) -> None:
    mapping = {0x58: "\U0001d400", 0x59: "\ufb01", 0x5A: "e\u0301"}
    page = only_page(make_pdf(tmp_path / "a.pdf", ["aXb cYd Z end"], unicode_map=mapping))
    assert page.text == "a\U0001d400b cfid \xe9 end"
    assert page.words.spans.tolist() == [[0, 3], [4, 8], [9, 10], [11, 14]]
    page.text.encode()


def test_clauses_of_a_script_without_spaces_have_boxes_of_their_own(tmp_path: Path) -> None:
    mapping = {ord(letter): chr(0x4E00 + index) for index, letter in enumerate("abcdefghi")}
    mapping |= {ord(","): "，", ord("."): "。", ord(")"): "」"}
    page = only_page(make_pdf(tmp_path / "a.pdf", ["abc,def.)ghi. A1.5b, c"], unicode_map=mapping))
    shown = "一丁丂，七丄丅。」丆万丈。 A1。5丁， 丂"
    assert page.text == shown
    assert words_of(page) == ["一丁丂，", "七丄丅。」", "丆万丈。", "A1。", "5丁，", "丂"]
    lefts, rights = page.words.boxes[:, 0], page.words.boxes[:, 2]
    assert (rights[:-1] <= lefts[1:] + 1e-3).all()
    assert len(page.words.between(shown.index("丆"), shown.index("丈"))) == 1


def test_words_outside_the_visible_part_are_left_out(tmp_path: Path) -> None:
    drawing = b"BT /F 12 Tf 72 700 Td (inside) Tj 300 0 Td (outside) Tj ET"
    page = only_page(make_pdf(tmp_path / "a.pdf", [PdfPage(drawing=drawing, crop=(0, 0, 200, 792))]))
    assert page.text == "inside"
    assert (page.width_pt, page.height_pt) == (200, 792)


def test_glyphs_without_meaning_are_no_text_layer(tmp_path: Path) -> None:
    mapping = {ord(letter): chr(1 + index % 8) for index, letter in enumerate("abcdefghij")}
    path = make_pdf(tmp_path / "a.pdf", ["abcdefghij abcdefg hij"], unicode_map=mapping)
    document = read_document(path)
    assert document.pages[0].text == ""
    assert len(document.pages[0].words.spans) == 0
    assert "without meaning" in document.warnings[0]
