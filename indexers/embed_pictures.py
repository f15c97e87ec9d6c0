"""Page pictures on their way into a corpus: drawn ahead in other processes, embedded in batches, remembered."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ragkit.config import PagesConfig
from ragkit.errors import ConfigError, DocumentError
from ragkit.indexers.catalogue import NewDocument, Picture
from ragkit.indexers.draw_pages import DrawnPage, DrawTask, PageDrawer, num_processes
from ragkit.indexers.page_images import DRAWABLE, Drawing
from ragkit.indexers.prepare import check_unchanged, digest_of
from ragkit.indexers.readers.media_types import PDF
from ragkit.indexers.readers.reading import page_ranges
from ragkit.indexers.unfinished import UnfinishedPages
from ragkit.protocols import Embedder, TokenEmbedder
from ragkit.records import FloatArray, Page, PageImage, Passage

if TYPE_CHECKING:
    from PIL.Image import Image

_BATCH_PAGES = 8
_BATCHES_ON_GPU = 4


@dataclass(frozen=True, slots=True)
class Unpictured:
    """A document whose pages are still to be drawn and embedded, and the warnings about it so far."""

    document: NewDocument
    warnings: list[str]

    @property
    def digest(self) -> str:
        """Names the document's content and settings: what remembered pages hang on."""
        return digest_of(self.document.content_hash, self.document.settings_hash)


@dataclass(frozen=True, slots=True)
class FailedDocument:
    """A document that no page could be drawn of, or that changed meanwhile."""

    id: str
    error: DocumentError


@dataclass(slots=True)
class _Open:
    """A document at work.

    pictures: so far, by page. failed: why a page has none. num_wanted: pages that should have one.
    num_to_come: pages that the drawer has not given yet.
    """

    source: Unpictured
    pictures: dict[int, Picture]
    failed: dict[int, str] = field(default_factory=dict)
    num_wanted: int = 0
    num_to_come: int = 0

    @property
    def is_complete(self) -> bool:
        return len(self.pictures) + len(self.failed) >= self.num_wanted


class PictureEmbedder:
    """Adds pictures to documents.

    Args:
        keep_in: the corpus, where pictures are kept as files.
        told: called with a document's id and its number of pages embedded in this run, after each batch.
    """

    def __init__(
        self,
        embedder: Embedder,
        tokens: TokenEmbedder | None,
        unfinished: UnfinishedPages,
        drawing: Drawing,
        settings: PagesConfig,
        corpus: Path,
        told: Callable[[str, int], None],
    ) -> None:
        self._embedder = embedder
        self._tokens = tokens
        self._unfinished = unfinished
        self._drawing = drawing
        self._settings = settings
        self._keep_in = corpus if settings.keep_pages else None
        self._told = told
        self._batch_pages = _pages_at_once(embedder)

    def embed(self, documents: Iterable[Unpictured]) -> Generator[Unpictured | FailedDocument, None, None]:
        """The documents in their order with their pictures, or what kept all of them away."""
        processes = num_processes(self._settings)
        # While one batch is embedded the next one is drawn.
        with PageDrawer(processes, 2 * self._batch_pages + processes) as drawer:
            waiting: deque[_Open] = deque()
            batch: list[tuple[_Open, DrawnPage]] = []
            for drawn in drawer.draw(self._tasks(documents, waiting)):
                if drawn is not None:
                    _take(drawn, waiting, batch)
                if len(batch) >= self._batch_pages:
                    self._embed_batch(batch)
                while waiting and waiting[0].is_complete:
                    yield self._finished(waiting.popleft())
            self._embed_batch(batch)
            yield from map(self._finished, waiting)

    def _tasks(self, documents: Iterable[Unpictured], waiting: deque[_Open]) -> Iterator[DrawTask | None]:
        for source in documents:
            document = source.document
            opened = _Open(source, self._unfinished.pictures(source.digest))
            waiting.append(opened)
            if document.media_type in DRAWABLE:
                missing = [page.number for page in document.pages if page.number not in opened.pictures]
                opened.num_wanted, opened.num_to_come = len(document.pages), len(missing)
                path, kind = Path(document.source), document.media_type
                for number in missing:
                    yield DrawTask(path, kind, number, self._drawing, self._settings, self._keep_in)
            yield None

    def _embed_batch(self, batch: list[tuple[_Open, DrawnPage]]) -> None:
        if not batch:
            return
        passages = [_passage(opened.source.document, drawn) for opened, drawn in batch]
        vectors = self._embedder.embed_passages(passages)
        check_vectors(vectors, len(passages), self._embedder)
        tokens: Sequence[FloatArray | None] = [None] * len(passages)
        if self._tokens is not None:
            tokens = self._tokens.embed_passage_tokens(passages)
        done: list[tuple[str, Picture]] = []
        for (opened, drawn), vector, rows in zip(batch, vectors, tokens, strict=True):
            assert drawn.picture is not None, "only drawn pages are embedded"
            number, size = drawn.task.page, drawn.picture.size
            opened.pictures[number] = Picture(number, drawn.name, *size, vector, rows)
            done.append((opened.source.digest, opened.pictures[number]))
        self._unfinished.add_pictures(done)
        self._told(batch[-1][0].source.document.id, len(batch))
        batch.clear()

    def _finished(self, opened: _Open) -> Unpictured | FailedDocument:
        source = opened.source
        document = source.document
        if document.source:
            try:
                check_unchanged(Path(document.source), document.content_hash)
            except DocumentError as error:
                return FailedDocument(document.id, error)
        if opened.failed and not opened.pictures:
            reasons = "; ".join(dict.fromkeys(opened.failed.values()))
            return FailedDocument(document.id, DocumentError(f"no page can be drawn: {reasons}"))
        for reason in dict.fromkeys(opened.failed.values()):
            numbers = [number for number, problem in sorted(opened.failed.items()) if problem == reason]
            source.warnings.append(f"{page_ranges(numbers)} cannot be drawn: {reason}")
        pages = [
            _sized(page, opened.pictures.get(page.number), self._drawing, document) for page in document.pages
        ]
        pictures = [opened.pictures[number] for number in sorted(opened.pictures)]
        return replace(source, document=replace(document, pages=pages, pictures=pictures))


