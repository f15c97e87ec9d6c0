"""The FAISS index of one shard: built once, kept in a file beside the shard, opened without reading it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ragkit.errors import CorpusDamagedError, IndexBuildError
from ragkit.extras import require
from ragkit.indexers.vectors.gpus import Gpus
from ragkit.indexers.vectors.index_kinds import EXACT
from ragkit.indexers.vectors.mapped_flat import mapped_flat
from ragkit.indexers.vectors.vector_shards import CHUNK_ROWS, VectorShard
from ragkit.records import FloatArray, KeyArray

# k-means sees this many vectors a list: a quarter of what FAISS would take, for a loss that tuning makes up for.
_TRAINING_ROWS_PER_LIST = 64
_TRAINING_ROWS = 65_536
_EFFORTS = {"nprobe": "SearchParametersIVF", "efSearch": "SearchParametersHNSW"}


@dataclass(frozen=True, slots=True)
class IndexFacts:
    """What is known of a shard's index.

    shard: generation of the shard. effort: nprobe of an inverted file, efSearch of HNSW; 0 where there is none.
    refine_factor: so many times more candidates are taken than wanted, and scored by their exact vectors; 0 where
    the index has exact scores. recall: share of the ten nearest found over num_queries queries at this effort.
    deep_…: the same for the hundred nearest. wanted: the factory that was chosen, where another was built instead.
    """

    shard: int
    num_vectors: int
    factory: str
    why: str
    effort: int = 0
    refine_factor: int = 0
    recall: float = 1.0
    recall_target: float = 1.0
    num_queries: int = 0
    queries: str = ""
    build_seconds: float = 0.0
    deep_effort: int = 0
    deep_refine_factor: int = 0
    deep_recall: float = 1.0
    wanted: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Effort:
    """How hard a search looks: see `IndexFacts`."""

    effort: int
    refine_factor: int


@dataclass(slots=True)
class ShardIndex:
    """Candidates of one shard, by FAISS.

    searched: the `faiss.Index` asked. parameter: "nprobe", "efSearch" or "". is_lossy: whether it refines.
    max_effort: the most that finds more. kept: what it reads and does not own.
    """

    searched: Any
    num_rows: int
    parameter: str
    is_lossy: bool
    max_effort: int
    kept: list[Any] = field(default_factory=list)
    _parameters: dict[Effort, Any] = field(default_factory=dict)

    @property
    def exact(self) -> bool:
        """Whether it finds the true nearest, whatever the effort."""
        return not self.parameter and not self.is_lossy

    def nearest(
        self, queries: FloatArray, k: int, effort: Effort, selector: Any = None
    ) -> tuple[FloatArray, KeyArray]:
        """float32 (q, k) scores and int64 (q, k) rows, best first; row -1 where nothing was found."""
        if selector is not None:
            parameters = self._make_parameters(effort, selector)
        elif effort in self._parameters:
            parameters = self._parameters[effort]
        else:
            parameters = self._parameters[effort] = self._make_parameters(effort, None)
        scores, rows = self.searched.search(queries, k, params=parameters)
        return scores, rows

    def _make_parameters(self, effort: Effort, selector: Any) -> Any:
        faiss = require("faiss")
        base = self.searched.base_index if self.is_lossy else self.searched
        parameters = _base_parameters(faiss, faiss.downcast_index(base), self.parameter, effort.effort, selector)
        if not self.is_lossy:
            return parameters
        return faiss.IndexRefineSearchParameters(k_factor=effort.refine_factor, base_index_params=parameters)


def _base_parameters(faiss: Any, base: Any, parameter: str, effort: int, selector: Any) -> Any:
    if isinstance(base, faiss.IndexPreTransform):
        inner = _base_parameters(faiss, faiss.downcast_index(base.index), parameter, effort, selector)
        return faiss.SearchParametersPreTransform(index_params=inner)
    arguments: dict[str, Any] = {} if selector is None else {"sel": selector}
    if not parameter:
        return faiss.SearchParameters(**arguments) if arguments else None
    return getattr(faiss, _EFFORTS[parameter])(**{parameter: effort}, **arguments)


def build_index(vectors: FloatArray, factory: str, gpus: Gpus | None = None) -> Any:
    """A trained `faiss.Index` of inner products over float32 (n, dim), which is read in pieces.

    gpus: where it is trained and filled; what is returned is an index of the CPU all the same.

    Raises:
        IndexBuildError: FAISS cannot build it, as with too few vectors.
        ConfigError: it does not fit in the memory of the GPUs.
    """
    faiss = require("faiss")
    index = faiss.index_factory(vectors.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
    sample = training_sample(index, vectors)
    _train_on_few(faiss, index)
    # A graph that grows in pieces is worse: within one piece FAISS begins with the nodes of the upper levels.
    rows = len(vectors) if isinstance(index, faiss.IndexHNSW) else CHUNK_ROWS
    parts = (vectors[start : start + rows] for start in range(0, len(vectors), rows))
    try:
        if gpus is not None:
            return gpus.fill(gpus.train(index, sample), map(np.ascontiguousarray, parts))
        index.train(sample)
        for part in parts:
            index.add(np.ascontiguousarray(part))
    except RuntimeError as error:
        reason = str(error).rpartition("failed: ")[2].rpartition(": ")[2].strip()
        raise IndexBuildError(
            f"FAISS cannot build {factory!r} over {len(vectors):,} vectors: {reason}. Raise index.min_vectors, or "
            "choose another index.kind"
        ) from error
    return index


def _train_on_few(faiss: Any, index: Any) -> None:
    """Without a line on stderr for each part with few rows a centre: what that costs is measured, as recall."""
    ivf = faiss.try_extract_index_ivf(index)
    if ivf is None:
        return
    ivf.cp.min_points_per_centroid = 1
    ivf = faiss.downcast_index(ivf)
    if isinstance(ivf, faiss.IndexIVFPQ):
        ivf.pq.cp.min_points_per_centroid = 1


def training_sample(index: Any, vectors: FloatArray) -> FloatArray:
    """Of float32 (n, dim) the rows that train an empty `faiss.Index`; the same each time."""
    ivf = require("faiss").try_extract_index_ivf(index)
    count = _TRAINING_ROWS if ivf is None else max(_TRAINING_ROWS, _TRAINING_ROWS_PER_LIST * ivf.nlist)
    if len(vectors) <= count:
        return np.ascontiguousarray(vectors)
    rows = np.random.default_rng(0).choice(len(vectors), count, replace=False)
    rows.sort()
    return vectors[rows]


def save_index(index: Any, file: Any) -> None:
    """Write to a binary file. The vectors of an HNSW graph are left out: they are the shard's."""
    faiss = require("faiss")
    flags = faiss.IO_FLAG_SKIP_STORAGE if _is_plain_hnsw(faiss, index) else 0
    failed: list[OSError] = []

    def write(data: bytes) -> None:
        try:
            if not failed:
                file.write(data)
        except OSError as error:
            failed.append(error)

    # The last piece is written when the buffer is deleted, and what is raised there is lost.
    writer = faiss.PyCallbackIOWriter(write, 1 << 24)
    buffered = faiss.BufferedIOWriter(writer)
    faiss.write_index(index, buffered, flags)
    del buffered
    if failed:
        raise failed[0]


