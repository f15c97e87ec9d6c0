"""Passages, pages or documents as results: what a hit stands for."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Literal

from ragkit.records import Hit

Level = Literal["passage", "page", "document"]


def best_per(hits: Sequence[Hit], level: Level) -> list[Hit]:
    """The first hit of each passage, page or document, in the order given.

    With hits ordered best first, a page or document so scores by its best passage.
    """
    best: dict[Hashable, Hit] = {}
    for hit in hits:
        best.setdefault(_unit(hit, level), hit)
    return list(best.values())


def _unit(hit: Hit, level: Level) -> Hashable:
    match level:
        case "passage":
            return hit.passage.key
        case "page":
            return hit.passage.document, hit.passage.page
        case "document":
            return hit.passage.document
