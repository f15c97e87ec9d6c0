"""The writing side of a corpus: works on what is new or changed, commits as it goes, can be killed at any time."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from ragkit.attributes import checked_attributes
from ragkit.config import IndexConfig, LexicalConfig
from ragkit.errors import DocumentError
from ragkit.indexers.catalogue import Catalogue, KnownDocument
from ragkit.indexers.embed_pictures import FailedDocument, PictureEmbedder, Unpictured
from ragkit.indexers.embed_steps import EmbedSteps
from ragkit.indexers.embedders import Embedders
from ragkit.indexers.index_report import IndexProgress, IndexReport
from ragkit.indexers.lexical.lexical_files import KIND as LEXICAL_KIND
from ragkit.indexers.lexical.lexical_files import analyzer_for, write_built_shard
from ragkit.indexers.lexical.lexical_shards import LexicalShard, build_shard
from ragkit.indexers.new_document import Attributes, NewDocument, Picture
from ragkit.indexers.page_images import Drawing
from ragkit.indexers.picture_vectors import check_vectors
from ragkit.indexers.prepare import NotDrawableError, Preparer, digest_of
from ragkit.indexers.readers.find_files import FileList, Problem
from ragkit.indexers.readers.sidecar import Sidecars
from ragkit.indexers.shards import sweep
from ragkit.indexers.unfinished import UnfinishedPages
from ragkit.indexers.upkeep import keep_up, merge_all, remove_documents
from ragkit.indexers.vectors.token_vectors import write_token_shard
from ragkit.indexers.vectors.vector_shards import PICTURES, TEXTS, VectorSpace, write_shard
from ragkit.indexers.work_list import Work, documents_gone, work_on_files, work_on_records
from ragkit.records import AttributeValue, FloatArray, Passage, TextRecord

_Results = Generator[Unpictured | FailedDocument, None, None]

# A commit after so many passages or seconds: what a kill can cost at most, beside the document at hand.
_COMMIT_PASSAGES = 1024
_COMMIT_SECONDS = 5.0
# Each commit writes shards, which readers open one by one: after so many they are merged.
_COMMITS_TO_MERGE = 16


class IndexBuilder:
    """Brings a corpus up to date with files and records. The caller holds the writer's lock."""

    def __init__(
        self,
        corpus: Path,
        catalogue: Catalogue,
        embedders: Embedders,
        preparer: Preparer,
        index: IndexConfig,
        lexical: LexicalConfig,
        progress: Callable[[IndexProgress], None] | None = None,
    ) -> None:
        self._corpus = corpus
        self._catalogue = catalogue
        self._embedders = embedders
        self._preparer = preparer
        self._index_config = index
        self._lexical = lexical
        self._progress = progress
        self._report = IndexReport()
        self._unfinished = UnfinishedPages(corpus)
        self._pending: list[NewDocument] = []
        self._num_pending = self._num_pages_pending = self._num_pictures_done = 0
        self._moved: list[tuple[str, str]] = []
        self._sidecars = Sidecars()
        self._known: dict[str, KnownDocument] = {}
        self._attributes: dict[str, Attributes] = {}
        self._said: dict[str, Attributes] = {}
        self._digests: dict[str, str] = {}
        self._last_commit = time.monotonic()
        self._total = self._num_commits = 0
        self._pages_of_document = (0, 0)
        self._steps = EmbedSteps()

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
        self._unfinished.close()
        problems = keep_up(
            self._corpus,
            self._catalogue,
            self._index_config,
            self._lexical,
            self._embedders.of,
            lambda: self._tell("index", ""),
        )
        self._report.warnings += [Problem(str(self._corpus), problem) for problem in problems]
        self._report.seconds = time.monotonic() - started
        return self._report

    def _work(self, files: FileList, records: Sequence[TextRecord]) -> list[Work]:
        work = work_on_files(files.files, self._catalogue)
        for item in work_on_records(records, self._catalogue, work):
            if isinstance(item, Problem):
                self._report.failed.append(item)
            else:
                work.append(item)
        return work

    def _index(self, work: list[Work]) -> None:
        self._known = self._catalogue.known_documents(item.id for item in work)
        self._total = len(work)
        names = {item.id: item.name for item in work}
        # Closed at once when the run is interrupted: that ends the processes that draw.
        with closing(self._pictured(self._read(work))) as results:
            for result in results:
                if isinstance(result, FailedDocument):
                    self._fail(result.id, names[result.id], result.error)
                    continue
                self._add_pending(result.document)
                self._report.warnings += [Problem(names[result.document.id], text) for text in result.warnings]
                if self._commit_is_due():
                    self._commit()
        self._commit()
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
        changed = (id_ for id_, new in self._attributes.items() if new != self._known[id_].attributes)
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

    def _read(self, work: list[Work]) -> Generator[Unpictured, None, None]:
        """What is new or changed, read; the rest is noted in the report."""
        for item in work:
            try:
                found = self._read_one(item, self._known.get(item.id))
            except NotDrawableError as error:
                self._report.skipped.append(Problem(item.name, str(error)))
            except DocumentError as error:
                self._fail(item.id, item.name, error)
            else:
                if found is not None:
                    yield found

    def _fail(self, id_: str, name: str, error: DocumentError) -> None:
        if id_ in self._digests:
            self._unfinished.forget([self._digests.pop(id_)])
        kept = " (the version indexed earlier stays)" if id_ in self._known else ""
        self._report.failed.append(Problem(name, f"{error}{kept}"))

    def _read_one(self, item: Work, known: KnownDocument | None) -> Unpictured | None:
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
        self._pages_of_document = (0, 0)
        self._tell("read", item.id)
        digest = digest_of(content_hash, self._preparer.settings_hash)
        self._digests[item.id] = digest
        if isinstance(item.origin, TextRecord):
            document = replace(self._preparer.from_record(item.origin), attributes=self._attributes_of(item)[0])
            return Unpictured(document, [], digest)
        remembered = self._unfinished.of(digest)
        file = replace(item.origin, id=item.id)
        tell = partial(self._tell_pages, item.id)
        document, warnings = self._preparer.from_file(file, content_hash, remembered, tell)
        attributes, said = self._attributes_of(item)
        return Unpictured(replace(document, attributes=attributes, said=said), warnings, digest)

    def _note_attributes(self, item: Work) -> None:
        """Keep the attributes of an unchanged document for the commit where they are other than before."""
        attributes, said = self._attributes_of(item)
        known = self._known[item.id]
        if (attributes, said) != (known.attributes, known.said):
            self._attributes[item.id], self._said[item.id] = attributes, said

    def _attributes_of(self, item: Work) -> tuple[Attributes, Attributes]:
        """A document's attributes, and those of them that a sidecar gives.

        A record, and a file given with attributes, bring their own. A sidecar's say holds; what it said before
        and no longer says is taken away, and what was set otherwise stays.
        """
        if isinstance(item.origin, TextRecord):
            return checked_record(item.origin.attributes), {}
        if item.origin.attributes is not None:
            return checked_record(item.origin.attributes), {}
        known = self._known.get(item.id)
        stored, before = (known.attributes, known.said) if known else ({}, {})
        said = self._sidecars.of(item.origin.path)
        if said is None:
            return stored, before
        kept = {name: value for name, value in stored.items() if name not in before}
        return {**kept, **said}, said

    def _commit_is_due(self) -> bool:
        waiting = time.monotonic() - self._last_commit
        return self._num_pending >= _COMMIT_PASSAGES or (waiting > _COMMIT_SECONDS and bool(self._pending))

    def _add_pending(self, document: NewDocument) -> None:
        self._pending.append(document)
        self._num_pending += len(document.passages) + len(document.pictures)
        self._num_pages_pending += len(document.pages)
        # Those that an earlier run embedded were not counted.
        self._num_pictures_done = max(0, self._num_pictures_done - len(document.pictures))

    def _commit(self) -> None:
        if not self._pending:
            return
        passages = [passage for document in self._pending for passage in passages_of(document)]
        texts, terms = self._embed(passages), self._count_terms(passages)
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
            self._add_terms(generation, keys[TEXTS], terms)
        for document in self._pending:
            (self._report.changed if document.id in self._known else self._report.added).append(document.id)
            self._report.num_pages += len(document.pages)
        self._report.num_passages += sum(map(len, keys.values()))
        self._unfinished.forget([self._digests.pop(document.id) for document in self._pending])
        self._pending.clear()
        self._num_pending = self._num_pages_pending = 0
        self._last_commit = time.monotonic()
        self._num_commits += 1
        if self._num_commits % _COMMITS_TO_MERGE == 0:
            merge_all(self._corpus, self._catalogue, self._index_config, self._lexical, during_run=True)

    def _add_shard(
        self, space: VectorSpace, generation: int, keys: list[int], vectors: FloatArray | list[FloatArray] | None
    ) -> None:
        if vectors is None or not keys:
            return
        parts = [np.asarray(vectors, np.float32)]
        for file in write_shard(self._corpus, space, generation, np.asarray(keys, np.int64), parts):
            self._catalogue.add_file(file)

    def _add_tokens(self, generation: int, keys: list[int], pictures: list[Picture]) -> None:
        rows = [np.asarray(picture.tokens, np.float32) for picture in pictures if picture.tokens is not None]
        if not rows:
            return
        dtype = self._embedders.token_dtype
        for file in write_token_shard(self._corpus, generation, np.asarray(keys, np.int64), rows, dtype):
            self._catalogue.add_file(file)

    def _count_terms(self, passages: list[Passage]) -> LexicalShard:
        """The lexical shard of the next commit, whose keys are not known yet."""
        texts = [passage.titled_text for passage in passages]
        analyzer = analyzer_for(self._corpus, self._catalogue.files(LEXICAL_KIND), texts, self._lexical)
        return build_shard(np.arange(len(texts)), texts, analyzer)

    def _add_terms(self, generation: int, keys: list[int], terms: LexicalShard) -> None:
        if keys:
            terms = replace(terms, keys=np.asarray(keys, np.int64))
            self._catalogue.add_file(write_built_shard(self._corpus, generation, terms))

    def _embed(self, passages: list[Passage]) -> FloatArray | None:
        embedder = self._embedders.texts
        if embedder is None:
            return None
        parts = [np.zeros((0, embedder.dim), np.float32)]
        done = 0
        while done < len(passages):
            batch, started = passages[done : done + self._steps.size], time.monotonic()
            if not done:
                self._tell("embed", batch[0].document, 0, len(passages))
            vectors = embedder.embed_passages(batch)
            self._steps.took(time.monotonic() - started, len(batch))
            check_vectors(vectors, len(batch), embedder)
            parts.append(vectors.astype(np.float32, copy=False))
            done += len(batch)
            self._tell("embed", batch[-1].document, done, len(passages))
        return np.concatenate(parts)

    def _prune(self, below: Sequence[Path], work: Sequence[Work]) -> None:
        if below:
            gone, warnings = documents_gone(below, work, self._catalogue.sources_by_id())
            self._report.warnings += warnings
            self._report.removed += remove_documents(self._catalogue, gone)

    def _tell_pages(self, document: str, done: int, of: int) -> None:
        self._pages_of_document = (done, of)
        self._tell("read", document)

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
                stage,
                document,
                done,
                self._total,
                pages,
                report.num_passages + embedded,
                pending - embedded,
                *self._pages_of_document,
            )
        )


def checked_record(attributes: Mapping[str, AttributeValue]) -> Attributes:
    """A record's attributes, checked. Raises DocumentError where one cannot be stored."""
    try:
        return checked_attributes(attributes)
    except ValueError as error:
        raise DocumentError(f"attributes: {error}") from error


def passages_of(document: NewDocument) -> list[Passage]:
    """The passages of a document that is not stored yet, in order, with key -1."""
    texts = {page.number: page.text for page in document.pages}
    return [
        Passage(-1, document.id, page, start, end, texts[page][start:end], document.title)
        for page, start, end in document.passages
    ]
