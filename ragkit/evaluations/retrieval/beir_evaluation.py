"""`ragkit eval retrieval` over collections of texts."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ragkit.config import Config
from ragkit.corpus import Corpus
from ragkit.eval.measures.ranking_metrics import DEFAULT_MEASURES
from ragkit.eval.runs.retrieval import RetrievalReport, Search, evaluate_retrieval
from ragkit.eval.sets.beir import BeirCollection, read_beir
from ragkit.evaluations.indexing import index_all
from ragkit.evaluations.retrieval.retrieval_run import finish_run, kept_run, note_index
from ragkit.files import cache_folder
from ragkit.indexers.index_report import IndexProgress
from ragkit.records import Filter


def evaluate_beir(
    data: Path,
    config: Config,
    split: str = "test",
    measures: Sequence[str] = DEFAULT_MEASURES,
    progress: Callable[[IndexProgress], None] | None = None,
    out: Path | None = None,
    topics: Path | None = None,
    qrels: Path | None = None,
) -> RetrievalReport:
    """Index a BEIR folder as users' documents are indexed, run its judged queries, measure.

    A document scores by its best passage. The corpus is kept in the cache and used again as long as
    documents and indexing settings stay the same.

    Args:
        out: folder of a run, begun or gone on with: `ragkit.evaluations.retrieval.retrieval_run`.
        topics, qrels: in the place of the folder's own queries and judgements: `read_beir`.

    Raises:
        DataError: the collection is malformed, or a document cannot be indexed.
    """
    collection = read_beir(data, split, topics, qrels)
    started = time.perf_counter()
    with (
        Corpus.open(cached_corpus(collection, config), config=config) as corpus,
        kept_run(out, collection, config, corpus) as kept,
    ):
        index_all(corpus, collection.records(), progress)
        seconds = {"index": time.perf_counter() - started}
        note_index(kept, seconds["index"])
        result = evaluate_retrieval(collection, document_search(corpus), measures, seconds=seconds, kept=kept)
        return finish_run(kept, result)


def document_search(corpus: Corpus, where: Filter | None = None) -> Search:
    """Documents by their best passages."""

    def search(queries: Sequence[str], k: int) -> list[list[tuple[str, float]]]:
        found = corpus.search_many(queries, k, level="document", where=where)
        return [[(hit.passage.document, hit.score) for hit in hits] for hits in found]

    return search


def cached_corpus(collection: BeirCollection, config: Config) -> Path:
    """A folder of the cache, named by the documents and by the settings that decide what is indexed.

    The name of the collection's folder stands before these for people alone: a copy under another name has the
    same corpus.
    """
    facts = [collection.fingerprint(), *(repr(table) for table in (config.passages, config.embedder))]
    name = hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]
    cached = cache_folder() / "eval"
    made = sorted(cached.glob(f"*-{name}"))
    return made[0] if made else cached / f"{collection.folder.resolve().name}-{name}"
