"""What writing questions came to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ragkit.retrievers.training.question_prompts import QuestionKind, Verdict, read_reply
from ragkit.training.passage_sources import PassagePool

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

    pool: Mapping[str, object]
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
            "passages": dict(self.pool),
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

        pool = self.pool
        splits = pool["splits"]
        out = f"{pool['held_out']} held out" + (
            f" ({', '.join(splits)})" if isinstance(splits, list) and splits else ""
        )
        table = Table("kind", *_OUTCOMES, title=f"{self.num_questions} questions to {pool['passages']} passages")
        for kind, counts in self.outcomes.items():
            table.add_row(kind, *(str(counts[outcome]) for outcome in _OUTCOMES))
        table.caption = (
            f"of {pool['found']} passages {out}, {pool['repeated']} near duplicates, {pool['short']} too short; "
            f"{self.tokens_per_s:.1f} tokens/s written"
        )
        return table


def question_report(
    pool: PassagePool, kinds: Iterable[QuestionKind], rows: Mapping[str, Mapping[str, Any]]
) -> QuestionReport:
    """Of the replies kept so far; rows: by the question's id, which begins with its kind."""
    counted = {str(kind): Counter({outcome: 0 for outcome in _OUTCOMES}) for kind in kinds}
    for id_, row in rows.items():
        counted[id_.partition("/")[0]][_outcome(row)] += 1
    return QuestionReport(
        pool.to_json(),
        {kind: dict(counts) for kind, counts in counted.items()},
        sum(row.get("prompt_tokens", 0) for row in rows.values()),
        sum(row.get("completion_tokens", 0) for row in rows.values()),
        sum(row["seconds"] for row in rows.values()),
    )


def _outcome(row: Mapping[str, Any]) -> str:
    return str(read_reply(row["reply"], row["finish_reason"]).verdict) if "reply" in row else _REFUSED
