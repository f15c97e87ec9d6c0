"""From judged collections to queries with feedback that a reformulator is trained on."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ragkit.assemble import CorpusParts, make_retriever
from ragkit.config import Config
from ragkit.corpus import Corpus
from ragkit.errors import ConfigError, DataError
from ragkit.eval.sets.beir import BeirCollection, read_beir
from ragkit.evaluations.indexing import index_all
from ragkit.evaluations.retrieval.beir_evaluation import cached_corpus
from ragkit.indexers.index_report import IndexProgress
from ragkit.protocols import Embedder, Retriever, VectorIndex
from ragkit.retrievers.training.train_lol import FeedbackQuery, FeedbackSet

_HELD_OUT_SHARE = 5


@dataclass(frozen=True, slots=True)
class LolData:
    """The judged queries of a collection: a fifth of them held out, the others to train on."""

    name: str
    train: FeedbackSet
    held_out: FeedbackSet


def parse_source(text: str) -> tuple[Path, str]:
    """Folder and split of such as "data/scifact:train"; the split is "train" where none is named."""
    folder, colon, split = text.rpartition(":")
    return (Path(folder), split) if colon and split and "/" not in split else (Path(text), "train")


def without_splitting(config: Config) -> Config:
    """As configured, but that each document is one passage, and that vectors alone are searched."""
    return config.model_copy(
        update={
            "passages": config.passages.model_copy(update={"split": "none"}),
            "retrieval": config.retrieval.model_copy(update={"method": "dense", "feedback": ()}),
        }
    )


def read_lol_data(
    source: str,
    config: Config,
    most: int,
    seed: int,
    embedder: Embedder,
    progress: Callable[[IndexProgress], None] | None = None,
) -> LolData:
    """Index a folder in BEIR's layout, where the cache does not have it, and search its judged queries.

    Args:
        source: as `parse_source` reads it.
        most: first passages of each query that are kept.

    Raises:
        ConfigError: the settings have no embedder.
        DataError: the collection is malformed, or too small to hold queries out.
    """
    folder, split = parse_source(source)
    collection, settings = read_beir(folder, split), without_splitting(config)
    parts: list[CorpusParts] = []

    def keeping(made: CorpusParts) -> Retriever:
        parts.append(made)
        return make_retriever(settings, made)

    cached = cached_corpus(collection, settings)
    with Corpus.open(cached, config=settings, embedder=embedder, retriever=keeping) as corpus:
        index_all(corpus, collection.records(), progress)
        corpus.load()
        vectors = parts[-1].vectors
        if vectors is None:
            raise ConfigError(f"{cached} has no vectors of texts to train with")
        whole = _with_feedback(collection, parts[-1], vectors, embedder, most)
    return _held_out(source, whole, seed)


def _with_feedback(
    collection: BeirCollection, parts: CorpusParts, index: VectorIndex, embedder: Embedder, most: int
) -> FeedbackSet:
    """Queries none of whose relevant documents is in the collection are left out."""
    keys = parts.store.keys()
    documents = [passage.document for passage in parts.store.passages(keys.tolist())]
    rows = {document: row for row, document in enumerate(documents)}
    asked = embedder.embed_queries(list(collection.queries.values()))
    _, found = index.search(asked, most)
    queries = []
    for name, vector, row in zip(collection.queries, asked, found, strict=True):
        relevant = [rows[one] for one, grade in collection.qrels[name].items() if grade > 0 and one in rows]
        first = np.searchsorted(keys, row[row >= 0])
        if relevant:
            queries.append(FeedbackQuery(vector, tuple(first.tolist()), tuple(relevant)))
    return FeedbackSet(np.ascontiguousarray(index.vectors_of(keys)), tuple(queries))


def _held_out(name: str, whole: FeedbackSet, seed: int) -> LolData:
    number = len(whole.queries) // _HELD_OUT_SHARE
    if not number:
        raise DataError(
            f"{name} has {len(whole.queries)} queries with relevant passages; {_HELD_OUT_SHARE} are the least "
            "that can be trained on and held out"
        )
    order = random.Random(seed).sample(whole.queries, len(whole.queries))
    train, held_out = tuple(order[number:]), tuple(order[:number])
    return LolData(name, FeedbackSet(whole.passages, train), FeedbackSet(whole.passages, held_out))
