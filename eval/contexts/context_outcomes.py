"""What came of asking a question in a cell of a context sweep, and what a cell's questions say together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from statistics import fmean
from typing import Any, Literal

from ragkit.eval.contexts.context_probe import Cell, ContextOrder, Negatives
from ragkit.eval.measures.answer_metrics import containment, token_f1
from ragkit.eval.measures.significance import (
    Interval,
    bootstrap_difference,
    bootstrap_interval,
    holm,
    paired_randomization,
    wilson_interval,
)
from ragkit.eval.sets.context_sets import ContextQuestion

Skip = Literal["", "more gold passages than k", "too few passages without an answer", "longer than the context"]
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Outcome:
    """skipped: why the question was not asked, "" where it was.

    correct: 1.0 where a gold answer stands in the answer after normalisation, else 0.0. f1: of words. misled: as
    `correct` of the set's wrong answers; None where it has none. num_tokens: of the prompt. prompt: a digest of
    it. gold_at: positions of the gold passages (from 1).
    """

    skipped: Skip = ""
    correct: float = 0.0
    f1: float = 0.0
    misled: float | None = None
    answer: str = ""
    num_tokens: int = 0
    prompt: str = ""
    gold_at: tuple[int, ...] = ()

    def to_row(self) -> dict[str, Any]:
        """As a line of the run's folder; of a question that was not asked only why."""
        return {"skipped": self.skipped} if self.skipped else asdict(self)

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Outcome:
        return cls(**{**row, "gold_at": tuple(row.get("gold_at", ()))})


def score_answer(
    question: ContextQuestion, answer: str, num_tokens: int, prompt: str, gold_at: tuple[int, ...]
) -> Outcome:
    """An answer, its marks taken out, against the gold answers."""
    wrong = question.wrong_answers
    return Outcome(
        correct=containment(answer, question.answers),
        f1=token_f1(answer, question.answers),
        misled=containment(answer, wrong) if wrong else None,
        answer=answer,
        num_tokens=num_tokens,
        prompt=prompt,
        gold_at=gold_at,
    )


@dataclass(frozen=True, slots=True)
class CellSummary:
    """num_asked: questions that stand behind the means; the others are in `skipped`, by reason.

    accuracy: share of right answers, with Wilson's interval. f1: mean, with a bootstrap interval. common_accuracy:
    of the questions that were asked in every cell that has any. misled: share of answers that hold a wrong answer
    of the set. Means are None where no question was asked.
    """

    cell: Cell
    num_asked: int
    skipped: Mapping[str, int]
    accuracy: float | None = None
    accuracy_interval: Interval | None = None
    f1: float | None = None
    f1_interval: Interval | None = None
    common_accuracy: float | None = None
    misled: float | None = None
    mean_tokens: float | None = None


@dataclass(frozen=True, slots=True)
class OrderComparison:
    """Accuracy of order `b` less that of `a` over the same questions and passages, with a bootstrap interval.

    p: of paired randomisation; holm_p: corrected for all comparisons of the sweep that were tested.
    """

    negatives: Negatives
    k: int
    a: ContextOrder
    b: ContextOrder
    num_questions: int
    difference: float
    interval: Interval
    p: float
    holm_p: float


@dataclass(frozen=True, slots=True)
class SamePrompts:
    """Two orders that put the same prompts for every question: there is nothing to test."""

    negatives: Negatives
    k: int
    a: ContextOrder
    b: ContextOrder


Outcomes = Mapping[Cell, Mapping[str, Outcome]]
"""By cell and question id."""


def common_questions(outcomes: Outcomes) -> frozenset[str]:
    """Questions asked in every cell in which any was."""
    asked = [frozenset(found) for found in map(_asked, outcomes.values()) if found]
    return frozenset.intersection(*asked) if asked else frozenset()


def summarise(cell: Cell, outcomes: Mapping[str, Outcome], common: frozenset[str], seed: int) -> CellSummary:
    """Means and intervals over the questions that were asked in a cell."""
    skipped: Counter[str] = Counter(outcome.skipped for outcome in outcomes.values() if outcome.skipped)
    asked = _asked(outcomes)
    if not asked:
        return CellSummary(cell, 0, dict(skipped))
    right, scores = ([getattr(one, name) for one in asked.values()] for name in ("correct", "f1"))
    misled = [outcome.misled for outcome in asked.values() if outcome.misled is not None]
    return CellSummary(
        cell,
        len(asked),
        dict(skipped),
        fmean(right),
        wilson_interval(sum(right), len(right)),
        fmean(scores),
        bootstrap_interval(scores, confidence=CONFIDENCE, seed=seed),
        fmean(asked[id_].correct for id_ in common) if common else None,
        fmean(misled) if misled else None,
        fmean(outcome.num_tokens for outcome in asked.values()),
    )


def compare_orders(outcomes: Outcomes, seed: int) -> list[OrderComparison]:
    """Every two orders of the same negatives and k, over the questions asked in both.

    Orders that make the same prompts, as all do of one passage, are left out: they would count into Holm's
    correction and take power from the others.
    """
    found = [
        _comparison(first, second, [a.correct for a, _ in both], [b.correct for _, b in both], seed)
        for first, second, both in _paired(outcomes)
        if not _are_same_prompts(first, both)
    ]
    adjusted = holm([one.p for one in found])
    return [replace(one, holm_p=p) for one, p in zip(found, adjusted, strict=True)]


def same_prompts(outcomes: Outcomes) -> list[SamePrompts]:
    """The pairs of orders that `compare_orders` leaves out."""
    return [
        SamePrompts(first.negatives, first.k, *_orders_of(first, second))
        for first, second, both in _paired(outcomes)
        if _are_same_prompts(first, both)
    ]


def _paired(outcomes: Outcomes) -> Iterator[tuple[Cell, Cell, list[tuple[Outcome, Outcome]]]]:
    """Two orders of the same negatives and k, with the outcomes of each question that was asked in both."""
    for first, second in combinations([cell for cell in outcomes if cell.order is not None], 2):
        if (first.negatives, first.k) != (second.negatives, second.k):
            continue
        a, b = _asked(outcomes[first]), _asked(outcomes[second])
        if both := [(a[id_], b[id_]) for id_ in a if id_ in b]:
            yield first, second, both


def _are_same_prompts(cell: Cell, both: Sequence[tuple[Outcome, Outcome]]) -> bool:
    """At a temperature digests differ where prompts do not, so one passage is known by its k."""
    return cell.k == 1 or all(a.prompt and a.prompt == b.prompt for a, b in both)


def _orders_of(first: Cell, second: Cell) -> tuple[ContextOrder, ContextOrder]:
    assert first.order is not None
    assert second.order is not None
    return first.order, second.order


def _comparison(
    first: Cell, second: Cell, left: Sequence[float], right: Sequence[float], seed: int
) -> OrderComparison:
    p = paired_randomization(left, right, seed=seed)
    interval = bootstrap_difference(left, right, confidence=CONFIDENCE, seed=seed)
    difference = fmean(right) - fmean(left)
    return OrderComparison(
        first.negatives, first.k, *_orders_of(first, second), len(left), difference, interval, p, p
    )


def _asked(outcomes: Mapping[str, Outcome]) -> dict[str, Outcome]:
    return {id_: outcome for id_, outcome in outcomes.items() if not outcome.skipped}
