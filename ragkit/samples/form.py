"""The form: boxes and labels in print, entries in blue pen."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image
from reportlab.lib.pagesizes import A4

from ragkit.samples.paper import INK, MARGIN, PEN, SCAN_DPI, Area, pdf_of, picture_of, toml

WIDTH = A4[0] - 2 * MARGIN
ROW = 38.0


def form() -> bytes:
    """The form as a PNG of 32 colours and 150 dpi."""
    words = toml("loan-form.toml")
    page = picture_of(pdf_of((A4[0], 560), lambda canvas: draw_form(canvas, words)), SCAN_DPI)
    png = io.BytesIO()
    page.quantize(32, dither=Image.Dither.NONE).save(png, "PNG", optimize=True, dpi=(SCAN_DPI, SCAN_DPI))
    return png.getvalue()


def draw_form(canvas: Any, words: dict[str, Any]) -> None:
    draw_heading(canvas, words)
    for n, row in enumerate(words["rows"]):
        width = WIDTH / len(row)
        for m, (label, entry) in enumerate(row):
            draw_field(canvas, label, [entry], Area(MARGIN + m * width, 440 - n * ROW, width, ROW))
    draw_accessories(canvas, words)
    draw_field(canvas, words["remarks_label"], words["remarks"], Area(MARGIN, 140, WIDTH, 56))
    for n, (label, entry) in enumerate(words["signatures"]):
        draw_field(canvas, label, [entry], Area(MARGIN + n * WIDTH / 2, 88, WIDTH / 2, 40))
    canvas.setFillColor(INK)
    canvas.setFont("VeraIt", 8.5)
    canvas.drawString(MARGIN, 62, words["footer"])


def draw_heading(canvas: Any, words: dict[str, Any]) -> None:
    canvas.setStrokeColor(INK)
    canvas.setFillColor(INK)
    canvas.setFont("VeraBd", 17)
    canvas.drawString(MARGIN, 512, words["title"])
    canvas.drawRightString(MARGIN + WIDTH, 512, words["number"])
    canvas.setFont("Vera", 9.5)
    canvas.drawString(MARGIN, 494, words["owner"])


def draw_field(canvas: Any, label: str, entry: list[str], area: Area) -> None:
    canvas.setFillColor(INK)
    canvas.rect(*area)
    canvas.setFont("Vera", 8)
    canvas.drawString(area.left + 5, area.top - 11, label)
    canvas.setFillColor(PEN)
    canvas.setFont("VeraIt", 12.5)
    for n, line in enumerate(entry):
        canvas.drawString(area.left + 8, area.top - 30 - n * 18, line)


def draw_accessories(canvas: Any, words: dict[str, Any]) -> None:
    canvas.setFillColor(INK)
    canvas.setFont("Vera", 8)
    canvas.drawString(MARGIN + 5, 236, words["accessories_label"])
    canvas.setFont("Vera", 9.5)
    for n, (label, ticked) in enumerate(words["accessories"]):
        left = MARGIN + 6 + n * 101
        canvas.rect(left, 213, 10, 10)
        canvas.drawString(left + 16, 214, label)
        if ticked:
            draw_tick(canvas, left, 217)


def draw_tick(canvas: Any, left: float, base: float) -> None:
    canvas.setStrokeColor(PEN)
    canvas.setLineWidth(1.8)
    canvas.lines([(left - 1, base + 3, left + 4, base - 3), (left + 4, base - 3, left + 12, base + 10)])
    canvas.setStrokeColor(INK)
    canvas.setLineWidth(1)
