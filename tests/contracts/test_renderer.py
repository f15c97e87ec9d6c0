"""What every Renderer must do."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from ragkit.errors import DocumentError, PasswordError
from ragkit.indexers.readers.render import Pdf2imageRenderer, PdfiumRenderer
from ragkit.protocols import Renderer
from tests.pdf_maker import PdfPage, make_pdf

needs_poppler = pytest.mark.skipif(
    shutil.which("pdftoppm") is None, reason="poppler's pdftoppm is not installed (apt: poppler-utils)"
)


@pytest.fixture(params=["pypdfium2", pytest.param("pdf2image", marks=needs_poppler)])
def renderer(request: pytest.FixtureRequest) -> Renderer:
    return PdfiumRenderer() if request.param == "pypdfium2" else Pdf2imageRenderer()


# Black at the left, grey in the middle, red at the bottom right of 100 x 200 points.
DRAWING = b"0 g 0 0 20 200 re f 0.5 g 40 80 20 40 re f 1 0 0 rg 80 0 20 20 re f"


def drawn(tmp_path: Path, **settings: object) -> Path:
    return make_pdf(tmp_path / "a.pdf", ["", PdfPage(drawing=DRAWING, size=(100, 200), **settings)])  # type: ignore[arg-type]


@pytest.mark.parametrize("dpi", [72, 100, 36.5, 7])
def test_size_in_pixels(renderer: Renderer, tmp_path: Path, dpi: float) -> None:
    image = renderer.render(drawn(tmp_path), 2, dpi)
    assert (image.mode, image.size) == ("RGB", (round(100 * dpi / 72), round(200 * dpi / 72)))


def test_no_more_pixels_than_are_allowed(renderer: Renderer, tmp_path: Path) -> None:
    path = drawn(tmp_path)
    assert renderer.render(path, 2, 72, max_pixels=20_000).size == (100, 200)
    width, height = renderer.render(path, 2, 300, max_pixels=20_000).size
    assert 0.95 * 20_000 < width * height <= 20_000
    assert height == pytest.approx(2 * width, abs=2)


def test_at_least_one_pixel(renderer: Renderer, tmp_path: Path) -> None:
    path = make_pdf(tmp_path / "a.pdf", [PdfPage(size=(1000, 2))])
    assert renderer.render(path, 1, 7.2).size == (100, 1)


def test_picture(renderer: Renderer, tmp_path: Path) -> None:
    image = renderer.render(drawn(tmp_path), 2, 72)
    assert [image.getpixel(place) for place in [(10, 100), (90, 190), (90, 10)]] == [
        (0, 0, 0),
        (255, 0, 0),
        (255, 255, 255),
    ]
    assert all(abs(value - 128) <= 1 for value in image.getpixel((50, 100)))


def test_rotated_page_is_turned_clockwise(renderer: Renderer, tmp_path: Path) -> None:
    image = renderer.render(drawn(tmp_path, rotate=90), 2, 72)
    assert image.size == (200, 100)
    assert image.getpixel((100, 10)) == (0, 0, 0)  # the left side is now on top
    assert image.getpixel((10, 90)) == (255, 0, 0)


def test_cropped_page(renderer: Renderer, tmp_path: Path) -> None:
    image = renderer.render(drawn(tmp_path, crop=(80, 0, 100, 50)), 2, 72)
    assert image.size == (20, 50)
    assert image.getpixel((10, 45)) == (255, 0, 0)
    assert image.getpixel((10, 5)) == (255, 255, 255)


def test_password(renderer: Renderer, tmp_path: Path) -> None:
    path = make_pdf(tmp_path / "a.pdf", [PdfPage(drawing=DRAWING)], password="geheim")
    assert renderer.render(path, 1, 72, "geheim").getpixel((10, 700)) == (0, 0, 0)
    with pytest.raises(PasswordError):
        renderer.render(path, 1, 72)
    with pytest.raises(PasswordError):
        renderer.render(path, 1, 72, "falsch")
    for_all = make_pdf(tmp_path / "b.pdf", [PdfPage(drawing=DRAWING)], password="")
    assert renderer.render(for_all, 1, 72, "geheim").getpixel((10, 700)) == (0, 0, 0)


@pytest.mark.parametrize("page", [0, 3, -1])
def test_page_that_is_not_there(renderer: Renderer, tmp_path: Path, page: int) -> None:
    with pytest.raises(DocumentError, match=f"no page {page}: the PDF has 2"):
        renderer.render(drawn(tmp_path), page, 72)


def test_damaged_and_missing_files(renderer: Renderer, tmp_path: Path) -> None:
    with pytest.raises(DocumentError):
        renderer.render(tmp_path / "gone.pdf", 1, 72)
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.4 and no more")
    with pytest.raises(DocumentError):
        renderer.render(tmp_path / "a.pdf", 1, 72)


@needs_poppler
def test_both_draw_nearly_the_same(tmp_path: Path) -> None:
    curves = DRAWING + b" 0 0 1 RG 3 w 10 10 m 30 190 70 190 90 30 c S"
    path = make_pdf(tmp_path / "a.pdf", [PdfPage(drawing=curves, size=(100, 200))])
    first, second = (
        np.asarray(each.render(path, 1, 150)).astype(int) for each in (PdfiumRenderer(), Pdf2imageRenderer())
    )
    assert first.shape == second.shape
    assert np.abs(first - second).mean() < 3
