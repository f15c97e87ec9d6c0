"""The images of a request, whichever API it came by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from ragkit.serve.api.http_errors import HttpProblem
from ragkit.serve.chat.image_fetch import fetched
from ragkit.serve.chat.image_url import image_of_url, pixels_of_url

if TYPE_CHECKING:
    from PIL.Image import Image

T = TypeVar("T")

# All images of a request, decoded, at three bytes a pixel.
_MOST_PIXELS = 150_000_000


def read_image(url: str, place: str) -> Image:
    """Decode an image; `place` is the field that it stands in.

    Raises:
        HttpProblem: 400.
    """
    return _read(image_of_url, url, place)


def check_pixels(urls: Sequence[tuple[str, str]], param: str) -> None:
    """Before any image is decoded: a file of a few kilobytes can hold a gigabyte of one colour.

    urls: each with its place.

    Raises:
        HttpProblem: 400, one is no image, or all together are too large.
    """
    pixels = sum(_read(pixels_of_url, url, place) for url, place in urls)
    if pixels > _MOST_PIXELS:
        raise HttpProblem(
            400,
            f"the {len(urls)} images of the request have {pixels} pixels; at most {_MOST_PIXELS} are read: "
            "send fewer or smaller ones",
            param=param,
            code="invalid_image",
        )


def _read(read: Callable[[str], T], url: str, place: str) -> T:
    try:
        return read(fetched(url))
    except ValueError as error:
        raise HttpProblem(400, f"{place}.image_url.url: {error}", param=place, code="invalid_image") from error
