"""Batches of questions with their lists, each passage once; which lists are trained on and which held out."""

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


def split_lists(lists: Sequence[TrainingList]) -> tuple[list[TrainingList], list[TrainingList]]:
    """Lists to train on and lists held out, about a tenth, each in the order given.

    Questions of one positive stay together: a question about a passage that others have pulled to the front would
    say little about passages that none has. The same lists in any order are split alike.

    Raises:
        DataError: all lists have one positive, or there are none.
    """
    groups: dict[str, list[str]] = {}
    for entry in lists:
        groups.setdefault(entry.passages[0], []).append(entry.question)
    if len(groups) < 2:
        raise DataError(
            f"{len(lists)} questions have lists, with {len(groups)} different positives; training and holding out "
            "needs at least 2"
        )
    positives = sorted(groups)
    random.Random(_SPLIT_SEED).shuffle(positives)
    wanted = max(1, round(_DEV_SHARE * len(lists)))
    held_out: set[str] = set()
    for positive in positives[:-1]:
        if len(held_out) >= wanted:
            break
        held_out.update(groups[positive])
    train = [entry for entry in lists if entry.question not in held_out]
    return train, [entry for entry in lists if entry.question in held_out]


def held_out_questions(data: TrainingSet) -> list[str]:
    """Ids of the questions that every training on these very lists leaves out.

    Raises:
        DataError: as `split_lists`.
    """
    _, held_out = split_lists([entry for entry in data.lists if len(entry.passages) > 1])
    return [entry.question for entry in held_out]


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