def _pages_at_once(embedder: Embedder) -> int:
    """One batch of the embedder; on a GPU several, so that it prepares one while the model works on another."""
    batch: int = getattr(embedder, "batch_pages", 0) or _BATCH_PAGES
    placement = getattr(embedder, "placement", None)
    on_gpu = placement is not None and str(placement.device).startswith("cuda")
    return batch * _BATCHES_ON_GPU if on_gpu else batch


def _take(drawn: DrawnPage, waiting: Iterable[_Open], batch: list[tuple[_Open, DrawnPage]]) -> None:
    """Put a drawn page to its document: pages come in the order of the documents."""
    opened = next(one for one in waiting if one.num_to_come)
    opened.num_to_come -= 1
    if drawn.picture is None:
        opened.failed[drawn.task.page] = drawn.problem
    else:
        batch.append((opened, drawn))


def check_vectors(vectors: FloatArray, count: int, embedder: Embedder) -> None:
    """Raises ConfigError where an embedder gave other than finite float rows, one an input."""
    expected = (count, embedder.dim)
    if vectors.shape != expected:
        raise ConfigError(
            f"the embedder gave an array of shape {vectors.shape} for {count} passages, not {expected}"
        )
    if not np.isfinite(vectors).all():
        raise ConfigError("the embedder gave vectors that are not finite; try dtype = 'float32'")


def _passage(document: NewDocument, drawn: DrawnPage) -> Passage:
    assert drawn.picture is not None, "only drawn pages are embedded"
    page = drawn.task.page
    image = PageImage(document.id, page, *drawn.picture.size, partial(_the_same, drawn.picture))
    return Passage(-1, document.id, page, 0, 0, "", document.title, image)


def _the_same(picture: Image) -> Image:
    return picture


def _sized(page: Page, picture: Picture | None, drawing: Drawing, document: NewDocument) -> Page:
    """The page with its size as drawn, where its text was not read and the size is not known."""
    if page.width_pt or picture is None:
        return page
    per_point = drawing.dpi / 72 if document.media_type == PDF else 1.0
    return replace(page, width_pt=picture.width / per_point, height_pt=picture.height / per_point)
