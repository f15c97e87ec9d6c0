"""FAISS alone: the index that a corpus's index is compared with, built, saved and read as its users would."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ragkit.extras import require
from ragkit.records import FloatArray, KeyArray

# As many vectors train it as train ragkit's, so that equal settings mean equal work.
_TRAINING_ROWS_PER_LIST = 64
_TRAINING_ROWS = 65_536


def build_bare(vectors: FloatArray, factory: str, refined: bool) -> Any:
    """A trained and filled `faiss.Index` of inner products; `refined`: inside an `IndexRefineFlat`."""
    faiss = require("faiss")
    base = faiss.index_factory(vectors.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
    ivf = faiss.try_extract_index_ivf(base)
    base.train(_sample(vectors, _TRAINING_ROWS_PER_LIST * (0 if ivf is None else ivf.nlist)))
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


def read_bare(path: Path) -> Any:
    """Read it into memory, with the effort that it was saved with."""
    return require("faiss").read_index(str(path))


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


def _sample(vectors: FloatArray, count: int) -> FloatArray:
    count = max(count, _TRAINING_ROWS)
    if len(vectors) <= count:
        return vectors
    rows = np.random.default_rng(0).choice(len(vectors), count, replace=False)
    rows.sort()
    return vectors[rows]
