"""Pages as rows of a table."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from ragkit.records import Page, WordBoxes

_DIGITS = 65535.0


def read_page(row: Sequence[object]) -> Page:
    """A page from its columns (number, text, words, width_pt, height_pt, text_source)."""
    number, text, words, width_pt, height_pt, text_source = row
    return Page(number, text, _unpack(words), width_pt, height_pt, text_source)  # type: ignore[arg-type]


def page_columns(page: Page) -> tuple[object, ...]:
    """A page as the columns that `read_page` reads."""
    return (page.number, page.text, _pack(page.words), page.width_pt, page.height_pt, page.text_source)


def _pack(words: WordBoxes) -> bytes:
    """Spans as int32 and boxes as 1/65535 of the page, compressed."""
    spans = np.ascontiguousarray(words.spans, np.int32)
    boxes = np.rint(np.clip(words.boxes, 0, 1) * _DIGITS).astype(np.uint16)
    return zlib.compress(spans.tobytes() + boxes.tobytes(), 1)


def _unpack(blob: object) -> WordBoxes:
    raw = zlib.decompress(blob)  # type: ignore[arg-type]
    count = len(raw) // 16
    spans = np.frombuffer(raw, np.int32, 2 * count).reshape(count, 2)
    boxes = np.frombuffer(raw, np.uint16, 4 * count, 8 * count).reshape(count, 4)
    return WordBoxes(spans, (boxes / np.float32(_DIGITS)).astype(np.float32))
