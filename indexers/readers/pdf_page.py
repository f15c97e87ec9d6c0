"""What can be asked of one page of an open PDF; the caller holds `PDFIUM_LOCK` throughout."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ragkit.errors import DocumentError
from ragkit.indexers.readers.pdf_text import PageFrame, PageText
from ragkit.indexers.readers.pdfium import open_page
from ragkit.indexers.readers.render import draw, is_uniform

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument, PdfPage

# A page with fewer letters than this is looked at again if it shows pictures: a scan with a stamped
# number, a slide that is one image. A sentence has more.
_FEW_LETTERS = 32
# A stamp or a running head over a scan has fewer letters than this; a page of text has more.
_LETTERS_OF_A_STAMP = 300
# Pictures over more of the page than this may be the page itself, scanned.
_MUCH_OF_THE_PAGE = 0.5
# Forms may hold forms; a scan lies in the first, or in one or two that tools for stamping put around it.
_MOST_FORMS_DEEP = 4
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


def may_lack_text(page: PdfPage, content: PageText, frame: PageFrame) -> bool:
    """Whether the page may show words that its text layer does not have."""
    from pypdfium2 import raw

    if not content.readable:
        return True
    if content.num_letters >= _LETTERS_OF_A_STAMP:
        return False
    if content.num_letters >= _FEW_LETTERS:
        return _is_scan(page, frame)
    count = raw.FPDFPage_CountObjects(page)
    if not content.num_letters:
        return bool(count > 0 or raw.FPDFPage_GetAnnotCount(page) > 0)
    kinds = [raw.FPDFPageObj_GetType(raw.FPDFPage_GetObject(page, index)) for index in range(count)]
    num_paths = kinds.count(raw.FPDF_PAGEOBJ_PATH)
    num_texts = kinds.count(raw.FPDF_PAGEOBJ_TEXT)
    return num_paths >= _MANY_PATHS or num_paths + num_texts < count


def _is_scan(page: PdfPage, frame: PageFrame) -> bool:
    """Whether pictures cover most of the page, and no invisible text says that OCR has read them before."""
    from pypdfium2 import raw

    covered = 0.0
    for item, placed in _objects_of(page):
        kind = raw.FPDFPageObj_GetType(item)
        if kind == raw.FPDF_PAGEOBJ_TEXT:
            if raw.FPDFTextObj_GetTextRenderMode(item) == raw.FPDF_TEXTRENDERMODE_INVISIBLE:
                return False
        elif kind == raw.FPDF_PAGEOBJ_IMAGE:
            covered += _visible_area(item, placed, frame)
    return covered > _MUCH_OF_THE_PAGE * (frame.right - frame.left) * (frame.top - frame.bottom)


def _objects_of(page: PdfPage) -> Iterator[tuple[Any, NDArray[np.float64]]]:
    """Each object on the page or in its forms, and the (3, 2) matrix from its coordinates to the page's."""
    from pypdfium2 import raw

    as_it_is = np.array([[1.0, 0], [0, 1], [0, 0]])
    unseen = [(page, as_it_is, 0)]
    while unseen:
        parent, placed, depth = unseen.pop()
        count = raw.FPDFFormObj_CountObjects(parent) if depth else raw.FPDFPage_CountObjects(parent)
        for index in range(count):
            item = raw.FPDFFormObj_GetObject(parent, index) if depth else raw.FPDFPage_GetObject(parent, index)
            yield item, placed
            if raw.FPDFPageObj_GetType(item) == raw.FPDF_PAGEOBJ_FORM and depth < _MOST_FORMS_DEEP:
                own = raw.FS_MATRIX()
                raw.FPDFPageObj_GetMatrix(item, own)
                inner = np.array([[own.a, own.b], [own.c, own.d], [own.e, own.f]]) @ placed[:2]
                inner[2] += placed[2]
                unseen.append((item, inner, depth + 1))


def _visible_area(item: Any, placed: NDArray[np.float64], frame: PageFrame) -> float:
    """Area of an object's bounds within the page, in square points."""
    from pypdfium2 import raw

    left, bottom, right, top = (ctypes.c_float() for _ in range(4))
    if not raw.FPDFPageObj_GetBounds(item, left, bottom, right, top):
        return 0.0
    corners = np.array([[x.value, y.value] for x in (left, right) for y in (bottom, top)]) @ placed[:2] + placed[2]
    least = np.maximum(corners.min(axis=0), [frame.left, frame.bottom])
    most = np.minimum(corners.max(axis=0), [frame.right, frame.top])
    return float(np.prod(np.maximum(most - least, 0)))


def is_blank(page: PdfPage, frame: PageFrame) -> bool:
    """Whether the page, drawn small, has one colour all over."""
    scale = _BLANK_TEST_PIXELS / max(frame.width_pt, frame.height_pt)
    image = draw(page.raw, max(1, round(frame.width_pt * scale)), max(1, round(frame.height_pt * scale)))
    return is_uniform(image)
