"""From judged collections to queries with feedback that a reformulator is trained on."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ragkit.assemble import NO_EMBEDDER, CorpusParts, make_retriever
from ragkit.config import Config, LexicalConfig
from ragkit.corpus import Corpus
from ragkit.errors import ConfigError, DataError
from ragkit.eval.sets.beir import BeirCollection, read_beir
from ragkit.evaluations.indexing import index_all
from ragkit.evaluations.retrieval.beir_evaluation import cached_corpus
from ragkit.indexers.index_report import IndexProgress
from ragkit.protocols import Embedder, Retriever
from ragkit.records import FloatArray, KeyArray
from ragkit.retrievers.training.lol_students import FeedbackQuery, FeedbackSet
from ragkit.retrievers.training.term_matrix import term_matrix

_HELD_OUT_SHARE = 5


@dataclass(frozen=True, slots=True)
class LolData:
    """The judged queries of a collection: a fifth of them held out, the others to train on.

    language: that the lexical index takes its texts for.
    """

    name: str
    train: FeedbackSet
    held_out: FeedbackSet
    language: str


def parse_source(text: str) -> tuple[Path, str]:
    """Folder and split of such as "data/scifact:train"; the split is "train" where none is named."""
    folder, colon, split = text.rpartition(":")
    return (Path(folder), split) if colon and split and "/" not in split else (Path(text), "train")


def without_splitting(config: Config, method: str) -> Config:
    """As configured, but that each document is one passage, and that vectors or terms alone are searched."""
    embedder = config.embedder if method == "dense" else config.embedder.model_copy(update={"name": NO_EMBEDDER})
    return config.model_copy(
        update={
            "embedder": embedder,
            "passages": config.passages.model_copy(update={"split": "none"}),
            "retrieval": config.retrieval.model_copy(update={"method": method, "feedback": ()}),
        }
    )


def read_lol_data(
    source: str,
    config: Config,
    most: int,
    seed: int,
    embedder: Embedder | None,
    progress: Callable[[IndexProgress], None] | None = None,
) -> LolData:
    """Index a folder in BEIR's layout, where the cache does not have it, and search its judged queries.

    Args:
        source: as `parse_source` reads it.
        most: first passages of each query that are kept.
        embedder: of the vectors that are revised; None: terms are.

    Raises:
        ConfigError: the corpus has no vectors of texts.
        DataError: the collection is malformed, or too small to hold queries out.
    """
    folder, split = parse_source(source)
    collection, settings = read_beir(folder, split), without_splitting(config, "dense" if embedder else "bm25")
    parts: list[CorpusParts] = []

    def keeping(made: CorpusParts) -> Retriever:
        parts.append(made)
        return make_retriever(settings, made)

    cached = cached_corpus(collection, settings)
    with Corpus.open(cached, config=settings, embedder=embedder, retriever=keeping) as corpus:
        index_all(corpus, collection.records(), progress)
        corpus.load()
        if embedder is None:
            whole = _with_terms(collection, parts[-1], config.lexical, most)
        else:
            whole = _with_vectors(collection, parts[-1], embedder, most)
        return _held_out(source, whole, parts[-1].lexical.language, seed)


def _with_vectors(collection: BeirCollection, parts: CorpusParts, embedder: Embedder, most: int) -> FeedbackSet:
    if parts.vectors is None:
        raise ConfigError("the settings index no vectors of texts, and so there are none to revise")
    vectors = embedder.embed_queries(list(collection.queries.values()))
    _, found = parts.vectors.search(vectors, most)
    passages = np.ascontiguousarray(parts.vectors.vectors_of(parts.store.keys()))
    return FeedbackSet(passages, _texts(parts), _queries(collection, parts, vectors, found))


def _with_terms(collection: BeirCollection, parts: CorpusParts, settings: LexicalConfig, most: int) -> FeedbackSet:
    index, texts = parts.lexical, _texts(parts)
    _, found = index.search(list(collection.queries.values()), most)
    terms = term_matrix((index.term_counts(text) for text in texts), settings.k1, settings.b)
    nothing = np.zeros((len(collection.queries), 0), np.float32)
    return FeedbackSet(
        np.zeros((len(texts), 0), np.float32), texts, _queries(collection, parts, nothing, found), terms
    )


def _texts(parts: CorpusParts) -> tuple[str, ...]:
    """Of all passages, by key."""
    return tuple(passage.titled_text for passage in parts.store.passages(parts.store.keys().tolist()))


def _queries(
    collection: BeirCollection, parts: CorpusParts, vectors: FloatArray, found: KeyArray
) -> tuple[FeedbackQuery, ...]:
    """Queries none of whose relevant documents is in the collection are left out."""
    keys = parts.store.keys()
    documents = [passage.document for passage in parts.store.passages(keys.tolist())]
    rows = {document: row for row, document in enumerate(documents)}
    queries = []
    for (name, text), vector, row in zip(collection.queries.items(), vectors, found, strict=True):
        relevant = [rows[one] for one, grade in collection.qrels[name].items() if grade > 0 and one in rows]
        first = np.searchsorted(keys, row[row >= 0])
        if relevant:
            queries.append(FeedbackQuery(text, vector, tuple(first.tolist()), tuple(relevant)))
    return tuple(queries)


def _held_out(name: str, whole: FeedbackSet, language: str, seed: int) -> LolData:
    number = len(whole.queries) // _HELD_OUT_SHARE
    if not number:
        raise DataError(
            f"{name} has {len(whole.queries)} queries with relevant passages; {_HELD_OUT_SHARE} are the least "
            "that can be trained on and held out"
        )
    order = random.Random(seed).sample(whole.queries, len(whole.queries))
    train, held_out = tuple(order[number:]), tuple(order[:number])
    return LolData(name, replace(whole, queries=train), replace(whole, queries=held_out), language)
