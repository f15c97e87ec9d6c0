"""Evaluation wired to real corpora: what `ragkit eval` runs."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path

from ragkit.config import Config
from ragkit.corpus import Corpus
from ragkit.devices import matmul_rates
from ragkit.eval.beir import BeirCollection, read_beir
from ragkit.eval.ranking_metrics import DEFAULT_MEASURES
from ragkit.eval.retrieval import RetrievalReport, Search, evaluate_retrieval
from ragkit.eval.speed import Comparison, Fact, SpeedReport, compare, machine_facts
from ragkit.eval.speed_baselines import BareEncoder, BareSearch, search_vectors
from ragkit.eval.synthetic import RandomPassageEmbedder, synthetic_texts
from ragkit.evaluations.retrieval_run import finish_run, kept_run
from ragkit.files import cache_folder
from ragkit.indexers.index_report import IndexProgress
from ragkit.indexers.models.text_embedder import local_name
from ragkit.records import Filter, Passage, TextRecord

_QUALITY_MEASURE = "nDCG@10"
_NUM_QUERIES = 50


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
        out: folder of a run, begun or gone on with: `ragkit.evaluations.retrieval_run`.
        topics, qrels: in the place of the folder's own queries and judgements: `read_beir`.
    """
    collection = read_beir(data, split, topics, qrels)
    started = time.perf_counter()
    with (
        Corpus.open(cached_corpus(collection, config), config=config) as corpus,
        kept_run(out, collection, config, corpus) as kept,
    ):
        report = corpus.add(collection.records(), progress=progress)
        if report.interrupted:
            raise KeyboardInterrupt
        seconds = {"index": time.perf_counter() - started}
        result = evaluate_retrieval(collection, document_search(corpus), measures, seconds=seconds, kept=kept)
        finish_run(kept, result)
        return result


def document_search(corpus: Corpus, where: Filter | None = None) -> Search:
    """Documents by their best passages."""

    def search(queries: Sequence[str], k: int) -> list[list[tuple[str, float]]]:
        found = corpus.search_many(queries, k, level="document", where=where)
        return [[(hit.passage.document, hit.score) for hit in hits] for hits in found]

    return search


def cached_corpus(collection: BeirCollection, config: Config) -> Path:
    """A folder of the cache, named by the documents and by the settings that decide what is indexed."""
    facts = [collection.fingerprint(), *(repr(table) for table in (config.passages, config.embedder))]
    name = hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]
    return cache_folder() / "eval" / f"{collection.folder.name}-{name}"


def measure_speed(
    config: Config,
    data: Path | None = None,
    num_texts: int = 400,
    num_passages: int = 100_000,
    repeats: int = 3,
) -> SpeedReport:
    """Time ragkit beside the bare libraries below it, in one run on one machine.

    Indexing texts against `SentenceTransformer.encode`, and searching against encoding the query and
    searching a bare FAISS index. With a BEIR folder its documents are the texts, all of them are
    embedded both ways, and the measures of both vectors stand beside the times.
    """
    collection = None if data is None else read_beir(data)
    records = list(_texts(collection, num_texts))
    bare = BareEncoder(local_name(config.embedder.name))
    with tempfile.TemporaryDirectory() as folder:
        indexing, facts = _compare_indexing(Path(folder), config, records, bare, repeats)
        searching = _compare_search(Path(folder) / "search", config, num_passages, bare)
        quality = {} if collection is None else _quality(collection, Path(folder) / "quality", config, bare)
    return SpeedReport((indexing, searching), {**machine_facts(), **facts}, quality)


def _texts(collection: BeirCollection | None, count: int) -> Iterable[TextRecord]:
    if collection is not None:
        return islice(collection.records(), count)
    return (TextRecord(f"text-{i}", text) for i, text in enumerate(synthetic_texts(count)))


def _compare_indexing(
    folder: Path, config: Config, records: list[TextRecord], bare: BareEncoder, repeats: int
) -> tuple[Comparison, dict[str, Fact]]:
    whole = config.model_copy(update={"passages": config.passages.model_copy(update={"split": "none"})})
    texts = [Passage(-1, "", 1, 0, 0, record.text, record.title).titled_text for record in records]
    with Corpus.open(folder / "embedder", config=whole) as corpus:
        embedder, made_by = corpus.embedder, corpus.manifest.embedder
    numbers = iter(range(1000))

    def index(_: int) -> None:
        with Corpus.open(folder / f"index-{next(numbers)}", config=whole, embedder=embedder) as corpus:
            report = corpus.add(records)
            assert len(report.added) == len(records)

    name = f"index {len(texts)} texts"
    result = compare(
        name, index, lambda _: bare.encode(texts), repeats=repeats, unit="texts", num_units=len(texts)
    )
    dtype = "" if made_by is None else made_by.dtype
    rates = {f"matmul_{name}_gflops": round(rate / 1e9, 1) for name, rate in matmul_rates().items()}
    return result, {"ragkit_dtype": dtype, "bare_dtype": "float32", **rates}


def _compare_search(folder: Path, config: Config, num_passages: int, encoder: BareEncoder) -> Comparison:
    """`Corpus.search` against bare encoding of the query and bare FAISS, over the same random vectors."""
    dense = config.model_copy(update={"retrieval": config.retrieval.model_copy(update={"method": "dense"})})
    with Corpus.open(folder / "embedder", config=config) as corpus:
        assert corpus.embedder is not None
        embedder = RandomPassageEmbedder(corpus.embedder)
    records = [TextRecord(f"d{i}", f"Passage number {i}.") for i in range(num_passages)]
    queries = [text[:80] for text in synthetic_texts(_NUM_QUERIES, seed=1)]
    with Corpus.open(folder / "corpus", config=dense, embedder=embedder) as corpus:
        corpus.add(records)
        vectors = embedder.embed_passages([Passage(-1, "", 1, 0, 0, record.text) for record in records])
        bare = BareSearch(encoder.encode, vectors)
        return compare(
            f"search {num_passages} passages",
            lambda i: corpus.search(queries[i], 10),
            lambda i: bare.search(queries[i], 10),
            repeats=_NUM_QUERIES,
            warmups=5,
            unit="queries",
        )


def _quality(collection: BeirCollection, folder: Path, config: Config, bare: BareEncoder) -> dict[str, float]:
    """The same measure over vectors made by ragkit and by the bare library in float32."""
    changes = {
        "passages": config.passages.model_copy(update={"split": "none"}),
        "retrieval": config.retrieval.model_copy(update={"method": "dense"}),
    }
    records = list(collection.records())
    with Corpus.open(folder, config=config.model_copy(update=changes)) as corpus:
        corpus.add(records)
        ours = evaluate_retrieval(collection, document_search(corpus)).measures[_QUALITY_MEASURE]
    texts = [Passage(-1, "", 1, 0, 0, record.text, record.title).titled_text for record in records]
    search = search_vectors(bare.encode, [record.id for record in records], bare.encode(texts))
    theirs = evaluate_retrieval(collection, search).measures[_QUALITY_MEASURE]
    return {
        f"ragkit {_QUALITY_MEASURE}": ours,
        f"float32 {_QUALITY_MEASURE}": theirs,
        "difference": abs(ours - theirs),
    }
