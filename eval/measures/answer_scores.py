"""What one answer scores, by measure.

A measure that a question does not have (no gold number, no gold pages) is left out. A refusal scores 0 in all
measures of words and numbers. Of a question that the documents do not answer only `right_refusal` is measured.
"""

from __future__ import annotations

from collections.abc import Collection

from ragkit.eval.measures.answer_metrics import anls, containment, exact_match, token_f1, without_citation_marks
from ragkit.eval.measures.citation_metrics import count_citations
from ragkit.eval.measures.number_match import number_match
from ragkit.eval.measures.vqa_scoring import is_correct
from ragkit.eval.sets.questions import Place, Question

# What each measure is called in JSON, and what a table says of it.
MEASURES = {
    "exact_match": "exact match (SQuAD)",
    "f1": "token F1 (SQuAD)",
    "anls": "ANLS (DocVQA)",
    "number": "number within 5 %",
    "vqa": "VQA accuracy",
    "containment": "gold words contained",
    "citation_precision": "citation precision, where cited",
    "citation_recall": "citation recall",
    "answered": "answered, of what has an answer",
    "right_refusal": "refused, of what has none",
}


def score_answer(question: Question, text: str, cited: Collection[Place], *, is_refusal: bool) -> dict[str, float]:
    """By the names of `MEASURES`. text: with its citation marks; is_refusal: it says that there is no answer."""
    if not question.is_answerable:
        return {"right_refusal": float(is_refusal)}
    scores = _of_words(question, "" if is_refusal else text) if question.answers else {}
    if is_refusal:
        scores = dict.fromkeys(scores, 0.0)
    counts = count_citations(cited, question.places)
    places = {"citation_precision": counts.precision, "citation_recall": counts.recall}
    known = {name: value for name, value in places.items() if value is not None}
    return scores | known | {"answered": float(not is_refusal)}


def _of_words(question: Question, text: str) -> dict[str, float]:
    answer, golds = without_citation_marks(text), question.answers
    number = number_match(answer, golds, question.text)
    return {
        "exact_match": exact_match(answer, golds),
        "f1": token_f1(answer, golds),
        "anls": anls(answer, golds),
        **({} if number is None else {"number": number}),
        "vqa": float(is_correct(answer, golds)),
        "containment": containment(answer, golds),
    }
