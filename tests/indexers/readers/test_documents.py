from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ragkit.config import DocumentsConfig
from ragkit.errors import ConfigError, DocumentError, MissingExtraError
from ragkit.indexers.readers.documents import open_document, title_of
from ragkit.indexers.readers.render import PdfiumRenderer
from tests.pdf_maker import PdfPage, make_pdf
from tests.read_document import FakeOcr, read_document


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("annual_report__2023.pdf", "annual report 2023"),
        ("Q3  results.v2.md", "Q3 results.v2"),
        ("_.txt", "_.txt"),
        ("README", "README"),
    ],
)
def test_title_is_the_stem(name: str, title: str) -> None:
    assert title_of(Path("folder_x") / name) == title


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.txt", "text/plain"),
        ("a.rst", "text/plain"),
        ("a.csv", "text/csv"),
        ("a.json", "application/json"),
        ("LICENSE", "text/plain"),
        ("a.unknown", "text/plain"),
    ],
)
def test_text_files_are_one_page_as_written(tmp_path: Path, name: str, kind: str) -> None:
    path = tmp_path / name
    path.write_bytes("one;two\r\nzwölf\n".encode())
    document = read_document(path)
    assert (document.media_type, document.num_pages) == (kind, 1)
    assert [(page.number, page.text) for page in document.pages] == [(1, "one;two\nzwölf\n")]
    assert document.warnings == []


def test_pdf_named_otherwise_is_read_as_pdf_with_a_warning(tmp_path: Path) -> None:
    for name in ("letter.docx", "letter.png", "letter.txt"):
        document = read_document(make_pdf(tmp_path / name, ["inside"]))
        assert (document.media_type, document.pages[0].text) == ("application/pdf", "inside")
        assert "application/pdf" in document.warnings[0]
    assert read_document(make_pdf(tmp_path / "letter.dat", ["inside"])).warnings == []


def test_image_and_html_named_otherwise(tmp_path: Path) -> None:
    Image.effect_noise((30, 20), 50).save(tmp_path / "a.pdf", "PNG")
    document = read_document(tmp_path / "a.pdf", FakeOcr())
    assert (document.media_type, document.pages[0].text) == ("image/png", "read by eye")
    assert "the name says application/pdf, the content is image/png" in document.warnings[0]
    (tmp_path / "a.docx").write_text("<!doctype html><p>hello")
    assert read_document(tmp_path / "a.docx").pages[0].text == "hello"


@pytest.mark.parametrize("name", ["a.pdf", "a.png", "a.jpg", "a.docx", "a.xlsx"])
def test_wrongly_named_text_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("just words")
    with pytest.raises(DocumentError, match="the name says .* none of the kinds"):
        read_document(path)


@pytest.mark.parametrize("name", ["a.pdf", "a.md", "a.docx", "a.png", "a.html"])
def test_empty_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(DocumentError, match="empty"):
        read_document(tmp_path / name)


def test_text_in_another_encoding(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("zwölf".encode("latin-1"))
    with pytest.raises(DocumentError, match=r"0xf6 at byte 2 .*documents\.encoding"):
        read_document(path)
    assert read_document(path, encoding="latin-1").pages[0].text == "zwölf"
    with pytest.raises(ConfigError, match="nonsense"):
        read_document(path, encoding="nonsense")


def test_binary_file_named_as_text(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"ELF\0\1\2")
    with pytest.raises(DocumentError, match="binary"):
        read_document(path)


@pytest.mark.timeout(20)
def test_missing_folders_pipes_and_devices(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="gone"):
        read_document(tmp_path / "a.pdf")
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(DocumentError, match="not a regular file"):
            read_document(path)


def test_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    path.write_text("x")

    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DocumentError, match="Permission denied"):
        read_document(path)


def test_text_file_that_vanishes_midway(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_text("x")
    with open_document(path, DocumentsConfig(), PdfiumRenderer(), FakeOcr) as opened:
        path.unlink()
        with pytest.raises(DocumentError, match="gone"):
            list(opened.pages())


def test_composed_characters(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_text("u\u0308ber", "utf-8")
    assert read_document(path).pages[0].text == "\xfcber"


def test_incomplete_tells_that_a_missing_library_would_have_read_more(tmp_path: Path) -> None:
    scan = make_pdf(tmp_path / "a.pdf", ["text", PdfPage(pixels=(2, 2, b"\0\xff\xff\0"))])
    Image.effect_noise((30, 20), 50).save(tmp_path / "b.png")
    text = make_pdf(tmp_path / "c.pdf", ["text"])

    def not_installed() -> FakeOcr:
        raise MissingExtraError("rapidocr is not installed")

    def is_incomplete(path: Path, engine: Callable[[], FakeOcr], **settings: Any) -> bool:
        with open_document(path, DocumentsConfig(**settings), PdfiumRenderer(), engine) as opened:
            assert not opened.incomplete
            list(opened.pages())
            return opened.incomplete

    assert is_incomplete(scan, not_installed)
    assert is_incomplete(tmp_path / "b.png", not_installed)
    assert not is_incomplete(text, not_installed)
    assert not is_incomplete(scan, FakeOcr)
    assert not is_incomplete(scan, not_installed, ocr="never")
