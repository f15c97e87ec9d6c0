"""What an index costs at a size: building, opening, memory, searching and changing, beside bare FAISS."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from ragkit.eval.speed import Comparison, Fact

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

_MB = 1e6


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
    as they are, once for all kinds. index_s: then `Corpus.add` of nothing with this kind, which finds the index
    to be another one: training, filling, measuring recall and saving; trained_s: training and filling alone.
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


@dataclass(frozen=True, slots=True)
class IndexSpeedReport:
    """All kinds at all sizes. facts: machine, dimensions, threads."""

    results: tuple[IndexSpeed, ...]
    facts: Mapping[str, Fact]

    def to_json(self) -> dict[str, object]:
        """What ``ragkit eval speed --scale --json`` prints."""
        return {"results": [result.to_json() for result in self.results], "facts": dict(self.facts)}

    def table(self) -> Group:
        """What ``ragkit eval speed --scale`` prints: a table for each size."""
        from rich.console import Group

        sizes = list(dict.fromkeys(result.num_passages for result in self.results))
        tables = [_table(size, [one for one in self.results if one.num_passages == size]) for size in sizes]
        said = "; ".join(f"{name}: {value}" for name, value in self.facts.items())
        return Group(*tables, f"Cells are ragkit / bare FAISS (ratio). {said}")


def _table(num_passages: int, results: Sequence[IndexSpeed]) -> Table:
    from rich.table import Table

    table = Table(f"{num_passages:,} passages", *(result.kind for result in results))
    for name, cell in _rows(results[0]).items():
        table.add_row(name, *(cell(result) for result in results))
    return table


def _rows(example: IndexSpeed) -> dict[str, Callable[[IndexSpeed], str]]:
    """Name of a row -> what stands in it for a kind."""
    rows: dict[str, Callable[[IndexSpeed], str]] = {
        "factory": lambda one: one.build.factory,
        "effort, refine factor": lambda one: f"{one.build.effort}, {one.build.refine_factor}",
        "documents, s": lambda one: f"{one.build.documents_s:.1f}",
        "index, s": lambda one: _both(one.build.index_s, one.build.bare_s, ".2f"),
        "vectors and index files, MB": _file_sizes,
        "of ours beside the vectors, MB": lambda one: f"{one.build.num_bytes / _MB:.1f}",
    }
    rows |= _opening_rows()
    for number, batch in enumerate(search.num_units for search in example.searches):
        rows |= _search_rows(f"search {batch}", number, lambda one: one.searches)
    rows["Corpus.search p50, ms"] = lambda one: f"{1e3 * percentile(one.corpus_search_s, 50):.2f}"
    rows["recall@10"] = lambda one: f"{one.recall:.4f} / {one.bare_recall:.4f}"
    rows["recall@10 by itself"] = lambda one: f"{one.build.recall:.4f}"
    for number, name in enumerate(change.name for change in example.changes):
        rows |= _change_rows(number, name)
    rows["shards, dead rows after changes"] = lambda one: f"{one.changed.num_shards}, {one.changed.num_dead:,}"
    for number, batch in enumerate(search.num_units for search in example.changed.searches):
        name = f"search {batch} after changes"
        rows |= _search_rows(name, number, lambda one: one.changed.searches)
    return rows


def _opening_rows() -> dict[str, Callable[[IndexSpeed], str]]:
    return {
        "open index, ms": lambda one: _both(1e3 * one.opening.median_s, 1e3 * one.bare_opening.median_s, ".1f"),
        "open bare mapped, ms": lambda one: f"{1e3 * one.mapped_opening.median_s:.1f}",
        "open corpus, ms": lambda one: f"{1e3 * one.corpus_opening.median_s:.1f}",
        "memory opened, MB": lambda one: _memory(one, "opened_bytes"),
        "memory searched, MB": lambda one: _memory(one, "searched_bytes"),
        "no file behind, MB": lambda one: _memory(one, "private_bytes"),
        "memory bare mapped, MB": lambda one: f"{one.mapped_opening.searched_bytes / _MB:.1f}",
        "memory corpus, MB": lambda one: f"{one.corpus_opening.searched_bytes / _MB:.1f}",
    }


def _search_rows(
    name: str, number: int, searches_of: Callable[[IndexSpeed], Sequence[Comparison]]
) -> dict[str, Callable[[IndexSpeed], str]]:
    def latency(percent: int) -> Callable[[IndexSpeed], str]:
        def shown(one: IndexSpeed) -> str:
            search = searches_of(one)[number]
            ours, bare = (1e3 * percentile(seconds, percent) for seconds in (search.ours_s, search.bare_s))
            return _both(ours, bare, ".3f")

        return shown

    def rate(one: IndexSpeed) -> str:
        search = searches_of(one)[number]
        ours, bare = (search.num_units / seconds for seconds in (search.ours_median_s, search.bare_median_s))
        return f"{ours:,.0f} / {bare:,.0f}"

    return {f"{name} p50, ms": latency(50), f"{name} p95, ms": latency(95), f"{name}, queries/s": rate}


def _change_rows(number: int, name: str) -> dict[str, Callable[[IndexSpeed], str]]:
    def seconds(one: IndexSpeed) -> str:
        change = one.changes[number]
        unseen = "" if change.seen else " NOT SEEN"
        return f"{1e3 * change.median_s:.1f} (most {1e3 * max(change.seconds):.1f}){unseen}"

    def written(one: IndexSpeed) -> str:
        return f"{one.changes[number].median_bytes / _MB:.3f}"

    return {f"{name}, ms": seconds, f"{name}, MB written": written}


def _file_sizes(one: IndexSpeed) -> str:
    ours = one.build.num_bytes + one.build.vector_bytes
    return _both(ours / _MB, one.build.bare_num_bytes / _MB, ".1f")


def _memory(one: IndexSpeed, name: str) -> str:
    return _both(getattr(one.opening, name) / _MB, getattr(one.bare_opening, name) / _MB, ".1f")


def _both(ours: float, bare: float, form: str) -> str:
    ratio = f" ({ours / bare:.2f})" if bare > 0 else ""
    return f"{ours:{form}} / {bare:{form}}{ratio}"
