"""FAISS alone: the index that a corpus's index is compared with, built, saved and read as its users would."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ragkit.eval.speed.timing import Comparison, compare
from ragkit.extras import require
from ragkit.protocols import VectorIndex
from ragkit.records import FloatArray, KeyArray

# Of float32 (n, dim) the rows that train an empty `faiss.Index`.
Sample = Callable[[Any, FloatArray], FloatArray]


def build_bare(vectors: FloatArray, factory: str, refined: bool, sample: Sample) -> Any:
    """A trained and filled `faiss.Index` of inner products; `refined`: inside an `IndexRefineFlat`.

    sample: chooses as ragkit chooses for its own, so that equal settings mean equal work.
    """
    faiss = require("faiss")
    base = faiss.index_factory(vectors.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
    base.train(sample(base, vectors))
    index = faiss.IndexRefineFlat(base) if refined else base
    index.add(vectors)
    return index


def set_effort(index: Any, effort: int, refine_factor: int) -> None:
    """nprobe of an inverted file or efSearch of HNSW, 0 for neither; the k_factor where candidates are refined."""
    faiss = require("faiss")
    base = index
    if isinstance(base, faiss.IndexRefine):
        base.k_factor = refine_factor
        base = faiss.downcast_index(base.base_index)
    if isinstance(base, faiss.IndexPreTransform):
        base = faiss.downcast_index(base.index)
    if isinstance(base, faiss.IndexHNSW):
        base.hnsw.efSearch = effort
    elif isinstance(base, faiss.IndexIVF):
        base.nprobe = effort


def save_bare(index: Any, path: Path) -> None:
    """Write it to a file."""
    require("faiss").write_index(index, str(path))


def read_bare(path: Path, mapped: bool = False) -> Any:
    """Read it into memory, or map what of it FAISS can map; with the effort that it was saved with."""
    faiss = require("faiss")
    return faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC if mapped else 0)


def compare_searches(
    index: VectorIndex, bare: Any, queries: FloatArray, k: int, timings: Sequence[tuple[int, int]]
) -> tuple[Comparison, ...]:
    """Searches of an index and of a bare one in turns: for each timing (size of a batch, how many batches)."""
    return tuple(_compared(index, bare, queries, k, *timing) for timing in timings)


def _compared(index: VectorIndex, bare: Any, queries: FloatArray, k: int, size: int, repeats: int) -> Comparison:
    batches = [queries[(i * size + np.arange(size)) % len(queries)] for i in range(repeats)]
    return compare(
        f"search {size}",
        lambda i: index.search(batches[i], k),
        lambda i: bare.search(batches[i], k),
        repeats=repeats,
        warmups=3,
        unit="queries",
        num_units=size,
    )


def exact_rows(vectors: FloatArray, queries: FloatArray, k: int) -> KeyArray:
    """int64 (q, k): rows of the largest inner products, best first."""
    faiss = require("faiss")
    _, rows = faiss.knn(queries, vectors, k, metric=faiss.METRIC_INNER_PRODUCT)
    found: KeyArray = rows
    return found


def recall_of(rows: KeyArray, truth: KeyArray) -> float:
    """Share of the true rows (q, k) that were found, in any order."""
    found = [len(set(mine) & set(true)) for mine, true in zip(rows.tolist(), truth.tolist(), strict=True)]
    return float(np.sum(found)) / truth.size
