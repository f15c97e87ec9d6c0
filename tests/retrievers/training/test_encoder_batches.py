"""Batches hold each passage once; questions are held out in the same way always."""

from __future__ import annotations

import pytest

from ragkit.errors import DataError
from ragkit.retrievers.training.encoder_batches import batches, make_batch, shuffled, split_lists
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
    lists = [TrainingList(f"q{i}", (f"p{i}", "x"), (1.0, 0.0)) for i in range(30)]
    train, held_out = split_lists(lists)
    assert len(held_out) == 3
    assert sorted([*train, *held_out], key=lists.index) == lists
    assert held_out == sorted(held_out, key=lists.index)
    again = split_lists(lists[::-1])
    assert [entry.question for entry in again[1]] == [entry.question for entry in held_out][::-1]


def test_questions_of_one_passage_are_not_parted() -> None:
    lists = [TrainingList(f"q{i}", (f"p{i // 4}",), (1.0,)) for i in range(40)]
    train, held_out = split_lists(lists)
    assert len(held_out) == 4
    assert {entry.passages[0] for entry in train}.isdisjoint(entry.passages[0] for entry in held_out)


def test_something_is_left_to_train_on() -> None:
    lists = [TrainingList(f"q{i}", ("p" if i else "other",), (1.0,)) for i in range(9)]
    train, held_out = split_lists(lists)
    assert train
    assert held_out


@pytest.mark.parametrize("number", [0, 1, 3])
def test_one_passage_is_too_little(number: int) -> None:
    lists = [TrainingList(f"q{i}", ("p",), (1.0,)) for i in range(number)]
    with pytest.raises(DataError, match=f"{number} questions have lists, with {min(number, 1)} different"):
        split_lists(lists)
