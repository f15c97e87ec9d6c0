"""`ragkit eval speed`: indexing and searching texts beside the bare libraries below."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from ragkit.config import Config
from ragkit.corpus import Corpus
from ragkit.devices import matmul_rates
from ragkit.eval.runs.retrieval import evaluate_retrieval
from ragkit.eval.sets.beir import BeirCollection, read_beir
from ragkit.eval.speed.speed_baselines import BareEncoder, BareSearch, search_vectors
from ragkit.eval.speed.synthetic import RandomPassageEmbedder, synthetic_texts
from ragkit.eval.speed.timing import Comparison, Fact, SpeedReport, compare, machine_facts
from ragkit.evaluations.retrieval.beir_evaluation import document_search
from ragkit.indexers.models.text_embedder import local_name
from ragkit.records import Passage, TextRecord

_QUALITY_MEASURE = "nDCG@10"
_NUM_QUERIES = 50


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
