from __future__ import annotations

from pathlib import Path

import docx
from docx.opc.constants import RELATIONSHIP_TYPE
from docx.opc.packuri import PackURI
from docx.opc.part import Part
from docx.oxml import parse_xml

from tests.read_document import read_document

W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
MC = 'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"'


def text_of(tmp_path: Path, *blocks: str, notes: str = "") -> str:
    document = docx.Document()
    body = document.element.body
    for block in blocks:
        body.insert(len(body) - 1, parse_xml(block.replace(">", f" {W} {MC}>", 1)))
    if notes:
        kind = "application/vnd.openxmlformats-officedocument.wordprocessingml.footnotes+xml"
        xml = f"<w:footnotes {W}>{notes}</w:footnotes>".encode()
        part = Part(PackURI("/word/footnotes.xml"), kind, xml, document.part.package)
        document.part.relate_to(part, RELATIONSHIP_TYPE.FOOTNOTES)
    document.save(tmp_path / "a.docx")
    return read_document(tmp_path / "a.docx").pages[0].text


def test_runs_links_tabs_and_breaks(tmp_path: Path) -> None:
    paragraph = (
        "<w:p><w:pPr><w:tabs><w:tab w:val='left' w:pos='9'/></w:tabs></w:pPr><w:r><w:t>See </w:t></w:r>"
        "<w:hyperlink><w:r><w:t>the site</w:t></w:r></w:hyperlink>"
        "<w:r><w:tab/><w:t>or</w:t><w:br/><w:t>next</w:t><w:noBreakHyphen/><w:t>line</w:t></w:r></w:p>"
    )
    assert text_of(tmp_path, paragraph) == "See the site\tor\nnext-line"


def test_insertions_are_read_and_deletions_are_not(tmp_path: Path) -> None:
    paragraph = (
        "<w:p><w:r><w:t>The price is </w:t></w:r>"
        "<w:del><w:r><w:delText>10</w:delText></w:r></w:del><w:ins><w:r><w:t>12</w:t></w:r></w:ins>"
        "<w:moveFrom><w:r><w:t> gone</w:t></w:r></w:moveFrom></w:p>"
    )
    assert text_of(tmp_path, paragraph) == "The price is 12"


def test_content_controls(tmp_path: Path) -> None:
    block = "<w:sdt><w:sdtContent><w:p><w:r><w:t>Chosen</w:t></w:r></w:p></w:sdtContent></w:sdt>"
    inline = "<w:p><w:sdt><w:sdtContent><w:r><w:t>inline</w:t></w:r></w:sdtContent></w:sdt></w:p>"
    assert text_of(tmp_path, block, inline) == "Chosen\ninline"


def test_text_box_is_read_once_and_after_its_paragraph(tmp_path: Path) -> None:
    box = "<w:txbxContent><w:p><w:r><w:t>In the box</w:t></w:r></w:p></w:txbxContent>"
    paragraph = (
        "<w:p><w:r><w:t>Anchor</w:t></w:r><w:r><mc:AlternateContent>"
        f"<mc:Choice Requires='wps'>{box}</mc:Choice><mc:Fallback>{box}</mc:Fallback>"
        "</mc:AlternateContent></w:r><w:r><w:t> goes on</w:t></w:r></w:p>"
    )
    assert text_of(tmp_path, paragraph) == "Anchor goes on\nIn the box"


def test_tables_in_tables_and_cells_in_content_controls(tmp_path: Path) -> None:
    def cell(content: str) -> str:
        return f"<w:tc><w:p><w:r><w:t>{content}</w:t></w:r></w:p></w:tc>"

    inner = f"<w:tbl><w:tr>{cell('x')}{cell('y')}</w:tr></w:tbl>"
    table = (
        f"<w:tbl><w:tr>{cell('a')}<w:tc>{inner}<w:p/></w:tc></w:tr>"
        f"<w:tr><w:sdt><w:sdtContent>{cell('b')}</w:sdtContent></w:sdt>{cell('')}</w:tr></w:tbl>"
    )
    assert text_of(tmp_path, table) == "a | x | y\nb | "


def test_footnotes_come_last(tmp_path: Path) -> None:
    notes = (
        "<w:footnote w:type='separator'><w:p><w:r><w:t>no</w:t></w:r></w:p></w:footnote>"
        "<w:footnote><w:p><w:r><w:t>As of 2023.</w:t></w:r></w:p></w:footnote>"
    )
    assert text_of(tmp_path, "<w:p><w:r><w:t>Body</w:t></w:r></w:p>", notes=notes) == "Body\nAs of 2023."


def test_headers_and_footers_are_read_once_each(tmp_path: Path) -> None:
    document = docx.Document()
    document.add_paragraph("Body")
    first = document.sections[0]
    first.header.paragraphs[0].text = "Contract 4711"
    first.header.add_table(1, 2, 914400).cell(0, 1).text = "draft"
    first.footer.paragraphs[0].text = "Acme Ltd."
    first.first_page_header.paragraphs[0].text = "Title page"
    first.even_page_footer.paragraphs[0].text = "Even"
    document.add_section()  # goes on with the header and footer of the first
    for header, footer in (("Annex", "Acme Ltd."), ("Index", "12")):
        section = document.add_section()
        section.header.is_linked_to_previous = section.footer.is_linked_to_previous = False
        section.header.paragraphs[0].text = header
        section.footer.paragraphs[0].text = footer

    def lines() -> list[str]:
        document.save(tmp_path / "a.docx")
        return [line for line in read_document(tmp_path / "a.docx").pages[0].text.split("\n") if line]

    assert lines() == ["Contract 4711", " | draft", "Annex", "Index", "Body", "Acme Ltd."]
    document.sections[-1].different_first_page_header_footer = True
    document.settings.odd_and_even_pages_header_footer = True
    found = lines()
    assert sorted(found) == sorted(
        ["Contract 4711", " | draft", "Title page", "Annex", "Index", "Body", "Acme Ltd.", "Even"]
    )
    assert found.index("Title page") < found.index("Body") < found.index("Even")
