"""Which questions are good enough to train on, and scores on one scale: the filter chain of CADET.

Tamber et al. 2025 (arXiv 2502.19712): a question stays if its source is found again (`round_trip`), if the teacher
puts the source first, and if the teacher thinks enough of it (`filter_lists`). What each stage drops is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ragkit.errors import DataError
from ragkit.retrievers.training.examples import TrainingList, TrainingQuestion

if TYPE_CHECKING:
    from rich.table import Table

ROUND_TRIP = 20
LIST_LENGTH = 20
_WEAKEST_PERCENT = 25
_LOWEST_PERCENT, _HIGHEST_PERCENT = 1, 99
_STAGES = ("not_found", "too_short", "not_first", "weak")


@dataclass(frozen=True, slots=True)
class KindCounts:
    """Of one kind of question: how many came, and how many each stage dropped.

    not_found: the source was not among the first passages found. too_short: fewer passages than a list has.
    not_first: the teacher prefers another passage to the source. weak: its best score is among the lowest quarter.
    """

    kind: str
    questions: int
    not_found: int = 0
    too_short: int = 0
    not_first: int = 0
    weak: int = 0

    @property
    def kept(self) -> int:
        return self.questions - self.not_found - self.too_short - self.not_first - self.weak


@dataclass(frozen=True, slots=True)
class FilterReport:
    """What the filters did, by kind of question in the order of the alphabet."""

    kinds: tuple[KindCounts, ...]

    def then(self, after: FilterReport) -> FilterReport:
        """Of both, where `after` is of what this one's stages left."""
        later = {counts.kind: counts for counts in after.kinds}
        return FilterReport(tuple(_added(counts, later.get(counts.kind)) for counts in self.kinds))

    @property
    def total(self) -> KindCounts:
        """Of all kinds."""
        sums = {name: sum(getattr(counts, name) for counts in self.kinds) for name in ("questions", *_STAGES)}
        return KindCounts("all", **sums)

    def to_json(self) -> dict[str, object]:
        """Counts by kind, and of all."""
        rows = (*self.kinds, self.total)
        return {row.kind: {name: getattr(row, name) for name in ("questions", *_STAGES, "kept")} for row in rows}

    def table(self) -> Table:
        """The same for a terminal."""
        from rich.table import Table

        names = ("questions", *_STAGES, "kept")
        table = Table("kind", *(name.replace("_", " ") for name in names), title="questions filtered")
        for row in (*self.kinds, self.total):
            table.add_row(row.kind, *(str(getattr(row, name)) for name in names))
        return table


def round_trip(
    questions: Iterable[TrainingQuestion], found: Mapping[str, Sequence[str]], depth: int = ROUND_TRIP
) -> tuple[list[TrainingQuestion], FilterReport]:
    """Questions of which a source is among the first `depth` passages that a retriever found for them.

    Args:
        found: ids of passages by the question's id, best first.
    """
    asked = list(questions)
    left = [one for one in asked if not set(one.sources).isdisjoint(found.get(one.id, ())[:depth])]
    kept = {question.id for question in left}
    dropped = Counter(question.kind for question in asked if question.id not in kept)
    return left, _report(asked, {"not_found": dropped})


def filter_lists(
    lists: Iterable[TrainingList], questions: Mapping[str, TrainingQuestion], list_length: int = LIST_LENGTH
) -> tuple[list[TrainingList], FilterReport]:
    """Lists of which the teacher puts a source first, with scores from 0 to 1, cut to `list_length` passages.

    Lists are those of one retriever; each kind of question is judged by itself, by all scores of its lists before
    they are cut. A source that no passage surpasses is first, and stands there.

    Args:
        lists: with the teacher's own scores. questions: by id.

    Raises:
        DataError: a score is not finite, or the teacher gives all passages of a kind the same.
    """
    scored = list(lists)
    dropped: dict[str, Counter[str]] = {stage: Counter() for stage in _STAGES}
    by_kind: dict[str, list[TrainingList]] = {}
    for entry in scored:
        question = questions[entry.question]
        ordered = _best_first(entry, question.sources)
        if len(ordered.passages) < list_length:
            dropped["too_short"][question.kind] += 1
        elif ordered.passages[0] not in question.sources:
            dropped["not_first"][question.kind] += 1
        else:
            by_kind.setdefault(question.kind, []).append(ordered)
    kept: dict[str, TrainingList] = {}
    for kind, group in by_kind.items():
        normal = normalise_scores(group, kind)
        dropped["weak"][kind] = len(group) - len(normal)
        kept.update((entry.question, entry.first(list_length)) for entry in normal)
    left = [kept[entry.question] for entry in scored if entry.question in kept]
    return left, _report([questions[entry.question] for entry in scored], dropped)


def normalise_scores(lists: Sequence[TrainingList], kind: str = "", drops_weak: bool = True) -> list[TrainingList]:
    """Lists whose best score reaches the 25th percentile of all scores; the 1st and the 99th become 0 and 1.

    Args:
        kind: of the questions, for messages. drops_weak: False keeps the lists below the percentile too.

    Raises:
        DataError: a score is not finite, or all are the same.
    """
    scores = np.array([score for entry in lists for score in entry.scores], np.float64)
    if not np.isfinite(scores).all():
        question = next(entry.question for entry in lists if not np.isfinite(entry.scores).all())
        raise DataError(f"question {question!r} has a score that is no finite number; score its list anew")
    weakest, low, high = np.percentile(scores, (_WEAKEST_PERCENT, _LOWEST_PERCENT, _HIGHEST_PERCENT))
    if not high > low:
        raise DataError(
            f"the teacher tells nothing apart: its scores of {len(lists)} lists of kind {kind!r} are all "
            f"about {low:g}; use another teacher"
        )
    strong = [entry for entry in lists if not drops_weak or entry.scores[0] >= weakest]
    return [replace(entry, scores=_between(entry.scores, low, high)) for entry in strong]


def _between(scores: Sequence[float], low: float, high: float) -> tuple[float, ...]:
    return tuple(np.clip((np.array(scores, np.float64) - low) / (high - low), 0.0, 1.0).tolist())


def _best_first(entry: TrainingList, sources: Collection[str]) -> TrainingList:
    """Among equal scores sources stand first."""

    def place(number: int) -> tuple[float, bool]:
        return -entry.scores[number], entry.passages[number] not in sources

    order = sorted(range(len(entry.passages)), key=place)
    return replace(
        entry,
        passages=tuple(entry.passages[number] for number in order),
        scores=tuple(entry.scores[number] for number in order),
    )


def _report(questions: Iterable[TrainingQuestion], dropped: Mapping[str, Mapping[str, int]]) -> FilterReport:
    asked = Counter(question.kind for question in questions)
    return FilterReport(
        tuple(
            KindCounts(kind, asked[kind], **{stage: by_kind.get(kind, 0) for stage, by_kind in dropped.items()})
            for kind in sorted(asked)
        )
    )


def _added(before: KindCounts, after: KindCounts | None) -> KindCounts:
    if after is None:
        return before
    return replace(before, **{stage: getattr(before, stage) + getattr(after, stage) for stage in _STAGES})
