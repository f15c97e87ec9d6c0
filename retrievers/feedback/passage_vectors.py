"""The vectors of passages that were found, as the corpus keeps them: nothing is embedded anew."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ragkit.protocols import VectorIndex
from ragkit.records import FloatArray, Hit


def vectors_of_hits(index: VectorIndex, found: Sequence[Sequence[Hit]]) -> list[FloatArray]:
    """For each list of hits float32 (their number, dim), in their order; each passage's vector is read once."""
    keys = np.array([hit.passage.key for hits in found for hit in hits], np.int64)
    distinct, places = np.unique(keys, return_inverse=True)
    vectors = index.vectors_of(distinct)[places]
    ends = np.cumsum([len(hits) for hits in found])
    return np.split(vectors, ends[:-1]) if len(found) else []
