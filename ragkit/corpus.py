"""The SDK's noun: a folder of indexed documents that can be added to, searched and asked."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import sqlite3
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from ragkit import __version__, assemble
from ragkit.assemble import EmbedderFactory, RetrieverFactory
from ragkit.attributes import checked_attributes
from ragkit.config import Config
from ragkit.corpus_info import CorpusInfo, read_info
from ragkit.corpus_settings import as_config, remembered, with_remembered
from ragkit.embedder_set import EmbedderSet, make_embedders, with_pages_decided
from ragkit.embedder_switch import EmbedderSwitch, SwitchReport
from ragkit.errors import ConfigError, CorpusDamagedError, CorpusError, CorpusNotFoundError
from ragkit.filter_check import FilterCheck
from ragkit.hosting.search_batches import SearchBatches
from ragkit.indexers import manifest
from ragkit.indexers.build_index import IndexBuilder
from ragkit.indexers.catalogue import Catalogue
from ragkit.indexers.create_corpus import create_corpus
from ragkit.indexers.embedder_record import is_switched, manifest_in_use
from ragkit.indexers.embedders import Embedders
from ragkit.indexers.index_report import IndexProgress, IndexReport
from ragkit.indexers.lock import writer_lock
from ragkit.indexers.manifest import Manifest
from ragkit.indexers.migrate import migrate
from ragkit.indexers.page_images import Drawing, Redraw
from ragkit.indexers.prepare import Preparer
from ragkit.indexers.readers.find_files import find_files, fixed_part, with_records
from ragkit.indexers.readers.render import make_renderer
from ragkit.indexers.repair import Repairer, RepairReport, restore_manifest
from ragkit.indexers.split import WordTokenizer
from ragkit.indexers.store import SqlitePassageStore
from ragkit.indexers.upkeep import CompactReport, compact, keep_up, remove_documents
from ragkit.indexers.vectors.index_kinds import choose_index
from ragkit.indexers.verify import verify_corpus
from ragkit.pipeline import Pipeline
from ragkit.protocols import Answerer, Embedder, Engine, PassageStore, Reranker, TokenEmbedder, Tokenizer
from ragkit.records import (
    Answer,
    AskRequest,
    AttributeValue,
    Document,
    FileRecord,
    Hit,
    Query,
    Sampling,
    TextRecord,
)
from ragkit.retrievers.levels import Level
from ragkit.retrievers.reranking import rerank_first
from ragkit.searcher import Searcher
from ragkit.serve.prompting.position_curve import stored_curve
from ragkit.where import Where, as_filter

Source = str | Path | TextRecord | FileRecord

T = TypeVar("T")

_NONE_GIVEN = Embedders()
_log = logging.getLogger("ragkit")


class Corpus:
    """A folder of indexed documents. Open one with `Corpus.open`; use it as a context manager or close it.

    Any number of processes may search a corpus while one adds to it; each search sees one committed
    state. The threads of a process may share a corpus.
    """

    def __init__(
        self,
        path: Path,
        config: Config,
        embedders: Embedders = _NONE_GIVEN,
        retriever: RetrieverFactory | None = None,
        reranker: Reranker | None = None,
        engine: Engine | None = None,
        made_with: Embedders | None = None,
        redraw: Redraw = Drawing.draw_again,
        make_embedder: EmbedderFactory | None = None,
    ) -> None:
        self.path = path
        self._made = manifest.read_manifest(path)
        self._catalogue = Catalogue(path)
        self.config = with_remembered(path, config, self._catalogue.settings, self._made)
        self.store: PassageStore = SqlitePassageStore(self._catalogue, redraw)
        self._explicit = config.model_dump(exclude_unset=True).get("embedder", {})
        self._make_embedder = make_embedder
        self._embedders = self._embedder_set(embedders, made_with)
        self._reranker = reranker
        self._engine = engine
        self._is_loaded = False
        self._lock = threading.RLock()
        self._filters = FilterCheck(self._catalogue)
        self._own_retriever = retriever is None
        self._searcher = Searcher(path, self._catalogue, self.config, self._embedders, retriever, redraw)
        self._batches = SearchBatches(
            lambda queries, k, level, where: self.search_many(queries, k, level=level, where=where)
        )

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        config: Config | dict[str, Any] | str | Path | None = None,
        embedder: Embedder | None = None,
        page_embedder: Embedder | None = None,
        token_embedder: TokenEmbedder | None = None,
        retriever: RetrieverFactory | None = None,
        reranker: Reranker | None = None,
        engine: Engine | None = None,
        create: bool = True,
        redraw: Redraw = Drawing.draw_again,
        make_embedder: EmbedderFactory | None = None,
    ) -> Corpus:
        """Open the corpus in a folder, or make an empty one there.

        Args:
            config: a `Config`, its tables as a dict, or the path of a TOML file. What decides the
                contents of a corpus (documents, passages, pages, embedders, lexical) is remembered by it.
            embedder: in place of the configured one: your own `Embedder` of texts.
            page_embedder: likewise of page pictures: passages whose `image` is set.
            token_embedder: likewise for late interaction over page pictures.
            retriever: in place of the configured one: a function or class that makes a `Retriever`
                from `CorpusParts`.
            reranker, engine: in place of the configured ones.
            create: whether to make a corpus where there is none.
            redraw: draws pages whose pictures are not kept; by default in this process.
            make_embedder: loads the configured embedder of texts; by default in this process.

        Raises:
            CorpusNotFoundError: there is none, and `create` is False.
            CorpusError: the folder holds other things, or was made with another embedder (said when
                the embedder is first needed).
            ConfigError: a setting is unknown or out of range.
        """
        folder, settings = Path(path), as_config(config)
        given = Embedders(embedder, page_embedder, token_embedder)
        is_new = not (folder / manifest.FILE_NAME).exists()
        migrate(folder)
        if not is_new:
            return cls(
                folder, settings, given, retriever, reranker, engine, redraw=redraw, make_embedder=make_embedder
            )
        if not create:
            raise CorpusNotFoundError(
                f"there is no corpus in {folder}; make one: ragkit index PATH --corpus {folder}"
            )
        settings = with_pages_decided(settings, given)
        made = make_embedders(settings, given, make_embedder)
        with _disk_errors_named(folder):
            create_corpus(folder, made, __version__)
        corpus = cls(folder, settings, given, retriever, reranker, engine, made, redraw, make_embedder)
        with _disk_errors_named(folder), writer_lock(folder):
            corpus._remember()
        return corpus

    @property
    def name(self) -> str:
        """The folder's name: what the corpus is called over HTTP."""
        return self.path.absolute().name

    @property
    def manifest(self) -> Manifest:
        """What the corpus is, and who made the vectors of its present state."""
        return manifest_in_use(self._catalogue, self._made)

    @property
    def embedder(self) -> Embedder | None:
        """The embedder of texts, loaded when first asked for; None for a corpus without vectors of texts.

        Raises:
            CorpusError: it is not the one that made this corpus's vectors.
        """
        return self._embedders.texts

    @property
    def page_embedder(self) -> Embedder | None:
        """Likewise of page pictures."""
        return self._embedders.pictures

    @property
    def engine(self) -> Engine:
        """The generation engine, loaded when first asked for."""
        with self._lock:
            if self._engine is None:
                self._engine = assemble.make_engine(self.config, self.embedder)
        return self._engine

    @property
    def answerer(self) -> Answerer:
        """The asynchronous and streaming side of `ask`."""
        return Pipeline(
            self.name,
            self.store,
            self._submit,
            self._models,
            self.config.generation,
            lambda: self._own_retriever and self.page_embedder is not None,
            self._query_embedder,
            lambda: self._is_loaded,
        )

    def add(
        self,
        sources: Source | Iterable[Source],
        *,
        password: str | None = None,
        prune: bool = False,
        max_pages: int = 0,
        progress: Callable[[IndexProgress], None] | None = None,
    ) -> IndexReport:
        """Index files, folders, glob patterns and records; only what is new or changed is worked on.

        A source that cannot be indexed is listed in the report with its reason; the others go on.

        Args:
            password: tried on encrypted files.
            prune: remove documents whose file, below one of the given paths, is gone.
            max_pages: files of more pages are refused; 0: none is.
            progress: called as the work goes on.

        Raises:
            CorpusLockedError: another process is writing.
        """
        items = [sources] if isinstance(sources, str | Path | TextRecord | FileRecord) else list(sources)
        records = [item for item in items if isinstance(item, TextRecord)]
        named = [item for item in items if isinstance(item, FileRecord)]
        paths = [item for item in items if not isinstance(item, TextRecord | FileRecord)]
        self._check_index()
        with _disk_errors_named(self.path), writer_lock(self.path):
            builder = IndexBuilder(
                self.path,
                self._catalogue,
                self._embedders.all,
                self._preparer(password, max_pages),
                self.config.index,
                self.config.lexical,
                progress,
            )
            self._remember()
            below = [fixed_part(path) for path in paths] if prune else []
            return builder.run(with_records(find_files(paths), named), records, below)

    def remove(self, document_ids: str | Iterable[str]) -> list[str]:
        """Take documents out; returns the ids that were there."""
        ids = [document_ids] if isinstance(document_ids, str) else list(document_ids)
        self._check_index()
        with _disk_errors_named(self.path), writer_lock(self.path):
            self._remember()
            removed = remove_documents(self._catalogue, ids)
            if removed:
                settings = self.config.index, self.config.lexical
                for problem in keep_up(self.path, self._catalogue, *settings, self._embedders.of):
                    _log.warning("%s: %s", self.path, problem)
        return removed

    def compact(self, progress: Callable[[], None] = lambda: None) -> CompactReport:
        """Take the space of removed documents back, and give all vectors the index of the configuration.

        Not needed for correct results, and done by itself where more than `index.compact_share` is dead.

        Args:
            progress: called before each index is built.
        """
        self._check_index()
        with _disk_errors_named(self.path), writer_lock(self.path):
            self._remember()
            return compact(
                self.path,
                self._catalogue,
                self.config.index,
                self.config.lexical,
                self._embedders.of,
                progress,
            )

    def switch_embedder(
        self, model: str | Path | Embedder, *, progress: Callable[[int, int], None] = lambda _, __: None
    ) -> SwitchReport:
        """Embed all texts by another embedder, and search with it from then on.

        The embedder in use stays as the former one, to go back to. Searches go on meanwhile, and find the old
        vectors until one commit names the new ones. Killed, the next call with the same model goes on. A model's
        files are copied into the corpus.

        Args:
            model: the folder of a sentence-transformers model, such as a trained one, or your own `Embedder`.
            progress: called with how many passages are embedded, of how many.

        Raises:
            DataError, ConfigError: the model cannot be used for this corpus.
            CorpusError: the corpus has no vectors of texts.
            CorpusLockedError: another process is writing.
        """
        given = Path(model) if isinstance(model, str) else model
        return self._switched(lambda switch: switch.to(given), progress)

    def switch_back(self, *, progress: Callable[[int, int], None] = lambda _, __: None) -> SwitchReport:
        """Search with the former embedder again; passages that it has not seen are embedded. Twice: forth again.

        Raises:
            CorpusError: there is no former one.
            CorpusLockedError: another process is writing.
        """
        return self._switched(EmbedderSwitch.back, progress)

    def _switched(
        self, change: Callable[[EmbedderSwitch], SwitchReport], progress: Callable[[int, int], None]
    ) -> SwitchReport:
        with _disk_errors_named(self.path), writer_lock(self.path):
            self._remember()
            switch = EmbedderSwitch(self._catalogue, self._made, self.config, self._embedders, progress)
            report = change(switch)
            if report.former is not None:
                settings = self.config.index, self.config.lexical
                problems = keep_up(self.path, self._catalogue, *settings, self._embedders.of)
                report.warnings = list(dict.fromkeys([*report.warnings, *problems]))
        return report

    def set_attributes(self, attributes: Mapping[str, Mapping[str, AttributeValue]]) -> None:
        """Replace documents' attributes, by document id, in one commit; nothing is embedded again.

        What a sidecar file says of a document holds again after the next `add` of its file.

        Raises:
            CorpusError: there is no such document, or a value cannot be stored; nothing is changed then.
        """
        with _disk_errors_named(self.path), writer_lock(self.path):
            known = self._catalogue.known_documents(attributes)
            wanted: dict[str, dict[str, AttributeValue]] = {}
            for id_, given in attributes.items():
                if id_ not in known:
                    raise CorpusError(f"there is no document {id_!r} in {self.path}; add it first")
                try:
                    wanted[id_] = checked_attributes(given)
                except ValueError as error:
                    raise CorpusError(f"attributes of {id_!r}: {error}") from error
            if wanted:
                with self._catalogue.transaction():
                    self._catalogue.set_attributes(wanted, {})

    def search(
        self,
        query: str | Query,
        k: int = 10,
        *,
        level: Level | None = None,
        documents: Iterable[str] | None = None,
        where: Where | None = None,
    ) -> list[Hit]:
        """At most k hits, best first.

        Args:
            level: what a result stands for: "passage", "page" (its best passage) or "document".
            documents: search only these document ids.
            where: search only documents with these attributes: ``"year >= 2022 and dept in (legal, hr)"``,
                ``attribute("year") >= 2022``, or OpenAI's JSON.

        Raises:
            FilterError: `where` is malformed, or no document has such attributes.
        """
        return self.search_many([query], k, level=level, where=as_filter(where, documents))[0]

    def search_many(
        self,
        queries: Sequence[str | Query],
        k: int = 10,
        *,
        level: Level | None = None,
        where: Where | None = None,
    ) -> list[list[Hit]]:
        """As `search`, for many queries at once."""
        only = as_filter(where)
        self._filters.check(only)
        asked = [Query(query) if isinstance(query, str) else query for query in queries]
        if k < 1:
            raise ConfigError(f"k = {k}; ask for at least one hit")
        level = level or self.config.retrieval.level
        if self.reranker is None:
            return self._searcher.search(asked, k, level, only)
        depth, weight = self.config.rerank.depth, self._rerank_weight
        found = self._searcher.search(asked, max(k, depth), level, only)
        return [
            rerank_first(self.reranker, query, hits, depth, weight)[:k]
            for query, hits in zip(asked, found, strict=True)
        ]

    def ask(
        self,
        question: str,
        *,
        documents: Iterable[str] | None = None,
        where: Where | None = None,
        sampling: Sampling | None = None,
    ) -> Answer:
        """Answer a question from the corpus, with citations; `documents` and `where` as in `search`.

        For streaming see `answerer`.
        """
        only = as_filter(where, documents)
        request = AskRequest(question, sampling=sampling or self.default_sampling, where=only)
        return _run(self.answerer.ask(request))

    @property
    def default_sampling(self) -> Sampling:
        """max_tokens and temperature of the configuration."""
        return Sampling(self.config.generation.max_tokens, self.config.generation.temperature)

    def documents(self) -> list[Document]:
        """All documents, ordered by id."""
        return self.store.documents()

    def info(self) -> CorpusInfo:
        """Counts, sizes, embedder and settings."""
        return read_info(self._catalogue, self._made, self.config.index)

    def content_digest(self) -> str:
        """Hex SHA-256 of ids, contents and reading of all documents: equal as long as none of them changes."""
        return self._catalogue.content_digest()

    def load(self) -> None:
        """Load models and indexes now, so that the first question need not wait for them."""
        _ = self._embedders.all, self.reranker, self._rerank_weight, self._models()
        if self.config.generation.position_curve:
            stored_curve(self.config.generation.position_curve)
        self._searcher.load()

    def verify(self) -> list[str]:
        """Check every file against the catalogue; one sentence for each thing that is broken."""
        return verify_corpus(self.path, self._catalogue, self._made)

    def repair(self, progress: Callable[[], None] = lambda: None) -> RepairReport:
        """Make again what `verify` finds broken, from the catalogue, the documents and the pictures.

        Lost vectors are embedded anew, of no more passages than have lost theirs. The catalogue itself cannot be
        made again.

        Args:
            progress: called as the work goes on.

        Raises:
            CorpusError: vectors are lost, and the embedder is not the one that made them.
        """
        with _disk_errors_named(self.path), writer_lock(self.path):
            restored = restore_manifest(self.path)
            if restored:
                self._made = manifest.read_manifest(self.path)
                self._embedders = self._embedder_set(self._embedders.given, None)
            repairer = Repairer(
                self._catalogue,
                self._made,
                self._embedders,
                self.config.index,
                self.config.lexical,
                self.config.late_interaction.dtype,
                progress,
            )
            report = repairer.run()
            report.done[:0] = restored
            return report

    def close(self) -> None:
        """Give back the catalogue's connections."""
        self._catalogue.close()

    def __enter__(self) -> Corpus:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _embedder_set(self, given: Embedders, made_with: Embedders | None) -> EmbedderSet:
        return EmbedderSet(
            self._catalogue, self._made, self.config, self._explicit, given, made_with, self._make_embedder
        )

    def _check_index(self) -> None:
        """Raises ConfigError where the wanted vector index cannot be had, before any work is done."""
        made = self.manifest
        for facts in (made.embedder, made.page_embedder):
            if facts is not None:
                choose_index(self.config.index, 0, facts.dim, 0)

    def _query_embedder(self) -> Embedder | None:
        """The embedder of texts where the corpus's own retriever compares questions by it."""
        return self.embedder if self._own_retriever and self.config.retrieval.method != "bm25" else None

    def _models(self) -> tuple[Engine, Embedder | None]:
        models = self.engine, self.embedder
        self._is_loaded = True
        return models

    def _submit(self, request: AskRequest, then: Callable[[list[Hit]], T]) -> Future[T]:
        count, least = request.num_passages or self.config.generation.num_passages, request.min_score

        def found(hits: list[Hit]) -> T:
            return then(hits if least is None else [hit for hit in hits if hit.score >= least])

        query = Query(request.question, images=request.images)
        return self._batches.submit(query, count, "passage", request.where, found)

    def _preparer(self, password: str | None, max_pages: int) -> Preparer:
        tokenizer = self.embedder if isinstance(self.embedder, Tokenizer) else WordTokenizer()
        return Preparer(
            self.config.documents,
            self.config.passages,
            tokenizer,
            make_renderer(self.config.documents),
            functools.partial(assemble.make_ocr, self.config),
            self.config.pages,
            password,
            max_pages,
        )

    def _remember(self) -> None:
        stored = self._catalogue.settings
        wanted = {**stored, **remembered(self.config, self._made, self._embedders.given)}
        if is_switched(self._catalogue) or ("embedder" in stored and not self._embedders.has_texts):
            # This configuration may be older than a switch, or name an embedder that is another than the corpus's.
            wanted["embedder"] = stored["embedder"]
        if wanted != stored or not self._catalogue.manifest:
            with self._catalogue.transaction():
                self._catalogue.set_settings(wanted)
                self._catalogue.remember("manifest", manifest.read_manifest_text(self.path))

    @property
    def reranker(self) -> Reranker | None:
        """The reranker, loaded when first asked for; None where none is configured."""
        with self._lock:
            if self._reranker is None:
                self._reranker = assemble.make_reranker(self.config, lambda: self.engine)
        return self._reranker

    @functools.cached_property
    def _rerank_weight(self) -> float:
        """Read once: a model that is trained anew meanwhile is not the one in memory."""
        return assemble.rerank_weight(self.config)


@contextlib.contextmanager
def _disk_errors_named(path: Path) -> Iterator[None]:
    """What the disk or SQLite refuses becomes an error that says what remains."""
    try:
        yield
    except FileNotFoundError as error:
        raise CorpusDamagedError(
            f"{error.filename} is missing, so {path} was not brought up to date; run ragkit repair"
        ) from error
    except (OSError, sqlite3.Error) as error:
        raise CorpusError(
            f"writing to {path} failed: {error}. What was committed before stays; run the command again once "
            "there is room and permission to write"
        ) from error


def _run(coroutine: Coroutine[Any, Any, Answer]) -> Answer:
    """Run a coroutine to its end, also from inside a running event loop (a notebook)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    with ThreadPoolExecutor(max_workers=1) as executor:
        return executor.submit(asyncio.run, coroutine).result()
