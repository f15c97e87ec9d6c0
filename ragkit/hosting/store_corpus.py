"""The corpora of a server's vector stores: all with the models of one configuration."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ragkit import __version__, assemble
from ragkit.assemble import EmbedderFactory
from ragkit.attributes import checked_attributes
from ragkit.config import Config
from ragkit.corpus import Corpus
from ragkit.embedder_set import make_embedders, with_pages_decided
from ragkit.errors import CorpusDeletedError, CorpusError, CorpusLockedError
from ragkit.filters import matches
from ragkit.indexers import manifest
from ragkit.indexers.catalogue import Catalogue
from ragkit.indexers.create_corpus import create_corpus
from ragkit.indexers.embedder_record import manifest_in_use
from ragkit.indexers.embedders import Embedders
from ragkit.indexers.manifest import EmbedderFacts, facts_of
from ragkit.indexers.migrate import migrate
from ragkit.indexers.page_images import Drawing, Redraw
from ragkit.indexers.split import WordTokenizer
from ragkit.protocols import Answerer, Embedder, Engine, Reranker, TokenEmbedder, Tokenizer
from ragkit.records import Answer, AnswerEvent, AskRequest, Filter, Hit, Query
from ragkit.retrievers.levels import Level
from ragkit.serve.stores.rows import ApiAttributes
from ragkit.where import Where, as_filter

FOLDER = "corpora"
_ATTEMPTS = 100
_ATTEMPT_S = 0.05


@dataclass(frozen=True)
class StoreModels:
    """What all vector stores of a server share; engine and reranker only where questions are answered.

    redraw: draws the pages whose pictures are not kept. make_embedder: loads a corpus's own embedder of texts.
    """

    config: Config
    embedders: Embedders
    engine: Engine | None = None
    reranker: Reranker | None = None
    redraw: Redraw = Drawing.draw_again
    make_embedder: EmbedderFactory | None = None

    @classmethod
    def load(
        cls,
        config: Config,
        *,
        to_answer: bool,
        engine: Engine | None = None,
        redraw: Redraw = Drawing.draw_again,
        make_embedder: EmbedderFactory | None = None,
    ) -> StoreModels:
        """Load what the configuration names; an indexing process needs neither engine nor reranker.

        engine: in place of the configured one.
        """
        config = with_pages_decided(config, Embedders())
        embedders = make_embedders(config, Embedders(), make_embedder)
        if not to_answer:
            return cls(config, embedders)
        answering = engine or assemble.make_engine(config, embedders.texts)
        reranker = assemble.make_reranker(config, lambda: answering)
        return cls(config, embedders, answering, reranker, redraw, make_embedder)


class StoreCorpus(Corpus):
    """The corpus of one vector store. It counts who works with it, so that it is not deleted under them.

    changes_due: what clients were told is changed, and waits for its turn, as of `StoreShelf.changes_due`. What
    was taken out is found no more, and what was given other attributes only where a filter admits those too.
    """

    def __init__(
        self,
        path: Path,
        models: StoreModels,
        passages: Mapping[str, int] | None = None,
        changes_due: Callable[[], Mapping[str, ApiAttributes | None]] = dict,
    ) -> None:
        config = models.config
        if passages is not None:
            sizes = config.passages.model_copy(update=_fitting(passages, models.embedders.texts))
            config = config.model_copy(update={"passages": sizes})
        migrate(path)
        made = _those_that_made(path, models.embedders)
        super().__init__(
            path,
            config,
            reranker=models.reranker,
            engine=models.engine,
            made_with=made,
            redraw=models.redraw,
            make_embedder=models.make_embedder,
        )
        self._changes_due = changes_due
        self._users, self._is_retired = 0, False
        self._counting = threading.Lock()

    @classmethod
    def make(cls, path: Path, models: StoreModels) -> None:
        """An empty corpus, unless it is there."""
        for _ in range(_ATTEMPTS):
            if (path / manifest.FILE_NAME).exists():
                return
            try:
                create_corpus(path, models.embedders, __version__)
            except CorpusLockedError:
                # The server, or the process that indexes for it, makes it at this moment.
                time.sleep(_ATTEMPT_S)
            except CorpusError:
                # "Other files" where it was made, and begun to be filled, since we looked.
                if not (path / manifest.FILE_NAME).exists():
                    raise

    def holds(self, document: str) -> bool:
        """Whether there is a document of that id."""
        return bool(self._catalogue.known_documents([document]))

    def copies_of(self, document: str) -> list[str]:
        """Ids of the other documents that were made of the same bytes."""
        return self._catalogue.copies_of(document)

    @property
    def is_used(self) -> bool:
        """Whether somebody works with it."""
        return self._users > 0

    def retire(self) -> bool:
        """Let nobody begin to work with it any more; False, and nothing is changed, where somebody does."""
        with self._counting:
            self._is_retired = self._users == 0
            return self._is_retired

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Whoever works with it says so. Raises CorpusDeletedError where it was retired before."""
        with self._counting:
            if self._is_retired:
                raise CorpusDeletedError(f"the vector store {self.name} was deleted; name another one")
            self._users += 1
        try:
            yield
        finally:
            with self._counting:
                self._users -= 1

    @property
    def answerer(self) -> Answerer:
        """As of every corpus; whoever answers uses the corpus until the answer's end."""
        return _UsingAnswerer(super().answerer, self)

    def search_many(
        self,
        queries: Sequence[str | Query],
        k: int = 10,
        *,
        level: Level | None = None,
        where: Where | None = None,
    ) -> list[list[Hit]]:
        """As of every corpus, without what is to be found no more: of that there may be fewer than k hits."""
        only = as_filter(where)
        with self.in_use():
            # What becomes due, or is done, while it searches counts too.
            due = self._changes_due()
            found = super().search_many(queries, k, level=level, where=only)
            due = {**due, **self._changes_due()}
        if not due:
            return found
        return [[hit for hit in hits if _still_holds(hit.passage.document, due, only)] for hits in found]


