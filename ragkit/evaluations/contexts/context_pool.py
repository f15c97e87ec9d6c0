"""The passages of a context set as a corpus, which ranks them as users' passages are ranked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from ragkit.config import Config
from ragkit.corpus import Corpus
from ragkit.eval.contexts.context_probe import (
    Cell,
    Negatives,
    probe_passages,
    random_ranking,
    shuffled,
    with_gold_at,
)
from ragkit.eval.sets.context_sets import ContextPassage, ContextQuestion, ContextSet
from ragkit.evaluations.indexing import index_all
from ragkit.files import cache_folder
from ragkit.indexers.index_report import IndexProgress
from ragkit.protocols import Embedder
from ragkit.records import Hit, Passage, TextRecord
from ragkit.serve.prompting.reorder import in_order

# Of a ranking as many times k are asked for at first, for distractors that hold the answer are passed over.
_SPARE = 10


class ContextPool:
    """Ranks passages by the configured retriever, and chooses distractors. A context manager.

    The corpus of all passages of the set is kept in the cache, and used again while set and indexing settings stay
    the same; each passage is embedded whole, as far as the embedder reads it.

    Args:
        embedder: in place of the configured one.
    """

    def __init__(
        self, context_set: ContextSet, config: Config, seed: int, embedder: Embedder | None = None
    ) -> None:
        self._set, self._seed, self._embedder = context_set, seed, embedder
        self._places = {name: place for place, name in enumerate(context_set.pool)}
        self._config = _for_passages(config)
        self._folder = _cached_folder(context_set, self._config)
        self._open = ExitStack()
        self._corpora: dict[str, Corpus] = {}
        self.corpus = self._by(self._config.retrieval.method)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def index(self, progress: Callable[[IndexProgress], None] | None) -> None:
        """Put all passages of the set into the corpus, unless they are there.

        Raises:
            DataError: a passage cannot be indexed.
        """
        if {document.id for document in self.corpus.documents()} >= self._set.pool.keys():
            # Another sweep of the same set may be writing, or at work beside this one.
            return
        records = (TextRecord(one.name, one.text, one.title) for one in self._set.pool.values())
        index_all(self.corpus, records, progress, "passages")

    def probe(self, question: ContextQuestion, negatives: Negatives, k: int) -> tuple[ContextPassage, ...]:
        """As `probe_passages`, over the ranking that the kind of negatives stands for."""
        if negatives in ("bm25", "dense"):
            found = probe_passages(question, self._ranking(question, negatives, _SPARE * k), k)
            if len(found) >= k:
                return found
            return probe_passages(question, self._ranking(question, negatives, len(self._set.pool)), k)
        if negatives == "random":
            return probe_passages(question, random_ranking(question, [*self._set.pool.values()], self._seed), k)
        own = question.of_role("distractor")
        return probe_passages(
            question, own if negatives == "set" else (*question.of_role("counterfactual"), *own), k
        )

    def ranked(self, question: ContextQuestion, passages: Sequence[ContextPassage]) -> list[Hit]:
        """The passages as hits, best first by the configured retriever; those it does not find come last."""
        by_name = {passage.name: passage for passage in passages}
        found = self.corpus.search(question.question, len(by_name), level="document", documents=by_name)
        scores = {hit.passage.document: hit.score for hit in found}
        least = min(scores.values(), default=0.0)
        names = [*scores, *(name for name in sorted(by_name, key=self._place) if name not in scores)]
        return [_hit(by_name[name], scores.get(name, least)) for name in names]

    def arranged(self, question: ContextQuestion, hits: Sequence[Hit], cell: Cell) -> list[Hit]:
        """The hits, best first, as the cell wants them to stand in the prompt."""
        golds = {passage.name: passage for passage in question.of_role("gold")}
        by_name = {hit.passage.document: hit for hit in hits}
        passages = [golds.get(name) or replace(self._set.pool[name], role="distractor") for name in by_name]
        match cell.order:
            case None:
                assert cell.position is not None
                return [by_name[one.name] for one in with_gold_at(passages, cell.position)]
            case "document":
                return [by_name[name] for name in sorted(by_name, key=self._place)]
            case "shuffle":
                return [by_name[one.name] for one in shuffled(passages, question, self._seed)]
            case order:
                return [hits[rank - 1] for rank in in_order(order, hits)]

    def _place(self, name: str) -> int:
        return self._places[name]

    def _ranking(self, question: ContextQuestion, method: Negatives, depth: int) -> Iterator[ContextPassage]:
        found = self._by(method).search(question.question, depth, level="document")
        return (self._set.pool[hit.passage.document] for hit in found)

    def _by(self, method: str) -> Corpus:
        """The corpus, searched by this method; one embedder for all."""
        if method not in self._corpora:
            retrieval = self._config.retrieval.model_copy(update={"method": method})
            config = self._config.model_copy(update={"retrieval": retrieval})
            is_first = not self._corpora
            embedder = self._embedder if is_first else self.corpus.embedder
            self._corpora[method] = self._open.enter_context(
                Corpus.open(self._folder, config=config, embedder=embedder)
            )
        return self._corpora[method]


def _for_passages(config: Config) -> Config:
    """A passage of the set is a passage of the corpus, and has no picture."""
    tables = {
        "passages": config.passages.model_copy(update={"split": "none"}),
        "pages": config.pages.model_copy(update={"embed": "text"}),
        "late_interaction": config.late_interaction.model_copy(update={"name": "none"}),
    }
    return config.model_copy(update=tables)


def _cached_folder(context_set: ContextSet, config: Config) -> Path:
    facts = [context_set.fingerprint(), context_set.form, repr(config.passages), repr(config.embedder)]
    name = hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]
    return cache_folder() / "eval" / f"context-{context_set.path.stem}-{name}"


def _hit(passage: ContextPassage, score: float) -> Hit:
    text = passage.text
    return Hit(score, Passage(-1, passage.name, 1, 0, len(text), text, passage.title))
