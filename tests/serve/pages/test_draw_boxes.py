from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from ragkit.records import Box
from ragkit.serve.pages import draw_boxes as draw_boxes_module
from ragkit.serve.pages.draw_boxes import FILL, OUTLINE, draw_boxes, encoded, fitted, pixels_of


def test_what_is_outside_of_the_boxes_is_left_alone():
    page = Image.new("RGB", (400, 600), "white")
    box = Box(0.25, 0.5, 0.5, 0.55)
    drawn = np.asarray(draw_boxes(page, [box]))
    changed = np.argwhere((drawn != 255).any(axis=2))
    # 600 * 0.004 rounds to 2 pixels of padding; 0.55 of 600 is 330, whose pixel belongs to the box.
    assert (changed.min(0).tolist(), changed.max(0).tolist()) == ([298, 98], [332, 202])
    assert tuple(drawn[315, 150]) == FILL
    assert tuple(drawn[298, 98]) == OUTLINE
    assert np.asarray(page).min() == 255


def test_words_stay_readable():
    page = Image.new("RGB", (100, 100), "white")
    page.putpixel((50, 50), (0, 0, 0))
    assert draw_boxes(page, [Box(0.2, 0.2, 0.8, 0.8)]).getpixel((50, 50)) == (0, 0, 0)


def test_boxes_are_cut_at_the_edges_of_the_page():
    assert pixels_of(Box(-0.1, 0.0, 1.0, 2.0), (10, 20), 3) == (0, 0, 10, 20)
    draw_boxes(
        Image.new("RGB", (1, 1)), [Box(0.0, 0.0, 1.0, 1.0), Box(0.9, 0.9, 0.1, 0.1), Box(5.0, 5.0, 6.0, 6.0)]
    )


@pytest.mark.parametrize(
    ("size", "width", "expected"),
    [
        ((1000, 2000), 500, (500, 1000)),
        ((1000, 2000), 4000, (1000, 2000)),
        ((1000, 2000), None, (1000, 2000)),
        ((4000, 1), 16, (16, 1)),
    ],
)
def test_fitted(size: tuple[int, int], width: int | None, expected: tuple[int, int]):
    assert fitted(Image.new("RGB", size), width).size == expected


def test_large_pictures_are_made_smaller(monkeypatch: pytest.MonkeyPatch):
    assert draw_boxes_module._MOST_PIXELS == 25_000_000
    monkeypatch.setattr(draw_boxes_module, "_MOST_PIXELS", 10_000)
    # The square root of a half of each side.
    assert fitted(Image.new("RGB", (200, 100)), None).size == (141, 70)


def test_the_format_follows_the_size():
    assert encoded(Image.new("RGB", (200, 300)))[1] == "image/webp"
    assert encoded(Image.new("RGB", (600, 800)))[1] == "image/png"
    noise = Image.frombytes("RGB", (700, 700), np.random.default_rng(0).bytes(700 * 700 * 3))
    content, media_type = encoded(noise)
    assert media_type == "image/jpeg"
    assert Image.open(io.BytesIO(content)).size == (700, 700)
    assert encoded(Image.new("RGB", (20, 30_000)))[1] == "image/png"
