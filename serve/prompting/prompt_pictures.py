"""The images of a prompt, at the sizes they are sent in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ragkit.pictures import scaled_down, size_within
from ragkit.serve.prompting.image_size import Size
from ragkit.serve.prompting.page_concatenation import concatenate_horizontally, horizontal_sizes

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, slots=True)
class Pictures:
    """The images of a request: pages, joined to one or not, then the question's own."""

    pages: tuple[Image, ...]
    own: tuple[Image, ...]
    joined: bool

    def sizes(self, pixels: int) -> tuple[Size, ...]:
        """What `scaled` would give."""
        pages = [page.size for page in self.pages]
        if self.joined and pages:
            joined = horizontal_sizes(pages, pixels)
            pages = [(sum(width for width, _ in joined), joined[0][1])]
        return tuple(size_within(size, pixels) for size in [*pages, *(image.size for image in self.own)])

    def scaled(self, pixels: int) -> tuple[Image, ...]:
        """With at most so many pixels each."""
        joins = self.joined and self.pages
        pages = [concatenate_horizontally(self.pages, pixels)] if joins else self.pages
        return tuple(scaled_down(image, pixels) for image in [*pages, *self.own])


def blank(sizes: Sequence[Size]) -> tuple[Image, ...]:
    """Images of these sizes, to count the tokens of."""
    from PIL.Image import new

    return tuple(new("RGB", size) for size in sizes)
