"""Candidates to be negatives: runs merged, and what is no negative taken out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ragkit.retrievers.fusion import reciprocal_rank_fusion
from ragkit.retrievers.training.examples import TrainingList, TrainingPassage
from ragkit.retrievers.training.losses import THRESHOLD

Denoise = Literal["mask", "drop"]

# Passages by id with the retriever's scores, best first.
Candidates = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class DenoiseCounts:
    """What was taken out of lists: copies of the positive, and passages that the teacher finds too good."""

    repeated: int = 0
    too_good: int = 0

    def plus(self, other: DenoiseCounts) -> DenoiseCounts:
        return DenoiseCounts(self.repeated + other.repeated, self.too_good + other.too_good)


def merged(runs: Sequence[Candidates], depth: int) -> dict[str, float]:
    """The first `depth` of one question's candidates of several retrievers, by reciprocal rank fusion with K = 60.

    Those of one retriever alone keep their scores.
    """
    if len(runs) == 1:
        return dict(list(runs[0].items())[:depth])
    # By name, so that ties are broken alike whatever retriever found a passage first.
    names = sorted({name for run in runs for name in run})
    numbers = {name: number for number, name in enumerate(names)}
    rankings = [
        (np.array([numbers[name] for name in run], np.int64), np.array(list(run.values()), np.float64))
        for run in runs
    ]
    keys, scores = reciprocal_rank_fusion(rankings)
    return {names[key]: float(score) for key, score in zip(keys[:depth], scores[:depth], strict=True)}


def standardised_sum(scores: Sequence[Sequence[float]]) -> list[float]:
    """Of several teachers' scores of one list: each brought to mean 0 and deviation 1 over the list, then added.

    A teacher that scores all passages of the list alike adds nothing. A single teacher's scores stay as they are.
    """
    if len(scores) == 1:
        return list(scores[0])
    total = np.zeros(len(scores[0]))
    for row in np.asarray(scores, np.float64):
        deviation = row.std()
        if deviation > 0:
            total += (row - row.mean()) / deviation
    return [float(value) for value in total]


def denoised(
    entry: TrainingList,
    passages: Mapping[str, TrainingPassage],
    relevant: Collection[str],
    mode: Denoise,
    threshold: float = THRESHOLD,
) -> tuple[TrainingList, DenoiseCounts]:
    """The list without copies of its positive's text, and in mode "drop" without what is too good for a negative.

    Too good is a score above `threshold` times the positive's (scores from 0 to 1). In mode "mask" such passages
    stay: the teacher's distribution is over all of the list, and the loss alone takes them for no negatives.

    Args:
        relevant: ids of passages known to be relevant; they are never dropped as too good.
    """
    positive = passages[entry.passages[0]]
    text, limit = _compared(positive), threshold * entry.scores[0]
    kept, repeated, too_good = [0], 0, 0
    for place in range(1, len(entry.passages)):
        name, score = entry.passages[place], entry.scores[place]
        if text and _compared(passages[name]) == text:
            repeated += 1
        elif mode == "drop" and score > limit and name not in relevant:
            too_good += 1
        else:
            kept.append(place)
    left = replace(
        entry,
        passages=tuple(entry.passages[place] for place in kept),
        scores=tuple(entry.scores[place] for place in kept),
    )
    return left, DenoiseCounts(repeated, too_good)


def _compared(passage: TrainingPassage) -> str:
    """Empty for a picture. Numbers count: tables of two years may differ in nothing else."""
    return "".join(passage.text.lower().split())
