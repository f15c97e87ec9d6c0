"""What writing questions came to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ragkit.retrievers.training.extracted_questions import ExtractedKind
from ragkit.retrievers.training.question_prompts import Verdict, WrittenText, read_reply
from ragkit.training.passage_sources import PassagePool
from ragkit.training.question_plan import AnyKind, kinds_of

if TYPE_CHECKING:
    from rich.table import Table

_REFUSED = "refused"
_OUTCOMES = (*map(str, Verdict), _REFUSED)


@dataclass(frozen=True, slots=True)
class QuestionReport:
    """outcomes: by kind of question, how many replies were kept, and how many not by the reason (`Verdict`).

    "refused": requests that the engine did not take. prompt_tokens, completion_tokens, seconds: of all sessions,
    without loading the engine.
    """

    pool: PassagePool
    outcomes: Mapping[str, Mapping[str, int]]
    prompt_tokens: int
    completion_tokens: int
    seconds: float

    @property
    def tokens_per_s(self) -> float:
        """Tokens written in a second, those of the prompts not counted."""
        return self.completion_tokens / self.seconds if self.seconds else 0.0

    @property
    def num_questions(self) -> int:
        return sum(counts[Verdict.kept] for counts in self.outcomes.values())

    def to_json(self) -> dict[str, object]:
        """What ``ragkit train questions --json`` prints."""
        return {
            "passages": self.pool.to_json(),
            "questions": self.num_questions,
            "replies": {kind: dict(counts) for kind, counts in self.outcomes.items()},
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "seconds": round(self.seconds, 3),
            "tokens_per_s": round(self.tokens_per_s, 1),
        }

    def table(self) -> Table:
        """What ``ragkit train questions`` prints."""
        from rich.table import Table

        pool, speed = self.pool, f"; {self.tokens_per_s:.1f} tokens/s written" if self.completion_tokens else ""
        title = f"{self.num_questions} questions to {len(pool.passages)} passages"
        table = Table("kind", *_OUTCOMES, title=title)
        for kind, counts in self.outcomes.items():
            table.add_row(kind, *(str(counts[outcome]) for outcome in _OUTCOMES))
        splits = f" (relevant in {', '.join(pool.splits)})" if pool.splits else ""
        table.caption = (
            f"of {pool.found} passages {pool.held_out} held out{splits}, {pool.repeated} near duplicates, "
            f"{pool.short} too short{speed}"
        )
        return table


def question_report(
    pool: PassagePool, kinds: Iterable[AnyKind], rows: Mapping[str, Mapping[str, Any]]
) -> QuestionReport:
    """Of the replies kept so far; rows: by the question's id, which begins with its kind."""
    counted = {str(kind): Counter(dict.fromkeys(_OUTCOMES, 0)) for kind in kinds}
    for id_, row in rows.items():
        word = id_.partition("/")[0]
        written = read_row(kinds_of(word)[0], row)
        counted[word][_REFUSED if written is None else str(written.verdict)] += 1
    return QuestionReport(
        pool,
        {kind: dict(counts) for kind, counts in counted.items()},
        sum(row.get("prompt_tokens", 0) for row in rows.values()),
        sum(row.get("completion_tokens", 0) for row in rows.values()),
        sum(row.get("seconds", 0.0) for row in rows.values()),
    )


def read_row(kind: AnyKind, row: Mapping[str, Any]) -> WrittenText | None:
    """What a kept row says; None where the engine refused the request."""
    if isinstance(kind, ExtractedKind):
        return WrittenText(row["extracted"], Verdict.kept if row["extracted"] else Verdict.empty)
    return read_reply(kind, row["reply"], row["finish_reason"]) if "reply" in row else None
