"""Images within what an engine accepts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ragkit.errors import ImageInputError
from ragkit.records import ChatMessage, ImageLimits

if TYPE_CHECKING:
    from PIL.Image import Image

Size = tuple[int, int]

# Qwen2-VL's and InternVL's models have a token for each 28 x 28 pixels; most others have fewer.
_PATCH = 28
_MARKER_TOKENS = 16


def latest_images(messages: Sequence[ChatMessage], max_images: int) -> list[ChatMessage]:
    """The messages with the last images of all of them, at most `max_images`."""
    left = max_images
    kept: list[ChatMessage] = []
    for message in reversed(messages):
        images = message.images[-left:] if left > 0 else ()
        left -= len(images)
        kept.insert(0, replace(message, images=images))
    return kept


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
