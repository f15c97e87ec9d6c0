"""What came of mining negatives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from ragkit.eval.measures.significance import wilson_interval
from ragkit.retrievers.training.examples import TrainingList, TrainingQuestion
from ragkit.retrievers.training.losses import THRESHOLD
from ragkit.retrievers.training.negatives import DenoiseCounts
from ragkit.retrievers.training.question_filter import FilterReport, normalise_scores

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True, slots=True)
class FalseNegatives:
    """What of the negatives is judged relevant, where one relevant passage a question is known and others hidden.

    before: of the first passages that the teacher likes; after: of those left by the rule that what it scores
    above 0.6 times the positive is no negative. negatives_*, relevant_*: counts.
    """

    num_questions: int
    negatives_before: int
    relevant_before: int
    negatives_after: int
    relevant_after: int

    @classmethod
    def of(
        cls, lists: Sequence[TrainingList], questions: Mapping[str, TrainingQuestion], list_length: int
    ) -> FalseNegatives:
        """lists: with the teacher's own scores. Only questions with two relevant passages or more can tell."""
        telling = [entry for entry in lists if len(_relevant(entry, questions)) > 1]
        counts = [0, 0, 0, 0]
        known = [_known_first(entry, questions) for entry in telling]
        for entry in normalise_scores(known, drops_weak=False) if known else []:
            relevant = _relevant(entry, questions)
            negatives = list(zip(entry.passages, entry.scores, strict=True))[1:list_length]
            left = [name for name, score in negatives if score <= THRESHOLD * entry.scores[0]]
            for place, names in ((0, [name for name, _ in negatives]), (2, left)):
                counts[place] += len(names)
                counts[place + 1] += sum(name in relevant for name in names)
        return cls(len(telling), *counts)

    @property
    def before(self) -> float:
        return self.relevant_before / max(1, self.negatives_before)

    @property
    def after(self) -> float:
        return self.relevant_after / max(1, self.negatives_after)

    def line(self) -> str:
        if not self.num_questions:
            return "false negatives: no question has two known relevant passages, so that nothing can be told"
        parts = [
            f"{share:.2%} [{interval.low:.2%}, {interval.high:.2%}] {when}"
            for when, share, interval in (
                ("before", self.before, wilson_interval(self.relevant_before, max(1, self.negatives_before))),
                ("after", self.after, wilson_interval(self.relevant_after, max(1, self.negatives_after))),
            )
        ]
        return f"false negatives, on {self.num_questions} questions: {' and '.join(parts)} de-noising"


def _relevant(entry: TrainingList, questions: Mapping[str, TrainingQuestion]) -> set[str]:
    """Sources that the list holds: a source may be no passage of the folder."""
    return set(questions[entry.question].sources).intersection(entry.passages)


def _known_first(entry: TrainingList, questions: Mapping[str, TrainingQuestion]) -> TrainingList:
    """The relevant passage that the teacher likes best is the one known, at the list's highest score."""
    relevant = _relevant(entry, questions)
    known = next(name for name in entry.passages if name in relevant)
    rest = [(name, score) for name, score in zip(entry.passages, entry.scores, strict=True) if name != known]
    names, scores = zip((known, max(entry.scores)), *rest, strict=True)
    return TrainingList(entry.question, names, scores)


@dataclass(frozen=True, slots=True)
class MiningReport:
    """filtered: of questions that a model wrote. false_negatives: None where no question has labels."""

    num_questions: int
    num_lists: int
    num_passages: int
    dropped: DenoiseCounts
    filtered: FilterReport
    false_negatives: FalseNegatives | None

    def summary(self) -> str:
        mean = self.num_passages / max(1, self.num_lists)
        return (
            f"{self.num_lists} lists of {self.num_questions} questions, {mean:.1f} passages each; dropped: "
            f"{self.dropped.repeated} copies of the positive, {self.dropped.too_good} too good for a negative"
        )

    def why_none(self, list_length: int) -> str:
        """Where no list is left: what became of the questions."""
        filtered = self.filtered.total
        stages = [
            (filtered.not_found, "not found again"),
            (filtered.too_short, f"of fewer than {list_length} passages (give a smaller list length)"),
            (filtered.not_first, "not first for the teacher"),
        ]
        counts = [f"{number} {stage}" for number, stage in stages if number]
        return (
            f"no list is left of {self.num_questions} questions: {', '.join(counts) or 'they have no negatives'}"
        )

    def to_json(self) -> dict[str, object]:
        told = self.false_negatives
        return {
            "questions": self.num_questions,
            "lists": self.num_lists,
            "passages": self.num_passages,
            "dropped": asdict(self.dropped),
            "filtered": self.filtered.to_json(),
            "false_negatives": asdict(told) | {"before": told.before, "after": told.after} if told else None,
        }

    def table(self) -> Table:
        from rich.table import Table

        table = self.filtered.table() if self.filtered.kinds else Table(self.summary())
        lines = [self.summary()] if self.filtered.kinds else []
        if self.false_negatives is not None:
            lines.append(self.false_negatives.line())
        table.caption = "\n".join(lines)
        return table
