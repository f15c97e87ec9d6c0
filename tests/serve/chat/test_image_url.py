from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ragkit.pictures import image_url, scaled_down
from ragkit.serve.chat.image_url import image_of_url
from ragkit.serve.prompting.image_size import estimate_image_tokens


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


def test_small_images_travel_without_loss() -> None:
    image = noise(70, 30)
    url = image_url(image)
    assert url.startswith("data:image/png;base64,")
    assert image_of_url(url).tobytes() == image.tobytes()


def test_large_ones_as_jpeg() -> None:
    image = noise(700, 600)
    url = image_url(image)
    assert url.startswith("data:image/jpeg;base64,")
    assert image_of_url(url).size == (700, 600)


def data_uri(image: Image.Image, kind: str, **options: object) -> str:
    held = io.BytesIO()
    image.save(held, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(held.getvalue()).decode()}"


def test_images_are_turned_upright_and_made_rgb() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    assert image_of_url(data_uri(Image.new("RGB", (40, 20)), "JPEG", exif=exif)).size == (20, 40)
    assert image_of_url(data_uri(Image.new("LA", (4, 2)), "PNG")).mode == "RGB"
    assert image_of_url(data_uri(Image.new("RGB", (4, 2)), "WEBP")).size == (4, 2)


def test_what_is_transparent_is_white_and_16_bits_become_8() -> None:
    drawn = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    drawn.putpixel((1, 0), (0, 0, 0, 255))
    grey = Image.fromarray(np.array([[0, 30000, 60000]], np.uint16))
    for image, expected in ((drawn, [255, 0]), (grey, [0, 128, 255])):
        for url in (image_url(image), data_uri(image, "PNG")):
            assert np.asarray(image_of_url(url))[0, :, 0] == pytest.approx(expected, abs=1)


# Pillow says on its own of much damaged EXIF data that they are.
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@given(data=st.data())
def test_damaged_exif_data_turn_nothing_and_break_nothing(kind: str, data: st.DataObject) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E], exif[0x011A] = 6, "x" * 30, 72.5
    damaged = bytearray(exif.tobytes())
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(6, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    size = image_of_url(data_uri(Image.new("RGB", (4, 2)), kind, exif=bytes(damaged))).size
    assert size in ((4, 2), (2, 4))


def test_base64_may_be_broken_into_lines() -> None:
    head, _, data = image_url(noise(30, 30)).partition(",")
    assert image_of_url(f"{head},{data[:76]}\r\n{data[76:]}\n").size == (30, 30)


def test_strips_too_long_for_jpeg_stay_png() -> None:
    url = image_url(noise(70_000, 10))
    assert url.startswith("data:image/png")
    assert image_of_url(url).size == (70_000, 10)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("https://example.org/a.png", "'https://example.org/a.png' is no data URI"),
        ("file:///etc/passwd", "is no data URI"),
        ("data:text/plain;base64,AAAA", "is no data URI"),
        ("data:image/png,AAAA", "is no data URI"),
        ("data:image/png;base64,@@", "no base64"),
        ("data:image/png;base64,AAAA", "neither PNG, JPEG nor WebP"),
        ("data:image/png;base64,", "neither PNG, JPEG nor WebP"),
        (image_url(noise(30, 30))[:622], "damaged"),
        (data_uri(Image.new("RGB", (4, 2)), "GIF"), "neither PNG, JPEG nor WebP"),
        (data_uri(Image.new("1", (10_000, 5_001)), "PNG"), "10000 x 5001 pixels"),
    ],
)
def test_what_is_no_image_is_refused(url: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        image_of_url(url)


@pytest.mark.parametrize(
    ("size", "most", "expected"),
    [
        ((100, 50), 5000, (100, 50)),
        ((200, 100), 5000, (100, 50)),
        ((3, 1), 1, (1, 1)),
        ((1, 400), 100, (1, 100)),
        ((1240, 1754), 1_000_000, (840, 1189)),
    ],
)
def test_scaling_keeps_the_aspect_within_the_limit(
    size: tuple[int, int], most: int, expected: tuple[int, int]
) -> None:
    assert scaled_down(Image.new("RGB", size), most).size == expected
    assert expected[0] * expected[1] <= most


def test_an_image_that_fits_is_left_alone() -> None:
    image = noise(10, 10)
    assert scaled_down(image, 100) is image


def test_tokens_of_an_image() -> None:
    assert estimate_image_tokens(Image.new("RGB", (56, 29))) == 16 + 2 * 2
