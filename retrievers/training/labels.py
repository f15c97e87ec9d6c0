"""Lists of questions whose relevant passages are known: what people judged stands above what a teacher thinks.

For questions that a model wrote CADET (arXiv 2502.19712) drops those whose source the teacher does not put first.
Questions that people wrote and judged are too few and too good to be dropped for that.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from ragkit.retrievers.training.examples import TrainingList

# The other relevant ones of a list, as a share of the way from the list's lowest score to its highest.
_OTHERS_SHARE = 0.95


def with_labels_first(entry: TrainingList, relevant: Collection[str]) -> TrainingList:
    """The list with the relevant passage that the teacher likes best in front, at the list's highest score.

    Relevant passages that the list lacks are added. All others of them get at least 95 % of the way from the
    lowest to the highest score: they are nearly as good, and so no negatives. With nothing known to be relevant
    the list stays as it is.
    """
    if not relevant:
        return entry
    scores = dict(zip(entry.passages, entry.scores, strict=True))
    low, high = min(scores.values(), default=0.0), max(scores.values(), default=0.0)
    floor = low + _OTHERS_SHARE * (high - low)
    lifted = {**scores, **{passage: max(floor, scores.get(passage, low)) for passage in relevant}}
    # Among those lifted to one score the teacher's opinion decides; then the id, so that it is always one.
    first = min(relevant, key=lambda passage: (-scores.get(passage, low), passage))
    lifted[first] = high
    order = sorted(lifted, key=lambda passage: (passage != first, -lifted[passage]))
    return replace(entry, passages=tuple(order), scores=tuple(lifted[passage] for passage in order))
