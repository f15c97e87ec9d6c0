"""The chart sheet: three charts whose labels are text, and one that is a picture."""

from __future__ import annotations

import itertools
from typing import Any

from reportlab.lib.pagesizes import A4, landscape
from reportlab.lib.utils import ImageReader

from ragkit.samples.paper import INK, MARGIN, RUST, TEAL, Area, pdf_of, picture_of, toml

LABEL_SIZE = 7.6


def charts() -> bytes:
    """One A4 page across, as PDF."""
    data = toml("charts.toml")
    page = landscape(A4)
    width, height = (page[0] - 3 * MARGIN) / 2, (page[1] - 86 - 2.2 * MARGIN) / 2
    left, right, low, high = MARGIN, 2 * MARGIN + width, MARGIN, 2 * MARGIN + height
    temperature = pdf_of(
        (width, height), lambda canvas: draw_line(canvas, data["temperature"], Area(0, 0, width, height))
    )

    def draw(canvas: Any) -> None:
        canvas.setFillColor(TEAL)
        canvas.setFont("VeraBd", 20)
        canvas.drawString(MARGIN, page[1] - 54, data["title"])
        canvas.setFont("Vera", 9)
        canvas.drawRightString(right + width, page[1] - 54, data["subtitle"])
        draw_columns(canvas, data["flow"], Area(left, high, width, height))
        draw_bars(canvas, data["sediment"], Area(right, high, width, height))
        canvas.drawImage(ImageReader(picture_of(temperature, 200)), left, low, width, height)
        draw_caption(canvas, data["temperature"]["caption"], Area(left, low, width, height))
        draw_columns(canvas, data["eels"], Area(right, low, width, height))

    return pdf_of(page, draw, data["title"])


def draw_caption(canvas: Any, caption: str, area: Area) -> None:
    canvas.setFillColor(INK)
    canvas.setFont("VeraBd", LABEL_SIZE)
    canvas.drawString(area.left, area.top - 8, caption)
    canvas.setFont("Vera", LABEL_SIZE)


def draw_columns(canvas: Any, chart: dict[str, Any], area: Area) -> None:
    draw_caption(canvas, chart["caption"], area)
    step, scale = area.width / len(chart["values"]), (area.height - 54) / max(chart["values"])
    for n, (label, value) in enumerate(zip(chart["labels"], chart["values"], strict=True)):
        middle = area.left + (n + 0.5) * step
        canvas.setFillColor(TEAL)
        canvas.rect(middle - step * 0.34, area.bottom + 16, step * 0.68, value * scale, stroke=0, fill=1)
        canvas.setFillColor(INK)
        canvas.drawCentredString(middle, area.bottom + 4, label)
        canvas.drawCentredString(middle, area.bottom + 20 + value * scale, f"{value:,}")
    draw_base_line(canvas, area)


def draw_bars(canvas: Any, chart: dict[str, Any], area: Area) -> None:
    draw_caption(canvas, chart["caption"], area)
    step, scale = (area.height - 20) / len(chart["values"]), (area.width - 140) / max(chart["values"])
    for n, (label, value) in enumerate(zip(chart["labels"], chart["values"], strict=True)):
        base = area.top - 20 - (n + 0.8) * step
        canvas.setFillColor(INK)
        canvas.drawString(area.left, base + step * 0.2, label)
        canvas.drawString(area.left + 96 + value * scale, base + step * 0.2, f"{value:,} t")
        canvas.setFillColor(RUST)
        canvas.rect(area.left + 90, base, value * scale, step * 0.6, stroke=0, fill=1)


def draw_line(canvas: Any, chart: dict[str, Any], area: Area) -> None:
    """Values stand on the outer side of the slope, so that the line never runs through them."""
    values = chart["values"]
    step, scale = area.width / len(values), (area.height - 68) / max(values)
    points = [(area.left + (n + 0.5) * step, area.bottom + 24 + v * scale) for n, v in enumerate(values)]
    canvas.setStrokeColor(RUST)
    canvas.setLineWidth(1.6)
    for start, end in itertools.pairwise(points):
        canvas.line(*start, *end)
    canvas.setFont("Vera", LABEL_SIZE)
    peak = values.index(max(values))
    for n, ((x, y), label, value) in enumerate(zip(points, chart["labels"], values, strict=True)):
        canvas.setFillColor(RUST)
        canvas.circle(x, y, 2.4, stroke=0, fill=1)
        canvas.setFillColor(INK)
        canvas.drawCentredString(x, area.bottom + 4, label)
        canvas.drawCentredString(x + (n > peak) * 7 - (n < peak) * 7, y + 7, f"{value}")
    canvas.drawString(area.left, area.top - 26, chart["unit"])
    draw_base_line(canvas, area)


def draw_base_line(canvas: Any, area: Area) -> None:
    canvas.setStrokeColor(INK)
    canvas.setLineWidth(1)
    canvas.line(area.left, area.bottom + 16, area.left + area.width, area.bottom + 16)
