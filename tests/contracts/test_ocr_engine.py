"""What every OcrEngine must do. The fake used elsewhere is no reader, so RapidOCR is the only one here."""

from __future__ import annotations

import logging
from functools import cache

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from ragkit.indexers.readers.ocr import RapidOcrEngine
from ragkit.protocols import OcrEngine


@cache
def rapidocr() -> OcrEngine:
    return RapidOcrEngine()


@pytest.fixture(params=[rapidocr], ids=["rapidocr"])
def engine(request: pytest.FixtureRequest) -> OcrEngine:
    made: OcrEngine = request.param()
    return made


def picture(lines: list[tuple[int, int, str]], size: tuple[int, int] = (640, 220)) -> Image.Image:
    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    for left, top, text in lines:
        draw.text((left, top), text, "black", ImageFont.load_default(26))
    return image


def test_words_lines_and_boxes(engine: OcrEngine) -> None:
    image = picture([(40, 120, "Total 1,250 Euro"), (40, 40, "Invoice number 4711")])
    lines = engine.read(image)
    assert [" ".join(line.words) for line in lines] == ["Invoice number 4711", "Total 1,250 Euro"]
    dark = np.asarray(image.convert("L")) < 128
    covered = np.zeros_like(dark)
    for line in lines:
        assert len(line.words) == len(line.boxes)
        for box in line.boxes:
            assert 0 <= box.left < box.right <= 1
            assert 0 <= box.top < box.bottom <= 1
            rows = slice(int(box.top * 220), int(box.bottom * 220) + 1)
            columns = slice(int(box.left * 640), int(box.right * 640) + 1)
            covered[rows, columns] = True
            assert dark[rows, columns].any()
        assert list(line.boxes) == sorted(line.boxes, key=lambda box: box.left)
    assert (dark & covered).sum() > 0.9 * dark.sum()


def test_one_row_is_one_line(engine: OcrEngine) -> None:
    lines = engine.read(picture([(20, 40, "Name"), (400, 40, "Jane Roe"), (20, 120, "City"), (400, 120, "Bonn")]))
    assert [" ".join(line.words) for line in lines] == ["Name Jane Roe", "City Bonn"]


@pytest.mark.parametrize(
    "image",
    [Image.new("RGB", (200, 100), "white"), Image.new("L", (1, 1)), Image.new("RGB", (3000, 2), "black")],
    ids=["white", "one pixel", "one stroke"],
)
def test_image_without_text(engine: OcrEngine, image: Image.Image) -> None:
    assert engine.read(image) == []


def test_logging_of_the_program_is_left_alone(engine: OcrEngine, capfd: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    engine.read(Image.new("RGB", (200, 100), "white"))
    assert (root.level, list(root.handlers)) == before
    assert capfd.readouterr() == ("", "")
