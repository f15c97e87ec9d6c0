"""How much feedback, and which, the parallel revisions of a query are trained with (LoL, arXiv 2204.11545)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

MOST_FEEDBACK = 5


def draw_sizes(rng: random.Random, revisions: int, most: int = MOST_FEEDBACK) -> list[int]:
    """So many distinct numbers of passages from 0 to `most`, all equally likely, the largest first."""
    return sorted(rng.sample(range(most + 1), revisions), reverse=True)


def draw_feedback(
    rng: random.Random, found: Sequence[T], sizes: Sequence[int], most: int = MOST_FEEDBACK
) -> list[T]:
    """As many of the first `most` passages as the largest size, in random order; all where there are fewer.

    A revision of a smaller size takes the first of these, so that it sees a part of what the larger one sees.
    """
    first = found[:most]
    return rng.sample(first, min(sizes[0], len(first)))
