"""The text of a Word document in reading order, from its XML.

python-docx gives paragraphs and tables, but passes over content controls, inserted (tracked) text,
text boxes and footnotes; what a reader sees includes them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ragkit.errors import DocumentError
from ragkit.extras import require
from ragkit.indexers.readers.reading import Reading

BETWEEN_CELLS = " | "
_MAIN = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_RELATION_ID = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
# Properties, deleted and moved-away text, and the second version of a drawing for old programs.
_NOT_SHOWN = frozenset({"pPr", "rPr", "tblPr", "trPr", "tcPr", "del", "moveFrom", "Fallback"})
_MARKS = {"tab": "\t", "ptab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}


def word_text(reading: Reading) -> str:
    """Paragraphs, headings between empty lines, tables by rows; footnotes and endnotes at the end.

    What stands in headers comes first and what stands in footers last, each different one once.
    """
    document = _open(reading)
    styles = {style.style_id: style.name or "" for style in document.styles}
    headings = {key for key, name in styles.items() if name.startswith(("Heading", "Title"))}
    lines = [*_margin_lines(document, "header"), *_block_lines(document.element.body, headings)]
    for relation in document.part.rels.values():
        if relation.reltype.endswith(("/footnotes", "/endnotes")):
            lines += _note_lines(relation.target_part.blob)
    lines += _margin_lines(document, "footer")
    return "\n".join(lines)


def _open(reading: Reading) -> Any:
    try:
        return require("docx").Document(str(reading.path))
    except ValueError as error:
        # What python-docx says of .docm and .dotx, whose content is the same.
        if "content type" in str(error):
            raise DocumentError("a Word template or a file with macros; save it as .docx") from error
        raise


def _margin_lines(document: Any, kind: str) -> list[str]:
    """The text of the headers or footers that are shown; page numbers alone are none."""
    found: dict[str, None] = {}
    # A section without a header of its own has that of the section before.
    first_differs = any(section.different_first_page_header_footer for section in document.sections)
    even_differs = document.settings.odd_and_even_pages_header_footer
    for reference in document.element.body.iter(f"{_MAIN}{kind}Reference"):
        which = reference.get(f"{_MAIN}type")
        if (which == "first" and not first_differs) or (which == "even" and not even_differs):
            continue
        part = document.part.related_parts[reference.get(_RELATION_ID)]
        text = "\n".join(_block_lines(part.element, set()))
        if any(map(str.isalpha, text)):
            found[text] = None
    return list(found)


def _block_lines(parent: Any, headings: set[str]) -> Iterator[str]:
    for child in parent:
        name = _name_of(child)
        if name == "p":
            yield from _paragraph_lines(child, headings)
        elif name == "tbl":
            yield from _row_lines(child, headings)
        elif name not in _NOT_SHOWN:
            yield from _block_lines(child, headings)


def _paragraph_lines(paragraph: Any, headings: set[str]) -> Iterator[str]:
    boxes: list[Any] = []
    text = "".join(_inline(paragraph, boxes)).strip()
    if text:
        style = paragraph.find(f"{_MAIN}pPr/{_MAIN}pStyle")
        is_heading = style is not None and style.get(f"{_MAIN}val") in headings
        yield f"\n{text}\n" if is_heading else text
    for box in boxes:
        yield from _block_lines(box, headings)


def _inline(parent: Any, boxes: list[Any]) -> Iterator[str]:
    """The text of a paragraph; text boxes anchored in it go to `boxes`."""
    for child in parent:
        name = _name_of(child)
        if name == "t":
            yield child.text or ""
        elif name in _MARKS:
            yield _MARKS[name]
        elif name == "txbxContent":
            boxes.append(child)
        elif name not in _NOT_SHOWN:
            yield from _inline(child, boxes)


def _row_lines(table: Any, headings: set[str]) -> Iterator[str]:
    for row in table.iter(f"{_MAIN}tr"):
        if next(row.iterancestors(f"{_MAIN}tbl")) is not table:
            continue  # of a table inside of a cell, whose text that cell has
        cells = [" ".join(" ".join(_block_lines(cell, headings)).split()) for cell in _cells_of(row)]
        if any(cells):
            yield BETWEEN_CELLS.join(cells)


def _cells_of(parent: Any) -> Iterator[Any]:
    for child in parent:
        name = _name_of(child)
        if name == "tc":
            yield child
        elif name not in _NOT_SHOWN:
            yield from _cells_of(child)


def _note_lines(xml: bytes) -> Iterator[str]:
    from lxml import etree

    root = etree.fromstring(xml, etree.XMLParser(resolve_entities=False, no_network=True))
    for note in root:
        # Notes with a type are the lines drawn between text and notes.
        if note.get(f"{_MAIN}type") in (None, "normal"):
            yield from _block_lines(note, set())


def _name_of(element: Any) -> str:
    tag = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""
