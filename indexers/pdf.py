"""Pages of a PDF: their text layer, or what OCR reads where there is none."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ragkit.errors import DocumentError
from ragkit.indexers.hyphens import LineEndHyphens
from ragkit.indexers.page_ocr import PageOcr
from ragkit.indexers.pdf_text import PageFrame, PageText, read_page_text
from ragkit.indexers.pdfium import PDFIUM_LOCK, open_page, open_pdf
from ragkit.indexers.reading import Reading
from ragkit.indexers.render import draw, is_uniform
from ragkit.records import Page

# A page with fewer letters than this is looked at again if it shows pictures: a scan with a stamped
# number, a slide that is one image. A sentence has more.
_FEW_LETTERS = 32
# So many paths are a drawing, or text drawn as outlines; fewer are rules and boxes.
_MANY_PATHS = 20
# Longer side of the image that tells whether a page is blank, in pixels.
_BLANK_TEST_PIXELS = 200
# A page tree that is broken claims a million pages and has none of them.
_MOST_DAMAGED_IN_A_ROW = 100


@dataclass(frozen=True, slots=True)
class _Layer:
    """A page as its text layer gives it. `empty`: nothing at all is drawn on it."""

    page: Page
    content: PageText
    wants_ocr: bool


class PdfPages:
    """An open PDF. Text comes in PDFium's reading order, with a box for each word."""

    def __init__(self, reading: Reading) -> None:
        """Raises PasswordError or DocumentError where the PDF cannot be opened."""
        self._reading = reading
        with PDFIUM_LOCK:
            self._document = open_pdf(reading.path, reading.password)
            if self._document.get_formtype():
                self._document.init_forms()
            self.num_pages = len(self._document)
        self._hyphens = LineEndHyphens()
        self._ocr = PageOcr(reading)

    def pages(self) -> Iterator[Page]:
        """One `Page` for each page; a damaged one is empty, and a warning.

        Raises:
            DocumentError: no page can be read, or 100 in a row cannot.
        """
        damaged = in_a_row = 0
        for number in range(1, self.num_pages + 1):
            try:
                with PDFIUM_LOCK:
                    layer = self._layer(number)
                in_a_row = 0
            except DocumentError as error:
                damaged, in_a_row = damaged + 1, in_a_row + 1
                if in_a_row == min(_MOST_DAMAGED_IN_A_ROW, self.num_pages):
                    raise DocumentError(
                        f"{in_a_row} pages in a row are damaged, up to page {number}"
                    ) from error
                self._ocr.note_unread(number, str(error))
                yield Page(number, "")
                continue
            yield self._by_ocr(layer) if layer.wants_ocr else layer.page
        self._ocr.finish()

    def close(self) -> None:
        with PDFIUM_LOCK:
            self._document.close()

    def _layer(self, number: int) -> _Layer:
        with open_page(self._document, number) as page:
            frame = _frame_of(page.raw)
            text_page = _load_text(page.raw)
            try:
                content = read_page_text(text_page, frame, self._hyphens)
            finally:
                _close_text(text_page)
            text = content.text if content.readable else ""
            words = content.words if content.readable else Page(number, "").words
            found = Page(number, text, words, frame.width_pt, frame.height_pt)
            suspect = self._reading.config.ocr == "always" or _may_lack_text(page.raw, content)
            return _Layer(found, content, suspect and not _is_blank(page.raw, frame))

    def _by_ocr(self, layer: _Layer) -> Page:
        """What OCR reads on the page, unless the text layer has more."""
        page, reading = layer.page, self._reading
        reason = (
            "no text layer"
            if layer.content.readable
            else "the text layer has no meaning (glyphs without Unicode)"
        )
        engine = self._ocr.engine(page.number, reason)
        if engine is None:
            return page
        dpi = self._dpi_for(page)
        try:
            image = reading.renderer.render(reading.path, page.number, dpi, reading.password)
        except DocumentError as error:
            if not reading.path.exists():
                raise DocumentError("the file vanished while it was read") from error
            self._ocr.note_unread(page.number, str(error))
            return page
        found = self._ocr.read(page.number, image, (page.width_pt, page.height_pt))
        if found is None:
            return page
        keep_layer = reading.config.ocr == "auto" and layer.content.readable
        if keep_layer and sum(map(str.isalnum, found.text)) <= layer.content.num_letters:
            return page
        return found

    def _dpi_for(self, page: Page) -> float:
        """`documents.ocr_dpi`, or as much less as keeps the image within `documents.max_page_pixels`."""
        config = self._reading.config
        inches = page.width_pt * page.height_pt / 72**2
        most = math.sqrt(config.max_page_pixels / inches)
        if config.ocr_dpi <= most:
            return config.ocr_dpi
        self._reading.warnings.append(
            f"page {page.number}: {page.width_pt:.0f} x {page.height_pt:.0f} points; read at {most:.3g} dpi "
            f"instead of {config.ocr_dpi:.0f} to stay within documents.max_page_pixels"
        )
        return most


def _frame_of(page: Any) -> PageFrame:
    from pypdfium2 import raw

    box = raw.FS_RECTF()
    raw.FPDF_GetPageBoundingBox(page, box)
    left, right = sorted((box.left, box.right))
    bottom, top = sorted((box.bottom, box.top))
    # A page without extent shows nothing, but its numbers must stay finite.
    return PageFrame(left, bottom, max(right, left + 1), max(top, bottom + 1), raw.FPDFPage_GetRotation(page))


def _load_text(page: Any) -> Any:
    from pypdfium2 import raw

    text_page = raw.FPDFText_LoadPage(page)
    if not text_page:
        raise DocumentError("the page's text is damaged")
    return text_page


def _close_text(text_page: Any) -> None:
    from pypdfium2 import raw

    raw.FPDFText_ClosePage(text_page)


def _may_lack_text(page: Any, content: PageText) -> bool:
    """Whether the page may show words that its text layer does not have."""
    from pypdfium2 import raw

    if not content.readable:
        return True
    if content.num_letters >= _FEW_LETTERS:
        return False
    count = raw.FPDFPage_CountObjects(page)
    if not content.num_letters:
        return bool(count > 0 or raw.FPDFPage_GetAnnotCount(page) > 0)
    kinds = [raw.FPDFPageObj_GetType(raw.FPDFPage_GetObject(page, index)) for index in range(count)]
    num_paths = kinds.count(raw.FPDF_PAGEOBJ_PATH)
    num_texts = kinds.count(raw.FPDF_PAGEOBJ_TEXT)
    return num_paths >= _MANY_PATHS or num_paths + num_texts < count


def _is_blank(page: Any, frame: PageFrame) -> bool:
    """Whether the page, drawn small, has one colour all over."""
    scale = _BLANK_TEST_PIXELS / max(frame.width_pt, frame.height_pt)
    image = draw(page, max(1, round(frame.width_pt * scale)), max(1, round(frame.height_pt * scale)))
    return is_uniform(image)
