"""The queries that changed most from one system to another, with what each system returned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ragkit.errors import DataError
from ragkit.eval.reports.comparison import Comparison
from ragkit.eval.runs.systems import System
from ragkit.eval.sets.beir import read_rows
from ragkit.eval.sets.trec import Qrels

# What is shown of each ranking: its first documents, and of the relevant ones behind them, so far down, so many.
NUM_DOCUMENTS, _RELEVANT_WITHIN, _MOST_RELEVANT = 5, 100, 5
_TEXT_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class Found:
    """What a system found. grade: None where it was not judged. text: title and beginning, if known."""

    rank: int
    document: str
    score: float
    grade: int | None
    text: str


@dataclass(frozen=True, slots=True)
class Returned:
    """What a system returned for a query, best first, and what that scored. answer: its words, if it answers."""

    system: str
    value: float
    found: tuple[Found, ...]
    answer: str


@dataclass(frozen=True, slots=True)
class ChangedQuery:
    """measure: by which it changed. text: of the query, if known. relevant: graded above 0. gold: answers."""

    query: str
    text: str
    measure: str
    relevant: tuple[str, ...]
    gold: tuple[str, ...]
    a: Returned
    b: Returned

    @property
    def difference(self) -> float:
        return self.b.value - self.a.value


@dataclass(frozen=True, slots=True)
class Texts:
    """Words of queries and documents by id, where the collection is at hand."""

    queries: Mapping[str, str] = field(default_factory=dict)
    documents: Mapping[str, str] = field(default_factory=dict)


def changed_queries(
    comparison: Comparison, systems: Sequence[System], qrels: Qrels, data: Path | None = None
) -> list[ChangedQuery]:
    """The ten most changed queries of each pair by the first measure.

    Args:
        qrels: of rankings; answers bring their own gold answers and places.
        data: folder in BEIR's layout, whose texts are shown.

    Raises:
        DataError: the folder's files are missing or malformed, or it has none of the changed queries.
    """
    by_name = {system.name: system for system in systems}
    changed = [
        (by_name[a], by_name[b], query) for a, b in comparison.pairs for query in comparison.most_changed(a, b)
    ]
    texts = Texts() if data is None else _read_texts(data, changed, qrels)
    return [
        ChangedQuery(
            query,
            texts.queries.get(query, str(a.rows.get(query, {}).get("question", ""))),
            comparison.measures[0],
            tuple(document for document, grade in _grades(a, query, qrels).items() if grade > 0),
            tuple(map(str, a.rows.get(query, {}).get("answers", ()))),
            _returned(comparison, a, query, qrels, texts),
            _returned(comparison, b, query, qrels, texts),
        )
        for a, b, query in changed
    ]


def _returned(comparison: Comparison, system: System, query: str, qrels: Qrels, texts: Texts) -> Returned:
    grades = _grades_of_found(system, query, qrels)
    found = tuple(
        Found(rank, document, score, grades.get(document), texts.documents.get(document, ""))
        for rank, (document, score) in _shown(system, query, qrels)
    )
    value = comparison.scores[system.name][comparison.measures[0]][query]
    answer = "" if system.run is not None else str(system.rows[query].get("answer", ""))
    return Returned(system.name, value, found, answer)


def _shown(system: System, query: str, qrels: Qrels) -> list[tuple[int, tuple[str, float]]]:
    """Ranks from 1, documents and scores: the first, and relevant ones behind, by which a measure may differ."""
    grades = _grades_of_found(system, query, qrels)
    ranked = list(enumerate(_best(system, query), 1))
    behind = [one for one in ranked[NUM_DOCUMENTS:_RELEVANT_WITHIN] if grades.get(one[1][0], 0) > 0]
    return [*ranked[:NUM_DOCUMENTS], *behind[:_MOST_RELEVANT]]


def _best(system: System, query: str) -> list[tuple[str, float]]:
    """What the system found, best first, with scores; of answers the places, in the order they were found."""
    if system.run is not None:
        return trec_order(system.run.get(query, {}))
    hits = system.rows[query].get("hits", ())
    return [(_place(hit), float(hit["score"])) for hit in hits]


def _grades(system: System, query: str, qrels: Qrels) -> Mapping[str, int]:
    if system.run is not None:
        return qrels.get(query, {})
    return {_place(place): 1 for place in system.rows[query].get("places", ())}


def _grades_of_found(system: System, query: str, qrels: Qrels) -> Mapping[str, int]:
    """Of a gold document without a page every page is gold, as where citations are counted."""
    grades = _grades(system, query, qrels)
    if system.run is not None:
        return grades
    row = system.rows[query]
    whole = {place["document"] for place in row.get("places", ()) if place.get("page") is None}
    return {**grades, **{_place(hit): 1 for hit in row.get("hits", ()) if hit["document"] in whole}}


def _place(facts: Mapping[str, object]) -> str:
    page = facts.get("page")
    return str(facts["document"]) if page is None else f"{facts['document']}#p{page}"


def trec_order(scores: Mapping[str, float]) -> list[tuple[str, float]]:
    """Documents and scores as trec_eval ranks them: by score in float32, equal ones by id, descending."""
    return sorted(scores.items(), key=lambda item: (np.float32(item[1]), item[0]), reverse=True)


def _read_texts(folder: Path, changed: Sequence[tuple[System, System, str]], qrels: Qrels) -> Texts:
    queries = {query for _, _, query in changed}
    documents = {
        document
        for a, b, query in changed
        for system in (a, b)
        for _, (document, _) in _shown(system, query, qrels)
    }
    known = _texts(folder / "queries.jsonl", queries)
    if queries and not known:
        raise DataError(
            f"{folder / 'queries.jsonl'} has none of the {len(queries)} queries to be shown, {min(queries)!r} "
            "among them; give the folder of the collection that the judgements are of"
        )
    return Texts(known, _texts(folder / "corpus.jsonl", documents))


def _texts(path: Path, wanted: set[str]) -> dict[str, str]:
    rows: Iterable[tuple[str, str, dict[str, object]]] = read_rows(path) if wanted else ()
    return {identifier: _beginning(row) for _, identifier, row in rows if identifier in wanted}


def _beginning(row: Mapping[str, object]) -> str:
    title, text = (" ".join(str(row.get(name) or "").split()) for name in ("title", "text"))
    whole = f"{title}: {text}" if title and not text.startswith(title) else text
    return whole if len(whole) <= _TEXT_CHARACTERS else f"{whole[: _TEXT_CHARACTERS - 1]}…"
