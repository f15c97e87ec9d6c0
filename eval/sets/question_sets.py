"""Sets of questions with gold answers: a file of one's own, BEIR folders with answers, page-level collections.

A file of one's own is JSON Lines, a question a line:
``{"id": "q1", "question": "…", "answers": ["…"], "pages": [{"document": "report.pdf", "page": 3}]}``.
answers: each right by itself; an empty list says that the documents hold no answer; without the key none is known,
and only citations are measured. pages: where the answer stands, documents by the ids that `ragkit ask --json`
shows, pages from 1; without "page" the whole document. document: optional, the one that is asked about.

BEIR folders carry answers in ``metadata.answers`` (or ``metadata.answer``) of queries.jsonl; gold places are the
relevant documents. Page-level collections (pdfs/ beside BEIR files) carry them in questions.jsonl: question,
answer, relevant_doc, relevant_pages, and answerable where that is known.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ragkit.errors import DataError
from ragkit.eval.sets.beir import BeirCollection, read_beir, read_rows
from ragkit.eval.sets.page_sets import PageScope, PageSet, read_page_set
from ragkit.eval.sets.questions import Place, Question

# What sets write in the place of an answer where the documents hold none (MMLongBench-Doc, SQuAD 2.0's users).
_UNANSWERABLE = frozenset({"not answerable", "unanswerable"})
# Of a file of one's own; a line may hold other keys too.
_KEYS = ("id", "question", "answers", "pages", "document")
_PAGE_LEVEL_FILE = "questions.jsonl"


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """documents: what the questions are asked over; None where that is a corpus of the user's own."""

    path: Path
    questions: tuple[Question, ...]
    documents: BeirCollection | PageSet | None = None


def read_question_set(path: Path, split: str = "test", scope: PageScope | None = None) -> QuestionSet:
    """Read a file of questions, or a folder. split: of a folder; scope: of a page-level collection.

    Raises:
        DataError: a line is malformed (it is named by file and number), or no question has anything to measure.
    """
    if (path / _PAGE_LEVEL_FILE).is_file():
        found = _page_level(path, split, scope)
    elif path.is_dir():
        found = _beir(path, split)
    else:
        found = QuestionSet(path, tuple(_own(place, row) for place, row in _rows(path)))
    if not any(question.answers or question.places or not question.is_answerable for question in found.questions):
        raise DataError(f"{path}: no question has gold answers or gold pages; there is nothing to measure")
    return found


def _rows(path: Path) -> list[tuple[str, dict[str, Any]]]:
    return [(place, {**row, "id": id_}) for place, id_, row in read_rows(path, "id")]


def _own(place: str, row: dict[str, Any]) -> Question:
    for key in sorted(row.keys() - set(_KEYS)):
        if near := difflib.get_close_matches(key, _KEYS, n=1, cutoff=0.8):
            raise DataError(f"{place}: {key!r} is not read; did you mean {near[0]!r}?")
    answers = _texts(row, "answers", place) if "answers" in row else None
    return Question(
        row["id"],
        _text(row, "question", place),
        _without_unanswerable(answers or ()),
        answers is None or bool(_without_unanswerable(answers)),
        frozenset(_place(item, place) for item in _list(row, "pages", place)),
        _text(row, "document", place) if "document" in row else None,
        place,
    )


def _place(item: Any, place: str) -> Place:
    document = item.get("document") if isinstance(item, dict) else None
    if not isinstance(document, str) or not document:
        raise DataError(f'{place}: "pages" holds {item!r}, expected {{"document": "…", "page": 1}}')
    page = item.get("page")
    if page is None:
        return Place(document)
    return Place(document, _page_number(page, place))


def _beir(folder: Path, split: str) -> QuestionSet:
    collection = read_beir(folder, split)
    questions = []
    for place, query, row in read_rows(folder / "queries.jsonl"):
        if query not in collection.queries:
            continue
        metadata = row.get("metadata") or {}
        if not isinstance(metadata, dict):
            raise DataError(f'{place}: "metadata" is {metadata!r}, expected an object')
        answers = _texts(metadata, "answers", place) if "answers" in metadata else ()
        if not answers and "answer" in metadata:
            answers = (_text(metadata, "answer", place),)
        relevant = [document for document, grade in collection.qrels[query].items() if grade > 0]
        golds = _without_unanswerable(answers)
        questions.append(
            Question(
                query,
                collection.queries[query],
                golds,
                bool(golds) or not answers,
                frozenset(map(Place, relevant)),
                origin=place,
            )
        )
    return QuestionSet(folder, tuple(questions), collection)


def _page_level(folder: Path, split: str, scope: PageScope | None) -> QuestionSet:
    documents = read_page_set(folder, split, scope)
    rows = [_about_pages(place, row) for place, row in _rows(folder / _PAGE_LEVEL_FILE)]
    kept = tuple(question for question in rows if question.document in documents.pages)
    return QuestionSet(folder, kept, documents)


def _about_pages(place: str, row: dict[str, Any]) -> Question:
    answer, document = _text(row, "answer", place), _text(row, "relevant_doc", place)
    numbers = [_page_number(number, place) for number in _list(row, "relevant_pages", place)]
    golds = _without_unanswerable((_joined(answer),))
    answerable = row.get("answerable", bool(golds))
    if not isinstance(answerable, bool):
        raise DataError(f'{place}: "answerable" is {answerable!r}, expected true or false')
    places = frozenset(Place(document, number) for number in numbers)
    return Question(
        row["id"], _text(row, "question", place), golds if answerable else (), answerable, places, document, place
    )


def _joined(answer: str) -> str:
    """MMLongBench-Doc writes answers that are lists as Python does; they are scored as their items in a row."""
    if not (answer.startswith("[") and answer.endswith("]")):
        return answer
    try:
        items = ast.literal_eval(answer)
    except (ValueError, SyntaxError):
        return answer
    return ", ".join(map(str, items)) if isinstance(items, list) and items else answer


def _without_unanswerable(answers: Sequence[str]) -> tuple[str, ...]:
    return tuple(answer for answer in answers if answer.strip().lower() not in _UNANSWERABLE)


def _page_number(number: Any, place: str) -> int:
    if type(number) is not int or number < 1:
        raise DataError(f"{place}: the page is {number!r}, expected a whole number from 1")
    return number


def _text(row: dict[str, Any], key: str, place: str) -> str:
    text = row.get(key)
    if not isinstance(text, str) or not text.strip():
        raise DataError(f'{place}: "{key}" is {text!r}, expected text')
    return text


def _texts(row: dict[str, Any], key: str, place: str) -> tuple[str, ...]:
    texts = _list(row, key, place)
    wrong = [text for text in texts if not isinstance(text, str) or not text.strip()]
    if wrong:
        raise DataError(f'{place}: "{key}" holds {wrong[0]!r}, expected text')
    return tuple(texts)


def _list(row: dict[str, Any], key: str, place: str) -> list[Any]:
    items = row.get(key, [])
    if not isinstance(items, list):
        raise DataError(f'{place}: "{key}" is {items!r}, expected a list')
    return items
