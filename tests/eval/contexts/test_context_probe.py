"""The hard-negative probe by hand and by its properties, and what a sweep may ask for."""

from __future__ import annotations

import random

import pytest

from ragkit.errors import ConfigError
from ragkit.eval.contexts.context_probe import (
    Cell,
    ContextSweep,
    is_answer_bearing,
    make_sweep,
    probe_passages,
    random_ranking,
    shuffled,
    with_gold_at,
)
from ragkit.eval.measures.answer_metrics import containment
from ragkit.eval.sets.context_sets import ContextPassage, ContextQuestion

GOLD = ContextPassage("Ohm", "Ada Ohm dug it.", "gold")
SECOND = ContextPassage("Dig", "It took a year.", "gold")


def distractor(text: str, title: str = "") -> ContextPassage:
    return ContextPassage(title, text)


def ask(*passages: ContextPassage, answers: tuple[str, ...] = ("Ada Ohm",)) -> ContextQuestion:
    return ContextQuestion("q", "Who dug the canal?", answers, passages)


def test_the_first_distractors_without_an_answer_are_admitted():
    ranking = [
        distractor("The canal is long."),
        GOLD,
        distractor("They say ADA OHM was there."),
        distractor("A lock.", title="Ada Ohm"),
        distractor("Boats."),
        distractor("Boats."),
        distractor("Fish."),
    ]
    question = ask(*ranking)
    expected = [GOLD, ranking[0], ranking[4], ranking[6]]
    for k in range(1, 5):
        assert probe_passages(question, ranking, k) == tuple(expected[:k])
    assert probe_passages(question, ranking, 9) == tuple(expected)


def test_the_gold_passage_of_another_question_is_a_distractor():
    other = ContextPassage("Mill", "It grinds.", "gold")
    wrong = ContextPassage("", "Bo Volt dug it.", "counterfactual")
    assert probe_passages(ask(GOLD), [other, wrong], 3) == (GOLD, distractor("It grinds.", "Mill"), wrong)


def test_all_gold_passages_are_there_also_where_they_are_more_than_k():
    question = ask(distractor("Fish."), GOLD, SECOND)
    assert probe_passages(question, question.passages, 1) == (GOLD, SECOND)
    assert probe_passages(question, question.passages, 3) == (GOLD, SECOND, question.passages[0])


@pytest.mark.parametrize(
    ("text", "answers", "expected"),
    [
        ("the united states, then", ("The United States!",), True),
        ("in nineteen-ten", ("nineteen ten",), False),
        ("in a party", ("art",), True),
        ("Élan", ("élan",), True),
        ("forty", ("40", "four"), False),
    ],
)
def test_an_answer_is_found_as_written_or_after_normalisation(text: str, answers, expected: bool):
    assert is_answer_bearing(distractor(text), answers) is expected


def test_no_distractor_of_a_probe_holds_an_answer():
    words = ["tide", "Ohm", "the", "ohm.", "lock", "Lockport", "pond", "a", "OHM-meter", "dam"]
    drawn, admitted, refused = random.Random(5), 0, 0
    for _ in range(400):
        ranking = [distractor(" ".join(drawn.choices(words, k=4)), drawn.choice([*words, ""])) for _ in range(12)]
        answers = tuple(drawn.sample(["Ohm", "lock", "the dam", "tide pond"], 2))
        found = probe_passages(ask(GOLD, answers=answers), ranking, drawn.randint(1, 12))
        assert len({passage.name for passage in found}) == len(found)
        for passage in found[1:]:
            content = f"{passage.title}\n{passage.text}"
            assert not any(answer.lower() in content.lower() for answer in answers)
            assert containment(content, answers) == 0
        admitted += len(found) - 1
        refused += sum(is_answer_bearing(one, answers) for one in ranking)
    assert admitted > 300
    assert refused > 300


def test_random_passages_are_those_of_other_questions_by_the_seed():
    own = [GOLD, distractor("Boats.")]
    pool = [*own, *(distractor(f"Text {number}.") for number in range(20))]
    question = ask(*own)
    ranking = random_ranking(question, pool, 3)
    assert sorted(one.text for one in ranking) == sorted(one.text for one in pool[2:])
    assert ranking == random_ranking(question, pool, 3)
    assert ranking != random_ranking(question, pool, 4)
    assert sorted(shuffled(pool, question, 1), key=pool.index) == pool
    assert shuffled(pool, question, 1) != pool


def test_one_gold_passage_stands_at_the_position_asked_for():
    others = [distractor(f"Text {number}.") for number in range(9)]
    for position in range(1, 11):
        placed = with_gold_at([others[0], GOLD, *others[1:]], position)
        assert placed.index(GOLD) == position - 1
        assert [one for one in placed if one != GOLD] == others


def test_several_gold_passages_stand_together_from_the_first_place_to_the_last():
    others = [distractor(f"Text {number}.") for number in range(3)]
    # 1 + (position - 1)(5 - 2) / (5 - 1), half up: 1, 1.75, 2.5, 3.25, 4.
    starts = [with_gold_at([GOLD, *others, SECOND], position).index(GOLD) + 1 for position in range(1, 6)]
    assert starts == [1, 2, 3, 3, 4]
    assert with_gold_at([GOLD, *others, SECOND], 5) == [*others, GOLD, SECOND]
    assert with_gold_at([GOLD, SECOND], 2) == [GOLD, SECOND]
    assert with_gold_at([GOLD], 1) == [GOLD]


def test_the_cells_of_a_sweep():
    sweep = make_sweep("5,2,5", "ends, rank", "random,set", "5,1", 10, 3)
    assert sweep == ContextSweep((2, 5), ("ends", "rank"), ("random", "set"), (1, 5), 10, 3)
    assert [cell.name for cell in sweep.cells()] == [
        *("random 2 ends", "random 2 rank", "random 5 ends", "random 5 rank"),
        *("set 2 ends", "set 2 rank", "set 5 ends", "set 5 rank"),
        *("random 5 gold-1", "random 5 gold-5"),
    ]
    assert make_sweep("3", "", "set", "all", 1, 0).positions == (1, 2, 3)
    assert next(make_sweep("3", "", "set", "2", 1, 0).cells()) == Cell("set", 3, position=2)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (("0,2", "rank", "set", ""), "--k '0' is no number of at least 1"),
        (("x", "rank", "set", ""), "--k 'x' is no number"),
        (("", "rank", "set", ""), "--k is empty"),
        (("2", "best", "set", ""), "--order 'best' is none of rank, ends, reverse, document, shuffle"),
        (("2", "rank", "hard", ""), "--negatives 'hard' is none of set, counterfactual, random, bm25, dense"),
        (("2", "rank", "", ""), "--negatives is empty"),
        (("2", "", "set", ""), "neither --order nor --positions is given"),
        (("2,5", "rank", "set", "6"), "--positions 6: the largest k is 5, so no passage stands at 6"),
    ],
)
def test_what_cannot_be_swept_is_refused(given, problem: str):
    with pytest.raises(ConfigError, match=problem):
        make_sweep(*given, 10, 0)
