from __future__ import annotations

import random
import threading
import time
from pathlib import Path

import pytest
from PIL import Image

from ragkit.config import DocumentsConfig
from ragkit.errors import DocumentError, PasswordError
from ragkit.indexers.readers import pdf
from ragkit.indexers.readers.documents import open_document
from ragkit.indexers.readers.render import PdfiumRenderer
from ragkit.records import Box, TextLine
from tests.pdf_maker import PdfPage, make_pdf
from tests.read_document import FakeOcr, read_document

NOISE = random.Random(1).randbytes(40 * 40)
SCAN = PdfPage(pixels=(40, 40, NOISE))


def test_pages_title_and_kind(tmp_path: Path) -> None:
    path = make_pdf(tmp_path / "annual__report  2023.pdf", ["one", "", "three"])
    document = read_document(path)
    assert document.media_type == "application/pdf"
    assert document.title == "annual report 2023"
    assert document.num_pages == 3
    assert [(page.number, page.text) for page in document.pages] == [(1, "one"), (2, ""), (3, "three")]
    assert document.warnings == []


def test_password(tmp_path: Path) -> None:
    path = make_pdf(tmp_path / "a.pdf", ["secret words"], password="geheim")
    with pytest.raises(PasswordError, match="--password"):
        read_document(path)
    with pytest.raises(PasswordError, match="wrong"):
        read_document(path, password="falsch")
    assert read_document(path, password="geheim").pages[0].text == "secret words"
    assert read_document(make_pdf(path, ["open"]), password="not needed").pages[0].text == "open"
    # Encrypted against changes alone: everyone may read it, whatever password the other files need.
    for_all = make_pdf(tmp_path / "b.pdf", ["for all"], password="")
    assert read_document(for_all, password="geheim").pages[0].text == "for all"


