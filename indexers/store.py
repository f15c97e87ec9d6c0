"""Reading passages, pages and documents from the catalogue."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragkit.attributes import load_attributes
from ragkit.errors import CorpusDamagedError, CorpusError
from ragkit.indexers.catalogue import Catalogue
from ragkit.indexers.filter_sql import documents_sql
from ragkit.indexers.page_images import DRAWABLE, Drawing, Redraw, kept_path, load_kept
from ragkit.indexers.page_rows import read_page
from ragkit.records import Document, Filter, KeyArray, Page, PageImage, Passage, PassageKind

if TYPE_CHECKING:
    from PIL.Image import Image

# SQLite's limit on variables in one statement is 32,766 by default; batches stay well below it.
_BATCH = 10_000
# Filters whose keys are kept: a hundred or two megabytes at a million passages each.
_FILTERS_HELD = 16

_PASSAGES = """
SELECT passages.key, passages.kind, passages.document, documents.id, passages.page, passages.start,
    passages."end", documents.title, documents.source, documents.media_type, documents.content_hash,
    pages.image, pages.image_width, pages.image_height
FROM passages JOIN documents ON documents.key = passages.document
    LEFT JOIN pages ON passages.kind = 'image' AND pages.document = passages.document
        AND pages.number = passages.page
"""


class SqlitePassageStore:
    """The `PassageStore` of a corpus. redraw: draws the pages whose pictures the corpus does not keep."""

    def __init__(self, catalogue: Catalogue, redraw: Redraw = Drawing.draw_again) -> None:
        self._catalogue = catalogue
        self._redraw = redraw
        self._filters: dict[tuple[int, str, str], KeyArray] = {}
        self._lock = threading.Lock()

    def passages(self, keys: Sequence[int]) -> list[Passage]:
        """In the order of the keys. Raises CorpusDamagedError where a key is unknown."""
        wanted = [int(key) for key in keys]
        found: dict[int, Passage] = {}
        for start in range(0, len(wanted), _BATCH):
            batch = wanted[start : start + _BATCH]
            marks = ",".join("?" * len(batch))
            rows = self._catalogue.rows(f"{_PASSAGES} WHERE passages.key IN ({marks})", batch)
            found.update((passage.key, passage) for passage in self._with_contents(rows))
        missing = [key for key in wanted if key not in found]
        if missing:
            raise CorpusDamagedError(
                f"{len(missing)} of {len(wanted)} passages are not in the catalogue (first: {missing[0]}); "
                "run ragkit verify"
            )
        return [found[key] for key in wanted]

    def keys(self, where: Filter | None = None, kind: PassageKind | None = None) -> KeyArray:
        """Ascending keys of all passages, or of those the filter admits, or of one kind."""
        conditions: list[str] = ["TRUE"]
        values: list[object] = []
        if kind is not None:
            conditions.append("passages.kind = ?")
            values.append(kind)
        if where is not None and where.documents is not None:
            conditions.append(
                "passages.document IN (SELECT key FROM documents WHERE id IN (SELECT value FROM json_each(?)))"
            )
            values.append(json.dumps(sorted(where.documents)))
        if where is not None and where.condition is not None:
            sql, parameters = documents_sql(where.condition)
            conditions.append(f"passages.document IN ({sql})")
            values += parameters
        sql = f"SELECT key FROM passages WHERE {' AND '.join(conditions)} ORDER BY key"
        if where is None:
            return self._catalogue.integers(sql, values)
        # By text: 1 and True are equal, and the filters that they make are not.
        name = (self._catalogue.generation, sql, repr(values))
        return self._admitted(name, lambda: self._catalogue.integers(sql, values))

    def _admitted(self, name: tuple[int, str, str], read: Callable[[], KeyArray]) -> KeyArray:
        """The keys of one of the last filters: every route of a search asks for the same."""
        with self._lock:
            held = self._filters.pop(name, None)
        keys = read() if held is None else held
        with self._lock:
            self._filters[name] = keys
            while len(self._filters) > _FILTERS_HELD:
                self._filters.pop(next(iter(self._filters)))
        return keys

    def _with_contents(self, rows: Iterable[Sequence[Any]]) -> Iterator[Passage]:
        """Passages of the rows; a page that several in a row lie on is read once and cut here.

        SQLite's substr would walk a page from its start for every passage.
        """
        held, text = (-1, -1), ""
        for key, kind, document, id_, page, start, end, title, *picture in rows:
            if kind == "image":
                yield Passage(key, id_, page, 0, 0, "", title, self._image(id_, page, picture))
                continue
            if (document, page) != held:
                sql = "SELECT text FROM pages WHERE document = ? AND number = ?"
                held, text = (document, page), self._catalogue.rows(sql, (document, page))[0][0]
            yield Passage(key, id_, page, start, end, text[start:end], title)

    def documents(self) -> list[Document]:
        """Ordered by id."""
        rows = self._catalogue.rows(
            "SELECT id, title, source, media_type, num_pages,"
            " (SELECT count(*) FROM passages WHERE document = documents.key), attributes"
            " FROM documents ORDER BY id"
        )
        return [
            Document(id_, title, source, media_type, num_pages, num_passages, load_attributes(attributes))
            for id_, title, source, media_type, num_pages, num_passages, attributes in rows
        ]

    def page(self, document: str, number: int) -> Page:
        """Raises CorpusError where there is no such page."""
        rows = self._catalogue.rows(
            "SELECT number, text, words, width_pt, height_pt, text_source FROM pages"
            " WHERE document = (SELECT key FROM documents WHERE id = ?) AND number = ?",
            (document, number),
        )
        if not rows:
            raise CorpusError(f"document {document!r} has no page {number} in this corpus")
        return read_page(rows[0])

    def page_image(self, document: str, number: int) -> PageImage | None:
        """None where the page has no picture, as in a document of plain text.

        Raises:
            CorpusError: there is no such page.
        """
        rows = self._catalogue.rows(
            "SELECT documents.source, documents.media_type, documents.content_hash, pages.image,"
            " pages.image_width, pages.image_height"
            " FROM pages JOIN documents ON documents.key = pages.document"
            " WHERE documents.id = ? AND pages.number = ?",
            (document, number),
        )
        if not rows:
            raise CorpusError(f"document {document!r} has no page {number} in this corpus")
        return self._image(document, number, rows[0])

    def _image(self, document: str, number: int, columns: Sequence[Any]) -> PageImage | None:
        """columns: source, media type and content hash of the document; name, width and height of the picture."""
        source, media_type, content_hash, name, width, height = columns
        if name:
            path = kept_path(self._catalogue.folder, name)
            return PageImage(document, number, width, height, partial(load_kept, path), str(path))
        if media_type not in DRAWABLE or not source:
            return None

        def load() -> Image:
            drawing = Drawing.from_settings(self._catalogue.settings)
            return self._redraw(drawing, Path(source), media_type, content_hash, number)

        return PageImage(document, number, width, height, load)
