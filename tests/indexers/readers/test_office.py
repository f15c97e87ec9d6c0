from __future__ import annotations

import datetime
import random
import sys
import zipfile
from pathlib import Path

import docx
import openpyxl
import pptx
import pytest
from pptx.chart.data import CategoryChartData
from pptx.enum.chart import XL_CHART_TYPE
from pptx.opc.package import Part
from pptx.opc.packuri import PackURI
from pptx.oxml import parse_xml
from pptx.util import Inches

from ragkit.errors import DocumentError
from ragkit.indexers.readers import office
from tests.read_document import read_document


def make_docx(path: Path) -> Path:
    document = docx.Document()
    document.add_heading("Terms of sale", 1)
    document.add_paragraph("The price is fixed.")
    table = document.add_table(2, 2)
    for index, text in enumerate(["Year", "Sum", "2023", "17"]):
        table.cell(index // 2, index % 2).text = text
    document.add_paragraph("After the table.")
    merged = document.add_table(1, 3)
    merged.cell(0, 0).merge(merged.cell(0, 1)).text = "wide"
    merged.cell(0, 2).text = "narrow"
    document.save(path)
    return path


def make_pptx(path: Path) -> Path:
    presentation = pptx.Presentation()
    first = presentation.slides.add_slide(presentation.slide_layouts[1])
    first.shapes.title.text = "Plan"
    first.placeholders[1].text = "Step one\nStep two"
    first.notes_slide.notes_text_frame.text = "Say it slowly."
    second = presentation.slides.add_slide(presentation.slide_layouts[6])
    table = second.shapes.add_table(1, 2, 0, 0, Inches(3), Inches(1)).table
    table.cell(0, 0).text, table.cell(0, 1).text = "left", "right"
    group = second.shapes.add_group_shape()
    group.shapes.add_textbox(0, 0, Inches(1), Inches(1)).text_frame.text = "in a group"
    data = CategoryChartData()
    data.categories = ["2022", "2023"]
    data.add_series("Sales", (1.5, 2))
    place = (0, 0, Inches(3), Inches(3))
    second.shapes.add_chart(XL_CHART_TYPE.COLUMN_CLUSTERED, *place, data)
    presentation.save(path)
    return path


def make_xlsx(path: Path) -> Path:
    workbook = openpyxl.Workbook()
    sheet = workbook.active
    sheet.title = "Figures"
    sheet.append(["Name", "Share", "When", "Sold", "Note"])
    sheet.append(["Ann", 0.125, datetime.datetime(2024, 3, 1), True, None])
    sheet.append([])
    sheet.append([None, 0.1 + 0.2, datetime.datetime(2024, 3, 1, 14, 30), 7, "two\nlines"])
    sheet["B2"].number_format = "0.0%"
    workbook.create_sheet("Empty")
    workbook.save(path)
    return path


def test_document_is_one_page_in_order(tmp_path: Path) -> None:
    document = read_document(make_docx(tmp_path / "a.docx"))
    assert document.num_pages == 1
    assert document.pages[0].text == (
        "\nTerms of sale\n\nThe price is fixed.\nYear | Sum\n2023 | 17\nAfter the table.\nwide | narrow"
    )


def test_slides_are_pages_with_notes_tables_groups_and_charts(tmp_path: Path) -> None:
    document = read_document(make_pptx(tmp_path / "a.pptx"))
    assert [page.text for page in document.pages] == [
        "Plan\nStep one\nStep two\n\nNotes:\nSay it slowly.",
        "left | right\nin a group\nSales: 2022 1.5; 2023 2",
    ]


def test_smart_art_is_read(tmp_path: Path) -> None:
    presentation = pptx.Presentation()
    slide = presentation.slides.add_slide(presentation.slide_layouts[6])
    drawing = "http://schemas.openxmlformats.org/drawingml/2006"
    labels = "".join(f"<a:p><a:r><a:t>{label}</a:t></a:r></a:p>" for label in ("Plan", "Do"))
    xml = f'<d:dataModel xmlns:d="{drawing}/diagram" xmlns:a="{drawing}/main">{labels}</d:dataModel>'
    part = Part(PackURI("/ppt/diagrams/data1.xml"), "application/xml", slide.part.package, xml.encode())
    relations = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    link = slide.part.relate_to(part, f"{relations}/diagramData")
    frame = slide.shapes.add_table(1, 1, 0, 0, Inches(1), Inches(1))._element
    data = frame.find(f".//{{{drawing}/main}}graphicData")
    data.set("uri", f"{drawing}/diagram")
    data[:] = [parse_xml(f'<d:relIds xmlns:d="{drawing}/diagram" xmlns:r="{relations}" r:dm="{link}"/>')]
    presentation.save(tmp_path / "a.pptx")
    assert read_document(tmp_path / "a.pptx").pages[0].text == "Plan\nDo"


def test_sheets_are_pages(tmp_path: Path) -> None:
    document = read_document(make_xlsx(tmp_path / "a.xlsx"))
    assert [page.text for page in document.pages] == [
        "Figures\nName | Share | When | Sold | Note\nAnn | 12.5% | 2024-03-01 | TRUE\n"
        " | 0.3 | 2024-03-01 14:30:00 | 7 | two lines",
        "Empty",
    ]


def test_long_sheet_is_cut_with_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(office, "_MOST_SHEET_LETTERS", 50)
    workbook = openpyxl.Workbook()
    for row in range(100):
        workbook.active.append([f"row {row:03}"])
    workbook.save(tmp_path / "a.xlsx")
    document = read_document(tmp_path / "a.xlsx")
    assert document.pages[0].text.endswith("row 007")
    assert document.warnings == ["sheet 'Sheet': only the rows up to 8 were read; split the sheet"]


def test_formulas_without_stored_values_are_one_warning(tmp_path: Path) -> None:
    workbook = openpyxl.Workbook()
    workbook.active.append([1, 2, "=A1+B1"])
    workbook.create_sheet("More").append(["=Sheet!A1", '=IF(1,"x","")'])
    workbook.save(tmp_path / "a.xlsx")
    document = read_document(tmp_path / "a.xlsx")
    assert [page.text for page in document.pages] == ["Sheet\n1 | 2", "More"]
    assert len(document.warnings) == 1
    assert document.warnings[0].startswith("3 formulas have no value stored")
    # As a spreadsheet program saves them: a number, and a formula that gave the empty string.
    with zipfile.ZipFile(tmp_path / "a.xlsx") as old, zipfile.ZipFile(tmp_path / "b.xlsx", "w") as new:
        for name in old.namelist():
            data = old.read(name).replace(b"<v></v>", b"<v />").replace(b"<v/>", b"<v />")
            data = data.replace(b"A1+B1</f><v />", b"A1+B1</f><v>3</v>")
            data = data.replace(b"Sheet!A1</f><v />", b"Sheet!A1</f><v>1</v>")
            new.writestr(name, data.replace(b'<c r="B1"><f>IF', b'<c r="B1" t="str"><f>IF'))
    document = read_document(tmp_path / "b.xlsx")
    assert [page.text for page in document.pages] == ["Sheet\n1 | 2 | 3", "More\n1"]
    assert document.warnings == []


def test_file_that_unpacks_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(office, "_MOST_BYTES", 10_000)
    with pytest.raises(DocumentError, match="unpacked"):
        read_document(make_docx(tmp_path / "a.docx"))


@pytest.mark.parametrize("make", [make_docx, make_pptx, make_xlsx])
def test_truncated_and_mutated_files(tmp_path: Path, make: object) -> None:
    suffix = make.__name__.removeprefix("make_")  # type: ignore[attr-defined]
    path = make(tmp_path / f"a.{suffix}")  # type: ignore[operator]
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DocumentError, match="damaged or truncated"):
        read_document(path)
    draw = random.Random(11)
    for _ in range(25):
        data = bytearray(content)
        for _ in range(draw.choice([1, 10, 100])):
            data[draw.randrange(len(data))] = draw.randrange(256)
        path.write_bytes(data)
        try:
            read_document(path)
        except DocumentError as error:
            assert str(error)


def test_archive_without_the_rest(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.docx", "w") as archive:
        archive.writestr("word/document.xml", "<x/>")
    with pytest.raises(DocumentError, match="damaged"):
        read_document(tmp_path / "a.docx")


def test_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_docx(tmp_path / "a.docx")

    monkeypatch.setitem(sys.modules, "docx", None)
    with pytest.raises(DocumentError, match=r"ragkit\[office\]"):
        read_document(path)
