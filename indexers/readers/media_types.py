"""What kind of file this is: by its first bytes, and among kinds of text by its suffix."""

from __future__ import annotations

import codecs
import re
import zipfile
from pathlib import Path

from ragkit.errors import DocumentError, UnsupportedFileError

PDF = "application/pdf"
PNG = "image/png"
JPEG = "image/jpeg"
TIFF = "image/tiff"
WEBP = "image/webp"
HTML = "text/html"
MARKDOWN = "text/markdown"
TEXT = "text/plain"
_OPENXML = "application/vnd.openxmlformats-officedocument."
DOCX = _OPENXML + "wordprocessingml.document"
PPTX = _OPENXML + "presentationml.presentation"
XLSX = _OPENXML + "spreadsheetml.sheet"

IMAGES = frozenset({PNG, JPEG, TIFF, WEBP})
TEXTS = frozenset({HTML, MARKDOWN, TEXT, "text/csv", "text/tab-separated-values", "application/json"})

_BY_SUFFIX = {
    ".pdf": PDF,
    ".png": PNG,
    ".jpg": JPEG,
    ".jpeg": JPEG,
    ".jpe": JPEG,
    ".tif": TIFF,
    ".tiff": TIFF,
    ".webp": WEBP,
    ".docx": DOCX,
    ".docm": DOCX,
    ".pptx": PPTX,
    ".pptm": PPTX,
    ".xlsx": XLSX,
    ".xlsm": XLSX,
    ".html": HTML,
    ".htm": HTML,
    ".xhtml": HTML,
    ".md": MARKDOWN,
    ".markdown": MARKDOWN,
    ".txt": TEXT,
    ".text": TEXT,
    ".rst": TEXT,
    ".log": TEXT,
    ".csv": "text/csv",
    ".tsv": "text/tab-separated-values",
    ".json": "application/json",
    ".jsonl": "application/json",
}

# The part that every file of the kind has, whatever else is in the zip archive.
_OFFICE_PARTS = {
    "word/document.xml": DOCX,
    "ppt/presentation.xml": PPTX,
    "xl/workbook.xml": XLSX,
}

_SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": PNG,
    b"\xff\xd8\xff": JPEG,
    b"II*\0": TIFF,
    b"MM\0*": TIFF,
    b"II+\0": TIFF,
    b"MM\0+": TIFF,
}

# What people meet most often among the kinds that are not read, with the next step.
_UNSUPPORTED = {
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": (
        "an old binary Office file (.doc, .xls, .ppt) or an Office file with a password; "
        "save it as .docx, .xlsx or .pptx without a password"
    ),
    b"{\\rtf": "Rich Text Format; save it as .docx or PDF",
    b"%!PS": "PostScript; convert it to PDF",
    b"GIF8": "a GIF image; convert it to PNG",
    b"BM": "a BMP image; convert it to PNG",
    b"\x1f\x8b": "a gzip archive; unpack it",
    b"7z\xbc\xaf": "a 7z archive; unpack it",
    b"Rar!": "a RAR archive; unpack it",
}

_HEAD_BYTES = 4096
_HTML_START = re.compile(rb"(?:<\?xml[^>]*>|<!--.*?-->|\s)*<(?:!doctype\s+html|html)\b", re.DOTALL | re.IGNORECASE)


def kind_by_suffix(path: Path) -> str | None:
    """The media type that the file's name promises; None for a suffix that is not known."""
    return _BY_SUFFIX.get(path.suffix.lower())


def kind_by_content(path: Path, called: str = "") -> str | None:
    """The media type that the first bytes show; None where they show none: text, or something unknown.

    called: the file's name, where its path does not say so.

    Raises:
        OSError: the file cannot be read.
        UnsupportedFileError: it is of a kind that is known and not read.
        DocumentError: it is empty or damaged.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if not head:
        raise DocumentError("the file is empty (0 bytes)")
    if _is_pdf(Path(called) if called else path, head):
        return PDF
    for signature, kind in _SIGNATURES.items():
        if head.startswith(signature):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return WEBP
    if head.startswith(b"PK\x03\x04"):
        return _kind_of_zip(path, called)
    for signature, name in _UNSUPPORTED.items():
        if head.startswith(signature) and (len(signature) > 2 or b"\0" in head):
            raise UnsupportedFileError(f"this is {name}")
    # UTF-16 text looks like ASCII once its zero bytes are taken out: enough to see a tag.
    return HTML if _HTML_START.match(_ascii_of(head)) else None


def _is_pdf(name: Path, head: bytes) -> bool:
    """Readers accept anything before the header of a PDF; a text that mentions the header is none."""
    if head.lstrip().startswith(b"%PDF-"):
        return True
    return b"%PDF-" in head[:1024] and kind_by_suffix(name) not in TEXTS


def _ascii_of(head: bytes) -> bytes:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return head[2:].replace(b"\0", b"")
    return head.removeprefix(b"\xef\xbb\xbf")


def begins_as_text(path: Path) -> bool:
    """Whether the first bytes can be text. Raises OSError where the file cannot be read."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    try:
        # The last character may be cut.
        return "\0" not in codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False


def _kind_of_zip(path: Path, called: str) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError) as error:
        # Where no name says Office it is an archive, and of those not even whole ones are read.
        is_office = kind_by_suffix(Path(called) if called else path) in _OFFICE_PARTS.values()
        refusal = DocumentError if is_office else UnsupportedFileError
        raise refusal(f"a damaged or truncated Office file or zip archive: {error}") from error
    for part, kind in _OFFICE_PARTS.items():
        if part in names:
            return kind
    if "xl/workbook.bin" in names:
        raise UnsupportedFileError("this is a binary workbook (.xlsb); save it as .xlsx")
    raise UnsupportedFileError("this is a zip archive and not a Word, PowerPoint or Excel file; unpack it")
