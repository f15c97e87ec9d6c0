from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from ragkit.indexers.readers.ocr import RapidOcrEngine
from ragkit.indexers.readers.ocr_languages import classes_of
from ragkit.indexers.readers.ocr_lines import Head, LineReader, LineText, num_strokes
from ragkit.indexers.readers.page_ocr import page_of_lines

CHINESE = Path(__file__).parents[2] / "golden" / "ocr" / "chinese.png"
CHINESE_LINES = [
    "本年度营业收入为4,512百万元，比上年增长7.3%。",
    "净利润 Net profit 1,204",
    "The harbour opened in 1912.",
    "港口于一九一二年开放",
]
ENGLISH = ["Net income rose by 7.3 % to $1,204 million", "Total assets, in thousands", "(a) see Note 12"]


@cache
def engine(languages: tuple[str, ...] = ()) -> RapidOcrEngine:
    return RapidOcrEngine(languages or "auto", num_threads=1)


def text_of(image: Image.Image, languages: tuple[str, ...] = ()) -> str:
    return page_of_lines(1, engine(languages).read(image), (612, 792)).text


def english() -> Image.Image:
    image = Image.new("RGB", (700, 200), "white")
    draw = ImageDraw.Draw(image)
    for row, line in enumerate(ENGLISH):
        draw.text((30, 20 + 60 * row), line, "black", ImageFont.load_default(24))
    return image


def test_a_chinese_page_is_read_by_default() -> None:
    image = Image.open(CHINESE)
    assert text_of(image).replace(" ", "") == "\n".join(CHINESE_LINES).replace(" ", "")
    assert text_of(image) == text_of(image, ("zh",))
    words = [word for line in engine().read(image)[-1:] for word in line.words]
    assert words == list("港口于一九一二年开放")


def test_latin_alone_gives_no_chinese() -> None:
    assert all(letter < "\u3000" for letter in text_of(Image.open(CHINESE), ("en",)))


def test_latin_letters_come_out_as_with_all_letters() -> None:
    read = text_of(english())
    assert read == text_of(english(), ("en",)) == text_of(english(), ("zh", "ja", "el"))
    assert read.split() == " ".join(ENGLISH).split()


def words_of(image: Image.Image) -> list[list[str]]:
    return [list(line.words) for line in engine().read(image)]


def boxes_of(image: Image.Image) -> np.ndarray:
    """(words, 4), left, top, right, bottom as shares of the page."""
    return np.array([(b.left, b.top, b.right, b.bottom) for line in engine().read(image) for b in line.boxes])


def boxes_of_words(image: Image.Image) -> dict[str, np.ndarray]:
    words = [word for line in words_of(image) for word in line]
    return dict(zip(words, boxes_of(image), strict=True))


def test_a_page_upside_down_reads_as_the_page_upright() -> None:
    upright, turned = english(), english().rotate(180)
    assert words_of(turned) == words_of(upright) == [line.split() for line in ENGLISH]
    np.testing.assert_allclose(boxes_of(turned), 1 - boxes_of(upright)[:, [2, 3, 0, 1]], atol=0.025)
    assert boxes_of(turned)[0, 0] > 0.9  # "Net" at the right


def test_words_of_a_line_running_up() -> None:
    upright, upwards = english(), english().rotate(90, expand=True)
    expected, boxes = boxes_of_words(upright), boxes_of_words(upwards)
    assert boxes.keys() == expected.keys() == set(" ".join(ENGLISH).split())
    for word, (left, top, right, bottom) in expected.items():
        np.testing.assert_allclose(boxes[word], [top, 1 - right, bottom, 1 - left], atol=0.025)


def test_one_line_upside_down_among_others() -> None:
    upright, page = english(), english()
    row = (0, 70, 700, 130)
    page.paste(page.crop(row).rotate(180), row)
    assert words_of(page) == words_of(upright) == [line.split() for line in ENGLISH]
    boxes, expected = boxes_of(page), boxes_of(upright)
    is_turned = (expected[:, 1] > 70 / 200) & (expected[:, 3] < 130 / 200)
    assert is_turned.sum() == 4
    expected[is_turned] = 1 - expected[is_turned][:, [2, 3, 0, 1]]
    np.testing.assert_allclose(boxes, expected, atol=0.025)


def test_one_line_upright_on_a_page_upside_down() -> None:
    page = english()
    row = (0, 70, 700, 130)
    page.paste(page.crop(row).rotate(180), row)
    assert words_of(page.rotate(180)) == [line.split() for line in ENGLISH]


def test_letters_of_languages() -> None:
    characters = ["", "A", "é", "Ω", "中", "か", "한", "€", " "]
    letters = {
        code: "".join(characters[i] for i in classes_of([code], characters)) for code in ("de", "el", "zh", "ja")
    }
    assert letters == {"de": "Aé€ ", "el": "AéΩ€ ", "zh": "Aé中€ ", "ja": "Aé中か€ "}
    assert classes_of([], characters).tolist() == [0, 1, 2, 7, 8]


def test_letters_of_steps() -> None:
    head = Head(np.eye(3, dtype=np.float32), np.zeros(3, np.float32), np.array(["", "a", "b"]))
    best = np.array([0, 1, 1, 0, 1, 2, 2, 0])  # -aa-abb-
    line = head.decode(np.eye(3, dtype=np.float32)[best], 7.5)
    assert (line.text, line.steps.tolist(), line.num_steps) == ("aab", [1, 4, 5], 7.5)
    assert line.score == pytest.approx(np.e / (np.e + 2))
    assert head.decode(np.eye(3, dtype=np.float32)[[0, 0]], 2).score == 0


def test_strokes_of_the_row_that_has_most() -> None:
    line = np.full((20, 60, 3), 255, np.uint8)
    line[:, 4:44:8] = 40  # five strokes
    line[9, 48:56:4] = 40  # two more in one row
    assert num_strokes(line) == 7
    assert num_strokes(np.full((20, 60, 3), 255, np.uint8)) == 0


@pytest.mark.parametrize(
    ("strokes", "letters", "widths"),
    [
        (200, 140, [1680]),  # 8.4 columns a stroke
        (500, 140, [1872]),  # at most 0.78 of 2,400
        (0, 137, [1440]),  # at least 0.6 of it, 10.51 columns a letter
        (0, 138, [1440, 1872]),  # 10.43: read again
        (500, 300, [1872]),  # 6.2, but there is no wider reading
    ],
)
def test_widths_that_a_line_is_read_at(
    strokes: int, letters: int, widths: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def read_at(self: LineReader, image: np.ndarray, width: int) -> LineText:
        seen.append(width)
        return LineText("a" * letters, 1.0, np.arange(letters), width / 8)

    monkeypatch.setattr(LineReader, "_read_at", read_at)
    monkeypatch.setattr("ragkit.indexers.readers.ocr_lines.num_strokes", lambda image: strokes)
    reader = LineReader.__new__(LineReader)
    reader._num_threads = 1
    assert len(reader.read([np.zeros((20, 1000, 3), np.uint8)])[0].text) == letters
    assert seen == widths
