"""The collection of a trade-off sweep: indexed in the cache, opened from copies, ranked and judged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ragkit.config import Config
from ragkit.corpus import Corpus
from ragkit.eval.measures.ranking_metrics import score_run
from ragkit.eval.runs.retrieval import run_queries
from ragkit.eval.sets.beir import read_beir
from ragkit.eval.sets.page_sets import PageScope, read_page_set
from ragkit.eval.speed.tradeoff import MEASURE
from ragkit.evaluations.indexing import index_all
from ragkit.evaluations.retrieval.beir_evaluation import cached_corpus, document_search
from ragkit.evaluations.retrieval.page_evaluation import evaluate_pages, page_corpus, source_of
from ragkit.indexers.index_report import IndexProgress
from ragkit.protocols import Embedder
from ragkit.records import Query

_DEPTH = 100
_PDFS = PageScope("pdfs")


class TradeoffData:
    """A BEIR folder, or a page-level collection with PDFs where the settings read pictures of pages.

    Args:
        embedder: in place of the configured one of texts.

    Raises:
        DataError: the collection is malformed.
    """

    def __init__(self, data: Path, config: Config, split: str, embedder: Embedder | None = None) -> None:
        self._data, self._split, self._embedder = data, split, embedder
        self._pages = read_page_set(data, split, _PDFS) if source_of(PageScope(), config) == "pdfs" else None
        self._collection = read_beir(data, split) if self._pages is None else self._pages.collection
        self._indexed: set[Path] = set()

    def facts(self) -> dict[str, object]:
        """Of documents, queries and judgements."""
        collection, pages = self._collection, self._pages
        return {
            "split": collection.split,
            "fingerprint": collection.fingerprint() if pages is None else pages.fingerprint("pdfs"),
            "queries": collection.judged_fingerprint(),
        }

    def folder(self, config: Config) -> Path:
        """Of the corpus in the cache."""
        if self._pages is None:
            return cached_corpus(self._collection, config)
        return page_corpus(self._pages, "pdfs", config)

    def indexed(self, config: Config, progress: Callable[[IndexProgress], None] | None) -> Path:
        """The folder of the cache, when all documents are in its corpus.

        Raises:
            DataError: a document cannot be indexed.
        """
        folder = self.folder(config)
        if folder in self._indexed:
            return folder
        sources = self._collection.records() if self._pages is None else self._pages.files()
        with self.open(config, folder) as corpus:
            index_all(corpus, sources, progress)
        self._indexed.add(folder)
        return folder

    def open(self, config: Config, folder: Path, shared: Corpus | None = None) -> Corpus:
        """The corpus in a folder; shared: one whose embedders it takes, to have them in memory once."""
        if shared is None:
            return Corpus.open(folder, config=config, embedder=self._embedder)
        return Corpus.open(folder, config=config, embedder=shared.embedder, page_embedder=shared.page_embedder)

    def ndcg(self, config: Config, folder: Path) -> dict[str, float]:
        """nDCG@10 by judged query."""
        if self._pages is not None:
            report = evaluate_pages(self._data, config, _PDFS, self._split, [MEASURE], folder=folder)
            return report.by_query[MEASURE]
        with self.open(config, folder) as corpus:
            run = run_queries(self._collection.queries, document_search(corpus), _DEPTH)
        return score_run(self._collection.qrels, run, [MEASURE]).by_query[MEASURE]

    def queries(self, corpus: Corpus) -> list[Query]:
        """The judged queries, with their vectors where only one embedder makes them."""
        queries = [Query(text) for text in self._collection.queries.values()]
        embedders = [one for one in (corpus.embedder, corpus.page_embedder) if one is not None]
        if len(embedders) != 1:
            return queries
        vectors = embedders[0].embed_queries([query.text for query in queries])
        return [replace(query, dense=vector) for query, vector in zip(queries, vectors, strict=True)]
