"""Pictures of any kind as the rest of the house takes them: upright, in RGB, on white; of a size; as data URIs."""

from __future__ import annotations

import base64
import io
import math
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

# Pages of text are far smaller than this as PNG, and lossless; scans and photographs are larger.
_LARGEST_PNG_BYTES = 1_000_000
_JPEG_QUALITY = 90
# Of either side.
_LARGEST_JPEG = 65_500
# What Pillow raises on damaged EXIF data.
_BAD_EXIF = (struct.error, ArithmeticError, AttributeError, LookupError, SyntaxError, TypeError, ValueError)


def upright_rgb(image: Image) -> Image:
    """As its EXIF data turn it, where they can be read, and as `rgb_on_white` makes it."""
    from PIL import ImageOps

    image.load()
    try:
        upright = ImageOps.exif_transpose(image)
    except _BAD_EXIF:
        upright = image
    return rgb_on_white(upright)


def rgb_on_white(image: Image) -> Image:
    """In RGB on white, with 16 bits and floating point brought to 8."""
    from PIL import Image as PillowImage

    if image.mode[0] in "IF":
        low, high = (float(value) for value in image.getextrema())  # type: ignore[arg-type]
        scale = 255 / (high - low) if high > low else 0.0
        image = image.convert("F").point(lambda value: value * scale - low * scale).convert("L")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = PillowImage.new("RGBA", image.size, "white")
        image = PillowImage.alpha_composite(white, image)
    return image.convert("RGB")


def size_within(size: tuple[int, int], max_pixels: int) -> tuple[int, int]:
    """(width, height) with the aspect of `size` and at most `max_pixels`; itself where it has no more."""
    width, height = size
    if width * height <= max_pixels:
        return size
    scale = math.sqrt(max_pixels / (width * height))
    narrow = max(1, int(width * scale))
    return narrow, max(1, min(int(height * scale), max_pixels // narrow))


def scaled_down(image: Image, max_pixels: int) -> Image:
    """The image, with its aspect, of at most `max_pixels`; itself where it has no more."""
    from PIL.Image import Resampling

    size = size_within(image.size, max_pixels)
    return image if size == image.size else image.resize(size, Resampling.BICUBIC)


def image_url(image: Image) -> str:
    """A data URI: PNG up to a million bytes, beyond that JPEG of quality 90 where its format is wide enough."""
    rgb = rgb_on_white(image)
    held = io.BytesIO()
    rgb.save(held, "PNG")
    kind = "PNG"
    if held.tell() > _LARGEST_PNG_BYTES and max(rgb.size) <= _LARGEST_JPEG:
        held, kind = io.BytesIO(), "JPEG"
        rgb.save(held, kind, quality=_JPEG_QUALITY)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(held.getvalue()).decode('ascii')}"
