"""Several pages as one picture, for models that read one image at a time (VisRAG, arXiv 2410.10594, eq. 3)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from ragkit.pictures import size_within
from ragkit.serve.prompting.image_size import Size

if TYPE_CHECKING:
    from PIL.Image import Image


def concatenate_horizontally(pages: Sequence[Image], max_pixels: int | None = None) -> Image:
    """One RGB image with the pages from left to right, each scaled (bicubic) to the greatest height.

    max_pixels: of the whole; pages are scaled once, to what then is their part of it.
    """
    return _pasted(pages, horizontal_sizes([page.size for page in pages], max_pixels), (1, 0))


def concatenate_vertically(pages: Sequence[Image]) -> Image:
    """One RGB image with the pages from top to bottom, each scaled (bicubic) to the greatest width."""
    return _pasted(pages, vertical_sizes([page.size for page in pages]), (0, 1))


def horizontal_sizes(sizes: Sequence[Size], max_pixels: int | None = None) -> list[Size]:
    """(width, height) of each page once all have the greatest height; fractions of a pixel are cut off.

    max_pixels: of all of them together.
    """
    tallest = max(height for _, height in sizes)
    # The factor first, as in the authors' code: another order of the product can lose a pixel.
    widths = [int(width * (tallest / height)) for width, height in sizes]
    whole = sum(widths)
    if max_pixels is None or whole * tallest <= max_pixels:
        return [(width, tallest) for width in widths]
    across, height = size_within((whole, tallest), max_pixels)
    edges = [across * end // whole for end in accumulate(widths, initial=0)]
    return [(max(1, right - left), height) for left, right in pairwise(edges)]


def vertical_sizes(sizes: Sequence[Size]) -> list[Size]:
    """(width, height) of each page once all have the greatest width; fractions of a pixel are cut off."""
    widest = max(width for width, _ in sizes)
    return [(widest, int(height * (widest / width))) for width, height in sizes]


def _pasted(pages: Sequence[Image], sizes: Sequence[Size], step: tuple[int, int]) -> Image:
    """The pages, resized, in a row along `step`."""
    from PIL.Image import Resampling, new

    whole = tuple(
        (sum if along else max)(side) for along, side in zip(step, zip(*sizes, strict=True), strict=True)
    )
    canvas = new("RGB", (whole[0], whole[1]))
    lengths = [width if step[0] else height for width, height in sizes]
    for page, size, start in zip(pages, sizes, accumulate(lengths, initial=0), strict=False):
        canvas.paste(page.convert("RGB").resize(size, Resampling.BICUBIC), (start * step[0], start * step[1]))
    return canvas
