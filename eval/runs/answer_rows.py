"""The row that a run keeps of an answered question: all that its measures are computed from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ragkit.errors import DataError
from ragkit.eval.measures.answer_scores import score_answer
from ragkit.eval.measures.citation_metrics import CitationCounts, count_citations
from ragkit.eval.sets.questions import Place, Question, question_from_json
from ragkit.records import Answer


@dataclass(frozen=True, slots=True)
class FoundPlace:
    """A passage that was retrieved."""

    place: Place
    score: float


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """An answer with its question. Documents bear the names that the set of questions gives them.

    seconds: from question to answer, waiting for others included.
    """

    question: Question
    text: str
    is_refusal: bool
    engine: str
    cited: tuple[Place, ...]
    hits: tuple[FoundPlace, ...]
    notes: tuple[str, ...]
    finish_reason: str
    timings_ms: Mapping[str, float]
    seconds: float
    prompt_tokens: int
    completion_tokens: int

    def scores(self) -> dict[str, float]:
        """By measure, as `score_answer` has them."""
        return score_answer(self.question, self.text, self.cited, is_refusal=self.is_refusal)

    def citation_counts(self) -> CitationCounts:
        """All 0 where the documents hold no answer."""
        return count_citations(self.cited, self.question.places if self.question.is_answerable else ())

    def to_json(self) -> dict[str, object]:
        """As it stands in finished.jsonl; `row_from_json` gives it back."""
        return {
            **{name: value for name, value in self.question.to_json().items() if name != "id"},
            "answer": self.text,
            "found": not self.is_refusal,
            "engine": self.engine,
            "citations": [place.to_json() for place in self.cited],
            "hits": [{**hit.place.to_json(), "score": hit.score} for hit in self.hits],
            "notes": list(self.notes),
            "finish_reason": self.finish_reason,
            "timings_ms": dict(self.timings_ms),
            "seconds": self.seconds,
            "usage": {"prompt_tokens": self.prompt_tokens, "completion_tokens": self.completion_tokens},
            "scores": self.scores(),
        }


def row_of(question: Question, answer: Answer, place_of: Mapping[str, Place], seconds: float) -> AnswerRow:
    """The row of an answer.

    place_of: what the set of questions calls the corpus's documents, where it calls them otherwise; with a page
    where each page of the set is a document of the corpus.
    """

    def named(document: str, page: int) -> Place:
        place = place_of.get(document, Place(document))
        return place if place.page is not None else Place(place.document, page)

    return AnswerRow(
        question=question,
        text=answer.text,
        is_refusal=not answer.found,
        engine=answer.engine,
        cited=tuple(named(citation.document, citation.page) for citation in answer.citations),
        hits=tuple(
            FoundPlace(named(hit.passage.document, hit.passage.page), float(hit.score)) for hit in answer.hits
        ),
        notes=answer.notes,
        finish_reason=answer.finish_reason,
        timings_ms=dict(answer.timings_ms),
        seconds=seconds,
        prompt_tokens=answer.usage.prompt_tokens,
        completion_tokens=answer.usage.completion_tokens,
    )


def row_from_json(query: str, row: Mapping[str, Any]) -> AnswerRow:
    """A row of finished.jsonl.

    Raises:
        DataError: it is not the row of an answer, as in a run of another command.
    """
    try:
        return AnswerRow(
            question=question_from_json({**row, "id": query}),
            text=row["answer"],
            is_refusal=not row["found"],
            engine=row["engine"],
            cited=tuple(Place(place["document"], place["page"]) for place in row["citations"]),
            hits=tuple(FoundPlace(Place(hit["document"], hit["page"]), hit["score"]) for hit in row["hits"]),
            notes=tuple(row["notes"]),
            finish_reason=row["finish_reason"],
            timings_ms=row["timings_ms"],
            seconds=row["seconds"],
            prompt_tokens=row["usage"]["prompt_tokens"],
            completion_tokens=row["usage"]["completion_tokens"],
        )
    except (KeyError, TypeError) as error:
        raise DataError(
            f"query {query!r} has no row of an answer ({error!r}); was it ragkit eval answers?"
        ) from error
