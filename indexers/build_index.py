"""The writing side of a corpus: works on what is new or changed, commits as it goes, can be killed at any time."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import numpy as np

from ragkit.attributes import checked_attributes, load_attributes
from ragkit.config import LexicalConfig
from ragkit.errors import DocumentError
from ragkit.indexers.catalogue import Attributes, Catalogue, NewDocument, Picture
from ragkit.indexers.embed_pictures import FailedDocument, PictureEmbedder, Unpictured
from ragkit.indexers.embedders import Embedders
from ragkit.indexers.lexical_files import refresh_lexical
from ragkit.indexers.page_images import Drawing, sweep_pictures
from ragkit.indexers.picture_vectors import check_vectors
from ragkit.indexers.prepare import NotDrawableError, Preparer, content_hash_of, digest_of, record_hash
from ragkit.indexers.readers.find_files import FileList, FoundFile, Problem
from ragkit.indexers.readers.sidecar import Sidecars
from ragkit.indexers.shards import merge_shards, sweep
from ragkit.indexers.token_shards import merge_token_shards
from ragkit.indexers.token_vectors import write_token_shard
from ragkit.indexers.unfinished import UnfinishedPages
from ragkit.indexers.vectors import PICTURES, TEXTS, VectorSpace, write_shard
from ragkit.records import FloatArray, Passage, TextRecord

_Results = Generator[Unpictured | FailedDocument, None, None]

# A commit after so many passages or seconds: what a kill can cost at most, beside the document at hand.
_COMMIT_PASSAGES = 1024
_COMMIT_SECONDS = 5.0
# Passages given to the embedder at once: enough to sort by length, few enough to show progress.
_EMBED_PASSAGES = 256


@dataclass(frozen=True, slots=True)
class IndexProgress:
    """How far an indexing run has come. `stage`: "read", "embed", or "lexical" (BM25 is built)."""

    stage: str
    document: str
    documents_done: int
    documents_total: int
    pages_done: int
    passages_done: int
    passages_pending: int


@dataclass(slots=True)
class IndexReport:
    """What an indexing run did; ids of documents, and problems by path with their reason.

    failed: could not be indexed. warnings: indexed, but something about it should be known.
    skipped: of no supported kind. reattributed: of the unchanged ones, those with other attributes than before.
    interrupted: stopped by Ctrl-C; all that is listed is committed.
    """

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    reattributed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    failed: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    skipped: list[Problem] = field(default_factory=list)
    num_pages: int = 0
    num_passages: int = 0
    seconds: float = 0.0
    interrupted: bool = False

    @property
    def changes(self) -> bool:
        """Whether the corpus holds other documents than before."""
        return bool(self.added or self.changed or self.removed)


@dataclass(frozen=True, slots=True)
class _Work:
    """One document to look at: a file, or a record in memory."""

    id: str
    origin: FoundFile | TextRecord

    @property
    def name(self) -> str:
        return str(self.origin.path) if isinstance(self.origin, FoundFile) else self.id

    @property
    def source(self) -> str:
        return str(self.origin.path) if isinstance(self.origin, FoundFile) else ""

    def content_hash(self) -> str:
        if isinstance(self.origin, FoundFile):
            return content_hash_of(self.origin.path)
        return record_hash(self.origin)


class IndexBuilder:
    """Brings a corpus up to date with files and records. The caller holds the writer's lock."""

    def __init__(
        self,
        corpus: Path,
        catalogue: Catalogue,
        embedders: Embedders,
        preparer: Preparer,
        lexical: LexicalConfig,
        progress: Callable[[IndexProgress], None] | None = None,
    ) -> None:
        self._corpus = corpus
        self._catalogue = catalogue
        self._embedders = embedders
        self._preparer = preparer
        self._lexical = lexical
        self._progress = progress
        self._report = IndexReport()
        self._unfinished = UnfinishedPages(corpus)
        self._pending: list[NewDocument] = []
        self._num_pending = self._num_pages_pending = self._num_pictures_done = 0
        self._moved: list[tuple[str, str]] = []
        self._sidecars = Sidecars()
        self._stored: dict[str, tuple[str, str]] = {}
        self._attributes: dict[str, Attributes] = {}
        self._said: dict[str, Attributes] = {}
        self._digests: dict[str, str] = {}
        self._last_commit = time.monotonic()
        self._total = 0

    def run(
        self, files: FileList, records: Sequence[TextRecord] = (), prune_below: Sequence[Path] = ()
    ) -> IndexReport:
        """Index what is new or changed; remove documents below `prune_below` whose file is gone.

        Ctrl-C ends the run early: what was committed stays, and the report says so.
        """
        started = time.monotonic()
        self._report = IndexReport(failed=list(files.failed), skipped=list(files.skipped))
        sweep(self._corpus, self._catalogue)
        try:
            work = self._work(files, records)
            self._index(work)
            self._prune(prune_below, work)
        except KeyboardInterrupt:
            self._report.interrupted = True
        except BaseException:
            self._unfinished.close()
            raise
        if self._report.changes:
            self._tell("lexical", "")
            sweep_pictures(self._corpus, self._catalogue, self._unfinished.picture_names())
        self._unfinished.close()
        finish_commit(self._corpus, self._catalogue, self._embedders.dims, self._lexical)
        self._report.seconds = time.monotonic() - started
        return self._report

    def _work(self, files: FileList, records: Sequence[TextRecord]) -> list[_Work]:
        taken = {id_: fact.source for id_, fact in self._known().items()}
        ids = {source: id_ for id_, source in taken.items() if source}
        work: list[_Work] = []
        for file in files.files:
            source = str(file.path)
            document_id = ids.get(source) or _free_id(file, taken)
            taken[document_id] = source
            work.append(_Work(document_id, file))
        seen: set[str] = set()
        for record in records:
            problem = _problem_of_id(record.id, taken.get(record.id, ""), seen)
            seen.add(record.id)
            if problem:
                self._report.failed.append(Problem(record.id, problem))
            else:
                work.append(_Work(record.id, record))
        return work

    def _index(self, work: list[_Work]) -> None:
        known, self._stored = self._known(), self._catalogue.attributes_by_id()
        self._total = len(work)
        names = {item.id: item.name for item in work}
        # Closed at once when the run is interrupted: that ends the processes that draw.
        with closing(self._pictured(self._read(work, known))) as results:
            for result in results:
                if isinstance(result, FailedDocument):
                    self._fail(result.id, names[result.id], result.error, known)
                    continue
                self._add_pending(result.document)
                self._report.warnings += [Problem(names[result.document.id], text) for text in result.warnings]
                if self._commit_is_due():
                    self._commit(known)
        self._commit(known)
        self._commit_facts()
        self._report.failed += self._sidecars.failed
        self._report.warnings += self._sidecars.warnings

    def _commit_facts(self) -> None:
        """Where unchanged documents are now, and their attributes."""
        if not (self._moved or self._attributes):
            return
        with self._catalogue.transaction():
            self._catalogue.set_sources(self._moved)
            self._catalogue.set_attributes(self._attributes, self._said)
        changed = (id_ for id_, new in self._attributes.items() if new != load_attributes(self._stored[id_][0]))
        self._report.reattributed += changed

    def _pictured(self, documents: Generator[Unpictured, None, None]) -> _Results:
        if self._embedders.pictures is None:
            return documents
        preparer = self._preparer
        drawing = Drawing(preparer.documents, preparer.pages.dpi, preparer.password)
        embedder = PictureEmbedder(
            self._embedders.pictures,
            self._embedders.tokens,
            self._unfinished,
            drawing,
            preparer.pages,
            self._corpus,
            self._tell_pictures,
        )
        return embedder.embed(documents)

    def _read(self, work: list[_Work], known: dict[str, _Known]) -> Generator[Unpictured, None, None]:
        """What is new or changed, read; the rest is noted in the report."""
        for item in work:
            try:
                found = self._read_one(item, known.get(item.id))
            except NotDrawableError as error:
                self._report.skipped.append(Problem(item.name, str(error)))
            except DocumentError as error:
                self._fail(item.id, item.name, error, known)
            else:
                if found is not None:
                    yield found

    def _fail(self, id_: str, name: str, error: DocumentError, known: dict[str, _Known]) -> None:
        if id_ in self._digests:
            self._unfinished.forget([self._digests.pop(id_)])
        kept = " (the version indexed earlier stays)" if id_ in known else ""
        self._report.failed.append(Problem(name, f"{error}{kept}"))

    def _read_one(self, item: _Work, known: _Known | None) -> Unpictured | None:
        """None where the document is indexed as it is now."""
        content_hash = item.content_hash()
        if known and (known.content_hash, known.settings_hash) == (
            content_hash,
            self._preparer.settings_hash,
        ):
            self._note_attributes(item)
            self._report.unchanged.append(item.id)
            if known.source != item.source:
                self._moved.append((item.id, item.source))
            return None
        self._tell("read", item.id)
        digest = digest_of(content_hash, self._preparer.settings_hash)
        self._digests[item.id] = digest
        if isinstance(item.origin, TextRecord):
            document = replace(self._preparer.from_record(item.origin), attributes=self._attributes_of(item)[0])
            return Unpictured(document, [], digest)
        remembered = self._unfinished.of(digest)
        document, warnings = self._preparer.from_file(item.origin.path, item.id, content_hash, remembered)
        attributes, said = self._attributes_of(item)
        return Unpictured(replace(document, attributes=attributes, said=said), warnings, digest)

    def _note_attributes(self, item: _Work) -> None:
        """Keep the attributes of an unchanged document for the commit where they are other than before."""
        attributes, said = self._attributes_of(item)
        stored, said_before = map(load_attributes, self._stored[item.id])
        if (attributes, said) != (stored, said_before):
            self._attributes[item.id], self._said[item.id] = attributes, said

    def _attributes_of(self, item: _Work) -> tuple[Attributes, Attributes]:
        """A document's attributes, and those of them that a sidecar gives.

        A record brings its own. A sidecar's say holds; what it said before and no longer says is taken away,
        and what was set otherwise stays.
        """
        if isinstance(item.origin, TextRecord):
            return checked_record(item.origin), {}
        stored, before = map(load_attributes, self._stored.get(item.id, ("{}", "{}")))
        said = self._sidecars.of(item.origin.path)
        if said is None:
            return stored, before
        kept = {name: value for name, value in stored.items() if name not in before}
        return {**kept, **said}, said

    def _known(self) -> dict[str, _Known]:
        return {id_: _Known(*hashes) for id_, hashes in self._catalogue.hashes_by_id().items()}

    def _commit_is_due(self) -> bool:
        waiting = time.monotonic() - self._last_commit
        return self._num_pending >= _COMMIT_PASSAGES or (waiting > _COMMIT_SECONDS and bool(self._pending))

    def _add_pending(self, document: NewDocument) -> None:
        self._pending.append(document)
        self._num_pending += len(document.passages) + len(document.pictures)
        self._num_pages_pending += len(document.pages)
        # Those that an earlier run embedded were not counted.
        self._num_pictures_done = max(0, self._num_pictures_done - len(document.pictures))

    def _commit(self, known: dict[str, _Known]) -> None:
        if not self._pending:
            return
        texts = self._embed([passage for document in self._pending for passage in passages_of(document)])
        pictures = [picture for document in self._pending for picture in document.pictures]
        with self._catalogue.transaction() as generation:
            keys: dict[VectorSpace, list[int]] = {TEXTS: [], PICTURES: []}
            for document in self._pending:
                added = self._catalogue.add_document(document)
                keys[TEXTS] += added[: len(document.passages)]
                keys[PICTURES] += added[len(document.passages) :]
            self._add_shard(TEXTS, generation, keys[TEXTS], texts)
            self._add_shard(PICTURES, generation, keys[PICTURES], [picture.vector for picture in pictures])
            self._add_tokens(generation, keys[PICTURES], pictures)
        for document in self._pending:
            (self._report.changed if document.id in known else self._report.added).append(document.id)
            self._report.num_pages += len(document.pages)
        self._report.num_passages += sum(map(len, keys.values()))
        self._unfinished.forget([self._digests.pop(document.id) for document in self._pending])
        self._pending.clear()
        self._num_pending = self._num_pages_pending = 0
        self._last_commit = time.monotonic()

    def _add_shard(
        self, space: VectorSpace, generation: int, keys: list[int], vectors: FloatArray | list[FloatArray] | None
    ) -> None:
        if vectors is None or not keys:
            return
        for file in write_shard(self._corpus, space, generation, np.asarray(keys, np.int64), np.asarray(vectors)):
            self._catalogue.add_file(file)

    def _add_tokens(self, generation: int, keys: list[int], pictures: list[Picture]) -> None:
        rows = [np.asarray(picture.tokens, np.float32) for picture in pictures if picture.tokens is not None]
        if not rows:
            return
        dtype = self._embedders.token_dtype
        for file in write_token_shard(self._corpus, generation, np.asarray(keys, np.int64), rows, dtype):
            self._catalogue.add_file(file)

    def _embed(self, passages: list[Passage]) -> FloatArray | None:
        embedder = self._embedders.texts
        if embedder is None:
            return None
        parts = [np.zeros((0, embedder.dim), np.float32)]
        for start in range(0, len(passages), _EMBED_PASSAGES):
            batch = passages[start : start + _EMBED_PASSAGES]
            vectors = embedder.embed_passages(batch)
            check_vectors(vectors, len(batch), embedder)
            parts.append(vectors.astype(np.float32, copy=False))
            self._tell("embed", batch[-1].document, start + len(batch), len(passages))
        return np.concatenate(parts)

    def _prune(self, below: Sequence[Path], work: Sequence[_Work]) -> None:
        """Remove documents whose file is gone; below a folder in which nothing at all was found, none.

        Such a folder is more often a disk that is not mounted, or a misspelt name, than an emptied one.
        """
        current = {item.id for item in work}
        found = [Path(item.source) for item in work if item.source]
        known = {
            id_: Path(fact.source)
            for id_, fact in self._known().items()
            if fact.source and id_ not in current and _is_gone(Path(fact.source))
        }
        gone: list[str] = []
        for folder in below:
            here = [id_ for id_, source in known.items() if source.is_relative_to(folder)]
            if here and not any(path.is_relative_to(folder) for path in found):
                reason = f"no file was found here, so {len(here)} documents whose files are gone were not removed"
                self._report.warnings.append(Problem(str(folder), reason))
            else:
                gone += here
        self._report.removed += remove_documents(self._catalogue, gone)

    def _tell_pictures(self, document: str, count: int) -> None:
        self._num_pictures_done += count
        self._tell("embed", document)

    def _tell(self, stage: str, document: str, embedded: int = 0, pending: int = 0) -> None:
        if self._progress is None:
            return
        report = self._report
        done = len(report.added) + len(report.changed) + len(report.unchanged) + len(report.failed)
        pages = report.num_pages + self._num_pages_pending + self._num_pictures_done
        self._progress(
            IndexProgress(
                stage, document, done, self._total, pages, report.num_passages + embedded, pending - embedded
            )
        )


