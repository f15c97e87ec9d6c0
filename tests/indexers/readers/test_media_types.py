from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from PIL import Image

from ragkit.errors import DocumentError
from ragkit.indexers.readers.media_types import (
    DOCX,
    HTML,
    JPEG,
    PDF,
    PNG,
    TIFF,
    WEBP,
    kind_by_content,
    kind_by_suffix,
)


def test_suffixes() -> None:
    assert kind_by_suffix(Path("A.PDF")) == PDF
    assert kind_by_suffix(Path("a.tar.MarkDown")) == "text/markdown"
    assert kind_by_suffix(Path("a.exe")) is None
    assert kind_by_suffix(Path(".pdf")) is None


@pytest.mark.parametrize(("name", "kind"), [("PNG", PNG), ("JPEG", JPEG), ("TIFF", TIFF), ("WEBP", WEBP)])
def test_images_as_pillow_writes_them(tmp_path: Path, name: str, kind: str) -> None:
    path = tmp_path / "no-suffix"
    Image.new("RGB", (3, 2)).save(path, name)
    assert kind_by_content(path) == kind


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"%PDF-1.7\n", PDF),
        (b"junk before" * 50 + b"%PDF-1.7\n", PDF),
        (b"x" * 1025 + b"%PDF-1.7\n", None),
        (b"<!DOCTYPE html>", HTML),
        (b"\xef\xbb\xbf \n<!-- note -->\n<HTML lang=de>", HTML),
        (b"<?xml version='1.0'?>\n<!DOCTYPE html PUBLIC '...'>", HTML),
        (b"<htmlx>", None),
        (b"<p>a fragment", None),
        (b"plain words", None),
        (b"BM is how this text begins", None),
        (b"\x00\x01\x02", None),
    ],
)
def test_first_bytes(tmp_path: Path, content: bytes, kind: str | None) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert kind_by_content(path) == kind


def test_text_about_pdfs_is_text(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_text("A PDF begins with %PDF-1.7 and ...")
    assert kind_by_content(path) is None


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"{\\rtf1 text}", "Rich Text"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1rest", "password"),
        (b"PK\x03\x04 and no more", "damaged or truncated"),
        (b"GIF89a", "GIF"),
        (b"BM\x00\x00", "BMP"),
    ],
)
def test_kinds_that_are_not_read(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(DocumentError, match=reason):
        kind_by_content(path)


def test_zip_archives(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("word/document.xml", "<x/>")
    assert kind_by_content(path) == DOCX
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "x")
    with pytest.raises(DocumentError, match="unpack"):
        kind_by_content(path)
