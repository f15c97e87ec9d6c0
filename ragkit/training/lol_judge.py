"""How a reformulator ranks queries that it was not trained on, and what revising does to their losses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ragkit.eval.measures.ranking_metrics import score_run
from ragkit.extras import require
from ragkit.retrievers.training.lol_loss import reformulation_losses
from ragkit.retrievers.training.lol_students import Asked, FeedbackSet, LolStudent

if TYPE_CHECKING:
    from torch import Tensor

MEASURE = "nDCG@10"
_FIRST = 10
_PIECE_TOKENS = 8192
# Scores in memory at a time, some of their copies beside them.
_MOST_SCORES = 1 << 26
# Below this float32 sums of equal vectors differ.
_SAME_LOSS = 1e-6


@dataclass(frozen=True, slots=True)
class DepthScores:
    """Of one set's queries by depth from 0: float64 (depths, queries).

    ndcg: nDCG@10 over all passages of the set. losses: what the model is trained to lower. guesses: of the losses'
    changes by the model itself.
    """

    ndcg: NDArray[np.float64]
    losses: NDArray[np.float64]
    guesses: NDArray[np.float64]

    @property
    def worse(self) -> float:
        """Share of queries whose loss is higher with the most feedback than with none."""
        return float((self.losses[-1] > self.losses[0] + _SAME_LOSS).mean())

    def guarded(self, most: int, threshold: float) -> float:
        """Mean nDCG@10 where each query has the depth up to `most` that its guard chooses."""
        changes = self.guesses[: most + 1].copy()
        changes[0] = -threshold
        depths = changes.argmin(axis=0)
        return float(self.ndcg[depths, np.arange(len(depths))].mean())


@dataclass(frozen=True, slots=True)
class DepthFigures:
    """Of held-out queries by depth from 0: mean nDCG@10, and the mean loss. guarded: with the guard on.

    worse: as of `DepthScores`.
    """

    by_depth: tuple[float, ...]
    losses: tuple[float, ...]
    guarded: tuple[float, ...]
    worse: float


def score_depths(student: LolStudent, one: FeedbackSet, scale: float, with_ranking: bool = True) -> DepthScores:
    """Revise each query by its first passages, at every depth that the model knows.

    with_ranking: without it nDCG@10 is 0, for the losses alone.
    """
    candidates = student.candidates(one)
    rows = [_at_depth(student, one, candidates, depth, scale, with_ranking) for depth in range(student.most + 1)]
    ndcg, losses, guesses = (np.stack(columns) for columns in zip(*rows, strict=True))
    return DepthScores(ndcg, losses, guesses)


def held_out_loss(student: LolStudent, held_out: Sequence[FeedbackSet], scale: float) -> float:
    """Mean over sets and depths above 0 of the mean loss, which tells more of few queries than nDCG@10."""
    scores = [score_depths(student, one, scale, with_ranking=False) for one in held_out]
    return float(np.mean([one.losses[1:].mean() for one in scores]))


def choose_threshold(scores: Sequence[DepthScores], thresholds: Sequence[float]) -> float:
    """The guard's threshold with which held-out queries rank best at the greatest depth; the least of equals."""

    def ranked(threshold: float) -> float:
        return float(np.mean([one.guarded(len(one.ndcg) - 1, threshold) for one in scores]))

    return max(sorted(thresholds), key=ranked)


def figures(scores: DepthScores, threshold: float) -> DepthFigures:
    """What comes out for one held-out set at each depth."""
    return DepthFigures(
        tuple(scores.ndcg.mean(axis=1).tolist()),
        tuple(scores.losses.mean(axis=1).tolist()),
        tuple(scores.guarded(depth, threshold) for depth in range(len(scores.ndcg))),
        scores.worse,
    )


def _at_depth(
    student: LolStudent, one: FeedbackSet, candidates: Tensor, depth: int, scale: float, with_ranking: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """nDCG@10, losses and guesses of all queries."""
    torch = require("torch")
    asked = [Asked(query, query.found[:depth]) for query in one.queries]
    ndcg, losses, guesses = (np.zeros(len(asked)) for _ in range(3))
    with torch.no_grad():
        for piece in _pieces(student, one, asked):
            revision = student.forward(one, [asked[i] for i in piece])
            positives = [asked[i].query.relevant for i in piece]
            found = reformulation_losses(revision.vectors, candidates, positives, scale)
            losses[piece] = found.losses.double().cpu().numpy()
            guesses[piece] = revision.loss_change.double().cpu().numpy()
            if with_ranking:
                scores = torch.matmul(candidates, revision.vectors.T).T
                # Without a shared term a passage is not found; cosines below 0 are scores like others.
                least = 0.0 if candidates.is_sparse else -np.inf
                ndcg[piece] = _ndcg(scores.topk(min(_FIRST, scores.shape[1])), positives, least)
    return ndcg, losses, guesses


def _pieces(student: LolStudent, one: FeedbackSet, asked: Sequence[Asked]) -> Iterator[list[int]]:
    """Indices of all, so few at a time that their scores of all passages fit the memory."""
    at_once = max(1, _MOST_SCORES // max(1, len(one.texts)))
    for piece in student.pieces(one, asked, _PIECE_TOKENS):
        for start in range(0, len(piece), at_once):
            yield piece[start : start + at_once]


def _ndcg(best: Any, positives: Sequence[Sequence[int]], least: float) -> list[float]:
    """Passages of a score of `least` or below count as not found."""
    values, rows = (part.cpu().numpy() for part in best)
    run = {
        str(place): {str(row): float(score) for row, score in zip(found, scores, strict=True) if score > least}
        for place, (found, scores) in enumerate(zip(rows, values, strict=True))
    }
    judged = {str(place): {str(row): 1 for row in relevant} for place, relevant in enumerate(positives)}
    by_query = score_run(judged, run, [MEASURE]).by_query[MEASURE]
    return [by_query[str(place)] for place in range(len(positives))]
