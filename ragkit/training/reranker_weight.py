"""How much a reranker should count beside the retriever, chosen on questions whose passages are known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ragkit.config import Config
from ragkit.corpus import Corpus
from ragkit.errors import DataError
from ragkit.eval.measures.ranking_metrics import score_run
from ragkit.eval.measures.significance import bootstrap_difference, paired_randomization
from ragkit.eval.runs.run_folder import RunFolder
from ragkit.protocols import Reranker
from ragkit.records import Query
from ragkit.retrievers.interpolation import mixed_scores
from ragkit.retrievers.training.examples import TrainingSet
from ragkit.training.passage_corpus import open_passages

MEASURE = "nDCG@10"
_STEPS = 20
_SEED = 0


@dataclass(frozen=True, slots=True)
class RerankedList:
    """What the retriever found for a question, and what the reranker thinks of it, in one order."""

    documents: tuple[str, ...]
    retriever: tuple[float, ...]
    reranker: tuple[float, ...]

    def scores(self, weight: float) -> dict[str, float]:
        """By document. With weight 0 exactly the retriever's order."""
        mixed = mixed_scores(self.reranker, self.retriever, weight)
        return {document: float(score) for document, score in zip(self.documents, mixed, strict=True)}


@dataclass(frozen=True, slots=True)
class WeightChoice:
    """weight: of the reranker. Mean nDCG@10 of the retriever, of the reranker alone and of both so weighed.

    low, high, p: of the difference between both together and the retriever, a 95 % bootstrap interval and the
    paired randomisation test; the weight was chosen on the same questions, so that they flatter it.
    """

    weight: float
    num_questions: int
    depth: int
    retriever: float
    reranker: float
    both: float
    low: float
    high: float
    p: float

    def to_json(self) -> dict[str, float]:
        return asdict(self)

    def rows(self) -> Iterator[tuple[str, str, str]]:
        """Of a table: what is measured, of the retriever, and with the reranker."""
        yield f"{MEASURE}, reranker alone", f"{self.retriever:.4f}", f"{self.reranker:.4f}"
        yield f"{MEASURE}, with weight {self.weight:g}", f"{self.retriever:.4f}", f"{self.both:.4f}"

    def said(self) -> str:
        """What both together change, and how sure that is."""
        return (
            f"{self.both - self.retriever:+.4f} [{self.low:+.4f}, {self.high:+.4f}], p {self.p:.4f}, on "
            f"{self.num_questions} questions, on which the weight was chosen"
        )


def weigh(
    reranker: Reranker,
    data: TrainingSet,
    questions: Sequence[str],
    pictures: Path,
    config: Config,
    kept: RunFolder,
    tell: Callable[[str], None],
) -> WeightChoice:
    """Search all passages of the set by the configuration, score the first `rerank.depth` anew, choose the weight.

    Args:
        questions: ids; of those without a relevant passage nothing is asked.
        pictures: the folder that pictures' paths start from.
        kept: has a row for each question that is finished.

    Raises:
        DataError: a passage cannot be indexed, or no question has a relevant one.
    """
    judged = sources_of(data, questions)
    if not judged:
        raise DataError(
            f'none of {len(questions)} questions has "sources" among the passages; without them no weight can be '
            "chosen: set one yourself"
        )
    depth = config.rerank.depth
    tell(f"reranking the first {depth} hits of {len(judged)} questions over {len(data.passages)} passages")
    waiting = [name for name in judged if name not in kept.finished]
    if waiting:
        with open_passages(data.passages, pictures, config) as corpus:
            for name in waiting:
                kept.record({name: asdict(_reranked(corpus, Query(data.questions[name].text), reranker, depth))})
    return choose_weight({name: _row(kept.finished[name]) for name in judged}, judged, depth)


def _reranked(corpus: Corpus, query: Query, reranker: Reranker, depth: int) -> RerankedList:
    found = corpus.search(query, depth, level="document")
    scores = {hit.passage.key: hit.score for hit in reranker.rerank(query, found)}
    return RerankedList(
        tuple(hit.passage.document for hit in found),
        tuple(hit.score for hit in found),
        tuple(scores[hit.passage.key] for hit in found),
    )


def choose_weight(
    lists: Mapping[str, RerankedList], judged: Mapping[str, Mapping[str, int]], depth: int
) -> WeightChoice:
    """The weight of 0, 0.05, … 1 with the highest mean nDCG@10; of equal ones the lowest.

    judged: by question its relevant passages; of at least one, and each has a list.
    """
    values = {step: _values(lists, judged, step / _STEPS) for step in range(_STEPS + 1)}
    means = {step: sum(each) / len(each) for step, each in values.items()}
    best = max(means, key=lambda step: (means[step], -step))
    interval = bootstrap_difference(values[0], values[best], seed=_SEED)
    p = paired_randomization(values[0], values[best], seed=_SEED)
    return WeightChoice(
        best / _STEPS, len(judged), depth, means[0], means[_STEPS], means[best], interval.low, interval.high, p
    )


def sources_of(data: TrainingSet, questions: Sequence[str]) -> dict[str, dict[str, int]]:
    """By question the passages known to answer it; questions without one are left out."""
    known = {name: [one for one in data.questions[name].sources if one in data.passages] for name in questions}
    return {name: dict.fromkeys(sources, 1) for name, sources in known.items() if sources}


def _values(
    lists: Mapping[str, RerankedList], judged: Mapping[str, Mapping[str, int]], weight: float
) -> list[float]:
    run = {name: lists[name].scores(weight) for name in judged}
    return list(score_run(judged, run, [MEASURE]).by_query[MEASURE].values())


def _row(row: Mapping[str, Any]) -> RerankedList:
    return RerankedList(*(tuple(row[name]) for name in ("documents", "retriever", "reranker")))
