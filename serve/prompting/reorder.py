"""In which order sources stand in a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ragkit.records import Hit

Order = Literal["rank", "ends", "reverse", "document"]
Permutation = tuple[int, ...]
"""Numbers from 1: of ranks the positions, or of positions the ranks."""


def rank_positions(k: int) -> Permutation:
    """The position of each rank, best first."""
    return tuple(range(1, k + 1))


def reverse_positions(k: int) -> Permutation:
    """The position of each rank, best last, next to the question."""
    return tuple(range(k, 0, -1))


def ends_positions(k: int) -> Permutation:
    """The position of each rank with the best at both ends and the weakest in the middle.

    Odd rank i: (i + 1) / 2; even rank i: k + 1 - i / 2, for every k. "Long-Context LLMs Meet RAG", Jin, Yoon, Han
    and Arik, ICLR 2025 (arXiv 2410.05983).
    """
    return tuple((i + 1) // 2 if i % 2 else k + 1 - i // 2 for i in range(1, k + 1))


def document_positions(hits: Sequence[Hit]) -> Permutation:
    """The position of each rank by document, page and place on the page (OP-RAG, arXiv 2409.01666)."""
    places = [(hit.passage.document, hit.passage.page, hit.passage.start) for hit in hits]
    return inverse([i + 1 for i in sorted(range(len(hits)), key=lambda i: places[i])])


def inverse(permutation: Sequence[int]) -> Permutation:
    """The rank at each position, from the position of each rank; and the other way round."""
    found = [0] * len(permutation)
    for i, place in enumerate(permutation, 1):
        found[place - 1] = i
    return tuple(found)


def in_order(order: Order, hits: Sequence[Hit]) -> Permutation:
    """Which of the hits, best first and counted from 1, stands at each position of the prompt."""
    match order:
        case "rank":
            return rank_positions(len(hits))
        case "ends":
            return inverse(ends_positions(len(hits)))
        case "reverse":
            return inverse(reverse_positions(len(hits)))
        case "document":
            return inverse(document_positions(hits))
