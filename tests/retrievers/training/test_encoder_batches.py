"""Batches hold each passage once; questions are held out in the same way always."""

from __future__ import annotations

import pytest

from ragkit.errors import DataError
from ragkit.retrievers.training.encoder_batches import batches, make_batch, shuffled, split_lists, split_questions
from ragkit.retrievers.training.examples import TrainingList, TrainingPassage, TrainingQuestion, TrainingSet

DATA = TrainingSet(
    {name: TrainingPassage(name, f"text {name}") for name in "abcd"},
    {name: TrainingQuestion(name, f"asks {name}") for name in "xyz"},
    (
        TrainingList("x", ("b", "a", "c"), (1.0, 0.5, 0.2)),
        TrainingList("y", ("c", "b"), (0.9, 0.1)),
        TrainingList("z", ("d",), (0.8,)),
    ),
)


def test_a_passage_of_two_lists_is_embedded_once() -> None:
    batch = make_batch(DATA, DATA.lists)
    assert [passage.id for passage in batch.passages] == ["b", "a", "c", "d"]
    assert batch.questions == ("asks x", "asks y", "asks z")
    assert batch.lists.tolist() == [[0, 1, 2], [2, 0, -1], [3, -1, -1]]
    assert batch.teacher.tolist() == [[1.0, 0.5, 0.2], [0.9, 0.1, 0.0], [0.8, 0.0, 0.0]]


def test_the_last_batch_is_smaller() -> None:
    assert [len(batch.questions) for batch in batches(DATA, DATA.lists, 2)] == [2, 1]


def test_an_epoch_has_an_order_of_its_own_that_can_be_had_again() -> None:
    lists = [TrainingList(str(i), ("a",), (1.0,)) for i in range(50)]
    first = shuffled(lists, seed=3, epoch=0)
    assert first == shuffled(lists, seed=3, epoch=0)
    assert sorted(first, key=lambda entry: int(entry.question)) == lists
    assert len({tuple(shuffled(lists, *which)) for which in ((3, 0), (3, 1), (4, 0))}) == 3


def test_a_tenth_is_held_out_whatever_the_order() -> None:
    names = [f"q{i}" for i in range(30)]
    train, held_out = split_questions(names)
    assert len(held_out) == 3
    assert sorted([*train, *held_out]) == sorted(names)
    assert split_questions(names[::-1]) == (train, held_out)
    lists = [TrainingList(name, ("a",), (1.0,)) for name in names]
    parts = split_lists(lists)
    assert [entry.question for entry in parts[1]] == [name for name in names if name in held_out]
    assert len(parts[0]) == 27


def test_one_question_is_too_few() -> None:
    with pytest.raises(DataError, match="1 questions have lists"):
        split_questions(["only"])
