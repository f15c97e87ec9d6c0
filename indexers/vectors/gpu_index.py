"""The index of one shard searched on GPUs: a copy of what the CPU has, which stays the master."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

from ragkit.extras import require
from ragkit.indexers.vectors.gpus import MAX_SELECTED, Gpus, check_searchable
from ragkit.indexers.vectors.shard_index import Effort, ShardIndex
from ragkit.records import FloatArray, KeyArray


class GpuCopy:
    """A `faiss.Index` on GPUs, freed when nobody holds it any more."""

    def __init__(self, index: Any, gpus: Gpus) -> None:
        self.index = index
        self._gpus = gpus

    def __del__(self) -> None:
        # FAISS frees the memory when the last reference goes, and must not while another thread searches.
        with self._gpus.lock:
            del self.index


# States of a corpus that follow one another share most shards: what is there already is not copied again.
_copies: WeakValueDictionary[tuple[str, ...], GpuCopy] = WeakValueDictionary()


@dataclass(slots=True, kw_only=True)
class GpuShardIndex(ShardIndex):
    """Candidates of one shard, by FAISS on GPUs; by the CPU's index where a GPU cannot look so far.

    cpu: what it is a copy of. copy: what is on the GPUs.
    """

    cpu: ShardIndex
    gpus: Gpus
    copy: GpuCopy

    def __del__(self) -> None:
        # Before the copy, which frees the memory as the last one.
        del self.searched

    def nearest(
        self, queries: FloatArray, k: int, effort: Effort, selector: Any = None
    ) -> tuple[FloatArray, KeyArray]:
        """As `ShardIndex.nearest`; candidates that are refined are scored on the CPU."""
        taken = k * effort.refine_factor if self.is_lossy else k
        if selector is not None or max(taken, effort.effort) > MAX_SELECTED:
            return self.cpu.nearest(queries, k, effort, selector)
        with self.gpus.lock:
            return ShardIndex.nearest(self, queries, k, effort)


def on_gpus(index: ShardIndex, gpus: Gpus, name: str, contents: tuple[str, ...] = ()) -> GpuShardIndex:
    """Copy what a shard is searched by to GPUs.

    Args:
        name: what to call the index in an error.
        contents: hashes of the files behind it, by which a copy that is there already is found; () for none.

    Raises:
        ConfigError: GPUs cannot search such an index, or it does not fit.
    """
    faiss = require("faiss")
    base = faiss.downcast_index(index.searched.base_index) if index.is_lossy else index.searched
    check_searchable(base, name, gpus.device)
    with gpus.lock:
        key = (gpus.device, *contents)
        copy = _copies.get(key) if contents else None
        if copy is None:
            copy = GpuCopy(gpus.copy(base), gpus)
            if contents:
                _copies[key] = copy
    searched = faiss.IndexRefine(copy.index, index.searched.refine_index) if index.is_lossy else copy.index
    return GpuShardIndex(
        searched=searched,
        num_rows=index.num_rows,
        parameter=index.parameter,
        is_lossy=index.is_lossy,
        max_effort=index.max_effort,
        cpu=index,
        gpus=gpus,
        copy=copy,
    )
