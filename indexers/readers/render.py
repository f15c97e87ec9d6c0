"""Pages of a PDF drawn as images: by PDFium, or by poppler through pdf2image."""

from __future__ import annotations

import ctypes
import math
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragkit.config import DocumentsConfig
from ragkit.errors import DocumentError, MissingExtraError, PasswordError
from ragkit.extras import require
from ragkit.indexers.readers.pdfium import PDFIUM_LOCK, open_page, open_pdf
from ragkit.indexers.readers.reading import as_document_error

if TYPE_CHECKING:
    from PIL.Image import Image

    from ragkit.protocols import Renderer

_POPPLER_TIMEOUT_S = 300


class PdfiumRenderer:
    """Draws with PDFium, annotations and the contents of form fields included."""

    def render(
        self, path: Path, page: int, dpi: float, password: str | None = None, max_pixels: int | None = None
    ) -> Image:
        """As `protocols.Renderer.render`; at least 1 x 1 pixels.

        Raises:
            DocumentError: the file or the page cannot be read, or the image is too large.
        """
        with PDFIUM_LOCK, open_pdf(path, password) as document, open_page(document, page) as opened:
            size_pt = opened.get_size()
            width, height = _pixels(size_pt, _dpi_within(size_pt, dpi, max_pixels))
            return draw(opened.raw, width, height, document.formenv)


class Pdf2imageRenderer:
    """Draws with poppler's pdftoppm, a program that pdf2image starts for each page.

    A password is handed to it on its command line, where other users of the machine can see it.
    """

    def __init__(self) -> None:
        """Raises MissingExtraError where pdf2image or poppler is not installed."""
        self._pdf2image = require("pdf2image")
        if shutil.which("pdftoppm") is None or shutil.which("pdfinfo") is None:
            raise MissingExtraError(
                "pdf2image needs poppler's programs pdftoppm and pdfinfo; install poppler-utils, "
                'or set documents.renderer = "pypdfium2"'
            )

    def render(
        self, path: Path, page: int, dpi: float, password: str | None = None, max_pixels: int | None = None
    ) -> Image:
        """As `PdfiumRenderer.render`."""
        try:
            size_pt, needed = _page_size_pt(path, page, None), None
        except PasswordError:
            size_pt, needed = _page_size_pt(path, page, password), password
        dpi = _dpi_within(size_pt, dpi, max_pixels)
        with as_document_error(f"poppler cannot draw page {page}"):
            images: list[Image] = self._pdf2image.convert_from_path(
                str(path.absolute()),
                dpi=dpi,
                first_page=page,
                last_page=page,
                userpw=needed,
                use_cropbox=True,
                timeout=_POPPLER_TIMEOUT_S,
            )
        if not images:
            raise DocumentError(f"poppler cannot draw page {page}: it gives no reason")
        # Poppler rounds sizes up, so there may be a row or a column too many.
        return images[0].convert("RGB").crop((0, 0, *_pixels(size_pt, dpi)))


def make_renderer(config: DocumentsConfig) -> Renderer:
    """The renderer of the configuration; stands here because processes that only draw import no more than this."""
    return Pdf2imageRenderer() if config.renderer == "pdf2image" else PdfiumRenderer()


def _page_size_pt(path: Path, page: int, password: str | None) -> tuple[float, float]:
    with PDFIUM_LOCK, open_pdf(path, password) as document, open_page(document, page) as opened:
        width, height = opened.get_size()
        return width, height


def most_dpi(width_pt: float, height_pt: float, max_pixels: int) -> float:
    """The highest resolution that keeps a page of this size within so many pixels."""
    inches = width_pt * height_pt / 72**2
    return 0.999 * math.sqrt(max_pixels / inches)  # pixels are rounded, up or down


def draw(page: Any, width: int, height: int, form: Any = None) -> Image:
    """An FPDF_PAGE on white as an RGB image of that many pixels; the caller holds `PDFIUM_LOCK`.

    Raises:
        DocumentError: there is no memory for the image.
    """
    from PIL import Image as PillowImage
    from pypdfium2 import raw

    bitmap = raw.FPDFBitmap_Create(width, height, 0)
    if not bitmap:
        raise DocumentError(f"no memory for an image of {width} x {height} pixels; lower documents.ocr_dpi")
    try:
        raw.FPDFBitmap_FillRect(bitmap, 0, 0, width, height, 0xFFFFFFFF)
        raw.FPDF_RenderPageBitmap(bitmap, page, 0, 0, width, height, 0, raw.FPDF_ANNOT)
        if form is not None:
            raw.FPDF_FFLDraw(form.raw, bitmap, page, 0, 0, width, height, 0, raw.FPDF_ANNOT)
        stride = raw.FPDFBitmap_GetStride(bitmap)
        buffer = ctypes.string_at(raw.FPDFBitmap_GetBuffer(bitmap), stride * height)
    finally:
        raw.FPDFBitmap_Destroy(bitmap)
    return PillowImage.frombytes("RGB", (width, height), buffer, "raw", "BGRX", stride, 1)


def is_uniform(image: Image) -> bool:
    """Whether an RGB image has one colour all over."""
    colours = image.getcolors(maxcolors=1)
    return colours is not None


def _dpi_within(size_pt: tuple[float, float], dpi: float, max_pixels: int | None) -> float:
    return dpi if max_pixels is None else min(dpi, most_dpi(*size_pt, max_pixels))


def _pixels(size_pt: tuple[float, float], dpi: float) -> tuple[int, int]:
    width, height = (max(1, round(side * dpi / 72)) for side in size_pt)
    return width, height