def test_password_reaches_the_renderer(tmp_path: Path) -> None:
    path = make_pdf(tmp_path / "a.pdf", [SCAN], password="geheim")
    document = read_document(path, FakeOcr(), password="geheim")
    assert document.pages[0].text == "read by eye"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"%PDF-1.4\n", "damaged or truncated"),
        (b"%PDF-1.4\ntrailer << /Root 1 0 R >>\n%%EOF", "damaged or truncated"),
        (b"just text", "content is none of the kinds"),
        (bytes(5000), "content is none of the kinds"),
    ],
)
def test_damaged_file(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(content)
    with pytest.raises(DocumentError, match=reason):
        read_document(path)


def test_pdf_without_pages(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="no pages"):
        read_document(make_pdf(tmp_path / "a.pdf", []))


def test_damaged_page_is_a_warning(tmp_path: Path) -> None:
    path = make_pdf(tmp_path / "a.pdf", ["one", "two", "three"])
    content = path.read_bytes()
    path.write_bytes(content.replace(b"[6 0 R 8 0 R 10 0 R]", b"[6 0 R 99 0 R 10 0 R]"[:20].ljust(20)))
    document = read_document(path)
    assert [page.text for page in document.pages] == ["one", "", "three"]
    assert document.warnings == ["page 2: the page is damaged"]


def test_claim_of_a_million_pages_ends(tmp_path: Path) -> None:
    path = make_pdf(tmp_path / "a.pdf", ["one"])
    path.write_bytes(path.read_bytes().replace(b"/Count 1 ", b"/Count 1000000 "))
    with pytest.raises(DocumentError, match="pages 2-101 are all damaged"):
        read_document(path)


def test_page_without_text_layer_is_read_by_ocr(tmp_path: Path) -> None:
    path = make_pdf(tmp_path / "a.pdf", ["a page of text", SCAN])
    ocr = FakeOcr()
    document = read_document(path, ocr, ocr_dpi=100)
    assert [page.text for page in document.pages] == ["a page of text", "read by eye"]
    assert [page.text_source for page in document.pages] == ["text", "ocr"]
    assert [image.size for image in ocr.seen] == [(850, 1100)]
    assert document.pages[1].words.spans.tolist() == [[0, 4], [5, 7], [8, 11]]
    assert document.pages[1].words.between(0, 4) == (Box(0, 0, pytest.approx(0.2), pytest.approx(0.1)),)
    assert document.warnings == []


def test_ocr_never(tmp_path: Path) -> None:
    ocr = FakeOcr()
    document = read_document(make_pdf(tmp_path / "a.pdf", [SCAN, "text", SCAN, SCAN]), ocr, ocr="never")
    assert [page.text for page in document.pages] == ["", "text", "", ""]
    assert document.warnings == ['pages 1, 3-4: little or no text layer, and documents.ocr is "never"']
    assert ocr.seen == []


def test_ocr_always_and_blank_pages(tmp_path: Path) -> None:
    ocr = FakeOcr()
    document = read_document(make_pdf(tmp_path / "a.pdf", ["text", "", SCAN]), ocr, ocr="always")
    assert [page.text for page in document.pages] == ["read by eye", "", "read by eye"]
    assert len(ocr.seen) == 2


def test_missing_ocr_is_a_warning_or_with_always_an_error(tmp_path: Path) -> None:
    path = make_pdf(tmp_path / "a.pdf", [SCAN, "text", SCAN])
    document = read_document(path)
    assert len(document.warnings) == 1
    assert document.warnings[0].startswith("pages 1, 3: ")
    assert "ragkit[ocr]" in document.warnings[0]
    with pytest.raises(DocumentError, match=r"ragkit\[ocr\]"):
        read_document(path, ocr="always")


@pytest.mark.parametrize(
    "blank",
    [
        PdfPage(),
        PdfPage(drawing=b"1 1 1 rg 0 0 612 792 re f"),
        PdfPage(drawing=b"0.5 0.5 0.5 rg 0 0 612 792 re f"),
        PdfPage(pixels=(2, 2, b"\xff" * 4)),
    ],
)
def test_blank_pages_are_not_read_by_ocr(tmp_path: Path, blank: PdfPage) -> None:
    ocr = FakeOcr()
    document = read_document(make_pdf(tmp_path / "a.pdf", [blank]), ocr)
    assert (document.pages[0].text, document.warnings, ocr.seen) == ("", [], [])


def test_short_text_on_a_picture_stays_unless_ocr_finds_more(tmp_path: Path) -> None:
    stamped = PdfPage("Page 1 of 2", pixels=SCAN.pixels)
    path = make_pdf(tmp_path / "a.pdf", [stamped])
    assert read_document(path, FakeOcr()).pages[0].text == "read by eye"
    less = FakeOcr([TextLine(("Page",), (Box(0, 0, 1, 1),))])
    assert read_document(path, less).pages[0].text == "Page 1 of 2"
    ocr = FakeOcr()
    assert read_document(make_pdf(path, ["Short"]), ocr).pages[0].text == "Short"
    assert ocr.seen == []


STAMP = "CONFIDENTIAL - SUBJECT TO PROTECTIVE ORDER ABC-0001234"


def test_stamped_scan_is_read_by_ocr(tmp_path: Path) -> None:
    path = make_pdf(tmp_path / "a.pdf", [PdfPage(STAMP, pixels=SCAN.pixels)])
    words = ("The", "valve", "was", "opened", *STAMP.split())
    more = FakeOcr([TextLine(words, (Box(0, 0, 1, 1),) * len(words))])
    assert read_document(path, more).pages[0].text == f"The valve was opened {STAMP}"
    assert read_document(path, FakeOcr()).pages[0].text == STAMP
    assert "little or no text layer" in read_document(path).warnings[0]


def test_scan_in_a_form_and_in_strips_is_read_by_ocr(tmp_path: Path) -> None:
    path = make_pdf(tmp_path / "a.pdf", [PdfPage(STAMP, pixels=SCAN.pixels)])
    whole = b"q 612 0 0 792 0 0 cm /Im Do Q"
    content = path.read_bytes()
    strips = b" q 612 0 0 250 0 %d cm /Im Do Q" * 3 % (0, 250, 500)
    path.write_bytes(content.replace(whole, strips))
    ocr = FakeOcr()
    read_document(path, ocr)
    assert len(ocr.seen) == 1
    # The image's dictionary becomes that of a form, whose own image is inline.
    picture = b"q 100 0 0 100 0 0 cm BI /W 2 /H 2 /CS /G /BPC 8 ID \0\xff\xff\0 EI Q"
    drawn = PdfPage(STAMP, pixels=(1, 1, picture))
    content = make_pdf(path, [drawn]).read_bytes().replace(whole, b"q 6.1 0 0 7.9 0 0 cm /Im Do Q")
    image = b"/Subtype /Image /Width 1 /Height 1 /ColorSpace /DeviceGray /BitsPerComponent 8"
    path.write_bytes(content.replace(image, b"/Subtype /Form /BBox [0 0 100 100]"))
    read_document(path, ocr)
    assert len(ocr.seen) == 2


def test_small_picture_beside_a_line_of_text_is_left_alone(tmp_path: Path) -> None:
    path = make_pdf(tmp_path / "a.pdf", [PdfPage(STAMP, pixels=SCAN.pixels)])
    path.write_bytes(path.read_bytes().replace(b"q 612 0 0 792 0 0 cm", b"q 300 0 0 300 0 0 cm"))
    ocr = FakeOcr()
    assert read_document(path, ocr).pages[0].text == STAMP
    assert ocr.seen == []


@pytest.mark.parametrize(
    "page",
    [
        PdfPage("\n".join([STAMP] * 8), pixels=SCAN.pixels),
        # Invisible text over a scan is what OCR has read there before.
        PdfPage(STAMP, pixels=SCAN.pixels, drawing=b"BT /F 9 Tf 3 Tr 72 500 Td (read before) Tj ET"),
    ],
)
def test_picture_under_enough_text_is_left_alone(tmp_path: Path, page: PdfPage) -> None:
    ocr = FakeOcr()
    path = make_pdf(tmp_path / "a.pdf", [page])
    assert STAMP in read_document(path, ocr).pages[0].text
    assert ocr.seen == []


def test_glyphs_without_meaning_are_read_by_ocr(tmp_path: Path) -> None:
    mapping = {ord(letter): chr(1 + index % 8) for index, letter in enumerate("abcdefghij")}
    path = make_pdf(tmp_path / "a.pdf", ["abcdefghij " * 9], unicode_map=mapping)
    assert read_document(path, FakeOcr()).pages[0].text == "read by eye"


def test_ocr_that_fails_on_a_page_is_a_warning(tmp_path: Path) -> None:
    class Failing(FakeOcr):
        def read(self, image: Image.Image) -> list[TextLine]:
            raise DocumentError("OCR failed: no idea")

    document = read_document(make_pdf(tmp_path / "a.pdf", [SCAN, "text"]), Failing())
    assert [page.text for page in document.pages] == ["", "text"]
    assert document.warnings == ["page 1: OCR failed: no idea"]


def test_enormous_page_is_drawn_smaller(tmp_path: Path) -> None:
    ocr = FakeOcr()
    vast = PdfPage(size=(140_000, 70_000), pixels=(40, 40, NOISE))
    document = read_document(make_pdf(tmp_path / "a.pdf", [vast]), ocr, max_page_pixels=1_000_000)
    assert document.pages[0].text == "read by eye"
    (image,) = ocr.seen
    assert 990_000 < image.width * image.height <= 1_000_000
    assert image.width == pytest.approx(2 * image.height, abs=2)
    assert "140000 x 70000 points" in document.warnings[0]
    assert "max_page_pixels" in document.warnings[0]


def test_page_without_extent(tmp_path: Path) -> None:
    for size in ((0, 0), (612, 0), (1e-9, 1e-9), (1e9, 1e-3)):
        document = read_document(make_pdf(tmp_path / "a.pdf", [PdfPage("text here", size=size)]), FakeOcr())
        assert document.num_pages == 1


def test_form_fields_and_notes_are_read(tmp_path: Path) -> None:
    field = (
        b"<< /Type /Annot /Subtype /Widget /FT /Tx /T (name) /V (Jane Roe) /DA (/F 12 Tf 0 g)"
        b" /Rect [200 600 400 620] /F 4 >>"
    )
    path = make_pdf(tmp_path / "a.pdf", [PdfPage("Name of the applicant", annotations=(field,))])
    form = b"/Type /Catalog /AcroForm << /Fields [] /NeedAppearances true /DA (/F 12 Tf 0 g) >>"
    path.write_bytes(path.read_bytes().replace(b"/Type /Catalog", form))
    page = read_document(path).pages[0]
    assert page.text == "Name of the applicant\nJane Roe"
    left, top, right, bottom = page.words.boxes[-2]
    assert 200 / 612 - 0.01 <= left < right < 400 / 612
    assert 1 - 621 / 792 <= top < bottom <= 1 - 599 / 792


def test_file_that_vanishes_midway(tmp_path: Path) -> None:
    path = make_pdf(tmp_path / "a.pdf", ["one", "two"])
    with open_document(path, DocumentsConfig(), PdfiumRenderer(), FakeOcr) as opened:
        pages = opened.pages()
        assert next(pages).text == "one"
        path.unlink()
        with pytest.raises(DocumentError, match="gone"):
            list(pages)
    scanned = make_pdf(tmp_path / "b.pdf", ["one", SCAN])
    with open_document(scanned, DocumentsConfig(), PdfiumRenderer(), FakeOcr) as opened:
        pages = opened.pages()
        next(pages)
        scanned.unlink()
        with pytest.raises(DocumentError, match="vanished"):
            next(pages)


def test_file_that_changes_midway(tmp_path: Path) -> None:
    path = make_pdf(tmp_path / "a.pdf", ["one", "two"])
    with open_document(path, DocumentsConfig(), PdfiumRenderer(), FakeOcr) as opened:
        pages = opened.pages()
        next(pages)
        make_pdf(path, ["other", "pages", "here"])
        with pytest.raises(DocumentError, match="changed"):
            list(pages)


def test_opening_anew_midway_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_pdf(tmp_path / "a.pdf", [f"page {number} of it" for number in range(1, 8)])
    expected = [page.text for page in read_document(path).pages]
    monkeypatch.setattr(pdf, "_MOST_BYTES_HELD", 1000)
    assert [page.text for page in read_document(path).pages] == expected


def test_ten_thousand_pages_stream(tmp_path: Path) -> None:
    path = make_pdf(tmp_path / "a.pdf", ["first page", *[""] * 9998, "last page"])
    started = time.monotonic()
    with open_document(path, DocumentsConfig(), PdfiumRenderer(), FakeOcr) as opened:
        pages = opened.pages()
        assert next(pages).text == "first page"
        assert time.monotonic() - started < 2  # the first page does not wait for the last
        *_, last = pages
        assert (last.number, last.text) == (10_000, "last page")
    assert time.monotonic() - started < 60


def test_threads_do_not_meet_in_pdfium(tmp_path: Path) -> None:
    paths = [make_pdf(tmp_path / f"{number}.pdf", [f"text {number}", SCAN] * 10) for number in range(4)]
    texts: dict[int, list[str]] = {}

    def read(number: int) -> None:
        texts[number] = [page.text for page in read_document(paths[number], FakeOcr(), ocr_dpi=36).pages]

    threads = [threading.Thread(target=read, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts == {number: [f"text {number}", "read by eye"] * 10 for number in range(4)}


def test_mutated_files_give_pages_or_a_document_error(tmp_path: Path) -> None:
    """Two hundred damaged files: bytes changed, cut out, put in twice, or the end cut off."""
    scan = PdfPage("stamp", pixels=(8, 8, NOISE[:64]))
    original = make_pdf(tmp_path / "a.pdf", ["One page of words", scan, PdfPage("Two", rotate=90)]).read_bytes()
    draw = random.Random(7)
    outcomes = {"read": 0, "refused": 0}
    for number in range(200):
        path = tmp_path / f"{number}.pdf"
        path.write_bytes(mutated(original, draw))
        try:
            document = read_document(path, FakeOcr(), ocr_dpi=36)
            assert len(document.pages) == document.num_pages
            outcomes["read"] += 1
        except DocumentError as error:
            assert str(error)
            outcomes["refused"] += 1
    assert min(outcomes.values()) >= 10, outcomes


def mutated(content: bytes, draw: random.Random) -> bytes:
    data = bytearray(content)
    kind = draw.randrange(4)
    if kind == 0:
        for _ in range(draw.choice([1, 3, 30])):
            data[draw.randrange(len(data))] = draw.randrange(256)
    elif kind == 1:
        del data[draw.randrange(len(data)) :]
    else:
        start = draw.randrange(len(data))
        piece = data[start : start + draw.choice([1, 10, 200])]
        data[start : start + (len(piece) if kind == 2 else 0)] = b"" if kind == 2 else piece
    return bytes(data)
