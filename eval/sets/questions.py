"""Questions with gold answers and gold places: what answers are measured against."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ragkit.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Place:
    """Where an answer stands: a page of a document (from 1), or the document where page is None."""

    document: str
    page: int | None = None

    def to_json(self) -> dict[str, object]:
        return {"document": self.document, "page": self.page}


@dataclass(frozen=True, slots=True)
class Question:
    """A question, and what is known of its answer.

    answers: gold answers, each right by itself; empty where none is known, and where there is none.
    is_answerable: False where the documents hold no answer, so that only a refusal is right.
    places: where the answer stands; empty where that is not known. document: the one that is asked about.
    origin: file and line, for messages.
    """

    id: str
    text: str
    answers: tuple[str, ...] = ()
    is_answerable: bool = True
    places: frozenset[Place] = frozenset()
    document: str | None = None
    origin: str = field(default="", compare=False)

    def to_json(self) -> dict[str, object]:
        """All but the origin: what decides how an answer is asked for and scored."""
        return {
            "id": self.id,
            "question": self.text,
            "answers": list(self.answers),
            "answerable": self.is_answerable,
            "places": [place.to_json() for place in sorted(self.places, key=_order)],
            "document": self.document,
        }


def question_from_json(row: Mapping[str, Any]) -> Question:
    """What `Question.to_json` wrote. Raises KeyError or TypeError where something is missing."""
    return Question(
        row["id"],
        row["question"],
        tuple(row["answers"]),
        row["answerable"],
        frozenset(Place(place["document"], place["page"]) for place in row["places"]),
        row["document"],
    )


def choose_questions(questions: Sequence[Question], limit: int | None, seed: int) -> list[Question]:
    """At most `limit` questions drawn without replacement, in their own order; all where limit is None.

    Raises:
        ConfigError: the limit is below 1.
    """
    if limit is not None and limit < 1:
        raise ConfigError(f"limit = {limit}; ask at least one question")
    if limit is None or limit >= len(questions):
        return list(questions)
    drawn = random.Random(seed).sample(range(len(questions)), limit)
    return [questions[number] for number in sorted(drawn)]


def fingerprint_questions(questions: Sequence[Question]) -> str:
    """Hex SHA-256 of the questions with all that is known of their answers."""
    lines = [json.dumps(question.to_json(), sort_keys=True) for question in questions]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _order(place: Place) -> tuple[str, int]:
    return place.document, place.page or 0
