"""What ``ragkit eval speed --scale`` prints."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ragkit.eval.speed.index_speed import IndexSpeed, percentile
from ragkit.eval.speed.timing import Comparison, Fact

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

_MB = 1e6


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
