"""What an index costs at a size: building, opening, memory, searching and changing, beside bare FAISS."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from ragkit.eval.speed.timing import Comparison

# Fewer are searched exactly whatever the kind, and cannot lose what the changes take.
MIN_SIZE = 1000
DEFAULT_KINDS = ("flat", "hnsw", "ivf-flat", "ivf-pq")


@dataclass(frozen=True, slots=True)
class IndexSpeedPlan:
    """What is measured.

    num_queries: fresh queries that recall is measured with, and searches after which memory is. repeats: fresh
    processes that open each index, and repetitions of each change, of num_changed passages. timings: size of a
    batch of queries, and how many of them are timed.

    Raises:
        ValueError: the changes would remove more passages than the smallest size has.
    """

    sizes: tuple[int, ...]
    kinds: tuple[str, ...] = DEFAULT_KINDS
    dim: int = 384
    seed: int = 0
    num_queries: int = 1000
    repeats: int = 3
    num_changed: int = 100
    timings: tuple[tuple[int, int], ...] = ((1, 300), (256, 9))

    def __post_init__(self) -> None:
        each, there = 1 + self.num_changed, min(self.sizes)
        if self.repeats * each > there:
            raise ValueError(
                f"{self.repeats:,} repetitions remove {self.repeats * each:,} passages, and the smallest size "
                f"has {there:,}; ask for at most {there // each} repetitions"
            )


def parse_sizes(text: str) -> tuple[int, ...]:
    """Such as "10000,1000000". Raises ValueError where a part is no number of at least 1,000."""
    sizes = tuple(int(part) if part.strip().isdecimal() else 0 for part in text.split(","))
    if min(sizes) < MIN_SIZE:
        raise ValueError(f"{text!r} is no list of numbers of passages, each at least {MIN_SIZE}: 10000,100000")
    return sizes


@dataclass(frozen=True, slots=True)
class Opening:
    """What fresh processes saw that opened an index and searched.

    seconds: until the first search had answered, of each process, its libraries loaded before. opened_bytes,
    searched_bytes: resident memory added by opening (with the first search), and by then searching many times too.
    private_bytes: those of searched_bytes that no file stands behind, which alone cannot be shared or given up.
    """

    seconds: tuple[float, ...]
    opened_bytes: int
    searched_bytes: int
    private_bytes: int

    @property
    def median_s(self) -> float:
        return statistics.median(self.seconds)

    def to_json(self) -> dict[str, object]:
        return {
            "median_s": self.median_s,
            "seconds": list(self.seconds),
            "opened_bytes": self.opened_bytes,
            "searched_bytes": self.searched_bytes,
            "private_bytes": self.private_bytes,
        }


@dataclass(frozen=True, slots=True)
class Change:
    """What changing a corpus cost, each time, the durable commit included, and the bytes given to write().

    seen: whether another process that reopened the corpus saw each change.
    """

    name: str
    seconds: tuple[float, ...]
    num_bytes: tuple[int, ...]
    seen: bool

    @property
    def median_s(self) -> float:
        return statistics.median(self.seconds)

    @property
    def median_bytes(self) -> float:
        return statistics.median(self.num_bytes)

    def to_json(self) -> dict[str, object]:
        return {
            "name": self.name,
            "median_s": self.median_s,
            "most_s": max(self.seconds),
            "median_bytes": self.median_bytes,
            "seconds": list(self.seconds),
            "num_bytes": list(self.num_bytes),
            "seen_by_another_process": self.seen,
        }


@dataclass(frozen=True, slots=True)
class ChangedSearches:
    """Searches of an index after all changes, against the bare index as it was built, without them.

    num_shards, num_dead: shards then, and rows in them that were removed and must not be found.
    """

    num_shards: int
    num_dead: int
    searches: tuple[Comparison, ...]

    def to_json(self) -> dict[str, object]:
        return {
            "num_shards": self.num_shards,
            "num_dead": self.num_dead,
            "search": [_search_json(one) for one in self.searches],
        }


@dataclass(frozen=True, slots=True)
class Build:
    """Seconds of building, and what came out.

    documents_s: `Corpus.add` of all passages with index.kind = "flat": catalogue, BM25, and their vectors written
    as they are, once for all kinds. index_s: then `Corpus.compact` with this kind: one shard
    and its index: training, filling, measuring recall and saving; trained_s: training and filling alone.
    bare_s: training, filling and saving bare FAISS. recall: as the corpus measured it. num_bytes: the file of our
    index, without the exact vectors; vector_bytes: these and their keys, which the corpus has anyway.
    bare_num_bytes: the file of bare FAISS, the vectors in it where it scores exactly. why: what chose the factory
    string.
    """

    factory: str
    why: str
    effort: int
    refine_factor: int
    recall: float
    documents_s: float
    index_s: float
    trained_s: float
    bare_s: float
    num_bytes: int
    vector_bytes: int
    bare_num_bytes: int


@dataclass(frozen=True, slots=True)
class IndexSpeed:
    """One kind of index at one number of passages.

    opening, bare_opening: of the vector index alone, bare FAISS read into memory; mapped_opening: bare FAISS
    mapped as far as it can be; corpus_opening: of the whole corpus. searches: the index against bare FAISS, one
    for each batch size; changed: after the changes. corpus_search_s: each `Corpus.search`. recall, bare_recall:
    share of the true ten nearest over fresh queries.
    """

    num_passages: int
    kind: str
    build: Build
    opening: Opening
    bare_opening: Opening
    mapped_opening: Opening
    corpus_opening: Opening
    searches: tuple[Comparison, ...]
    corpus_search_s: tuple[float, ...]
    recall: float
    bare_recall: float
    changes: tuple[Change, ...]
    changed: ChangedSearches

    @property
    def memory_ratio(self) -> float | None:
        """Memory added by opening and searching, in parts of what bare FAISS adds; None where it adds none."""
        bare = self.bare_opening.searched_bytes
        return self.opening.searched_bytes / bare if bare > 0 else None

    def to_json(self) -> dict[str, object]:
        build = self.build
        return {
            "num_passages": self.num_passages,
            "kind": self.kind,
            "build": asdict(build),
            "open": {
                "index": self.opening.to_json(),
                "bare": self.bare_opening.to_json(),
                "bare_mapped": self.mapped_opening.to_json(),
                "corpus": self.corpus_opening.to_json(),
                "index_memory_ratio": self.memory_ratio,
            },
            "search": [_search_json(one) for one in self.searches],
            "corpus_search_p50_s": percentile(self.corpus_search_s, 50),
            "corpus_search_p95_s": percentile(self.corpus_search_s, 95),
            "recall": {"index": self.recall, "bare": self.bare_recall, "measured_by_the_corpus": build.recall},
            "changes": [change.to_json() for change in self.changes],
            "after_changes": self.changed.to_json(),
        }


def percentile(seconds: Sequence[float], percent: float) -> float:
    """Interpolated linearly."""
    return float(np.percentile(seconds, percent))


def _search_json(one: Comparison) -> dict[str, object]:
    told = one.to_json()
    del told["ours_s"], told["bare_s"]
    for side, seconds in (("ours", one.ours_s), ("bare", one.bare_s)):
        told |= {f"{side}_p50_s": percentile(seconds, 50), f"{side}_p95_s": percentile(seconds, 95)}
    return told
