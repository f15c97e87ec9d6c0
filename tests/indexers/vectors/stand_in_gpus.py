"""A stand-in for FAISS's GPU functions: copies on the CPU that refuse what a GPU refuses."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import faiss
import pytest

from ragkit.indexers.vectors import gpus as gpus_module
from ragkit.indexers.vectors.gpus import find_gpus


class Options:
    """Of `faiss.GpuMultipleClonerOptions` what is used; like FAISS's classes it takes no other names."""

    __slots__ = ("shard", "useFloat16", "use_cuvs")


class StandInGpus:
    """What was asked of the GPUs. frees_locked: of each copy, whether it was freed under the lock."""

    def __init__(self, count: int, free_bytes: int) -> None:
        self.count = count
        self.free_bytes = free_bytes
        self.copies: list[tuple[str, tuple[int, ...], Any]] = []
        self.searches: list[tuple[int, int]] = []
        self.frees_locked: list[bool] = []

    def copy(self, resources: Sequence[Any], index: Any, options: Any, numbers: Sequence[int]) -> Any:
        assert len(resources) == len(numbers) <= self.count
        assert options.shard
        assert not options.use_cuvs
        if index.ntotal * index.d * 4 > self.free_bytes:
            raise RuntimeError("Error: StandardGpuResources: alloc fail type FlatData (cudaMalloc error 2)")
        self.copies.append((type(index).__name__, tuple(numbers), options))
        made = _whole(index) if len(numbers) == 1 else _in_parts(index, len(numbers))
        self._limit(made)
        return made

    def _limit(self, made: Any) -> None:
        """Searches by way of `faiss.IndexRefine` do not come by here."""
        gpus = find_gpus("cuda")
        assert gpus is not None
        lock, search, weak = gpus.lock, type(made).search, weakref.ref(made)

        def limited(queries: Any, k: int, *, params: Any = None) -> Any:
            assert k <= 2048
            assert getattr(params, "nprobe", 1) <= 2048
            assert getattr(params, "sel", None) is None
            assert lock._is_owned()
            self.searches.append((len(queries), k))
            return search(weak(), queries, k, params=params)

        made.search = limited
        weakref.finalize(made, lambda: self.frees_locked.append(lock._is_owned()))


def _whole(index: Any) -> Any:
    if not isinstance(index, faiss.IndexFlat):
        return faiss.clone_index(index)
    flat = faiss.IndexFlatIP(index.d)
    flat.add(index.reconstruct_n(0, index.ntotal))
    return flat


def _in_parts(index: Any, count: int) -> Any:
    """As FAISS does it: a flat index is cut into runs of rows, an inverted file by the remainders of its ids."""
    is_flat = isinstance(index, faiss.IndexFlat)
    parts = faiss.IndexShards(index.d, True, is_flat)
    for i in range(count):
        if is_flat:
            part = faiss.IndexFlatIP(index.d)
            first, last = index.ntotal * i // count, index.ntotal * (i + 1) // count
            part.add(index.reconstruct_n(first, last - first))
        else:
            part = faiss.clone_index(index)
            # A mapped index has lists that cannot be emptied.
            lists = faiss.ArrayInvertedLists(index.nlist, index.code_size)
            lists.this.disown()
            part.replace_invlists(lists, True)
            part.ntotal = 0
            index.copy_subset_to(part, faiss.InvertedLists.SUBSET_TYPE_ID_MOD, count, i)
        parts.add_shard(part)
    return parts


def _to_cpu(index: Any) -> Any:
    if not isinstance(index, faiss.IndexShards):
        return faiss.clone_index(index)
    parts = [faiss.clone_index(faiss.downcast_index(index.at(i))) for i in range(index.count())]
    whole = parts[0]
    for part in parts[1:]:
        whole.merge_from(part, 0)
    return whole


@contextmanager
def stand_in_gpus(patch: pytest.MonkeyPatch, count: int, free_bytes: int = 1 << 40) -> Iterator[StandInGpus]:
    """FAISS sees so many GPUs inside the block."""
    stand_in = StandInGpus(count, free_bytes)
    patch.setattr(gpus_module, "_MIN_ROWS_A_PART", 256)
    patch.setattr(faiss, "get_num_gpus", lambda: count)
    patch.setattr(faiss, "StandardGpuResources", object, raising=False)
    patch.setattr(faiss, "GpuMultipleClonerOptions", Options, raising=False)
    patch.setattr(faiss, "index_cpu_to_gpu_multiple_py", stand_in.copy)
    patch.setattr(faiss, "index_gpu_to_cpu", _to_cpu, raising=False)
    find_gpus.cache_clear()
    try:
        yield stand_in
    finally:
        find_gpus.cache_clear()
