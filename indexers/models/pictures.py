"""The pictures that page embedders read, and the unit rows that embedders give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ragkit.errors import ConfigError
from ragkit.records import FloatArray, Passage

if TYPE_CHECKING:
    from PIL.Image import Image


# Image processors of the Qwen family refuse 200; no page is meant to be read at such a shape.
_LONGEST_STRIP = 100


def load_pictures(passages: Sequence[Passage], name: str) -> list[Image]:
    """The passages' pictures in RGB; one more than a hundred times as long as wide gets a white margin.

    Raises:
        ConfigError: a passage has none.
        DocumentError: one cannot be loaded.
    """
    for passage in passages:
        if passage.image is None:
            raise ConfigError(
                f"{name!r} embeds pictures of pages, and a passage of page {passage.page} of "
                f"{passage.document!r} is text; give text to a text embedder, or set [pages] embed = 'image'"
            )
    return [_widened(passage.image.load()) for passage in passages if passage.image is not None]


def unit_rows(vectors: FloatArray) -> FloatArray:
    """float32 (n, dim), each row divided by its length."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: FloatArray = vectors / np.maximum(norms, np.finfo(np.float32).tiny)
    return unit


def _widened(picture: Image) -> Image:
    least = -(-max(picture.size) // _LONGEST_STRIP)
    if min(picture.size) >= least:
        return picture
    from PIL import Image as PillowImage

    page = PillowImage.new("RGB", (max(picture.width, least), max(picture.height, least)), "white")
    page.paste(picture, (0, 0))
    return page
