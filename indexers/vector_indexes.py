"""The FAISS indexes of a corpus's shards: built where the configuration wants them, opened for a search."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ragkit.config import IndexConfig
from ragkit.files import atomic_write
from ragkit.indexers.catalogue import Catalogue, StoredFile
from ragkit.indexers.index_kinds import IndexChoice, choose_index
from ragkit.indexers.shard_index import (
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
from ragkit.indexers.sharded_index import SearchedShard, ShardedIndex
from ragkit.indexers.shards import space_files
from ragkit.indexers.tune_index import RecallMeter, sample_rows, tune
from ragkit.indexers.vectors import VectorShard, VectorSpace, read_shards, stored_file

_QUERIES = "vectors of the shard, each left out of its own result"


def update_indexes(
    corpus: Path, catalogue: Catalogue, space: VectorSpace, config: IndexConfig, tell: Callable[[], None]
) -> None:
    """Give each shard the index that the configuration wants for it, tuned to the wanted recall.

    Centroids and codes are trained on the vectors of the shard alone, whenever it is written: they never drift.
    """
    files = space_files(catalogue, space)
    shards = read_shards(corpus, space, files)
    total = sum(map(len, shards))
    known = {facts.shard: (path, facts) for path, facts in index_facts(catalogue, space).items()}
    for shard in shards:
        choice = choose_index(config, len(shard), shard.vectors.shape[1], total)
        path, facts = known.get(shard.generation, ("", None))
        if facts is None and is_exact(choice.factory):
            continue
        if facts is None or facts.factory != choice.factory:
            tell()
            built = None if is_exact(choice.factory) else _built(shard, choice, config)
            _commit(corpus, catalogue, space, [file for file in files if file.path == path], built)
        elif facts.recall_target != config.recall_target:
            facts = _tuned(open_index(corpus / path, shard), shard, facts, config)
            with catalogue.transaction():
                catalogue.set_file_facts(path, facts.to_json())


def _built(shard: VectorShard, choice: IndexChoice, config: IndexConfig) -> tuple[Any, IndexFacts]:
    """A FAISS index of the shard, and the facts to store with it."""
    started = time.monotonic()
    index = build_index(shard.vectors, choice.factory)
    facts = IndexFacts(shard.generation, len(shard), choice.factory, choice.why)
    facts = replace(facts, build_seconds=round(time.monotonic() - started, 2))
    return index, _tuned(as_shard_index(index, shard.vectors), shard, facts, config)


def _commit(
    corpus: Path,
    catalogue: Catalogue,
    space: VectorSpace,
    old: list[StoredFile],
    built: tuple[Any, IndexFacts] | None,
) -> None:
    """Put a built index, if any, in the place of an old one."""
    with catalogue.transaction() as generation:
        catalogue.drop_files(old)
        if built is not None:
            path = corpus / space.folder / f"{generation:08d}.{space.index_kind}.faiss"
            with atomic_write(path) as file:
                save_index(built[0], file)
            catalogue.add_file(stored_file(corpus, path, space.index_kind, generation), built[1].to_json())


def _tuned(index: ShardIndex, shard: VectorShard, facts: IndexFacts, config: IndexConfig) -> IndexFacts:
    """The facts with the effort that reaches the wanted recall, or comes nearest."""
    rows = sample_rows(len(shard))
    effort, recall = tune(index, RecallMeter(shard.vectors, shard.vectors[rows], rows), config.recall_target)
    return replace(
        facts,
        effort=effort.effort,
        refine_factor=effort.refine_factor,
        recall=round(recall, 4),
        recall_target=config.recall_target,
        num_queries=len(rows),
        queries=_QUERIES,
    )


def index_facts(catalogue: Catalogue, space: VectorSpace) -> dict[str, IndexFacts]:
    """Path of each index file of a space -> what is known of it."""
    facts = catalogue.file_facts()
    return {file.path: IndexFacts(**facts[file.path]) for file in catalogue.files(space.index_kind)}


def open_vectors(catalogue: Catalogue, space: VectorSpace, config: IndexConfig) -> ShardedIndex:
    """What searches a space in the current state: each shard by its index, or exactly where it has none.

    Raises: as `read_shards` and `open_index`.
    """
    corpus = catalogue.folder
    shards = read_shards(corpus, space, space_files(catalogue, space))
    dead = catalogue.dead_keys()
    known = {facts.shard: (path, facts) for path, facts in index_facts(catalogue, space).items()}
    searched: list[SearchedShard] = []
    for shard in shards:
        path, facts = known.get(shard.generation, ("", None))
        index, effort = exact_index(shard.vectors), Effort(0, 0)
        if facts is not None and config.kind != "flat":
            index, effort = open_index(corpus / path, shard), Effort(facts.effort, facts.refine_factor)
        searched.append(SearchedShard(shard, index, shard.dead_rows(dead), effort))
    return ShardedIndex(searched)