def _still_holds(document: str, due: Mapping[str, ApiAttributes | None], only: Filter | None) -> bool:
    if document not in due:
        return True
    attributes = due[document]
    if attributes is None or only is None or only.condition is None:
        return attributes is not None
    return matches(only.condition, checked_attributes(attributes))


@dataclass(frozen=True)
class _UsingAnswerer:
    """An `Answerer` that uses its corpus for as long as it answers."""

    answerer: Answerer
    corpus: StoreCorpus

    @property
    def name(self) -> str:
        return self.answerer.name

    @property
    def engine(self) -> Engine:
        return self.answerer.engine

    async def ask(self, request: AskRequest) -> Answer:
        with self.corpus.in_use():
            return await self.answerer.ask(request)

    async def stream(self, request: AskRequest) -> AsyncIterator[AnswerEvent]:
        with self.corpus.in_use():
            events: Any = self.answerer.stream(request)
            try:
                async for event in events:
                    yield event
            finally:
                await events.aclose()


def _fitting(passages: Mapping[str, int], embedder: Embedder | None) -> dict[str, int]:
    """Sizes of passages within what the embedder reads at once; the overlap at most half of that."""
    tokenizer: object = embedder
    measured_by = tokenizer if isinstance(tokenizer, Tokenizer) else WordTokenizer()
    most = min(passages["max_tokens"], measured_by.max_tokens)
    return {"max_tokens": most, "overlap_tokens": min(passages["overlap_tokens"], most // 2)}


def _those_that_made(path: Path, embedders: Embedders) -> Embedders | None:
    """The shared embedders where they made this corpus; None where it must find its own.

    That is a corpus made before the server's configuration was changed.
    """
    with closing(Catalogue(path)) as catalogue:
        made = manifest_in_use(catalogue, manifest.read_manifest(path))
    pairs: tuple[tuple[EmbedderFacts | None, Embedder | TokenEmbedder | None], ...] = (
        (made.embedder, embedders.texts),
        (made.page_embedder, embedders.pictures),
        (made.token_embedder, embedders.tokens),
    )
    return embedders if all(_named(facts) == _named(facts_of(own)) for facts, own in pairs) else None


def _named(facts: EmbedderFacts | None) -> tuple[object, ...] | None:
    return None if facts is None else (facts.fingerprint, facts.dim, facts.metric)
