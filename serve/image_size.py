"""Images within what an engine accepts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ragkit.errors import ImageInputError
from ragkit.records import ChatMessage, ImageLimits

if TYPE_CHECKING:
    from PIL.Image import Image

# Qwen2-VL's and InternVL's models have a token for each 28 x 28 pixels; most others have fewer.
_PATCH = 28
_MARKER_TOKENS = 16


def scaled_down(image: Image, max_pixels: int) -> Image:
    """The image, with its aspect, of at most `max_pixels`; itself where it has no more."""
    from PIL.Image import Resampling

    width, height = image.size
    if width * height <= max_pixels:
        return image
    scale = math.sqrt(max_pixels / (width * height))
    narrow = max(1, int(width * scale))
    return image.resize((narrow, max(1, min(int(height * scale), max_pixels // narrow))), Resampling.BICUBIC)


def estimate_image_tokens(image: Image) -> int:
    """Tokens of an image for a model that is not at hand: one for each 28 x 28 pixels, and its markers."""
    return _MARKER_TOKENS + math.ceil(image.width / _PATCH) * math.ceil(image.height / _PATCH)


def check_images(messages: Sequence[ChatMessage], limits: ImageLimits | None, engine: str) -> None:
    """Raises ImageInputError where there are more images than the engine called `engine` reads."""
    number = sum(len(message.images) for message in messages)
    if not number:
        return
    images = "an image" if number == 1 else f"{number} images"
    if limits is None:
        raise ImageInputError(f"the request has {images} and {engine} reads text alone; ask without images")
    if number > limits.max_images:
        raise ImageInputError(
            f"the request has {images} and {engine} reads at most {limits.max_images}; ask with fewer"
        )
