"""Whether a trained embedder finds more than the one that it was trained from, on questions not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ragkit.errors import DataError
from ragkit.eval.measures.ranking_metrics import score_run
from ragkit.eval.measures.significance import bootstrap_difference, paired_randomization
from ragkit.eval.sets.trec import Run
from ragkit.indexers.vectors.numpy_index import NumpyIndex
from ragkit.protocols import Embedder
from ragkit.records import FloatArray
from ragkit.retrievers.training.examples import TrainingSet
from ragkit.retrievers.training.passage_records import as_passage

MEASURE = "nDCG@10"
_DEPTH = 10


@dataclass(frozen=True, slots=True)
class HeldOutChange:
    """Mean nDCG@10 of both embedders over held-out questions, each against all passages of the training set.

    low, high: 95 % bootstrap interval of the difference. p: of the paired randomisation test, two-sided.
    """

    num_questions: int
    num_passages: int
    base: float
    trained: float
    low: float
    high: float
    p: float

    @property
    def difference(self) -> float:
        return self.trained - self.base

    @property
    def is_better(self) -> bool:
        """Whether the whole interval lies above 0."""
        return self.low > 0

    def to_json(self) -> dict[str, float]:
        return {**asdict(self), "difference": self.difference}


def held_out_change(
    data: TrainingSet, questions: Sequence[str], base: Embedder, trained: Embedder, pictures: Path, seed: int = 0
) -> HeldOutChange:
    """Search with both. Relevant to a question are its sources.

    Args:
        questions: ids of those held out.
        pictures: the folder that pictures' paths start from.

    Raises:
        DataError: no held-out question has a source among the passages.
    """
    judged = {
        name: {source: 1 for source in data.questions[name].sources if source in data.passages}
        for name in questions
    }
    judged = {name: sources for name, sources in judged.items() if sources}
    if not judged:
        raise DataError(
            f'none of {len(questions)} held-out questions has "sources" among the passages; without them nothing '
            "tells whether training helped"
        )
    passages = [as_passage(passage, pictures) for passage in data.passages.values()]
    texts = [data.questions[name].text for name in judged]
    ids = list(data.passages)
    values = []
    for embedder in (base, trained):
        run = _run(embedder.embed_queries(texts), embedder.embed_passages(passages), list(judged), ids)
        values.append(list(score_run(judged, run, [MEASURE]).by_query[MEASURE].values()))
    interval = bootstrap_difference(values[0], values[1], seed=seed)
    before, after = (float(np.mean(each)) for each in values)
    p = paired_randomization(values[0], values[1], seed=seed)
    return HeldOutChange(len(judged), len(passages), before, after, interval.low, interval.high, p)


def _run(questions: FloatArray, passages: FloatArray, names: Sequence[str], ids: Sequence[str]) -> Run:
    index = NumpyIndex(np.arange(len(ids)), passages)
    scores, places = index.search(questions, min(_DEPTH, len(ids)))
    return {
        name: {ids[place]: float(score) for place, score in zip(row, row_scores, strict=True)}
        for name, row, row_scores in zip(names, places, scores, strict=True)
    }
