"""Images as OpenAI's API carries them: a data URI in a content part of type image_url."""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ragkit.pictures import upright_rgb

if TYPE_CHECKING:
    from PIL.Image import Image

# Pages of text are far smaller than this as PNG, and lossless; scans and photographs are larger.
_LARGEST_PNG_BYTES = 1_000_000
_JPEG_QUALITY = 90
# Of either side.
_LARGEST_JPEG = 65_500
MOST_PIXELS = 50_000_000
# Pillow's name of a format -> its media type.
_FORMATS = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}


def image_of_url(url: str) -> Image:
    """The image of a data URI, upright and in RGB on white.

    Addresses of other kinds are refused: a server must not fetch what its clients name.

    Raises:
        ValueError: it is no base64 data URI of a PNG, JPEG or WebP image, is damaged, or has more than 50
            megapixels.
    """
    with _opened(url) as image:
        return upright_rgb(image)


def pixels_of_url(url: str) -> int:
    """What `image_of_url` would decode, by the image's header. Raises ValueError as that does."""
    with _opened(url) as image:
        return image.width * image.height


@contextmanager
def _opened(url: str) -> Iterator[Image]:
    """The image with its header read alone."""
    from PIL import Image, UnidentifiedImageError

    head, comma, data = url.partition(",")
    if not comma or not head.lower().startswith("data:image/") or not head.lower().endswith(";base64"):
        raise ValueError(f"{url[:40]!r} is no data URI, such as 'data:image/png;base64,…'; nothing else is read")
    try:
        held = io.BytesIO(base64.b64decode("".join(data.split()), validate=True))
        with Image.open(held, formats=list(_FORMATS)) as image:
            if image.width * image.height > MOST_PIXELS:
                raise ValueError(
                    f"an image of {image.width} x {image.height} pixels; at most {MOST_PIXELS} are read"
                )
            yield image
    except binascii.Error as error:
        raise ValueError(f"the data of an image is no base64: {error}") from error
    except UnidentifiedImageError as error:
        raise ValueError("an image is neither PNG, JPEG nor WebP, or is damaged") from error
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"an image is damaged: {error}") from error
