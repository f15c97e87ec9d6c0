"""Scoring a run that some system left behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ragkit.errors import DataError
from ragkit.eval.measures.ranking_metrics import CONVENTIONS, RankingScores, score_run

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True, slots=True)
class ScoreReport:
    """scores: of all judged queries. num_unanswered: judged queries that the run lacks. num_unjudged: the reverse.

    shows_queries: whether each query's values are shown.
    """

    scores: RankingScores
    num_queries: int
    num_unanswered: int
    num_unjudged: int
    shows_queries: bool

    def to_json(self) -> dict[str, object]:
        """What ``ragkit eval score --json`` prints."""
        values = {"by_query": self.scores.by_query} if self.shows_queries else {}
        return {
            "measures": self.scores.means,
            "queries": self.num_queries,
            "queries_not_in_run": self.num_unanswered,
            "queries_not_judged": self.num_unjudged,
            **values,
            "conventions": CONVENTIONS,
        }

    def table(self) -> Table:
        """What ``ragkit eval score`` prints: a column a measure, the means last."""
        from rich.table import Table
        from rich.text import Text

        from ragkit.eval.reports.text_tables import one_line

        title = f"{self.num_queries} judged queries, {self.num_unanswered} of them not in the run"
        if self.num_unjudged:
            title += f"; {self.num_unjudged} of the run not judged"
        table = Table("query", *self.scores.means, title=title, caption=CONVENTIONS, min_width=80)
        table.caption_justify = "left"
        if self.shows_queries:
            for query in next(iter(self.scores.by_query.values())):
                table.add_row(
                    Text(one_line(query)), *(f"{values[query]:.4f}" for values in self.scores.by_query.values())
                )
        table.add_row("mean", *(f"{value:.4f}" for value in self.scores.means.values()))
        return table


def score_as_report(
    qrels: Mapping[str, Mapping[str, int]],
    run: Mapping[str, Mapping[str, float]],
    measures: Sequence[str],
    shows_queries: bool = False,
) -> ScoreReport:
    """Score a run against judgements.

    Raises:
        ConfigError: a measure is unknown.
        DataError: run and judgements share no query: the one is of another collection than the other. A run
            without queries is none: its system found nothing.
    """
    scores = score_run(qrels, run, measures)
    answered = sum(query in run for query in qrels)
    if run and not answered:
        raise DataError(
            f"none of the {len(run)} queries of the run is judged: it has {_first(run)}, the judgements have "
            f"{_first(qrels)}; give a run and judgements of one collection"
        )
    return ScoreReport(scores, len(qrels), len(qrels) - answered, len(run) - answered, shows_queries)


def _first(queries: Mapping[str, object]) -> str:
    return repr(next(iter(queries), "none"))
