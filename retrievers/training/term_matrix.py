"""What each term is worth in each passage: the frozen candidates of a sparse reformulator."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
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


def term_matrix(counts: Iterable[Mapping[str, int]], k1: float, b: float) -> TermMatrix:
    """Lucene's BM25 as `Bm25Index` has it.

    Args:
        counts: of each passage how often it has each of its terms; at least one has any. Gone through once,
            so that they need not all be in memory.
    """
    torch = require("torch")
    numbers: dict[str, int] = {}
    sizes, columns, values = array("q"), array("q"), array("d")
    for one in counts:
        sizes.append(len(one))
        columns.extend(numbers.setdefault(term, len(numbers)) for term in one)
        values.extend(one.values())
    num_passages = len(sizes)
    rows = np.repeat(np.arange(num_passages), np.frombuffer(sizes, np.int64))
    terms, often = np.frombuffer(columns, np.int64), np.frombuffer(values, np.float64)
    frequencies = np.bincount(terms, minlength=len(numbers))
    lengths = np.bincount(rows, often, minlength=num_passages)
    norms = k1 * (1 - b + b * lengths / lengths.mean())
    rarity = np.log(1 + (num_passages - frequencies + 0.5) / (frequencies + 0.5))
    gains = (rarity[terms] * often / (often + norms[rows])).astype(np.float32)
    matrix = torch.sparse_coo_tensor(
        torch.from_numpy(np.stack([rows, terms])),
        torch.from_numpy(gains),
        (num_passages, len(numbers)),
        check_invariants=True,
    )
    return TermMatrix(numbers, matrix.coalesce())
