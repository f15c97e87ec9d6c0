"""Which hits are worth showing: passages that look right and are not cost more than they give.

"Long-Context LLMs Meet RAG" (arXiv 2410.05983) finds that such hard negatives hurt, the more the better their
retriever is. Neither rule is in force unless it is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ragkit.records import Hit

# The gap is at least this share of the whole range of scores.
_LEAST_GAP = 0.5
# How far a hit falls in reranking, as a share of the number of hits.
_LEAST_FALL = 0.5


def behind_gap(hits: Sequence[Hit], floor: int) -> list[int]:
    """Indices of the hits behind the widest gap between two neighbours' scores, best first.

    Only gaps behind the first `floor` hits count, and only one of at least half of the range from the best score
    to the lowest; with scores that are no finite numbers there is none.
    """
    scores = [hit.score for hit in hits]
    if len(scores) <= floor or not all(map(math.isfinite, scores)):
        return []
    gaps = [(scores[i - 1] - scores[i], -i) for i in range(max(1, floor), len(scores))]
    gap, place = max(gaps)
    spread = max(scores) - min(scores)
    return list(range(-place, len(scores))) if spread > 0 and gap >= _LEAST_GAP * spread else []


def disagreed_on(hits: Sequence[Hit], floor: int) -> list[int]:
    """Indices of the hits, best first, that the reranker put at least half of their number below the retriever.

    Both places are counted among these hits. The first `floor` stay; without a reranker there are none.
    """
    ranks = [hit.retrieved_rank for hit in hits]
    known = [rank for rank in ranks if rank is not None]
    if len(known) < len(hits):
        return []
    before = {index: place for place, index in enumerate(sorted(range(len(known)), key=lambda i: known[i]))}
    least = max(1.0, _LEAST_FALL * len(hits))
    return [i for i in range(floor, len(hits)) if i - before[i] >= least]
