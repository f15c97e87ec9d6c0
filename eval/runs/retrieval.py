"""Evaluating retrieval on a judged collection."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ragkit.errors import DataError
from ragkit.eval.measures.ranking_metrics import CONVENTIONS, DEFAULT_MEASURES, check_depth, score_run
from ragkit.eval.runs.run_folder import RunFolder
from ragkit.eval.sets.beir import BeirCollection
from ragkit.eval.sets.trec import Run

if TYPE_CHECKING:
    from rich.table import Table

# Query texts and k to, for each query, document ids and scores, each document once.
Search = Callable[[Sequence[str], int], list[list[tuple[str, float]]]]

_BATCH_QUERIES = 64
# So many queries of a run that is kept are searched for once more, one at a time and for as many documents as a
# reader looks at: what a query takes.
_TIMED_QUERIES, TIMED_DOCUMENTS = 50, 10


@dataclass(frozen=True, slots=True)
class RetrievalReport:
    """measures: mean by measure. by_query: measure, query id, value. seconds: by stage.

    scope: what was searched and which questions were asked, where that is not the whole collection.
    """

    measures: dict[str, float]
    by_query: dict[str, dict[str, float]]
    num_queries: int
    seconds: dict[str, float]
    run: Run
    scope: Mapping[str, str | int] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """What ``ragkit eval retrieval --json`` prints."""
        scope = {"scope": dict(self.scope)} if self.scope else {}
        facts = {"measures": self.measures, "queries": self.num_queries, "seconds": self.seconds}
        return {**facts, **scope, "conventions": CONVENTIONS}

    def table(self) -> Table:
        """What ``ragkit eval retrieval`` prints."""
        from rich.table import Table

        table = Table("measure", "mean", title=f"{self.num_queries} queries", min_width=80)
        table.caption, table.caption_justify = CONVENTIONS, "left"
        for name, value in self.measures.items():
            table.add_row(name, f"{value:.4f}")
        for stage, seconds in self.seconds.items():
            table.add_row(f"{stage}, s", f"{seconds:.2f}")
        for name, fact in self.scope.items():
            table.add_row(name.replace("_", " "), str(fact))
        return table


def evaluate_retrieval(
    collection: BeirCollection,
    search: Search,
    measures: Sequence[str] = DEFAULT_MEASURES,
    k: int = 1000,
    *,
    seconds: Mapping[str, float] | None = None,
    progress: Callable[[int, int], None] | None = None,
    kept: RunFolder | None = None,
) -> RetrievalReport:
    """Run every judged query and score what is found.

    Args:
        k: documents asked for a query.
        seconds: of the stages before (such as "index"), to stand in the report.
        progress: called with the number of queries done and of all.
        kept: has the rankings of finished queries, and gets those of the others.

    Raises:
        ConfigError: a measure is unknown.
        DataError: `search` answers with a document twice, or not with one list a query.
    """
    check_depth(measures, k)
    start = time.perf_counter()
    run = run_queries(collection.queries, search, k, progress, kept)
    return report_run(collection, run, measures, {**(seconds or {}), "search": time.perf_counter() - start})


def report_run(
    collection: BeirCollection,
    run: Run,
    measures: Sequence[str],
    seconds: Mapping[str, float],
    scope: Mapping[str, str | int] | None = None,
) -> RetrievalReport:
    """Score a run of all judged queries."""
    start = time.perf_counter()
    scores = score_run(collection.qrels, run, measures)
    stages = {**seconds, "measure": time.perf_counter() - start}
    return RetrievalReport(scores.means, scores.by_query, len(collection.qrels), stages, run, scope or {})


def run_within(
    queries: Mapping[str, str],
    document_of: Mapping[str, str],
    search_in: Callable[[str], Search],
    k: int,
    progress: Callable[[int, int], None] | None = None,
    kept: RunFolder | None = None,
) -> Run:
    """As `run_queries`, each query run against its own document alone.

    Args:
        document_of: the document of each query.
        search_in: gives the search of one document.
    """
    timed = timed_sample(queries)
    groups: dict[str, dict[str, str]] = {}
    for query, text in queries.items():
        groups.setdefault(document_of[query], {})[query] = text
    found: Run = {}
    for document, group in groups.items():
        found.update(run_queries(group, search_in(document), k, None, kept, timed))
        if progress is not None:
            progress(len(found), len(queries))
    return {query: found[query] for query in queries}


def run_queries(
    queries: Mapping[str, str],
    search: Search,
    k: int,
    progress: Callable[[int, int], None] | None = None,
    kept: RunFolder | None = None,
    timed: Collection[str] | None = None,
) -> Run:
    """Search for every query, some at a time; scores by query and document id, best first.

    Args:
        kept: has the rankings of finished queries, which are not searched for again, and gets those of the others.
        timed: queries that are searched for alone too where a run is kept, after their batch, so that models are
            loaded; a sample where none are named.
    """
    timed = timed_sample(queries) if timed is None else timed
    run: Run = {} if kept is None else {query: _ranking(row) for query, row in kept.finished.items()}
    waiting = [query for query in queries if query not in run]
    for start in range(0, len(waiting), _BATCH_QUERIES):
        batch = waiting[start : start + _BATCH_QUERIES]
        began = time.perf_counter()
        found = _rankings(batch, search([queries[query] for query in batch], k))
        if kept is not None:
            took = {"batch_seconds": time.perf_counter() - began, "batch_queries": len(batch)}
            alone = {query: _seconds_alone(search, queries[query]) for query in batch if query in timed}
            kept.record(
                {
                    query: {"ranking": list(ranked.items()), **took}
                    | ({"seconds": alone[query]} if query in alone else {})
                    for query, ranked in found.items()
                }
            )
        run.update(found)
        if progress is not None:
            progress(len(queries) - len(waiting) + start + len(batch), len(queries))
    return {query: run[query] for query in queries}


def timed_sample(queries: Collection[str]) -> frozenset[str]:
    """Queries that are spread evenly over all: the same in every session."""
    names, count = list(queries), min(len(queries), _TIMED_QUERIES)
    return frozenset(names[place * len(names) // count] for place in range(count))


def search_seconds(rows: Mapping[str, Mapping[str, Any]]) -> float:
    """What the batches of a run took together, in all its sessions, by the rows of `RunFolder`."""
    return sum(float(row["batch_seconds"]) / int(row["batch_queries"]) for row in rows.values())


def _seconds_alone(search: Search, text: str) -> float:
    began = time.perf_counter()
    search([text], TIMED_DOCUMENTS)
    return time.perf_counter() - began


def _rankings(batch: Sequence[str], found: Sequence[Sequence[tuple[str, float]]]) -> Run:
    if len(found) != len(batch):
        raise DataError(f"the search answered {len(batch)} queries with {len(found)} lists")
    run: Run = {}
    for query, ranked in zip(batch, found, strict=True):
        run[query] = {document: float(score) for document, score in ranked}
        if len(run[query]) != len(ranked):
            raise DataError(f"the search found a document twice for query {query!r}; search at document level")
    return run


def _ranking(row: Mapping[str, Any]) -> dict[str, float]:
    """Of a row of `RunFolder`."""
    return {str(document): float(score) for document, score in row["ranking"]}
