"""Image files as pages, read by OCR: one page an image, one a frame for TIFF."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from ragkit.errors import DocumentError
from ragkit.indexers.readers.media_types import JPEG, PNG, TIFF, WEBP
from ragkit.indexers.readers.page_ocr import PageOcr
from ragkit.indexers.readers.reading import Reading, as_document_error
from ragkit.indexers.readers.render import is_uniform
from ragkit.pictures import upright_rgb
from ragkit.records import Page

if TYPE_CHECKING:
    from PIL.Image import Image

# An image may have this many times documents.max_page_pixels before it is scaled down: what is
# decoded at once must fit into memory (four bytes a pixel: 400 MB with the default).
_MOST_OVERSIZE = 4
_PLUGINS = {
    PNG: ("PIL.PngImagePlugin", "PngImageFile"),
    JPEG: ("PIL.JpegImagePlugin", "JpegImageFile"),
    TIFF: ("PIL.TiffImagePlugin", "TiffImageFile"),
    WEBP: ("PIL.WebPImagePlugin", "WebPImageFile"),
}


class ImagePages:
    """An open image file. Page sizes are in points, at the image's own resolution or 72 dots an inch."""

    def __init__(self, reading: Reading, media_type: str) -> None:
        """Raises DocumentError where the header cannot be read."""
        self._reading = reading
        self._ocr = PageOcr(reading)
        self._file = reading.path.open("rb")
        try:
            with as_document_error("the image cannot be read"):
                self._image = _open(self._file, media_type)
                self.num_pages: int = self._image.n_frames if media_type == TIFF else 1
        except DocumentError:
            self._file.close()
            raise

    def pages(self) -> Iterator[Page]:
        """One `Page` for each frame.

        Raises:
            DocumentError: the image is truncated, damaged or too large. In a file of several frames
                such a frame is an empty page and a warning, as long as another can be read.
        """
        damaged = 0
        for number in range(1, self.num_pages + 1):
            try:
                picture, size_pt = self.picture(number)
            except DocumentError as error:
                damaged += 1
                if damaged == self.num_pages:
                    raise
                self._ocr.note_unread(number, str(error))
                yield Page(number, "")
                continue
            empty = Page(number, "", width_pt=size_pt[0], height_pt=size_pt[1], text_source="ocr")
            if number in self._reading.known:
                yield self._reading.known[number]
            elif is_uniform(picture) or self._ocr.engine(number, "an image without text of its own") is None:
                yield empty
            else:
                found = self._ocr.read(number, picture, size_pt)
                if found is not None:
                    self._reading.read_by_ocr(found)
                yield found or empty
        self._ocr.finish()

    def close(self) -> None:
        self._image.close()
        self._file.close()

    def picture(self, number: int) -> tuple[Image, tuple[float, float]]:
        """A frame upright, in RGB, of at most documents.max_page_pixels, and its size in points.

        Raises:
            DocumentError: it is truncated, damaged or too large.
        """
        with as_document_error("the image is truncated or damaged"):
            if number > 1:
                self._image.seek(number - 1)
            width, height = self._image.size
            across, down = _dots_per_inch(self._image)
            self._fit(number)
            picture = upright_rgb(self._image)
        size_pt = (width / across * 72, height / down * 72)
        if (picture.width > picture.height) != (width > height) and width != height:
            size_pt = size_pt[::-1]  # the camera was held upright
        most = self._reading.config.max_page_pixels
        if picture.width * picture.height > most:
            scale = math.sqrt(most / (picture.width * picture.height))
            picture.thumbnail((max(1, int(picture.width * scale)), max(1, int(picture.height * scale))))
        return picture, size_pt

    def _fit(self, number: int) -> None:
        """Ask the decoder for less where it can give less (JPEG), and refuse what would fill the memory."""
        most = self._reading.config.max_page_pixels
        width, height = self._image.size
        if width * height <= most:
            return
        scale = math.sqrt(most / (width * height))
        self._image.draft(None, (int(width * scale), int(height * scale)))
        if math.prod(self._image.size) > _MOST_OVERSIZE * most:
            raise DocumentError(
                f"{width} x {height} pixels, more than {_MOST_OVERSIZE} times documents.max_page_pixels = "
                f"{most}; scale the image down, or raise that setting"
            )
        self._reading.warnings.append(
            f"page {number}: {width} x {height} pixels; scaled down to documents.max_page_pixels = {most}"
        )


def _open(file: BinaryIO, media_type: str) -> Any:
    """Pillow's reader of this kind, taken directly.

    Image.open looks at a limit that belongs to the whole program, and warns or raises by it; the limit
    here is the configuration's.
    """
    module, name = _PLUGINS[media_type]
    return getattr(importlib.import_module(module), name)(file)


def _dots_per_inch(image: Any) -> tuple[float, float]:
    dpi = image.info.get("dpi", (72, 72))
    across, down = (float(value) for value in dpi)
    return (across, down) if min(across, down) >= 1 else (72.0, 72.0)