@dataclass(frozen=True, slots=True)
class _Known:
    source: str
    content_hash: str
    settings_hash: str


def remove_documents(catalogue: Catalogue, ids: Iterable[str]) -> list[str]:
    """Take documents out of the catalogue in one commit. Returns the ids that were there."""
    known = catalogue.hashes_by_id()
    wanted = [id_ for id_ in dict.fromkeys(ids) if id_ in known]
    if not wanted:
        return []
    with catalogue.transaction():
        return [id_ for id_ in wanted if catalogue.remove_document(id_)]


def finish_commit(
    corpus: Path, catalogue: Catalogue, dims: Mapping[VectorSpace, int], lexical: LexicalConfig
) -> None:
    """Bring what is derived from the catalogue up to date: merged shards, the BM25 index, no left-over files."""
    for space, dim in dims.items():
        merge_shards(corpus, catalogue, space, dim)
    merge_token_shards(corpus, catalogue)
    refresh_lexical(corpus, catalogue, lexical)
    sweep(corpus, catalogue)


def checked_record(record: TextRecord) -> Attributes:
    """A record's attributes, checked. Raises DocumentError where one cannot be stored."""
    try:
        return checked_attributes(record.attributes)
    except ValueError as error:
        raise DocumentError(f"attributes: {error}") from error


