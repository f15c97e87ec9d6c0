"""The FAISS indexes of a corpus's shards: built where the configuration wants them, opened for a search."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ragkit.config import IndexConfig
from ragkit.errors import IndexBuildError
from ragkit.files import atomic_write
from ragkit.indexers.catalogue import Catalogue, StoredFile
from ragkit.indexers.shards import space_files
from ragkit.indexers.store import SqlitePassageStore
from ragkit.indexers.vectors.gpu_index import on_gpus
from ragkit.indexers.vectors.gpus import find_gpus
from ragkit.indexers.vectors.index_kinds import IndexChoice, choose_index, factory_of
from ragkit.indexers.vectors.sample_queries import EmbedderOf, sample_queries
from ragkit.indexers.vectors.shard_index import (
    Effort,
    IndexFacts,
    ShardIndex,
    as_shard_index,
    build_index,
    exact_index,
    is_exact,
    open_index,
    save_index,
)
from ragkit.indexers.vectors.sharded_index import SearchedShard, ShardedIndex
from ragkit.indexers.vectors.tune_index import DEEP, RecallMeter, sample_rows, tune
from ragkit.indexers.vectors.vector_shards import VectorShard, VectorSpace, read_shards, stored_file
from ragkit.records import FloatArray, KeyArray

_SNIPPETS = "some words of each of so many passages, which itself is not counted"
_VECTORS = "the vectors of so many passages, each of which itself is not counted"


class IndexUpdate:
    """Gives each shard the index that the configuration wants for it, tuned to the wanted recall.

    Centroids and codes are trained on the vectors of the shard alone, whenever it is written: they never drift.

    Args:
        embedder_of: what queries are embedded with, to measure recall; asked for when an index is to be tuned.
        tell: called before an index is built.
    """

    def __init__(
        self, catalogue: Catalogue, config: IndexConfig, embedder_of: EmbedderOf, tell: Callable[[], None]
    ) -> None:
        self._catalogue = catalogue
        self._config = config
        self._embedder_of = embedder_of
        self._tell = tell
        self.problems: list[str] = []

    def run(self, space: VectorSpace) -> None:
        """Build, tune or drop the indexes of one space, each in a commit of its own."""
        shards = read_shards(self._catalogue.folder, space, space_files(self._catalogue, space))
        total = sum(map(len, shards))
        known = {facts.shard: (path, facts) for path, facts in index_facts(self._catalogue, space).items()}
        for shard in shards:
            choice = choose_index(self._config, len(shard), shard.vectors.shape[1], total)
            path, facts = known.get(shard.generation, ("", None))
            if facts is None and is_exact(choice.factory):
                continue
            # What was built in the place of a graph stands for it as long as ragkit chooses.
            stands_for = facts.wanted if facts is not None and self._config.kind == "auto" else ""
            if facts is None or choice.factory not in (facts.factory, stands_for):
                self._commit(space, path, self._built_if_possible(space, shard, choice))
            elif facts.recall_target != self._config.recall_target:
                facts = self._tuned(space, open_index(self._catalogue.folder / path, shard), shard, facts)
                with self._catalogue.transaction():
                    self._catalogue.set_file_facts(path, facts.to_json())

    def build(self, space: VectorSpace, shard: VectorShard, total: int) -> tuple[StoredFile, IndexFacts] | None:
        """Write the index of a shard that no state names yet, beside it; no state names that either.

        total: vectors of the space when the shard is among them. None where it is to be searched exactly, or
        nothing else can be had.
        """
        choice = choose_index(self._config, len(shard), shard.vectors.shape[1], total)
        built = self._built_if_possible(space, shard, choice)
        return None if built is None else (self._written(space, shard.generation, built[0]), built[1])

    def _written(self, space: VectorSpace, generation: int, index: Any) -> StoredFile:
        path = self._catalogue.folder / space.folder / f"{generation:08d}.{space.index_kind}.faiss"
        with atomic_write(path) as file:
            save_index(index, file)
        return stored_file(self._catalogue.folder, path, space.index_kind, generation)

    def _built_if_possible(
        self, space: VectorSpace, shard: VectorShard, choice: IndexChoice
    ) -> tuple[Any, IndexFacts] | None:
        """None where exact search is wanted, or nothing else can be had: then `problems` says why."""
        if is_exact(choice.factory):
            return None
        try:
            built = self._built(space, shard, choice)
        except IndexBuildError as error:
            self.problems.append(f"{error}. Until then these vectors are searched exactly")
            return None
        facts = built[1]
        if self._config.kind == "auto" and choice.is_graph and facts.recall < facts.recall_target:
            # Many equal vectors, or lengths that vary, can cut a graph into parts that no search connects.
            why = f"{choice.why}, but {choice.factory} found {facts.recall} of the nearest at most"
            other = IndexChoice(factory_of("ivf-flat", len(shard), shard.vectors.shape[1]), why)
            index, facts = self._built(space, shard, other)
            return index, replace(facts, wanted=choice.factory)
        return built

    def _built(self, space: VectorSpace, shard: VectorShard, choice: IndexChoice) -> tuple[Any, IndexFacts]:
        """A FAISS index of the shard, and the facts to store with it."""
        self._tell()
        started = time.monotonic()
        gpus = find_gpus(self._config.device)
        index = build_index(shard.vectors, choice.factory, gpus)
        seconds = round(time.monotonic() - started, 2)
        facts = IndexFacts(shard.generation, len(shard), choice.factory, choice.why, build_seconds=seconds)
        searched = as_shard_index(index, shard.vectors)
        if gpus is not None:
            searched = on_gpus(searched, gpus, choice.factory)
        return index, self._tuned(space, searched, shard, facts)

    def _commit(self, space: VectorSpace, old_path: str, built: tuple[Any, IndexFacts] | None) -> None:
        """Put a built index, if any, in the place of an old one."""
        catalogue = self._catalogue
        with catalogue.transaction() as generation:
            catalogue.drop_files([file for file in catalogue.files(space.index_kind) if file.path == old_path])
            if built is not None:
                catalogue.add_file(self._written(space, generation, built[0]), built[1].to_json())

    def _tuned(self, space: VectorSpace, index: ShardIndex, shard: VectorShard, facts: IndexFacts) -> IndexFacts:
        """The facts with the effort that reaches the wanted recall, or comes nearest."""
        living = np.delete(np.arange(len(shard)), shard.dead_rows(self._catalogue.dead_keys()))
        rows = living[sample_rows(len(living))]
        queries, said = self._queries(space, shard, rows)
        target = self._config.recall_target
        effort, recall = tune(index, RecallMeter(shard.vectors, queries, rows), target)
        deep, deep_recall = tune(index, RecallMeter(shard.vectors, queries, rows, DEEP), target)
        return replace(
            facts,
            effort=effort.effort,
            refine_factor=effort.refine_factor,
            recall=round(recall, 4),
            deep_effort=deep.effort,
            deep_refine_factor=deep.refine_factor,
            deep_recall=round(deep_recall, 4),
            recall_target=target,
            num_queries=len(rows),
            queries=said,
        )

    def _queries(self, space: VectorSpace, shard: VectorShard, rows: KeyArray) -> tuple[FloatArray, str]:
        embedder = self._embedder_of(space)
        if embedder is not None:
            store = SqlitePassageStore(self._catalogue)
            queries = sample_queries(store, embedder, shard.keys[rows].tolist())
            if queries is not None:
                return queries, _SNIPPETS
        return shard.vectors[rows], _VECTORS


def index_facts(catalogue: Catalogue, space: VectorSpace) -> dict[str, IndexFacts]:
    """Path of each index file of a space -> what is known of it."""
    facts = catalogue.file_facts()
    return {file.path: IndexFacts(**facts[file.path]) for file in catalogue.files(space.index_kind)}


def exact_reasons(catalogue: Catalogue, space: VectorSpace, config: IndexConfig) -> list[str]:
    """For each shard without an index, how many vectors it has and why they are searched exactly."""
    shards = read_shards(catalogue.folder, space, space_files(catalogue, space))
    known = {facts.shard for facts in index_facts(catalogue, space).values()}
    total, reasons = sum(map(len, shards)), []
    for shard in shards:
        if shard.generation not in known:
            choice = choose_index(config, len(shard), shard.vectors.shape[1], total)
            why = choice.why if is_exact(choice.factory) else f"its {choice.factory} is not built"
            reasons.append(f"{len(shard):,} vectors of {space.folder}: {why}")
    return reasons


def open_vectors(catalogue: Catalogue, space: VectorSpace, config: IndexConfig) -> ShardedIndex:
    """What searches a space in the current state: each shard by its index, or exactly where it has none.

    Raises: as `read_shards`, `open_index` and `on_gpus`.
    """
    corpus, files = catalogue.folder, space_files(catalogue, space)
    shards = read_shards(corpus, space, files)
    dead = catalogue.dead_keys()
    known = {facts.shard: (path, facts) for path, facts in index_facts(catalogue, space).items()}
    gpus, hashes = find_gpus(config.device), {file.path: file.sha256 for file in files}
    vector_hashes = {file.generation: file.sha256 for file in files if file.kind == space.vectors_kind}
    searched: list[SearchedShard] = []
    for shard in shards:
        path, facts = known.get(shard.generation, ("", None))
        if facts is not None and _searched_exactly(config, shard, sum(map(len, shards))):
            path, facts = "", None
        index, effort, deep = exact_index(shard.vectors), Effort(0, 0), Effort(0, 0)
        if facts is not None:
            index, effort = open_index(corpus / path, shard), Effort(facts.effort, facts.refine_factor)
            deep = Effort(facts.deep_effort, facts.deep_refine_factor)
        if gpus is not None:
            name = f"{path} ({facts.factory})" if facts else "a flat index"
            index = on_gpus(index, gpus, name, (vector_hashes[shard.generation], hashes.get(path, "")))
        searched.append(SearchedShard(shard, index, shard.dead_rows(dead), effort, deep))
    return ShardedIndex(searched)


def _searched_exactly(config: IndexConfig, shard: VectorShard, total: int) -> bool:
    """Whether an index that a shard has is left aside."""
    if config.kind == "flat":
        return True
    if config.device == "cpu":
        return False
    # GPUs search most corpora exactly, also those that were indexed for a CPU.
    return is_exact(choose_index(config, len(shard), shard.vectors.shape[1], total).factory)
