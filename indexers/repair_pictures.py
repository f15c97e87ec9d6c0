"""Drawing kept page pictures again that are missing or altered."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path

from ragkit.config import PagesConfig
from ragkit.errors import DocumentError
from ragkit.files import atomic_write
from ragkit.indexers.catalogue import Catalogue
from ragkit.indexers.page_images import Drawing, encoded, kept_path


def redraw_pictures(corpus: Path, catalogue: Catalogue, names: Collection[str]) -> tuple[int, dict[str, str]]:
    """Draw the pictures of these names from their documents.

    Returns how many came out, and why others did not, by document.
    """
    done, left = 0, {}
    for name in names:
        reasons = _redraw(corpus, catalogue, name)
        left.update(reasons)
        done += not reasons
    return done, left


def _redraw(corpus: Path, catalogue: Catalogue, name: str) -> dict[str, str]:
    """Draw one; a picture of several pages from the first page that can be drawn."""
    drawing = Drawing.from_settings(catalogue.settings)
    pages = PagesConfig.model_validate(catalogue.settings.get("pages", {}))
    reasons: dict[str, str] = {}
    for id_, source, media_type, content_hash, number in _pages_with(catalogue, name):
        try:
            if not source:
                raise DocumentError("its document is in no file")
            picture = drawing.draw_again(Path(source), media_type, content_hash, number)
        except DocumentError as error:
            reasons.setdefault(id_, f"page {number} of {id_!r}: {error}")
            continue
        # The format of the time it was kept in: the settings may have changed since.
        form = "webp" if name.endswith(".webp") else "jpeg"
        _put(corpus, catalogue, name, encoded(picture, pages.model_copy(update={"format": form})), picture.size)
        return {}
    return reasons


def _put(corpus: Path, catalogue: Catalogue, name: str, content: bytes, size: tuple[int, int]) -> None:
    """Write a picture; where it came out otherwise than once, under its own name, which its pages then have."""
    own = hashlib.sha256(content).hexdigest() + Path(name).suffix
    with atomic_write(kept_path(corpus, own)) as file:
        file.write(content)
    if own != name:
        with catalogue.transaction():
            catalogue.set_picture(name, own, size)


def _pages_with(catalogue: Catalogue, name: str) -> list[tuple[str, str, str, str, int]]:
    return catalogue.rows(
        "SELECT documents.id, documents.source, documents.media_type, documents.content_hash, pages.number"
        " FROM pages JOIN documents ON documents.key = pages.document WHERE pages.image = ?"
        " ORDER BY documents.id, pages.number",
        (name,),
    )
