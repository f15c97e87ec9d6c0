"""Boxes drawn over the picture of a page, and the picture as the content of a file."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ragkit.records import Box

if TYPE_CHECKING:
    from PIL.Image import Image

# What text is multiplied with, as by a marker pen, and the line around it.
FILL = (255, 236, 130)
OUTLINE = (206, 92, 0)
# Around the words, and the line's thickness, in shares of the picture's longer side.
_PADDING = 0.004
_THICKNESS = 0.0018
_MOST_PIXELS = 25_000_000
# Pages of text are smaller than this as PNG; beyond it JPEG takes over.
_LARGEST_PNG_BYTES = 1_000_000
_JPEG_QUALITY = 88
_WEBP_QUALITY = 80
# Up to this width a picture is looked at, not read.
_THUMBNAIL_WIDTH = 480


def draw_boxes(picture: Image, boxes: Sequence[Box]) -> Image:
    """A copy with each box marked; what stands in it stays readable."""
    from PIL import Image as PillowImage
    from PIL import ImageChops, ImageDraw

    drawn = picture.copy()
    pen = ImageDraw.Draw(drawn)
    longest = max(picture.size)
    padding, thickness = max(1, round(longest * _PADDING)), max(1, round(longest * _THICKNESS))
    for box in boxes:
        left, top, right, bottom = pixels_of(box, picture.size, padding)
        if left < right and top < bottom:
            area = drawn.crop((left, top, right, bottom))
            drawn.paste(ImageChops.multiply(area, PillowImage.new("RGB", area.size, FILL)), (left, top))
            pen.rectangle((left, top, right - 1, bottom - 1), outline=OUTLINE, width=thickness)
    return drawn


def pixels_of(box: Box, size: tuple[int, int], padding: int = 0) -> tuple[int, int, int, int]:
    """A box of a page as left, top, right and bottom of a picture of it, right and bottom not included."""
    width, height = size
    return (
        max(0, int(box.left * width) - padding),
        max(0, int(box.top * height) - padding),
        min(width, int(box.right * width) + 1 + padding),
        min(height, int(box.bottom * height) + 1 + padding),
    )


def fitted(picture: Image, width: int | None) -> Image:
    """At most `width` pixels wide, and of at most 25 megapixels; never larger than it was."""
    wanted = min(1.0, (width or picture.width) / picture.width, (_MOST_PIXELS / _pixels(picture)) ** 0.5)
    if wanted >= 1.0:
        return picture
    return picture.resize((max(1, int(picture.width * wanted)), max(1, int(picture.height * wanted))))


def encoded(picture: Image) -> tuple[bytes, str]:
    """Content and media type: WebP for thumbnails, else PNG up to a million bytes, beyond that JPEG."""
    if picture.width <= _THUMBNAIL_WIDTH and picture.height <= 4 * _THUMBNAIL_WIDTH:
        return _saved(picture, "WEBP", quality=_WEBP_QUALITY), "image/webp"
    content = _saved(picture, "PNG")
    if len(content) <= _LARGEST_PNG_BYTES or max(picture.size) > 65_500:
        return content, "image/png"
    return _saved(picture, "JPEG", quality=_JPEG_QUALITY), "image/jpeg"


def _pixels(picture: Image) -> int:
    return picture.width * picture.height


def _saved(picture: Image, kind: str, **settings: int) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **settings)
    return buffer.getvalue()
