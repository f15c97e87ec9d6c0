"""Batches of questions with their lists, each passage once; the split into training and held-out questions."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ragkit.errors import DataError
from ragkit.records import KeyArray
from ragkit.retrievers.training.examples import TrainingList, TrainingPassage, TrainingSet

_DEV_SHARE = 0.1
_SPLIT_SEED = 42


@dataclass(frozen=True, slots=True)
class Batch:
    """Questions, the distinct passages of their lists, and where these stand in them.

    lists: int64 (B, L), numbers of passages, -1 where a list is shorter. teacher: float64 (B, L), 0 there.
    """

    questions: tuple[str, ...]
    passages: tuple[TrainingPassage, ...]
    lists: KeyArray
    teacher: NDArray[np.float64]


def split_questions(questions: Sequence[str]) -> tuple[list[str], list[str]]:
    """Ids to train on and ids held out, a tenth, at least one: the same for the same ids in any order.

    Raises:
        DataError: there are fewer than two questions.
    """
    ordered = sorted(questions)
    if len(ordered) < 2:
        raise DataError(f"{len(ordered)} questions have lists; training and holding out needs at least 2")
    random.Random(_SPLIT_SEED).shuffle(ordered)
    num_dev = max(1, round(_DEV_SHARE * len(ordered)))
    return ordered[num_dev:], ordered[:num_dev]


def split_lists(lists: Sequence[TrainingList]) -> tuple[list[TrainingList], list[TrainingList]]:
    """The lists of the questions that `split_questions` tells apart, in the order given."""
    _, held_out = split_questions([entry.question for entry in lists])
    names = set(held_out)
    train = [entry for entry in lists if entry.question not in names]
    return train, [entry for entry in lists if entry.question in names]


def shuffled(lists: Sequence[TrainingList], seed: int, epoch: int) -> list[TrainingList]:
    """The order of an epoch, the same whenever it is asked for."""
    mixed = list(lists)
    random.Random(f"{seed}:{epoch}").shuffle(mixed)
    return mixed


def batches(data: TrainingSet, lists: Sequence[TrainingList], size: int) -> Iterator[Batch]:
    """In the order of the lists; the last batch may be smaller."""
    for start in range(0, len(lists), size):
        yield make_batch(data, lists[start : start + size])


def make_batch(data: TrainingSet, lists: Sequence[TrainingList]) -> Batch:
    """One batch. Passages are told apart by their ids."""
    numbers: dict[str, int] = {}
    longest = max(len(entry.passages) for entry in lists)
    places = np.full((len(lists), longest), -1, np.int64)
    teacher = np.zeros((len(lists), longest))
    for row, entry in enumerate(lists):
        for place, passage in enumerate(entry.passages):
            places[row, place] = numbers.setdefault(passage, len(numbers))
        teacher[row, : len(entry.scores)] = entry.scores
    questions = tuple(data.questions[entry.question].text for entry in lists)
    return Batch(questions, tuple(data.passages[passage] for passage in numbers), places, teacher)
