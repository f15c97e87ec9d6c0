"""Pages of a PDF: their text layer, or what OCR reads where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ragkit.errors import DocumentError
from ragkit.indexers.readers.hyphens import LineEndHyphens
from ragkit.indexers.readers.page_ocr import PageOcr
from ragkit.indexers.readers.pdf_page import frame_of, is_blank, may_lack_text, open_flattened, open_text_page
from ragkit.indexers.readers.pdf_text import PageText, read_page_text
from ragkit.indexers.readers.pdfium import PDFIUM_LOCK, open_pdf
from ragkit.indexers.readers.reading import Reading
from ragkit.indexers.readers.render import most_dpi
from ragkit.records import Page

_UNREADABLE = "a text layer without meaning (its fonts do not say which letters they show)"
# A page tree that is broken claims a million pages and has none of them.
_MOST_DAMAGED_IN_A_ROW = 100
# PDFium keeps every stream of the file that it has read until the document is closed: a book of scans
# would end up in memory as a whole. So it is opened anew after about so many bytes.
_MOST_BYTES_HELD = 128 * 2**20


@dataclass(frozen=True, slots=True)
class _Layer:
    """A page as its text layer gives it, and whether OCR should look at it."""

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
            self.num_pages = len(self._document)
        bytes_per_page = reading.path.stat().st_size / self.num_pages
        self._pages_per_opening = max(1, int(_MOST_BYTES_HELD / max(bytes_per_page, 1)))
        self._hyphens = LineEndHyphens()
        self._ocr = PageOcr(reading)

    def pages(self) -> Iterator[Page]:
        """One `Page` for each page; a damaged one is empty, and a warning.

        Raises:
            DocumentError: no page can be read, or 100 in a row cannot.
        """
        in_a_row = 0
        for number in range(1, self.num_pages + 1):
            if number > 1 and number % self._pages_per_opening == 0:
                self._open_anew()
            try:
                with PDFIUM_LOCK:
                    layer = self._layer(number)
                in_a_row = 0
            except DocumentError as error:
                in_a_row += 1
                if in_a_row == min(_MOST_DAMAGED_IN_A_ROW, self.num_pages):
                    raise DocumentError(_none_readable(number - in_a_row + 1, number)) from error
                self._ocr.note_unread(number, str(error))
                yield Page(number, "")
                continue
            yield self._by_ocr(layer) if layer.wants_ocr else layer.page
        self._ocr.finish()

    def close(self) -> None:
        with PDFIUM_LOCK:
            self._document.close()

    def _open_anew(self) -> None:
        with PDFIUM_LOCK:
            self._document.close()
            self._document = open_pdf(self._reading.path, self._reading.password)

    def _layer(self, number: int) -> _Layer:
        with open_flattened(self._document, number) as page:
            frame = frame_of(page)
            with open_text_page(page) as text_page:
                content = read_page_text(text_page, frame, self._hyphens)
            text = content.text if content.readable else ""
            words = content.words if content.readable else Page(number, "").words
            found = Page(number, text, words, frame.width_pt, frame.height_pt)
            suspect = self._reading.config.ocr == "always" or may_lack_text(page, content, frame)
            return _Layer(found, content, suspect and not is_blank(page, frame))

    def _by_ocr(self, layer: _Layer) -> Page:
        """What OCR reads on the page, unless the text layer has more."""
        page, reading = layer.page, self._reading
        if page.number in reading.known:
            return reading.known[page.number]
        reason = "little or no text layer" if layer.content.readable else _UNREADABLE
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
            found = page
        reading.read_by_ocr(found)
        return found

    def _dpi_for(self, page: Page) -> float:
        """`documents.ocr_dpi`, or as much less as keeps the image within `documents.max_page_pixels`."""
        config = self._reading.config
        most = most_dpi(page.width_pt, page.height_pt, config.max_page_pixels)
        if config.ocr_dpi <= most:
            return config.ocr_dpi
        self._reading.warnings.append(
            f"page {page.number}: {page.width_pt:.0f} x {page.height_pt:.0f} points; read at {most:.3g} dpi "
            f"instead of {config.ocr_dpi:.0f} to stay within documents.max_page_pixels"
        )
        return most


def _none_readable(first: int, last: int) -> str:
    return "its only page is damaged" if first == last else f"pages {first}-{last} are all damaged"
