from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ragkit.cli import app
from ragkit.config import Config, parse_config
from ragkit.errors import ConfigError, DocumentError
from ragkit.evaluations.speed.ocr_evaluation import measure_ocr, parse_pages
from tests.pdf_maker import PdfPage, make_pdf


@pytest.fixture
def pdf(tmp_path: Path) -> Path:
    path = tmp_path / "two.pdf"
    make_pdf(path, [PdfPage("The harbour opened in 1912"), PdfPage("Net income 1,204"), PdfPage()])
    return path


def test_pages_are_read_and_compared(pdf: Path) -> None:
    result = CliRunner().invoke(app, ["eval", "ocr", str(pdf), "--pages", "1-2", "--json"])
    report = json.loads(result.stdout)
    assert [(page["page"], page["words"], page["recall"]) for page in report["pages"]] == [
        (1, 5, 1.0),
        (2, 4, 1.0),
    ]
    assert (report["document"], report["recall"], report["dpi"]) == ("two.pdf", 1.0, 150)


@pytest.mark.parametrize(("text", "pages"), [("3", [3]), ("5,1", [1, 5]), (" 2 - 4 ,3", [2, 3, 4])])
def test_parse_pages(text: str, pages: list[int]) -> None:
    assert parse_pages(text) == pages


@pytest.mark.parametrize("text", ["", "x", "0", "4-2", "1,,2", "-3", "3-"])
def test_what_is_no_page(text: str) -> None:
    with pytest.raises(ValueError, match="page"):
        parse_pages(text)


def test_pages_that_are_not_there(pdf: Path, tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match=r"two\.pdf: there is no page 4; the last one is 3"):
        measure_ocr(pdf, Config(), [2, 4])
    with pytest.raises(DocumentError, match="gone"):
        measure_ocr(tmp_path / "none.pdf", Config())
    assert CliRunner().invoke(app, ["eval", "ocr", str(pdf), "--pages", "two"]).exit_code == 2


def test_languages() -> None:
    assert parse_config({"documents": {"ocr_languages": ["de", "zh"]}}).documents.ocr_languages == ("de", "zh")
    assert Config().documents.ocr_languages == "auto"
    with pytest.raises(ConfigError, match="ocr_languages"):
        parse_config({"documents": {"ocr_languages": ["klingon"]}})
