"""What can be asked of one page of an open PDF; the caller holds `PDFIUM_LOCK` throughout."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ragkit.errors import DocumentError
from ragkit.indexers.pdf_text import PageFrame, PageText
from ragkit.indexers.pdfium import open_page
from ragkit.indexers.render import draw, is_uniform

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument, PdfPage

# A page with fewer letters than this is looked at again if it shows pictures: a scan with a stamped
# number, a slide that is one image. A sentence has more.
_FEW_LETTERS = 32
# So many paths are a drawing, or text drawn as outlines; fewer are rules and boxes.
_MANY_PATHS = 20
# Longer side of the image that tells whether a page is blank, in pixels.
_BLANK_TEST_PIXELS = 200


def frame_of(page: PdfPage) -> PageFrame:
    from pypdfium2 import raw

    box = raw.FS_RECTF()
    raw.FPDF_GetPageBoundingBox(page, box)
    left, right = sorted((box.left, box.right))
    bottom, top = sorted((box.bottom, box.top))
    # A page without extent shows nothing, but its numbers must stay finite.
    return PageFrame(left, bottom, max(right, left + 1), max(top, bottom + 1), raw.FPDFPage_GetRotation(page))


@contextmanager
def open_flattened(document: PdfDocument, number: int) -> Iterator[PdfPage]:
    """A page with the text of filled-in fields and of notes on it made part of the page, in memory.

    Raises:
        DocumentError: the page is damaged.
    """
    from pypdfium2 import raw

    with open_page(document, number) as page:
        if not _has_written_annotations(page):
            yield page
            return
        raw.FPDFPage_Flatten(page, raw.FLAT_NORMALDISPLAY)
    with open_page(document, number) as page:
        yield page


def _has_written_annotations(page: PdfPage) -> bool:
    from pypdfium2 import raw

    written = (raw.FPDF_ANNOT_WIDGET, raw.FPDF_ANNOT_FREETEXT, raw.FPDF_ANNOT_STAMP)
    for index in range(raw.FPDFPage_GetAnnotCount(page)):
        annotation = raw.FPDFPage_GetAnnot(page, index)
        subtype = raw.FPDFAnnot_GetSubtype(annotation)
        raw.FPDFPage_CloseAnnot(annotation)
        if subtype in written:
            return True
    return False


@contextmanager
def open_text_page(page: PdfPage) -> Iterator[Any]:
    """The page's FPDF_TEXTPAGE. Raises DocumentError where its content is damaged."""
    from pypdfium2 import raw

    text_page = raw.FPDFText_LoadPage(page)
    if not text_page:
        raise DocumentError("the page's text is damaged")
    try:
        yield text_page
    finally:
        raw.FPDFText_ClosePage(text_page)


def may_lack_text(page: PdfPage, content: PageText) -> bool:
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


def is_blank(page: PdfPage, frame: PageFrame) -> bool:
    """Whether the page, drawn small, has one colour all over."""
    scale = _BLANK_TEST_PIXELS / max(frame.width_pt, frame.height_pt)
    image = draw(page.raw, max(1, round(frame.width_pt * scale)), max(1, round(frame.height_pt * scale)))
    return is_uniform(image)
