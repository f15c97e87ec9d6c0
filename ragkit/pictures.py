"""Pictures of any kind as the rest of the house takes them: upright, in RGB, on white."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

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
