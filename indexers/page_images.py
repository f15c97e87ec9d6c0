"""Pictures of pages: drawn at one resolution, kept by the hash of their file, or drawn anew."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragkit.config import DocumentsConfig, PagesConfig
from ragkit.errors import DocumentError, RagkitError
from ragkit.files import atomic_write
from ragkit.indexers.readers import media_types
from ragkit.indexers.readers.reading import Reading
from ragkit.indexers.readers.render import make_renderer, most_dpi, page_size_pt

if TYPE_CHECKING:
    from PIL.Image import Image

    from ragkit.protocols import OcrEngine

FOLDER = "pages"
# Kinds of files whose pages can be drawn.
DRAWABLE = frozenset({media_types.PDF}) | media_types.IMAGES
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

    def draw(self, path: Path, media_type: str, page: int) -> Image:
        """Page `page` (from 1) in RGB, of at most documents.max_page_pixels.

        A page of a PDF is drawn at `dpi`; an image keeps its own pixels.

        Raises:
            DocumentError: the file is gone, or the page cannot be drawn.
        """
        if not path.exists():
            raise DocumentError(f"{path} is gone, so its page {page} cannot be drawn")
        if media_type == media_types.PDF:
            width_pt, height_pt = page_size_pt(path, page, self.password)
            dpi = min(self.dpi, most_dpi(width_pt, height_pt, self.documents.max_page_pixels))
            return make_renderer(self.documents).render(path, page, dpi, self.password)
        from ragkit.indexers.readers.images import ImagePages

        source = ImagePages(Reading(path, self.documents, make_renderer(self.documents), _no_ocr), media_type)
        try:
            picture, _ = source.picture(page)
            return picture
        finally:
            source.close()


def keep(corpus: Path, picture: Image, settings: PagesConfig) -> str:
    """Write a picture below the corpus's pages/ unless it is there; its name is the hash of its file."""
    buffer = io.BytesIO()
    picture.save(buffer, settings.format.upper(), quality=settings.quality)
    content = buffer.getvalue()
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


def sweep_pictures(corpus: Path, used: frozenset[str]) -> None:
    """Delete kept pictures that no page and no unfinished document names."""
    for path in (corpus / FOLDER).glob("*/*"):
        if path.name not in used:
            path.unlink(missing_ok=True)


def _no_ocr() -> OcrEngine:
    raise RagkitError("drawing a page does not read it")
