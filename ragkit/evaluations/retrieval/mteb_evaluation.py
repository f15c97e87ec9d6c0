"""What `ragkit eval mteb` runs: mteb's evaluator over a ragkit pipeline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragkit.config import Config
from ragkit.eval.measures.ranking_metrics import CONVENTIONS
from ragkit.eval.reports.text_tables import one_line
from ragkit.eval.sets.beir import read_beir
from ragkit.evaluations.retrieval.beir_evaluation import cached_corpus, evaluate_beir
from ragkit.evaluations.retrieval.mteb_search import RagkitSearch
from ragkit.evaluations.retrieval.mteb_task import UNROUNDED, local_task
from ragkit.extras import require
from ragkit.indexers.index_report import IndexProgress

if TYPE_CHECKING:
    from rich.table import Table

_MEASURE = "nDCG@10"


@dataclass(frozen=True, slots=True)
class TaskScores:
    """What mteb says of one subset and split of a task. scores: all that mteb reports, rounded by it."""

    task: str
    subset: str
    split: str
    main_score: float
    scores: dict[str, float]


@dataclass(frozen=True, slots=True)
class MtebReport:
    """by_mteb, by_ragkit: nDCG@10 of a local collection, both unrounded; None for tasks of mteb."""

    model: str
    tasks: tuple[TaskScores, ...]
    by_mteb: float | None = None
    by_ragkit: float | None = None

    def to_json(self) -> dict[str, object]:
        """What ``ragkit eval mteb --json`` prints."""
        agreement: dict[str, object] = {}
        if self.by_mteb is not None and self.by_ragkit is not None:
            figures = {"mteb": self.by_mteb, "ragkit": self.by_ragkit}
            agreement = {_MEASURE: {**figures, "difference": abs(self.by_mteb - self.by_ragkit)}}
        return {
            **agreement,
            "tasks": [asdict(row) for row in self.tasks],
            "model": self.model,
            "mteb": version("mteb"),
            "conventions": CONVENTIONS,
        }

    def table(self) -> Table:
        """What ``ragkit eval mteb`` prints."""
        from rich.table import Table
        from rich.text import Text

        title = Text(one_line(f"mteb {version('mteb')}, {self.model}"))
        table = Table("task", "subset", "split", "figure", "value", title=title, caption=CONVENTIONS)
        table.caption_justify = "left"
        for row in self.tasks:
            names = (Text(one_line(name)) for name in (row.task, row.subset, row.split))
            table.add_row(*names, "main score of mteb", f"{row.main_score:.5f}")
        if self.by_mteb is not None and self.by_ragkit is not None:
            table.add_row("", "", "", f"{_MEASURE} by mteb, unrounded", f"{self.by_mteb:.8f}")
            table.add_row("", "", "", f"{_MEASURE} by ragkit", f"{self.by_ragkit:.8f}")
            table.add_row("", "", "", "difference", f"{abs(self.by_mteb - self.by_ragkit):.1e}")
        return table


def referee(
    data: Path,
    config: Config,
    split: str = "test",
    name: str = "pipeline",
    progress: Callable[[IndexProgress], None] | None = None,
) -> MtebReport:
    """Measure a BEIR folder by ragkit, then have mteb run the same pipeline over it and score what it finds.

    Both use one corpus of the cache; mteb hands over the documents, and one that differed would be indexed anew.
    """
    ours = evaluate_beir(data, config, split, [_MEASURE], progress).measures[_MEASURE]
    task = local_task(data, split)
    with RagkitSearch(config, cached_corpus(read_beir(data, split), config), name) as search:
        report = _run(search, [task])
    return MtebReport(report.model, report.tasks, report.tasks[0].scores[UNROUNDED], ours)


def run_tasks(names: Sequence[str], config: Config, name: str = "pipeline") -> MtebReport:
    """Run tasks of mteb by name; it downloads their data.

    Raises:
        ConfigError: a task's documents or queries are no texts.
    """
    tasks = list(require("mteb").get_tasks(tasks=list(names)))
    with RagkitSearch(config, None, name) as search:
        return _run(search, tasks)


def _run(search: RagkitSearch, tasks: Sequence[Any]) -> MtebReport:
    # Without mteb's own cache of results, which would answer for a pipeline of other data.
    done = require("mteb").evaluate(search, tasks, cache=None, co2_tracker=False, show_progress_bar=False)
    rows = tuple(
        TaskScores(result.task_name, scores["hf_subset"], split, scores["main_score"], _numbers(scores))
        for result in done.task_results
        for split, subsets in result.scores.items()
        for scores in subsets
    )
    return MtebReport(search.mteb_model_meta.name, rows)


def _numbers(scores: dict[str, Any]) -> dict[str, float]:
    return {name: value for name, value in scores.items() if isinstance(value, float) and name != "main_score"}
