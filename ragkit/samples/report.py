"""The annual report: two columns, tables, footnotes at the foot of the page that calls them."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

from reportlab.lib.colors import white
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.platypus import (
    BaseDocTemplate,
    Flowable,
    Frame,
    KeepTogether,
    PageTemplate,
    Paragraph,
    Table,
    TableStyle,
)

from ragkit.samples.paper import AUTHOR, INK, MARGIN, RULE, SOURCES, TEAL

GUTTER, FOOT, CELL = 22.0, 78.0, 7.6
COLUMN = (A4[0] - 2 * MARGIN - GUTTER) / 2
BODY = ParagraphStyle("body", fontName="Vera", fontSize=8.8, leading=13, spaceAfter=7, textColor=INK)
BULLET = ParagraphStyle("bullet", BODY, leftIndent=11, bulletFontName="Vera", bulletFontSize=8.8)
HEADING = ParagraphStyle(
    "heading", BODY, fontName="VeraBd", fontSize=11, leading=15, spaceBefore=8, textColor=TEAL, keepWithNext=1
)
CAPTION = ParagraphStyle(
    "caption", BODY, fontName="VeraBd", fontSize=CELL, leading=10.4, spaceBefore=3, spaceAfter=4
)
FOOTNOTE = ParagraphStyle("footnote", BODY, fontSize=7.2, leading=9, spaceAfter=1.5)
TABLE_STYLE = [
    ("FONT", (0, 0), (-1, -1), "Vera", CELL),
    ("FONT", (0, 0), (-1, 0), "VeraBd", CELL),
    ("TEXTCOLOR", (0, 0), (-1, -1), INK),
    ("ALIGN", (1, 0), (-1, -1), "RIGHT"),
    ("LEFTPADDING", (0, 0), (-1, -1), 0),
    ("RIGHTPADDING", (0, 0), (-1, -1), 0),
    ("TOPPADDING", (0, 0), (-1, -1), 2),
    ("BOTTOMPADDING", (0, 0), (-1, -1), 2.5),
    ("LINEABOVE", (0, 0), (-1, 0), 0.8, TEAL),
    ("LINEBELOW", (0, 0), (-1, 0), 0.5, TEAL),
    ("LINEBELOW", (0, 1), (-1, -2), 0.25, RULE),
    ("LINEBELOW", (0, -1), (-1, -1), 0.8, TEAL),
]


def report() -> bytes:
    """The report as PDF; its words are sources/annual-report.md, a small dialect of Markdown."""
    source = (SOURCES / "annual-report.md").read_text("utf-8")
    title, subtitle, text = re.split(r"\n+", source.removeprefix("# "), maxsplit=2)
    footnotes = dict(re.findall(r"^\[\^(\d)\]: (.+)$", text, re.MULTILINE))
    blocks = re.sub(r"^\[\^\d\]: .+$", "", text, flags=re.MULTILINE).strip().split("\n\n")
    called: list[str] = []

    def begin_page(canvas: Any, document: Any) -> None:
        canvas.setNamedCB("footnote", lambda _canvas, _kind, label: called.append(label))
        if document.page == 1:
            draw_masthead(canvas, title, subtitle)
        else:
            draw_running_title(canvas, f"{AUTHOR} · {title}")

    def end_page(canvas: Any, document: Any) -> None:
        draw_footnotes(canvas, [f"<super>{label}</super> {footnotes[label]}" for label in called])
        called.clear()
        canvas.setFillColor(TEAL)
        canvas.setFont("Vera", 7.4)
        canvas.drawCentredString(A4[0] / 2, 26, str(document.page))

    buffer = io.BytesIO()
    document = BaseDocTemplate(buffer, pagesize=A4, title=title, author=AUTHOR, invariant=1)
    for name, top in (("first", A4[1] - 126), ("later", A4[1] - 62)):
        template = PageTemplate(name, columns(top), onPage=begin_page, onPageEnd=end_page)
        template.autoNextPageTemplate = "later"
        document.addPageTemplates(template)
    document.build([flowable for block in blocks for flowable in flowables(block)])
    return buffer.getvalue()


def columns(top: float) -> list[Frame]:
    lefts = (MARGIN, MARGIN + COLUMN + GUTTER)
    padding = dict.fromkeys(("leftPadding", "rightPadding", "topPadding", "bottomPadding"), 0)
    return [Frame(left, FOOT, COLUMN, top - FOOT, **padding) for left in lefts]


def flowables(block: str) -> list[Flowable]:
    """A block of the source (heading, table with its caption, list, paragraph) as reportlab wants it."""
    if block.startswith("## "):
        return [Paragraph(block.removeprefix("## "), HEADING)]
    if block.startswith("Table "):
        caption, *rows = block.split("\n")
        return [KeepTogether([Paragraph(caption, CAPTION), table(rows)])]
    if block.startswith("- "):
        return [Paragraph(markup(line[2:]), BULLET, bulletText="–") for line in block.split("\n")]
    return [Paragraph(markup(block), BODY)]


def markup(text: str) -> str:
    """Emphasis and footnote calls in reportlab's own markup."""
    text = re.sub(r"\*(.+?)\*", r"<i>\1</i>", text)
    return re.sub(r"\[\^(\d)\]", r'<super>\1</super><onDraw name="footnote" label="\1"/>', text)


def table(lines: Sequence[str]) -> Table:
    """Columns as wide as their widest cell, what is left shared out between them."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    needed = [max(stringWidth(cell, "VeraBd", CELL) for cell in column) for column in zip(*rows, strict=True)]
    spare = (COLUMN - sum(needed)) / (len(needed) - 1)
    widths = [needed[0], *(width + spare for width in needed[1:])]
    totals = [n for n, row in enumerate(rows) if row[0].startswith("Total ")]
    style = TABLE_STYLE + [("FONT", (0, n), (-1, n), "VeraBd", CELL) for n in totals]
    return Table(rows, colWidths=widths, style=TableStyle(style), spaceAfter=11, hAlign="LEFT")


def draw_masthead(canvas: Any, title: str, subtitle: str) -> None:
    canvas.setFillColor(TEAL)
    canvas.rect(0, A4[1] - 104, A4[0], 104, stroke=0, fill=1)
    canvas.setFillColor(white)
    canvas.setFont("VeraBd", 25)
    canvas.drawString(MARGIN, A4[1] - 60, title)
    canvas.setFont("Vera", 9.5)
    canvas.drawString(MARGIN, A4[1] - 82, subtitle)


def draw_running_title(canvas: Any, text: str) -> None:
    canvas.setFillColor(TEAL)
    canvas.setFont("Vera", 7.4)
    canvas.drawString(MARGIN, A4[1] - 42, text)
    canvas.setStrokeColor(RULE)
    canvas.line(MARGIN, A4[1] - 48, A4[0] - MARGIN, A4[1] - 48)


def draw_footnotes(canvas: Any, notes: Sequence[str]) -> None:
    if not notes:
        return
    canvas.setStrokeColor(RULE)
    canvas.line(MARGIN, FOOT - 8, MARGIN + 120, FOOT - 8)
    top = FOOT - 11
    for note in notes:
        paragraph = Paragraph(note, FOOTNOTE)
        _, height = paragraph.wrap(A4[0] - 2 * MARGIN, FOOT)
        paragraph.drawOn(canvas, MARGIN, top - height)
        top -= height + FOOTNOTE.spaceAfter
