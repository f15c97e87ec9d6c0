"""The kinds of vector indexes: their FAISS factory strings, and the choice between them."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

from ragkit.config import IndexConfig
from ragkit.errors import ConfigError
from ragkit.extras import require
from ragkit.indexers.vectors.gpus import CODE_BYTES, check_searchable, find_gpus

EXACT = "Flat"
_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
# Links of an HNSW node on its lowest level are twice this many, of 4 bytes each.
_HNSW_LINKS = 32
# FAISS warns below 39 training vectors a list, and sees no gain above 256.
_MIN_ROWS_PER_LIST = 39
# FAISS refuses to train product quantisers of eight bits with fewer.
_FEWEST_FOR_PQ = 256
# Numbers of their own, refining, and graphs whose searches may not end.
_UNFIT = ("IDMap", "RFlat", "Refine", "NSG", "LSH")
KINDS = ("flat", "ivf-flat", "ivf-sq8", "ivf-pq", "ivf-rabitq", "hnsw")


@dataclass(frozen=True, slots=True)
class IndexChoice:
    """factory: FAISS's factory string; "Flat" for exact search. why: in words."""

    factory: str
    why: str

    @property
    def is_graph(self) -> bool:
        return self.factory.startswith("HNSW")


def choose_index(config: IndexConfig, count: int, dim: int, total: int) -> IndexChoice:
    """The index for a shard of `count` vectors, in a corpus of `total`.

    Raises:
        ConfigError: the kind is none of ragkit's and no FAISS factory string, or the device cannot search it.
    """
    check_kind(config.kind, dim)
    if config.device != "cpu" and config.kind not in ("auto", "numpy"):
        _check_for_gpus(config, count, dim)
    if config.kind in ("flat", "numpy"):
        return IndexChoice(EXACT, f'index.kind = "{config.kind}"')
    if count < config.min_vectors:
        return IndexChoice(EXACT, f"{count:,} vectors, fewer than index.min_vectors = {config.min_vectors:,}")
    if config.kind != "auto":
        factory, why = factory_of(config.kind, count, dim), f'index.kind = "{config.kind}"'
        too_few = f"{count:,} vectors, too few for {config.kind}"
        return IndexChoice(factory, too_few if factory == EXACT else why)
    if config.device != "cpu":
        return _choose_for_gpus(config, count, dim, total)
    budget_mb, needed_mb = _budget_mb(config), total * _hnsw_bytes(dim) / 1e6
    needs = f"{total:,} vectors need {needed_mb:,.0f} MB as HNSW, "
    if needed_mb <= budget_mb:
        return IndexChoice(factory_of("hnsw", count, dim), f"{needs}within {budget_mb:,.0f} MB of memory")
    return IndexChoice(factory_of("ivf-pq", count, dim), f"{needs}more than {budget_mb:,.0f} MB of memory")


def _choose_for_gpus(config: IndexConfig, count: int, dim: int, total: int) -> IndexChoice:
    """Exact while the vectors take no more than half of the memory: the rest is for models and searches."""
    gpus = find_gpus(config.device)
    assert gpus is not None
    budget_mb, needed_mb = config.memory_mb or gpus.memory_mb() / 2, total * 4 * dim / 1e6
    needs = f"{total:,} vectors take {needed_mb:,.0f} MB, "
    if needed_mb <= budget_mb:
        return IndexChoice(EXACT, f"{needs}within {budget_mb:,.0f} MB of GPU memory")
    return IndexChoice(factory_of("ivf-pq", count, dim), f"{needs}more than {budget_mb:,.0f} MB of GPU memory")


def _check_for_gpus(config: IndexConfig, count: int, dim: int) -> None:
    faiss = require("faiss")
    # Enough vectors that a kind of ragkit's has more than one list.
    factory = factory_of(config.kind, max(count, config.min_vectors), dim)
    index = faiss.index_factory(dim, factory, faiss.METRIC_INNER_PRODUCT)
    check_searchable(index, f"index.kind = {config.kind!r}", config.device)


def factory_of(kind: str, count: int, dim: int) -> str:
    """FAISS's factory string for a kind, or the string itself."""
    lists = max(1, min(round(4 * math.sqrt(count)), count // _MIN_ROWS_PER_LIST))
    factories = {
        "flat": EXACT,
        "ivf-flat": f"IVF{lists},Flat",
        "ivf-sq8": f"IVF{lists},SQ8",
        # np: without the polysemous training that FAISS gives PQ by itself, which takes minutes and is not used.
        "ivf-pq": f"IVF{lists},PQ{_num_parts(dim)}np",
        "ivf-rabitq": f"IVF{lists},RaBitQ",
        "hnsw": f"HNSW{_HNSW_LINKS}",
    }
    if kind == "ivf-pq" and count < _FEWEST_FOR_PQ:
        return EXACT
    return factories.get(kind, kind)


def check_kind(kind: str, dim: int) -> None:
    """Raises ConfigError where a kind is none of ragkit's and no factory string that FAISS understands."""
    if kind in ("auto", "numpy", *KINDS):
        return
    faiss = require("faiss")
    unfit = next((word for word in _UNFIT if word in kind), None)
    if unfit:
        raise ConfigError(
            f"index.kind = {kind!r}: ragkit keeps numbers and refines itself, and cannot use {unfit}"
        )
    try:
        faiss.index_factory(dim, kind, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        raise ConfigError(
            f"index.kind = {kind!r} is none of auto, numpy, {', '.join(KINDS)}, nor a FAISS factory string for "
            f"{dim} dimensions: {str(error).rpartition(':')[2].strip()}"
        ) from error


def _num_parts(dim: int) -> int:
    """Bytes of a code: one for eight dimensions or a few more, so that they divide the vector evenly."""
    return max(parts for parts in CODE_BYTES if parts == 1 or (dim % parts == 0 and 8 * parts <= dim))


def _hnsw_bytes(dim: int) -> int:
    return 4 * dim + 2 * 4 * _HNSW_LINKS


def _budget_mb(config: IndexConfig) -> float:
    """The configured memory, else half of the machine's, or of what this process's control group may use."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    allowed = _CGROUP_LIMIT.read_text().strip() if _CGROUP_LIMIT.exists() else "max"
    return config.memory_mb or min(machine, int(allowed) if allowed.isdigit() else machine) / 2e6
