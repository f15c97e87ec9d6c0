"""`ragkit eval feedback`: what each way of feedback changes in the ranking of a judged collection."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ragkit.config import Config
from ragkit.corpus import Corpus
from ragkit.eval.measures.ranking_metrics import score_run
from ragkit.eval.reports.feedback_report import MEASURES, FeedbackReport, FeedbackResult, report_feedback
from ragkit.eval.runs.feedback_settings import FeedbackSetting
from ragkit.eval.runs.retrieval import TIMED_DOCUMENTS, timed_sample
from ragkit.eval.runs.run_folder import RunFolder
from ragkit.eval.sets.beir import BeirCollection, read_beir
from ragkit.eval.sets.trec import Run
from ragkit.eval.speed.timing import machine_facts
from ragkit.evaluations.indexing import index_all
from ragkit.evaluations.retrieval.beir_evaluation import cached_corpus
from ragkit.evaluations.run_plan import plan_of, session_facts
from ragkit.indexers.index_report import IndexProgress
from ragkit.indexers.models.text_embedder import model_digest
from ragkit.protocols import Embedder
from ragkit.records import Query
from ragkit.retrievers.levels import Level, best_per

_DEPTH, _BATCH_QUERIES = 1000, 64

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class FeedbackPlan:
    """What is compared. settings: without feedback first. models: the folders of trained ones by name."""

    settings: Sequence[FeedbackSetting]
    models: Mapping[str, Path]

    def facts(self) -> dict[str, object]:
        """What decides the results of it."""
        feedback = {
            setting.key: [table.model_dump(exclude={"model"}) for table in setting.config.retrieval.feedback]
            for setting in self.settings
        }
        models = {name: model_digest(folder, "") for name, folder in self.models.items()}
        return {"feedback": feedback, "models": models}


def evaluate_feedback(
    data: Path,
    config: Config,
    plan: FeedbackPlan,
    split: str = "test",
    out: Path | None = None,
    progress: Callable[[IndexProgress], None] | None = None,
    tell: Tell = lambda _: None,
    embedder: Embedder | None = None,
) -> FeedbackReport:
    """Search a BEIR folder once without feedback and once with each; a document scores by its best passage.

    Args:
        out: folder of a run, begun or gone on with: what is finished in it is not searched again.
        tell: called with a line before each way of feedback.
        embedder: in place of the configured one of texts.

    Raises:
        ConfigError: a trained model does not fit the corpus.
        DataError: the collection is malformed, or `out` holds a run with another plan.
    """
    collection = read_beir(data, split)
    folder = cached_corpus(collection, config)
    with Corpus.open(folder, config=plan.settings[0].config, embedder=embedder) as base:
        index_all(base, collection.records(), progress)
        sweep = _Sweep(collection, base, tell)
        if out is None:
            return _report([sweep.result(setting) for setting in plan.settings], base)
        facts = {
            "split": collection.split,
            "fingerprint": collection.fingerprint(),
            "queries": collection.judged_fingerprint(),
            **plan.facts(),
        }
        wanted = plan_of("eval feedback", plan.settings[0].config, base, facts)
        with RunFolder(out, wanted, {**session_facts(base), "data_folder": data.resolve().name}) as run:
            for setting in plan.settings:
                if setting.key not in run.finished:
                    run.record({setting.key: sweep.result(setting).to_row()})
            report = _report([FeedbackResult(**run.finished[setting.key]) for setting in plan.settings], base)
            if run.manifest.completed is None:
                run.complete(report.to_json())
    return report


class _Sweep:
    """Searches the judged queries of a collection with one way of feedback after the other.

    Args:
        base: the corpus opened without feedback.
    """

    def __init__(self, collection: BeirCollection, base: Corpus, tell: Tell) -> None:
        self._collection, self._base, self._tell = collection, base, tell
        self._queries: dict[str, Query] = {}

    def result(self, setting: FeedbackSetting) -> FeedbackResult:
        """Rankings of all queries, scored; then a sample of them timed in turns with searches without feedback."""
        self._tell(f"{setting.key}: searching {len(self._collection.queries)} queries")
        queries = self._embedded()
        with self._open(setting) as corpus:
            run, used = _searched(corpus, queries)
            timed = [queries[name] for name in timed_sample(queries)]
            seconds = [_seconds_of(corpus, self._base, query, i % 2 == 0) for i, query in enumerate(timed)]
        scores = score_run(self._collection.qrels, run, MEASURES)
        after, before = zip(*seconds, strict=True)
        return FeedbackResult(setting.name, setting.depth, scores.by_query, used, after, before)

    def _open(self, setting: FeedbackSetting) -> Corpus:
        """With the models of the first, to have them in memory once."""
        base = self._base
        own = None if base.config.retrieval.method == "bm25" else base.embedder
        return Corpus.open(base.path, config=setting.config, embedder=own, reranker=base.reranker)

    def _embedded(self) -> dict[str, Query]:
        """Each judged query, with its vector where vectors are searched: embedded once for all settings."""
        if not self._queries:
            texts = self._collection.queries
            self._queries = {name: Query(text) for name, text in texts.items()}
            if self._base.config.retrieval.method != "bm25" and self._base.embedder is not None:
                vectors = self._base.embedder.embed_queries(list(texts.values()))
                self._queries = {
                    name: replace(query, dense=vector)
                    for (name, query), vector in zip(self._queries.items(), vectors, strict=True)
                }
        return self._queries


def _searched(corpus: Corpus, queries: Mapping[str, Query]) -> tuple[Run, dict[str, int]]:
    """Scores by query and document, and the passages that each query was revised by."""
    run: Run = {}
    used: dict[str, int] = {}
    names, info = list(queries), corpus.info()
    # Where each document is one passage, four times as many passages need not be read to have enough documents.
    level: Level = "passage" if info.num_passages == info.num_documents else "document"
    for start in range(0, len(names), _BATCH_QUERIES):
        batch = names[start : start + _BATCH_QUERIES]
        found = corpus.search_many([queries[name] for name in batch], _DEPTH, level=level)
        for name, hits in zip(batch, found, strict=True):
            run[name] = {hit.passage.document: hit.score for hit in best_per(hits, "document")}
            used[name] = hits[0].feedback_depth if hits else 0
    return run, used


def _seconds_of(corpus: Corpus, base: Corpus, query: Query, is_first: bool) -> tuple[float, float]:
    """Of one search in each; whichever comes second finds the files in memory, so they take turns."""
    taken: dict[bool, float] = {}
    for is_revised in (is_first, not is_first):
        started = time.perf_counter()
        (corpus if is_revised else base).search(query, TIMED_DOCUMENTS, level="document")
        taken[is_revised] = time.perf_counter() - started
    return taken[True], taken[False]


def _report(results: Sequence[FeedbackResult], base: Corpus) -> FeedbackReport:
    facts = {**machine_facts(), "passages": base.info().num_passages, "documents asked for a query": _DEPTH}
    return report_feedback(results, facts)
