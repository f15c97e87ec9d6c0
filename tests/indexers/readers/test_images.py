from __future__ import annotations

import random
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ragkit.errors import DocumentError
from tests.read_document import FakeOcr, read_document


def noise(width: int = 40, height: int = 20) -> Image.Image:
    return Image.frombytes("L", (width, height), random.Random(3).randbytes(width * height))


@pytest.mark.parametrize(
    ("name", "kind"), [("a.png", "png"), ("a.jpg", "jpeg"), ("a.tif", "tiff"), ("a.webp", "webp")]
)
def test_each_kind_is_one_page_read_by_ocr(tmp_path: Path, name: str, kind: str) -> None:
    noise().convert("RGB").save(tmp_path / name, dpi=(144, 144))
    ocr = FakeOcr()
    document = read_document(tmp_path / name, ocr)
    assert (document.media_type, document.num_pages, document.warnings) == (f"image/{kind}", 1, [])
    (page,) = document.pages
    assert (page.number, page.text, page.text_source) == (1, "read by eye", "ocr")
    assert (ocr.seen[0].mode, ocr.seen[0].size) == ("RGB", (40, 20))
    if kind != "webp":  # which knows no resolution
        assert (page.width_pt, page.height_pt) == pytest.approx((20, 10), abs=0.1)


def test_frames_of_a_tiff_are_pages(tmp_path: Path) -> None:
    frames = [noise(), noise(30, 30), noise(10, 50)]
    frames[0].save(tmp_path / "a.tif", save_all=True, append_images=frames[1:])
    ocr = FakeOcr()
    document = read_document(tmp_path / "a.tif", ocr)
    assert [page.number for page in document.pages] == [1, 2, 3]
    assert [image.size for image in ocr.seen] == [(40, 20), (30, 30), (10, 50)]


def test_orientation_of_the_camera_is_honoured(tmp_path: Path) -> None:
    image = noise().convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise to see it upright
    image.save(tmp_path / "a.png", exif=exif)
    ocr = FakeOcr()
    page = read_document(tmp_path / "a.png", ocr).pages[0]
    assert ocr.seen[0].size == (20, 40)
    assert (page.width_pt, page.height_pt) == (20, 40)
    np.testing.assert_array_equal(np.asarray(ocr.seen[0]), np.rot90(np.asarray(image), -1))


def test_ocr_never_or_missing_gives_an_empty_page_and_a_warning(tmp_path: Path) -> None:
    noise().save(tmp_path / "a.png")
    never = read_document(tmp_path / "a.png", FakeOcr(), ocr="never")
    assert ([page.text for page in never.pages], len(never.warnings)) == ([""], 1)
    assert '"never"' in never.warnings[0]
    assert "ragkit[ocr]" in read_document(tmp_path / "a.png").warnings[0]
    with pytest.raises(DocumentError, match=r"ragkit\[ocr\]"):
        read_document(tmp_path / "a.png", ocr="always")


def test_blank_image_is_an_empty_page(tmp_path: Path) -> None:
    Image.new("RGB", (50, 50), "white").save(tmp_path / "a.png")
    ocr = FakeOcr()
    document = read_document(tmp_path / "a.png", ocr)
    assert ([page.text for page in document.pages], document.warnings, ocr.seen) == ([""], [], [])


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.webp"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.95])
def test_truncated_image_is_refused(tmp_path: Path, name: str, share: float) -> None:
    path = tmp_path / name
    noise(200, 200).convert("RGB").save(path)
    content = path.read_bytes()
    path.write_bytes(content[: max(12, int(len(content) * share))])
    with pytest.raises(DocumentError):
        read_document(path, FakeOcr())


def test_damaged_frame_is_a_warning_where_another_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    noise().save(path, save_all=True, append_images=[noise()], compression="tiff_lzw")
    content = bytearray(path.read_bytes())
    with Image.open(path) as image:
        start = image.tag_v2[273][0]  # where the first frame's data begin
    content[start : start + 300] = bytes(300)
    path.write_bytes(content)
    document = read_document(path, FakeOcr())
    assert [page.text for page in document.pages] == ["", "read by eye"]
    assert document.warnings[0].startswith("page 1: the image is truncated or damaged")


def test_large_image_is_scaled_down_with_a_warning(tmp_path: Path) -> None:
    noise(300, 150).save(tmp_path / "a.png")
    ocr = FakeOcr()
    document = read_document(tmp_path / "a.png", ocr, max_page_pixels=20_000)
    assert document.pages[0].text == "read by eye"
    assert 19_000 < ocr.seen[0].width * ocr.seen[0].height <= 20_000
    assert ocr.seen[0].width == pytest.approx(2 * ocr.seen[0].height, abs=2)
    assert "300 x 150 pixels" in document.warnings[0]
    assert document.pages[0].width_pt == 300


def test_jpeg_is_decoded_smaller_where_it_would_be_too_large(tmp_path: Path) -> None:
    noise(800, 400).save(tmp_path / "a.jpg")
    ocr = FakeOcr()
    read_document(tmp_path / "a.jpg", ocr, max_page_pixels=20_000)
    assert ocr.seen[0].width * ocr.seen[0].height <= 20_000


def test_decompression_bomb_is_refused_unread(tmp_path: Path) -> None:
    """A PNG of 60,000 x 60,000 pixels in a few bytes: 3.6 GB if it were decoded."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checked = kind + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(100_000))
    (tmp_path / "a.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )
    with pytest.raises(DocumentError, match=r"60000 x 60000 pixels.*max_page_pixels"):
        read_document(tmp_path / "a.png", FakeOcr())


def test_every_mode_becomes_rgb_on_white(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 100).reshape(10, 10)
    clear = Image.new("RGBA", (10, 10), (0, 0, 0, 0))
    clear.putpixel((0, 0), (0, 0, 0, 255))
    images = {
        "a.png": Image.fromarray(ramp.astype(np.uint16)),
        "b.tif": Image.fromarray((ramp / 65535).astype(np.float32)),
        "c.tif": noise(10, 10).convert("CMYK"),
        "d.png": noise(10, 10).convert("P"),
        "e.png": noise(10, 10).point(lambda value: 255 * (value > 99)).convert("1"),
        "f.png": clear,
    }
    for name, image in images.items():
        image.save(tmp_path / name)
        ocr = FakeOcr()
        read_document(tmp_path / name, ocr)
        assert ocr.seen[0].mode == "RGB", name
        if name in ("a.png", "b.tif"):
            assert ocr.seen[0].getpixel((0, 0)) == (0, 0, 0)
            assert ocr.seen[0].getpixel((9, 9)) == (255, 255, 255)
            assert 120 < ocr.seen[0].getpixel((0, 5))[0] < 136
    assert ocr.seen[0].getpixel((0, 0)) == (0, 0, 0)
    assert ocr.seen[0].getpixel((5, 5)) == (255, 255, 255)


def test_mutated_images_give_pages_or_a_document_error(tmp_path: Path) -> None:
    draw = random.Random(5)
    for name in ("a.png", "a.jpg", "a.tif", "a.webp"):
        path = tmp_path / name
        noise().convert("RGB").save(path)
        content = path.read_bytes()
        for _ in range(40):
            data = bytearray(content)
            for _ in range(draw.choice([1, 3, 20])):
                data[draw.randrange(len(data))] = draw.randrange(256)
            path.write_bytes(data)
            try:
                document = read_document(path, FakeOcr())
                assert len(document.pages) == document.num_pages
            except DocumentError as error:
                assert str(error)
