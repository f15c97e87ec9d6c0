"""Catalogues of vectors alone, for tests of what searches them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ragkit.config import IndexConfig
from ragkit.indexers.catalogue import Catalogue
from ragkit.indexers.new_document import NewDocument
from ragkit.indexers.vectors.vector_indexes import IndexUpdate
from ragkit.indexers.vectors.vector_shards import TEXTS, write_shard
from ragkit.records import Page

DIM = 32


def clustered(count: int, seed: int = 0) -> np.ndarray:
    """float32 (count, 32) of unit length, around forty centres."""
    centres = np.random.default_rng(0).standard_normal((40, DIM))
    rng = np.random.default_rng([seed, 1])
    rows = centres[rng.integers(0, 40, count)] + 0.5 * rng.standard_normal((count, DIM))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def config_for(kind: str, device: str = "cpu", **more: Any) -> IndexConfig:
    return IndexConfig(kind=kind, device=device, min_vectors=100, **more)


def add(catalogue: Catalogue, name: str, vectors: np.ndarray) -> np.ndarray:
    """A document whose passages have these vectors, as a shard without an index; returns their keys."""
    with catalogue.transaction() as generation:
        document = NewDocument(name, "", "", "", "", "", [Page(1, "x")], [(1, 0, 1)] * len(vectors))
        keys = np.array(catalogue.add_document(document))
        for file in write_shard(catalogue.folder, TEXTS, generation, keys, [vectors]):
            catalogue.add_file(file)
    return keys


def update(catalogue: Catalogue, config: IndexConfig) -> None:
    IndexUpdate(catalogue, config, lambda space: None, lambda: None).run(TEXTS)


def make_corpus(folder: Path, config: IndexConfig, *counts: int) -> tuple[Catalogue, np.ndarray]:
    """Documents "0", "1", ... with so many vectors each, a shard apiece, indexed; and the vectors by key."""
    folder.mkdir(exist_ok=True)
    catalogue = Catalogue.create(folder)
    vectors = [clustered(count, seed=i) for i, count in enumerate(counts)]
    for i, rows in enumerate(vectors):
        add(catalogue, str(i), rows)
    update(catalogue, config)
    return catalogue, np.concatenate(vectors)


def run_in_threads(count: int, run: Callable[[int], Any]) -> list[Any]:
    """What `run(i)` returned in each of so many threads at once."""
    results: list[Any] = [None] * count
    start = threading.Barrier(count)

    def one(i: int) -> None:
        start.wait()
        results[i] = run(i)

    threads = [threading.Thread(target=one, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
