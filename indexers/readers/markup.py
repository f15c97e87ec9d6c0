"""Plain text, Markdown and HTML: files whose text is one page."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from ragkit.errors import DocumentError
from ragkit.indexers.readers.media_types import HTML, MARKDOWN
from ragkit.indexers.readers.plain_text import clean_text, decode, read_bytes
from ragkit.indexers.readers.reading import Reading, TextPages, as_document_error

_CHARSET = re.compile(rb"<meta\b[^>]*?charset\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)
_XML_ENCODING = re.compile(rb"^\s*<\?xml[^>]*?encoding\s*=\s*[\"']([\w.:-]+)", re.IGNORECASE)
_XML_DECLARATION = re.compile(r"^\s*<\?xml.*?\?>", re.DOTALL | re.IGNORECASE)
_COMMENT = re.compile(rb"<!--.*?-->", re.DOTALL)
_NOT_SHOWN = ("script", "style", "template", "noscript")
# --- is a rule in Markdown too: only what is YAML line by line, from a key on, is taken for settings.
_YAML_KEY = r"(?:[\w.-]+|\"[^\"\n]*\"|'[^'\n]*')[ \t]*:(?:[ \t].*)?\n"
_YAML = rf"---[ \t]*\n{_YAML_KEY}(?:{_YAML_KEY}|[ \t#\-\]}}].*\n|\n)*?(?:---|\.\.\.)"
_TOML = r"\+\+\+[ \t]*\n(?:[\w.\"'-]+[ \t]*=|\[).*\n(?:.*\n)*?\+\+\+"
_FRONT_MATTER = re.compile(rf"\A(?:{_YAML}|{_TOML})[ \t]*(?:\n|\Z)")
# Columns of tables are padded to one width: two spaces still show where a cell ends.
_PADDING = re.compile(r"(?<=\S) {3,}")
_BLANK_LINES = re.compile(r"\n[ \t]*(?:\n[ \t]*)+\n")


def open_text(reading: Reading, media_type: str) -> TextPages:
    """Read a text file of the kind `media_type`.

    Raises:
        DocumentError: the file is not text in the expected encoding.
    """
    data = read_bytes(reading.path)
    declared = _declared_encoding(data) if media_type == HTML else None
    text = clean_text(decode(data, reading.config.encoding, declared, reading.warnings))
    if media_type == HTML:
        text = text_of_html(text)
    elif media_type == MARKDOWN:
        text = without_front_matter(text)
    if not text.strip():
        reading.warnings.append("the file holds no text")
    return TextPages((text,))


def without_front_matter(markdown: str) -> str:
    """Markdown without the YAML between two lines of ---, or TOML of +++, that it may begin with."""
    return _FRONT_MATTER.sub("", markdown, count=1)


def text_of_html(html: str) -> str:
    """What a browser shows, laid out in lines; the title comes first unless the body has it.

    Raises:
        DocumentError: the parser gives up, as on elements nested thousands deep.
    """
    from inscriptis import Inscriptis
    from lxml import etree
    from lxml import html as lxml_html

    source = _XML_DECLARATION.sub("", html, count=1)
    if not source.strip():
        return ""
    with as_document_error("the HTML cannot be read"):
        parser = lxml_html.HTMLParser(huge_tree=True)
        try:
            tree = lxml_html.document_fromstring(source, parser=parser)
        except etree.ParserError:  # no element and no text: a comment, a document type
            return ""
        _raise_for_limits(parser.error_log)
        etree.strip_elements(tree, *_NOT_SHOWN, with_tail=False)
        title = " ".join((tree.findtext("head/title") or "").split())
        body = clean_text(Inscriptis(tree).get_text())
    body = _BLANK_LINES.sub("\n\n", _PADDING.sub("  ", body)).strip("\n")
    return body if not title or title in " ".join(body.split()) else f"{title}\n{body}"


def _raise_for_limits(error_log: Iterable[Any]) -> None:
    """libxml2 stops reading at its limits and gives what it has; nothing else says so."""
    for entry in error_log:
        if entry.type_name == "ERR_RESOURCE_LIMIT":
            raise DocumentError(f"the HTML cannot be read to its end: {entry.message}")


def _declared_encoding(data: bytes) -> str | None:
    """The encoding in the XML declaration or a <meta> of the first bytes, as HTML 5 looks for it."""
    head = data[:4096]
    if match := _XML_ENCODING.search(head):
        return match.group(1).decode("ascii")
    match = _CHARSET.search(_COMMENT.sub(b"", head))
    return match.group(1).decode("ascii") if match else None