def passages_of(document: NewDocument) -> list[Passage]:
    """The passages of a document that is not stored yet, in order, with key -1."""
    texts = {page.number: page.text for page in document.pages}
    return [
        Passage(-1, document.id, page, start, end, texts[page][start:end], document.title)
        for page, start, end in document.passages
    ]


def _free_id(file: FoundFile, taken: dict[str, str]) -> str:
    """The file's own id; with a mark made of its path where a record or another existing file has that id."""
    holder = taken.get(file.id)
    if holder is None or (holder and _is_gone(Path(holder))):
        return file.id
    mark = hashlib.sha256(str(file.path).encode()).hexdigest()[:8]
    name = PurePosixPath(file.id)
    return str(name.with_name(f"{name.stem}~{mark}{name.suffix}"))


def _problem_of_id(record_id: str, source: str, seen: set[str]) -> str:
    """Why a record cannot have its id; "" where it can."""
    if not record_id or "\0" in record_id or not _is_unicode(record_id):
        return f"{record_id!r} cannot be an id; give one that is not empty and is valid Unicode"
    if record_id in seen:
        return "this id was given twice in one call; the first record with it was taken"
    return f"the file {source} has this id; choose another" if source else ""


def _is_unicode(text: str) -> bool:
    return text.encode("utf-8", "ignore").decode() == text


def _is_gone(path: Path) -> bool:
    """Whether there is surely no such file; one that may not be looked at is not gone."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False
