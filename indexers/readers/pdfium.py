"""PDFium, the library that reads and draws PDFs: one lock, and its ways of saying no."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ragkit.errors import DocumentError, PasswordError

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument, PdfPage

# PDFium keeps global state (font caches, the last error) without locks of its own: two threads in it
# at once crash the process, even with different documents. Every call of it is made under this lock.
PDFIUM_LOCK = threading.RLock()

_ERR_FILE, _ERR_FORMAT, _ERR_PASSWORD, _ERR_SECURITY = 2, 3, 4, 5


def open_pdf(path: Path, password: str | None) -> PdfDocument:
    """Open a PDF; the caller holds `PDFIUM_LOCK` here, while using the document, and while closing it.

    Raises:
        PasswordError: it is encrypted and the password is missing or wrong.
        DocumentError: it cannot be read, is damaged, or has no pages.
    """
    import pypdfium2
    from pypdfium2 import raw

    name = str(path).encode("utf-8", "surrogateescape")
    opened = raw.FPDF_LoadDocument(name, None)
    if not opened and password is not None and raw.FPDF_GetLastError() == _ERR_PASSWORD:
        # Only now: a file that anyone may read refuses the password of another.
        opened = raw.FPDF_LoadDocument(name, password.encode())
    if not opened:
        raise _explained(raw.FPDF_GetLastError(), password)
    document = pypdfium2.PdfDocument(opened)
    if len(document) < 1:
        document.close()
        raise DocumentError("the PDF has no pages")
    if document.get_formtype() != raw.FORMTYPE_NONE:
        _show_form_fields(document)
    return document


def _show_form_fields(document: PdfDocument) -> None:
    """Make PDFium draw what is filled in: as PdfDocument.init_forms, but without its log entry on XFA."""
    import pypdfium2
    from pypdfium2 import raw

    settings = raw.FPDF_FORMFILLINFO(version=2)
    form = raw.FPDFDOC_InitFormFillEnvironment(document, settings)
    if form:
        document.formenv = pypdfium2.PdfFormEnv(form, settings)


def _explained(code: int, password: str | None) -> DocumentError:
    if code == _ERR_PASSWORD:
        if password is None:
            return PasswordError("the PDF is encrypted; give its password with --password")
        return PasswordError("the PDF is encrypted and the password given is wrong; give its own with --password")
    if code == _ERR_SECURITY:
        return DocumentError("the PDF is encrypted in a way that is not supported; save it without encryption")
    if code == _ERR_FILE:
        return DocumentError("the PDF cannot be read from the disk")
    reason = "it is damaged or truncated" if code == _ERR_FORMAT else "PDFium gives no reason"
    return DocumentError(f"the PDF cannot be opened: {reason}")


@contextmanager
def open_page(document: PdfDocument, number: int) -> Iterator[PdfPage]:
    """Page `number` (from 1) of an open document.

    Raises:
        DocumentError: there is no such page, or it is damaged.
    """
    from pypdfium2 import PdfiumError

    if not 1 <= number <= len(document):
        raise DocumentError(f"there is no page {number}: the PDF has {len(document)}")
    try:
        page = document[number - 1]
    except PdfiumError as error:
        raise DocumentError("the page is damaged") from error
    try:
        yield page
    finally:
        page.close()
