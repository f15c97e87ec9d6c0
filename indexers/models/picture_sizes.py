"""How large a picture a vision-language model gets to see."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ragkit.errors import ConfigError
from ragkit.indexers.models.vision_families import VisionFamily

if TYPE_CHECKING:
    from PIL.Image import Image


class PictureSizes:
    """Keeps pictures within `max_pixels`, in the way that the family's image processor takes it.

    max_pixels 0 leaves the image processor its own limit. settings: what it is told at every call.
    """

    def __init__(self, family: VisionFamily, image_processor: Any, max_pixels: int) -> None:
        """Raises ConfigError where `max_pixels` is given for a family whose pictures all get one size."""
        self._before = max_pixels if family.resize == "before" else 0
        self.settings: dict[str, Any] = {}
        if not max_pixels or self._before:
            return
        if family.resize == "fixed":
            raise ConfigError(
                f"page_embedder.max_pixels = {max_pixels}, but models of type {family.model_types[0]!r} make "
                "every picture one size; leave it at 0"
            )
        if family.resize == "pixels":
            least = min(int(image_processor.size["shortest_edge"]), max_pixels)
            self.settings = {"size": {"shortest_edge": least, "longest_edge": max_pixels}}
        else:
            # A picture is cut into square tiles: its longest side is a whole number of them.
            tile = int(image_processor.max_image_size["longest_edge"])
            self.settings = {"size": {"longest_edge": max(tile, math.isqrt(max_pixels) // tile * tile)}}

    def shrunk(self, image: Image) -> Image:
        """The picture itself, or a smaller copy where that is not the image processor's work."""
        pixels = image.width * image.height
        if not self._before or pixels <= self._before:
            return image
        scale = math.sqrt(self._before / pixels)
        size = max(1, int(image.width * scale)), max(1, int(image.height * scale))
        from PIL.Image import Resampling

        return image.resize(size, Resampling.BICUBIC)
