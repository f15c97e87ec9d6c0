"""How a reformulator ranks queries that it was not trained on, and what revising does to their losses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ragkit.eval.measures.ranking_metrics import score_run
from ragkit.extras import require
from ragkit.indexers.vectors.numpy_index import NumpyIndex
from ragkit.records import FloatArray
from ragkit.retrievers.feedback.vector_reformulator import VectorReformulator
from ragkit.retrievers.training.lol_loss import reformulation_losses
from ragkit.retrievers.training.train_lol import FeedbackSet

MEASURE = "nDCG@10"
_FIRST = 10


@dataclass(frozen=True, slots=True)
class DepthFigures:
    """Of held-out queries by depth from 0: mean nDCG@10, and the mean loss. guarded: with the guard on.

    worse: share of queries whose loss is higher with the most feedback than with none.
    """

    by_depth: tuple[float, ...]
    losses: tuple[float, ...]
    guarded: tuple[float, ...]
    worse: float


def revised_vectors(
    model: VectorReformulator, one: FeedbackSet, depth: int, is_guarded: bool = False
) -> FloatArray:
    """float32 (queries, dim), each revised by at most `depth` of its first passages."""
    vectors = np.stack([query.vector for query in one.queries])
    passages = [one.passages[list(query.found[:depth])] for query in one.queries]
    if is_guarded:
        depths = model.choose_depths((), vectors, (), passages)
        passages = [rows[:chosen] for rows, chosen in zip(passages, depths, strict=True)]
    return model.revise((), vectors, (), passages)


def mean_ndcg(vectors: FloatArray, one: FeedbackSet) -> float:
    """Mean nDCG@10 of these queries over all passages of the set."""
    index = NumpyIndex(np.arange(len(one.passages)), one.passages)
    scores, rows = index.search(vectors, min(_FIRST, len(one.passages)))
    run = {
        str(place): {str(row): float(score) for row, score in zip(found, values, strict=True)}
        for place, (found, values) in enumerate(zip(rows, scores, strict=True))
    }
    judged = {str(place): {str(row): 1 for row in query.relevant} for place, query in enumerate(one.queries)}
    return float(np.mean(list(score_run(judged, run, [MEASURE]).by_query[MEASURE].values())))


def held_out_loss(model: VectorReformulator, held_out: Sequence[FeedbackSet], scale: float) -> float:
    """Mean over sets and depths above 0 of the mean loss, which tells more of few queries than nDCG@10."""
    depths = range(1, model.shape.most + 1)
    means = [
        _losses(revised_vectors(model, one, depth), one, scale).mean() for one in held_out for depth in depths
    ]
    return float(np.mean(means))


def choose_threshold(
    model: VectorReformulator, held_out: Sequence[FeedbackSet], thresholds: Sequence[float]
) -> float:
    """The guard's threshold with which held-out queries rank best at the greatest depth; the least of equals."""

    def ranked(threshold: float) -> float:
        model.threshold = threshold
        most = model.shape.most
        return float(np.mean([mean_ndcg(revised_vectors(model, one, most, True), one) for one in held_out]))

    best = max(sorted(thresholds), key=ranked)
    model.threshold = best
    return best


def figures(model: VectorReformulator, one: FeedbackSet, scale: float) -> DepthFigures:
    """What comes out for one held-out set at each depth."""
    depths = range(model.shape.most + 1)
    vectors = [revised_vectors(model, one, depth) for depth in depths]
    losses = np.stack([_losses(each, one, scale) for each in vectors])
    guarded = [mean_ndcg(revised_vectors(model, one, depth, True), one) for depth in depths]
    return DepthFigures(
        tuple(mean_ndcg(each, one) for each in vectors),
        tuple(losses.mean(axis=1).tolist()),
        tuple(guarded),
        # Below 1e-6 float32 sums of equal vectors differ.
        float((losses[-1] > losses[0] + 1e-6).mean()),
    )


def _losses(vectors: FloatArray, one: FeedbackSet, scale: float) -> NDArray[np.float64]:
    torch = require("torch")
    positives = [query.relevant for query in one.queries]
    candidates = torch.from_numpy(one.passages)
    found = reformulation_losses(torch.from_numpy(vectors), candidates, positives, scale)
    losses: NDArray[np.float64] = found.losses.double().numpy()
    return losses
