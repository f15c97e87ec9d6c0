"""OCR measured on pages that have a text layer: what `ragkit eval ocr` runs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from ragkit import assemble
from ragkit.config import Config
from ragkit.errors import DocumentError
from ragkit.eval.measures.ocr_quality import OcrPage, OcrReport, num_words, word_recall
from ragkit.indexers.readers.documents import open_document
from ragkit.indexers.readers.page_ocr import page_of_lines
from ragkit.indexers.readers.render import make_renderer, most_dpi
from ragkit.protocols import OcrEngine
from ragkit.records import Page


def parse_pages(text: str) -> list[int]:
    """Page numbers from "1,5" or "2-4,9", ascending, each once.

    Raises:
        ValueError: it is written otherwise, or a range runs backwards, or a number is 0.
    """
    numbers: set[int] = set()
    for part in text.split(","):
        first, dash, last = (piece.strip() for piece in part.partition("-"))
        if not first.isdecimal() or not (last.isdecimal() if dash else not last):
            raise ValueError(f"{part.strip()!r} is no page; write pages as 1,5 or 2-4,9")
        span = int(first), int(last or first)
        if not 1 <= span[0] <= span[1]:
            raise ValueError(f"{part.strip()!r} holds no page; the first page is 1, and ranges run upwards")
        numbers.update(range(span[0], span[1] + 1))
    return sorted(numbers)


def measure_ocr(
    path: Path, config: Config, pages: Sequence[int] | None = None, password: str | None = None
) -> OcrReport:
    """Draw pages of a PDF at `documents.ocr_dpi`, read them by OCR, compare with their text layers.

    pages: from 1; None for all. The models are loaded and tried before the first page is timed.

    Raises:
        DocumentError: the PDF cannot be read, or has no such page.
        MissingExtraError: OCR is not installed.
    """
    try:
        layers = _text_layers(path, config, pages, password)
    except DocumentError as error:
        raise type(error)(f"{path}: {error}") from error
    engine, renderer = assemble.make_ocr(config), make_renderer(config.documents)
    measured: list[OcrPage] = []
    for layer in layers:
        dpi = min(
            config.documents.ocr_dpi, most_dpi(layer.width_pt, layer.height_pt, config.documents.max_page_pixels)
        )
        image = renderer.render(path, layer.number, dpi, password)
        if not measured:
            engine.read(image.crop((0, 0, image.width, image.height // 8)))
        started = time.perf_counter()
        lines = engine.read(image)
        seconds = time.perf_counter() - started
        read = page_of_lines(layer.number, lines, (layer.width_pt, layer.height_pt)).text
        recall = word_recall(layer.text, read)
        measured.append(OcrPage(layer.number, seconds, len(lines), num_words(layer.text), num_words(read), recall))
    return OcrReport(path.name, config.documents.ocr_dpi, tuple(measured))


def _text_layers(path: Path, config: Config, pages: Sequence[int] | None, password: str | None) -> list[Page]:
    without_ocr = config.documents.model_copy(update={"ocr": "never"})

    def no_ocr() -> OcrEngine:
        raise AssertionError('documents.ocr is "never"')

    with open_document(path, without_ocr, make_renderer(without_ocr), no_ocr, password) as document:
        if document.media_type != "application/pdf":
            raise DocumentError(f"it is {document.media_type}; OCR is measured on a PDF's text layer")
        missing = [number for number in pages or () if number > document.num_pages]
        if missing:
            raise DocumentError(f"there is no page {missing[0]}; the last one is {document.num_pages}")
        last = document.num_pages if pages is None else max(pages)
        wanted = range(1, last + 1) if pages is None else frozenset(pages)
        layers = []
        for page in document.pages():
            if page.number in wanted:
                layers.append(page)
            if page.number == last:
                break
        return layers
