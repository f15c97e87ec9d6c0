"""Word, PowerPoint and Excel files as pages of text."""

from __future__ import annotations

import datetime
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ragkit.errors import DocumentError, MissingExtraError
from ragkit.extras import require
from ragkit.indexers.readers.media_types import DOCX, PPTX
from ragkit.indexers.readers.plain_text import clean_text
from ragkit.indexers.readers.reading import Reading, TextPages, as_document_error
from ragkit.indexers.readers.word_text import BETWEEN_CELLS, word_text

# Unpacked size of all parts: beyond it a small file is a trap, or a large one fills the memory.
_MOST_BYTES = 2**30
_OPENXML = "http://schemas.openxmlformats.org/"
_DRAWING = f"{{{_OPENXML}drawingml/2006/main}}"
_DIAGRAM = f"{{{_OPENXML}drawingml/2006/diagram}}"
_RELATIONS = f"{{{_OPENXML}officeDocument/2006/relationships}}"
_SHEET_PART = re.compile(r"xl/worksheets/[^/]+\.xml", re.IGNORECASE)
# A sheet is one page; beyond this its rows are data, not something to read.
_MOST_SHEET_LETTERS = 5_000_000


def open_office(reading: Reading, media_type: str) -> TextPages:
    """Read an Office file: a document is one page, a slide is one, a sheet is one.

    Raises:
        DocumentError: the file is damaged or too large, or the library that reads it is not installed.
    """
    with as_document_error("a damaged or truncated Office file"):
        with zipfile.ZipFile(reading.path) as archive:
            size = sum(part.file_size for part in archive.infolist())
        if size > _MOST_BYTES:
            raise DocumentError(
                f"{size / 2**20:.0f} MiB unpacked, more than {_MOST_BYTES // 2**20}; split the file"
            )
        try:
            if media_type == DOCX:
                texts = [word_text(reading)]
            elif media_type == PPTX:
                texts = _slide_texts(reading)
            else:
                texts = _sheet_texts(reading)
        except MissingExtraError as error:
            raise DocumentError(str(error)) from error
    if not any(text.strip() for text in texts):
        reading.warnings.append("the file holds no text")
    return TextPages(tuple(clean_text(text) for text in texts))


def _slide_texts(reading: Reading) -> list[str]:
    presentation = require("pptx").Presentation(str(reading.path))
    return ["\n".join(_slide_lines(slide)) for slide in presentation.slides]


def _slide_lines(slide: Any) -> Iterator[str]:
    yield from _shape_lines(slide.shapes)
    if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
        notes = slide.notes_slide.notes_text_frame.text.strip()
        if notes:
            yield f"\nNotes:\n{notes}"


def _shape_lines(shapes: Any) -> Iterator[str]:
    for shape in shapes:
        if hasattr(shape, "shapes"):
            yield from _shape_lines(shape.shapes)
        elif shape.has_text_frame:
            if text := shape.text_frame.text.strip():
                yield text
        elif getattr(shape, "has_table", False):
            for row in shape.table.rows:
                cells = [" ".join(cell.text.split()) for cell in row.cells if not cell.is_spanned]
                if any(cells):
                    yield BETWEEN_CELLS.join(cells)
        elif getattr(shape, "has_chart", False):
            yield from _chart_lines(shape.chart)
        else:
            yield from _diagram_lines(shape)


def _diagram_lines(shape: Any) -> Iterator[str]:
    """The labels of a SmartArt diagram, which has its text in a part of its own."""
    from lxml import etree

    for link in shape.element.iter(f"{_DIAGRAM}relIds"):
        data = shape.part.related_part(link.get(f"{_RELATIONS}dm"))
        root = etree.fromstring(data.blob, etree.XMLParser(resolve_entities=False, no_network=True))
        for paragraph in root.iter(f"{_DRAWING}p"):
            text = "".join(run.text or "" for run in paragraph.iter(f"{_DRAWING}t")).strip()
            if text:
                yield text


def _chart_lines(chart: Any) -> Iterator[str]:
    """The title, and a line for each series with its values."""
    if chart.has_title and chart.chart_title.has_text_frame:
        yield chart.chart_title.text_frame.text
    for plot in chart.plots:
        names = [str(name) for name in plot.categories]
        for series in plot.series:
            values = [_number(value) if value is not None else "" for value in series.values]
            pairs = [f"{name} {value}".strip() for name, value in zip(names, values, strict=False)]
            yield f"{series.name}: {'; '.join(pairs or values)}"


def _sheet_texts(reading: Reading) -> list[str]:
    workbook = require("openpyxl").load_workbook(reading.path, read_only=True, data_only=True)
    try:
        texts = [_sheet_text(sheet, reading.warnings) for sheet in workbook.worksheets]
    finally:
        workbook.close()
    if count := _count_without_value(reading.path):
        cells = "1 formula has" if count == 1 else f"{count} formulas have"
        reading.warnings.append(
            f"{cells} no value stored in the file and were read as empty; open it in a spreadsheet program and "
            "save it, which computes them, then index it again"
        )
    return texts


def _count_without_value(path: Path) -> int:
    """Formulas in the workbook whose last value was not saved; programs that write files often save none."""
    from lxml import etree

    count = 0
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if not _SHEET_PART.fullmatch(name):
                continue
            with archive.open(name) as part:
                for _, element in etree.iterparse(
                    part, tag=("{*}c", "{*}row"), resolve_entities=False, no_network=True
                ):
                    if etree.QName(element).localname == "c":
                        count += _lacks_value(element)
                    else:
                        element.clear()
                        while element.getprevious() is not None:
                            del element.getparent()[0]
    return count


def _lacks_value(cell: Any) -> bool:
    # An empty value of the type str is the empty string that the formula gave.
    return cell.find("{*}f") is not None and cell.get("t") != "str" and not cell.findtext("{*}v")


def _sheet_text(sheet: Any, warnings: list[str]) -> str:
    lines = [sheet.title]
    length = 0
    # The size that the file states is often wrong, in either direction.
    sheet.reset_dimensions()
    for row_number, row in enumerate(sheet.iter_rows(), 1):
        cells = [_cell_text(cell) for cell in row]
        while cells and not cells[-1]:
            cells.pop()
        if not cells:
            continue
        lines.append(BETWEEN_CELLS.join(cells))
        length += len(lines[-1])
        if length > _MOST_SHEET_LETTERS:
            warnings.append(f"sheet {sheet.title!r}: only the rows up to {row_number} were read; split the sheet")
            break
    return "\n".join(lines)


def _cell_text(cell: Any) -> str:
    value = cell.value
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, int | float):
        return _percent(value, cell.number_format) or _number(value)
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return value.date().isoformat()
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat(" ", "seconds") if isinstance(value, datetime.datetime) else value.isoformat()
    return " ".join(str(value).split())


def _percent(value: float, number_format: str | None) -> str | None:
    """A share as the sheet shows it: 0.125 in a cell of the format 0.0% is 12.5%."""
    if not number_format or "%" not in number_format:
        return None
    decimals = len(number_format.partition("%")[0].partition(".")[2])
    return f"{value * 100:.{min(decimals, 10)}f}%"


def _number(value: float) -> str:
    return format(value, ".15g") if isinstance(value, float) else str(value)
