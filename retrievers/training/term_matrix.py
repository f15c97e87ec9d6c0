"""What each term is worth in each passage: the frozen candidates of a sparse reformulator."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ragkit.extras import require

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class TermMatrix:
    """numbers: of each term its column. gains: sparse float32 (passages, terms), BM25's for a weight of 1."""

    numbers: Mapping[str, int]
    gains: Tensor

    def row(self, weights: Mapping[str, float]) -> Tensor:
        """(terms,), of unit length: the weights of a query's terms, those that no passage has left out."""
        torch = require("torch")
        row: Tensor = torch.zeros(len(self.numbers))
        for term, weight in weights.items():
            if term in self.numbers:
                row[self.numbers[term]] = weight
        normalised: Tensor = torch.nn.functional.normalize(row, dim=0)
        return normalised


def term_matrix(counts: Sequence[Mapping[str, int]], k1: float, b: float) -> TermMatrix:
    """Lucene's BM25 as `Bm25Index` has it.

    Args:
        counts: of each passage how often it has each of its terms; at least one has any.
    """
    torch = require("torch")
    numbers: dict[str, int] = {}
    frequencies: Counter[str] = Counter()
    for one in counts:
        frequencies.update(one.keys())
        for term in one:
            numbers.setdefault(term, len(numbers))
    lengths = np.array([sum(one.values()) for one in counts], np.float64)
    norms = k1 * (1 - b + b * lengths / lengths.mean())
    rarity = {
        term: math.log(1 + (len(counts) - frequency + 0.5) / (frequency + 0.5))
        for term, frequency in frequencies.items()
    }
    rows = [row for row, one in enumerate(counts) for _ in one]
    columns = [numbers[term] for one in counts for term in one]
    values = [
        rarity[term] * count / (count + norm)
        for one, norm in zip(counts, norms.tolist(), strict=True)
        for term, count in one.items()
    ]
    size = (len(counts), len(numbers))
    gains = torch.sparse_coo_tensor(
        torch.tensor([rows, columns]), torch.tensor(values), size, check_invariants=True
    )
    return TermMatrix(numbers, gains.coalesce())
