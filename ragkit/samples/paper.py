"""What all sample documents are drawn with: colours, fonts, a page as PDF, a PDF page as pixels."""

from __future__ import annotations

import io
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pypdfium2
from PIL import Image
from reportlab import rl_config
from reportlab.lib.colors import HexColor
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas

SOURCES = Path(__file__).parent / "sources"
AUTHOR = "Ysmere River Observatory"
INK, TEAL, RUST = HexColor("#202428"), HexColor("#12505b"), HexColor("#b5622a")
RULE, PEN = HexColor("#9fb3b6"), HexColor("#1d3f8f")
MARGIN = 46.0
SCAN_DPI = 150


class Area(NamedTuple):
    """A rectangle on a page in points, origin bottom left."""

    left: float
    bottom: float
    width: float
    height: float

    @property
    def top(self) -> float:
        return self.bottom + self.height


def prepare_reportlab() -> None:
    """Register the fonts; binary streams and no timestamps."""
    rl_config.useA85 = 0
    rl_config.invariant = 1
    for name in ("Vera", "VeraBd", "VeraIt", "VeraBI"):
        pdfmetrics.registerFont(TTFont(name, f"{name}.ttf"))
    pdfmetrics.registerFontFamily("Vera", "Vera", "VeraBd", "VeraIt", "VeraBI")


def toml(name: str) -> dict[str, Any]:
    """A file of sources/ as nested tables."""
    return tomllib.loads((SOURCES / name).read_text("utf-8"))


def pdf_of(size: tuple[float, float], draw: Callable[[Any], None], title: str = "") -> bytes:
    """A PDF of one page, which `draw` draws on a reportlab canvas; size in points."""
    buffer = io.BytesIO()
    canvas = Canvas(buffer, pagesize=size, invariant=1)
    canvas.setTitle(title)
    canvas.setAuthor(AUTHOR)
    draw(canvas)
    canvas.showPage()
    canvas.save()
    return buffer.getvalue()


def picture_of(pdf: bytes, dpi: float) -> Image.Image:
    """The first page as an RGB image."""
    with pypdfium2.PdfDocument(pdf) as document:
        image: Image.Image = document[0].render(scale=dpi / 72).to_pil()
        return image.convert("RGB")
