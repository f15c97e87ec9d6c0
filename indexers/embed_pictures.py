"""Page pictures on their way into a corpus: drawn ahead in other processes, embedded in batches, remembered."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from ragkit.config import PagesConfig
from ragkit.errors import DocumentError
from ragkit.indexers.draw_pages import DrawnPage, DrawTask, PageDrawer, num_processes
from ragkit.indexers.new_document import NewDocument, Picture
from ragkit.indexers.page_images import DRAWABLE, Drawing
from ragkit.indexers.picture_vectors import PictureReader
from ragkit.indexers.prepare import check_unchanged
from ragkit.indexers.readers.media_types import PDF
from ragkit.indexers.readers.reading import page_ranges
from ragkit.indexers.unfinished import UnfinishedPages
from ragkit.protocols import Embedder, TokenEmbedder
from ragkit.records import Page

_BATCH_PAGES = 8
_BATCHES_ON_GPU = 4
_MOST_FAILED_IN_A_ROW = 100


@dataclass(frozen=True, slots=True)
class Unpictured:
    """A document whose pages are still to be drawn and embedded, and the warnings about it so far.

    digest: names its content and the settings; what remembered pages hang on.
    """

    document: NewDocument
    warnings: list[str]
    digest: str


@dataclass(frozen=True, slots=True)
class FailedDocument:
    """A document that no page could be drawn of, or that changed meanwhile."""

    id: str
    error: DocumentError


@dataclass(slots=True)
class _Open:
    """A document at work.

    pictures: so far, by page. failed: why a page has none. num_wanted: pages asked for, or had before.
    num_to_come: pages that the drawer has not given yet. all_asked: whether no more will be asked for.
    """

    source: Unpictured
    pictures: dict[int, Picture]
    failed: dict[int, str] = field(default_factory=dict)
    num_wanted: int = 0
    num_to_come: int = 0
    failed_in_a_row: int = 0
    is_hopeless: bool = False
    all_asked: bool = False

    @property
    def is_complete(self) -> bool:
        return self.all_asked and len(self.pictures) + len(self.failed) >= self.num_wanted

    def note_failure(self, page: int, problem: str) -> None:
        """A page tree that is broken claims a million pages and has none of them: so many in a row are enough.

        It stays given up when a page that was drawn ahead turns out well: the others are not asked for any more.
        """
        self.failed[page] = problem
        self.failed_in_a_row += 1
        self.is_hopeless = self.is_hopeless or self.failed_in_a_row >= _MOST_FAILED_IN_A_ROW


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
        self._reader = PictureReader(embedder, tokens)
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
            opened.num_wanted = len(opened.pictures)
            waiting.append(opened)
            for page in document.pages if document.media_type in DRAWABLE else ():
                if opened.is_hopeless:
                    break
                if page.number not in opened.pictures:
                    opened.num_wanted += 1
                    opened.num_to_come += 1
                    yield self._task(document, page.number)
            opened.all_asked = True
            yield None

    def _task(self, document: NewDocument, page: int) -> DrawTask:
        path = Path(document.source)
        return DrawTask(path, document.media_type, page, self._drawing, self._settings, self._keep_in)

    def _embed_batch(self, batch: list[tuple[_Open, DrawnPage]]) -> None:
        if not batch:
            return
        documents = [opened.source.document for opened, _ in batch]
        passages = [
            drawn.passage(document.id, document.title)
            for document, (_, drawn) in zip(documents, batch, strict=True)
        ]
        done: list[tuple[str, Picture]] = []
        for (opened, drawn), found in zip(batch, self._reader.read(passages), strict=True):
            assert drawn.picture is not None, "only drawn pages are embedded"
            number, size = drawn.task.page, drawn.picture.size
            if isinstance(found, DocumentError):
                opened.failed[number] = str(found)
                continue
            opened.pictures[number] = Picture(number, drawn.name, *size, found.vector, found.tokens)
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
        useless = opened.failed and not opened.pictures and not document.passages
        if useless or opened.is_hopeless:
            reasons = "; ".join(dict.fromkeys(opened.failed.values()))
            numbers = page_ranges(sorted(opened.failed))
            return FailedDocument(document.id, DocumentError(f"{numbers} cannot be drawn: {reasons}"))
        for reason in dict.fromkeys(opened.failed.values()):
            numbers = page_ranges([number for number, why in sorted(opened.failed.items()) if why == reason])
            source.warnings.append(f"{numbers} cannot be drawn: {reason}")
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
        opened.note_failure(drawn.task.page, drawn.problem)
    else:
        opened.failed_in_a_row = 0
        batch.append((opened, drawn))


def _sized(page: Page, picture: Picture | None, drawing: Drawing, document: NewDocument) -> Page:
    """The page with its size as drawn, where its text was not read and the size is not known."""
    if page.width_pt or picture is None:
        return page
    per_point = drawing.dpi / 72 if document.media_type == PDF else 1.0
    return replace(page, width_pt=picture.width / per_point, height_pt=picture.height / per_point)
