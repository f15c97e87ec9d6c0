"""Pictures of pages: drawn at one resolution, kept by the hash of their file, or drawn anew."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragkit.config import DocumentsConfig, PagesConfig
from ragkit.errors import DocumentError, PasswordError, RagkitError
from ragkit.files import atomic_write, sha256_of
from ragkit.indexers.catalogue import Catalogue
from ragkit.indexers.readers import media_types
from ragkit.indexers.readers.images import ImagePages
from ragkit.indexers.readers.reading import Reading
from ragkit.indexers.readers.render import make_renderer

if TYPE_CHECKING:
    from PIL.Image import Image

    from ragkit.protocols import OcrEngine

FOLDER = "pages"
# Kinds of files whose pages can be drawn.
DRAWABLE = frozenset({media_types.PDF}) | media_types.IMAGES
# Of a picture in pixels: the most that WebP holds.
LONGEST_SIDE = 16_383
_SUFFIXES = {"jpeg": ".jpg", "webp": ".webp"}


@dataclass(frozen=True, slots=True)
class Drawing:
    """How pages are drawn: all that decides the pixels of a picture."""

    documents: DocumentsConfig
    dpi: float
    password: str | None = None

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Drawing:
        """As a corpus remembers it."""
        return cls(
            DocumentsConfig.model_validate(settings.get("documents", {})),
            PagesConfig.model_validate(settings.get("pages", {})).dpi,
        )

    def draw(self, path: Path, media_type: str, page: int, *, hold: bool = False) -> Image:
        """Page `page` (from 1) in RGB, of at most documents.max_page_pixels.

        A page of a PDF is drawn at `dpi`; an image keeps its own pixels. hold: keep an image file open for its
        next frame, until another file's turn comes: finding frames in a long TIFF takes time.

        Raises:
            DocumentError: the file is gone, or the page cannot be drawn.
        """
        if not path.exists():
            raise DocumentError(f"{path} is gone, so its page {page} cannot be drawn")
        if media_type == media_types.PDF:
            most = self.documents.max_page_pixels
            picture = make_renderer(self.documents).render(path, page, self.dpi, self.password, most)
        else:
            with _frames(path, media_type, self.documents, hold) as frames:
                picture, _ = frames.picture(page)
        picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
        return picture

    def draw_again(self, path: Path, media_type: str, content_hash: str, page: int) -> Image:
        """As `draw`, of a document that was indexed before.

        Raises:
            DocumentError: also where the file is not the one that was indexed, or is encrypted.
        """
        if path.exists() and sha256_of(path) != content_hash:
            raise DocumentError(f"{path} changed since it was indexed, so its page {page} cannot be shown")
        try:
            return self.draw(path, media_type, page)
        except PasswordError as error:
            raise DocumentError(
                f"{path} is encrypted and the corpus keeps no password, so its page {page} cannot be drawn anew; "
                "index it with pages.keep_pages = true"
            ) from error


# Draws a page of a document that was indexed before: as `Drawing.draw_again`, which is one, perhaps elsewhere.
Redraw = Callable[[Drawing, Path, str, str, int], "Image"]

_held: list[tuple[object, ImagePages]] = []


@contextmanager
def _frames(path: Path, media_type: str, documents: DocumentsConfig, hold: bool) -> Iterator[ImagePages]:
    """An open image file; one that is held is closed when another is asked for."""
    status = path.stat()
    name = (path, status.st_mtime_ns, status.st_size)
    if _held and _held[0][0] == name:
        yield _held[0][1]
        return
    while _held:
        _held.pop()[1].close()
    frames = ImagePages(Reading(path, documents, make_renderer(documents), _no_ocr), media_type)
    if hold:
        _held.append((name, frames))
        yield frames
        return
    try:
        yield frames
    finally:
        frames.close()


def encoded(picture: Image, settings: PagesConfig) -> bytes:
    """A picture as the content of a file."""
    buffer = io.BytesIO()
    picture.save(buffer, settings.format.upper(), quality=settings.quality)
    return buffer.getvalue()


def keep(corpus: Path, content: bytes, settings: PagesConfig) -> str:
    """Write an encoded picture below the corpus's pages/ unless it is there; its name is the file's hash."""
    name = hashlib.sha256(content).hexdigest() + _SUFFIXES[settings.format]
    path = kept_path(corpus, name)
    if not path.exists():
        with atomic_write(path) as file:
            file.write(content)
    return name


def kept_path(corpus: Path, name: str) -> Path:
    """Where a kept picture lies: in one of 256 folders, so that none grows to a million names."""
    return corpus / FOLDER / name[:2] / name


def load_kept(path: Path) -> Image:
    """Raises DocumentError where the file is missing or damaged."""
    from PIL import Image as PillowImage

    try:
        with PillowImage.open(path) as image:
            return image.convert("RGB")
    except FileNotFoundError as error:
        raise DocumentError(f"the page's picture {path} is missing; run ragkit verify") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise DocumentError(f"the page's picture {path} is damaged ({error}); run ragkit verify") from error


def sweep_loose_pictures(corpus: Path, catalogue: Catalogue, unfinished: Set[str]) -> None:
    """Delete kept pictures that lost their last page, but for those that an unfinished document names."""
    if not catalogue.rows("SELECT 1 FROM loose_pictures LIMIT 1"):
        return
    # First the files, then the names: after a kill between the two the next sweep finds nothing left to delete.
    with catalogue.transaction():
        for name in set(catalogue.take_loose_pictures()) - unfinished:
            kept_path(corpus, name).unlink(missing_ok=True)


def sweep_pictures(corpus: Path, catalogue: Catalogue, unfinished: Set[str]) -> None:
    """Delete all kept pictures that neither a page of the current state nor an unfinished document names."""
    used = {name for (name,) in catalogue.rows("SELECT image FROM pages WHERE image != ''")} | unfinished
    for path in (corpus / FOLDER).glob("*/*"):
        if path.name not in used:
            path.unlink(missing_ok=True)


def _no_ocr() -> OcrEngine:
    raise RagkitError("drawing a page does not read it")
