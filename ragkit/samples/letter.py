"""The letter: typed, signed, then scanned; its PDF holds a picture and no text."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image, ImageChops, ImageFilter
from reportlab.lib.pagesizes import A4
from reportlab.lib.utils import ImageReader, simpleSplit

from ragkit.samples.paper import SCAN_DPI, pdf_of, picture_of, toml

LEFT, RIGHT = 72.0, A4[0] - 66
LEADING = 14.6


def letter() -> bytes:
    """One A4 page as PDF, its only content a grey JPEG of 150 dpi."""
    words = toml("parish-letter.toml")
    page = scanned(picture_of(pdf_of(A4, lambda canvas: draw_letter(canvas, words)), SCAN_DPI))
    jpeg = io.BytesIO()
    page.save(jpeg, "JPEG", quality=58, dpi=(SCAN_DPI, SCAN_DPI))
    jpeg.seek(0)
    return pdf_of(A4, lambda canvas: canvas.drawImage(ImageReader(jpeg), 0, 0, *A4), "Scan")


def draw_letter(canvas: Any, words: dict[str, Any]) -> None:
    draw_letterhead(canvas, words["sender"])
    lines = [
        *words["recipient"],
        "",
        words["place_and_date"],
        "",
        "",
        words["subject"],
        "",
        words["greeting"],
        "",
    ]
    for paragraph in words["paragraphs"]:
        lines += [*simpleSplit(paragraph, "Courier", 11, RIGHT - LEFT), ""]
    lines += [words["closing"][0], "", "", "", *words["closing"][1:]]
    top = A4[1] - 124
    for n, line in enumerate(lines):
        canvas.setFont("Courier-Bold" if line == words["subject"] else "Courier", 11)
        canvas.drawString(LEFT, top - n * LEADING, line)
    draw_signature(canvas, top - (len(lines) - 3.6) * LEADING)


def draw_letterhead(canvas: Any, sender: list[str]) -> None:
    canvas.setFont("VeraBd", 13)
    canvas.drawCentredString(A4[0] / 2, A4[1] - 62, sender[0])
    canvas.setFont("Vera", 8.5)
    canvas.drawCentredString(A4[0] / 2, A4[1] - 77, sender[1])
    canvas.line(LEFT, A4[1] - 88, RIGHT, A4[1] - 88)


def draw_signature(canvas: Any, base: float) -> None:
    """A scrawl between the closing line and the typed name."""
    pen = canvas.beginPath()
    pen.moveTo(LEFT + 4, base)
    for n, rise in enumerate((22, 12, 9, 16, 7, 8, 18, 8, 6)):
        x = LEFT + 4 + n * 13
        pen.curveTo(x + 3, base + rise, x + 9, base + rise, x + 8, base + 3)
        pen.curveTo(x + 8, base - 5, x + 11, base - 4, x + 13, base)
    canvas.setLineWidth(1.1)
    canvas.drawPath(pen)


def scanned(page: Image.Image) -> Image.Image:
    """The page as a worn office scanner sees it: grey, askew, darker towards one edge, grainy."""
    grey = page.convert("L").rotate(0.8, Image.Resampling.BICUBIC, fillcolor=255)
    grey = grey.filter(ImageFilter.GaussianBlur(0.5))
    shade = np.linspace(0.0, 22.0, grey.width)[None, :] + np.linspace(6.0, 0.0, grey.height)[:, None]
    grain = np.random.default_rng(1968).normal(0.0, 4.5, (grey.height, grey.width))
    paper = np.clip(247.0 - shade + grain, 0, 255).astype(np.uint8)
    ink = grey.point([44 + level * 211 // 255 for level in range(256)])
    return ImageChops.multiply(ink, Image.fromarray(paper))