def open_index(path: Path, shard: VectorShard) -> ShardIndex:
    """Map a saved index of the shard's vectors.

    Raises:
        CorpusDamagedError: it is no FAISS index, is cut short, or has another number of vectors.
        FileNotFoundError: it is gone, as when another process has merged it away meanwhile.
    """
    faiss = require("faiss")
    path.stat()
    try:
        index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
    except RuntimeError as error:
        path.stat()  # Gone by now?
        reason = str(error).rpartition(":")[2].strip()
        raise CorpusDamagedError(f"{path} is damaged ({reason}); run ragkit repair") from error
    if index.ntotal != len(shard):
        raise CorpusDamagedError(
            f"{path} has {index.ntotal} vectors for a shard of {len(shard)}; run ragkit repair"
        )
    return as_shard_index(index, shard.vectors)


def exact_index(vectors: FloatArray) -> ShardIndex:
    """Exact search over vectors where they are."""
    return ShardIndex(mapped_flat(vectors), len(vectors), "", False, 0, [vectors])


def as_shard_index(index: Any, vectors: FloatArray) -> ShardIndex:
    """Over a FAISS index and the exact vectors behind it, which may be memory-mapped."""
    faiss = require("faiss")
    flat = mapped_flat(vectors)
    kept = [index, flat, vectors]
    if _is_plain_hnsw(faiss, index):
        if index.storage is None or index.storage.ntotal != len(vectors):
            index.storage, index.own_fields = flat, False
        return ShardIndex(index, len(vectors), "efSearch", False, len(vectors), kept)
    ivf = faiss.try_extract_index_ivf(index)
    is_lossy = not isinstance(index, faiss.IndexIVFFlat | faiss.IndexFlat)
    parameter, most = ("", 0) if ivf is None else ("nprobe", int(ivf.nlist))
    if isinstance(_without_transform(faiss, index), faiss.IndexHNSW):
        parameter, most = "efSearch", len(vectors)
    searched = faiss.IndexRefine(index, flat) if is_lossy else index
    return ShardIndex(searched, len(vectors), parameter, is_lossy, most, kept)


def _without_transform(faiss: Any, index: Any) -> Any:
    return faiss.downcast_index(index.index) if isinstance(index, faiss.IndexPreTransform) else index


def _is_plain_hnsw(faiss: Any, index: Any) -> bool:
    return isinstance(index, faiss.IndexHNSWFlat)


def is_exact(factory: str) -> bool:
    """Whether a shard needs no index file: its vectors are searched as they are."""
    return factory == EXACT
