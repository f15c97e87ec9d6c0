"""What a comparison of systems found, with what it was made from: all that can be shown of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ragkit.eval.measures.ranking_metrics import CONVENTIONS
from ragkit.eval.measures.significance import BOOTSTRAP_RESAMPLES, RANDOMIZATION_RESAMPLES
from ragkit.eval.reports.changed_queries import ChangedQuery
from ragkit.eval.reports.comparison import CONFIDENCE, Comparison
from ragkit.eval.reports.files_read import ReadFile
from ragkit.eval.runs.retrieval import TIMED_DOCUMENTS
from ragkit.eval.runs.systems import System
from ragkit.eval.sets.trec import Qrels

if TYPE_CHECKING:
    from rich.console import Group


@dataclass(frozen=True, slots=True)
class Judgements:
    """As read from a file; path is None, the rest empty, where answers are compared. fingerprint: SHA-256."""

    qrels: Qrels
    path: Path | None
    fingerprint: str

    def unanswered(self, system: System) -> int:
        """Judged queries that a ranking lacks."""
        return sum(query not in (system.run or {}) for query in self.qrels)

    def unjudged(self, system: System) -> int:
        """Queries of a ranking that are not judged."""
        return sum(query not in self.qrels for query in system.run or {})


@dataclass(frozen=True, slots=True)
class ComparisonReport:
    """systems: as they were read, the baseline first. changed: the most changed queries, pair by pair.

    files: that were read. data: folder that the texts of queries and documents came from, if any.
    """

    comparison: Comparison
    systems: tuple[System, ...]
    judgements: Judgements
    changed: tuple[ChangedQuery, ...]
    files: tuple[ReadFile, ...]
    data: Path | None = None

    def to_json(self) -> dict[str, object]:
        """What ``ragkit eval compare --json`` prints."""
        comparison, judgements = self.comparison, self.judgements
        qrels = {"path": str(judgements.path), "sha256": judgements.fingerprint}
        return {
            "systems": [self._system_json(system) for system in self.systems],
            "measures": list(comparison.measures),
            "queries": {measure: comparison.num_queries(measure) for measure in comparison.measures},
            "qrels": qrels if judgements.path else None,
            "files": [{"path": str(file.path), "sha256": file.sha256} for file in self.files],
            "differences": [asdict(one) for one in comparison.differences],
            "changed": [{**asdict(one), "difference": one.difference} for one in self.changed],
            "scores": comparison.scores,
            "method": {
                "seed": comparison.seed,
                "confidence": CONFIDENCE,
                "bootstrap_resamples": BOOTSTRAP_RESAMPLES,
                "randomization_resamples": RANDOMIZATION_RESAMPLES,
                "corrected_for": len(comparison.differences),
            },
            "notes": self.notes(),
            "conventions": self.conventions(),
        }

    def _system_json(self, system: System) -> dict[str, object]:
        counts = {"unanswered": self.judgements.unanswered(system), "unjudged": self.judgements.unjudged(system)}
        return {
            "name": system.name,
            "path": str(system.path),
            "sha256": system.fingerprint,
            "means": {measure: asdict(mean) for measure, mean in self.comparison.means[system.name].items()},
            **(counts if self.judgements.path else {}),
            "query_seconds": system.query_seconds,
            "manifest": None if system.manifest is None else asdict(system.manifest),
        }

    def table(self) -> Group:
        """What ``ragkit eval compare`` prints."""
        from rich.console import Group
        from rich.text import Text

        from ragkit.eval.reports.comparison_tables import changed_tables, number_tables
        from ragkit.eval.reports.text_tables import one_line

        tables = [*number_tables(self.comparison), *changed_tables(self)]
        notes, said = (
            [Text(f"{one_line(sentence)}\n") for sentence in sentences]
            for sentences in (self.notes(), self.conventions())
        )
        return Group(*notes, *(table.rich() for table in tables), *said)

    def notes(self) -> list[str]:
        """What a reader must know of these systems: queries that are missing, data that differ."""
        return [*self._coverage_notes(), *self._measure_notes(), *_data_notes(self.systems)]

    def conventions(self) -> list[str]:
        """How the numbers were come by."""
        comparison = self.comparison
        return [
            CONVENTIONS if self.judgements.path else "Scores are those that the runs of answers hold.",
            f"Intervals: {CONFIDENCE:.0%} bootstrap intervals (BCa, {BOOTSTRAP_RESAMPLES:,} draws of the queries, "
            f"seed {comparison.seed}) of each mean and of each mean difference; not corrected for their number.",
            "p: two-sided paired randomisation test of the mean difference, over all ways to set the signs where "
            f"these are at most {RANDOMIZATION_RESAMPLES:,}, else over so many drawn (seed {comparison.seed}).",
            f"p (Holm): corrected for all {len(comparison.differences)} differences (pairs and measures) shown.",
            "W/L/T: queries for which the system named first scores higher (wins), lower (losses), alike (ties).",
            *self._time_conventions(),
        ]

    def _time_conventions(self) -> list[str]:
        if not self.judgements.path or all(system.query_seconds is None for system in self.systems):
            return []
        return [
            "Time of a query: the median of queries that were searched for one at a time, models loaded, with "
            f"{TIMED_DOCUMENTS} documents asked for."
        ]

    def _coverage_notes(self) -> list[str]:
        if self.judgements.path is None:
            return []
        notes = []
        for system in self.systems:
            unanswered, unjudged = self.judgements.unanswered(system), self.judgements.unjudged(system)
            if unanswered:
                judged = len(self.judgements.qrels)
                notes.append(f"{system.name}: {unanswered} of {judged} judged queries missing; they count as 0.")
            if unjudged:
                own = len(system.run or {})
                notes.append(f"{system.name}: {unjudged} of its {own} queries not judged; they do not count.")
        return notes

    def _measure_notes(self) -> list[str]:
        """Measures of answers that not every query has."""
        if self.judgements.path is not None:
            return []
        asked = len(self.systems[0].rows)
        counts = {measure: self.comparison.num_queries(measure) for measure in self.comparison.measures}
        return [
            f"{measure} is compared over the {count} of {asked} queries for which all systems have it."
            for measure, count in counts.items()
            if count < asked
        ]


def _data_notes(systems: tuple[System, ...]) -> list[str]:
    """Where manifests say that a system searched, or was asked, something else than the first with a manifest."""
    known = [(system, system.manifest.plan.get("data")) for system in systems if system.manifest]
    with_data = [(system, data) for system, data in known if isinstance(data, Mapping)]
    notes = []
    for system, data in with_data[1:]:
        first, expected = with_data[0]
        for name in dict.fromkeys((*expected, *data)):
            if expected.get(name) != data.get(name):
                both = f"{expected.get(name)!r} and {data.get(name)!r}"
                notes.append(f"{first.name} and {system.name} ran on other data: {name} is {both}.")
    return notes
